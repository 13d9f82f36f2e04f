//! Takes the figures that an operator watches: how far each network was read and how its nodes stand, what
//! waits, what rates there are. Only reads, and few of them. Not here: how they are told (`transport`),
//! what the process counts of itself (`metrics`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::asset::{Asset, Network};
use crate::domain::endpoint::{self, Endpoint, NetworkState};
use crate::env::Env;
use crate::rates::RateSource;
use crate::store::cursor::Cursor;
use crate::store::figures::{self, NetworkCounts, Queues};
use crate::store::{Db, StoreError, cursor, endpoints};

/// What it is done with.
pub struct TakeFigures {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// The enabled networks.
    pub networks: Vec<Network>,
    /// What coins cost, in a process that prices invoices.
    pub rates: Option<Arc<dyn RateSource>>,
}

/// The figures of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Each enabled network.
    pub networks: Vec<NetworkFigures>,
    /// What waits.
    pub queues: Queues,
    /// How long ago the oldest pending delivery was due; zero if none is.
    pub oldest_due_age: Duration,
    /// Each coin's rate, in a process that prices invoices.
    pub rates: Vec<RateFigures>,
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFigures {
    /// The network.
    pub network: Network,
    /// How it is read as a whole.
    pub state: NetworkState,
    /// How far it was read; `None` before the first read.
    pub reading: Option<Reading>,
    /// What it has.
    pub counts: NetworkCounts,
    /// Its nodes, the preferred first; a simulated chain has none.
    pub endpoints: Vec<Endpoint>,
}

/// How far a network was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The newest block that is known of.
    pub head_height: u64,
    /// The newest block that was read.
    pub scanned_height: u64,
    /// Height up to which the chain calls its blocks final.
    pub finalized_height: Option<u64>,
    /// How far business time is ahead of the moment up to which every payment is known.
    pub watermark_lag: Duration,
    /// Whether the chain calls nothing new final for far longer than it takes.
    pub is_finality_stalled: bool,
}

/// One coin's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateFigures {
    /// The coin.
    pub asset: Asset,
    /// Whether invoices in it can be priced now.
    pub is_available: bool,
    /// How old the last rate is; `None` if there was none since the process began.
    pub age: Option<Duration>,
}

impl TakeFigures {
    /// Takes them.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn run(&self) -> Result<Figures, StoreError> {
        let mut nodes = endpoints::of_all(&self.db).await?;
        let mut networks = Vec::with_capacity(self.networks.len());
        for network in &self.networks {
            let at = cursor::get(&self.db, *network).await?;
            let counts = figures::of_network(&self.db, *network).await?;
            let endpoints = nodes.remove(network.as_str()).unwrap_or_default();
            networks.push(self.network(*network, at.as_ref(), counts, endpoints));
        }
        let queues = figures::queues(&self.db).await?;
        let oldest_due_age = queues.oldest_due.map(|due| self.env.now().since(due));
        Ok(Figures {
            networks,
            queues,
            oldest_due_age: oldest_due_age.unwrap_or_default(),
            rates: self.rates(),
        })
    }

    fn network(
        &self,
        network: Network,
        at: Option<&Cursor>,
        counts: NetworkCounts,
        endpoints: Vec<Endpoint>,
    ) -> NetworkFigures {
        let now = self.env.now();
        let age = at.map(|at| now.since(at.read_at)).unwrap_or_default();
        let scanned = at.map(|at| (at.height, at.node_height));
        let reading = at.map(|at| Reading {
            head_height: endpoint::head(at.node_height, &endpoints),
            scanned_height: at.height,
            finalized_height: at.finalized_height,
            watermark_lag: now.since(at.watermark),
            is_finality_stalled: at.is_finality_stalled(network),
        });
        let state = NetworkState::of(scanned, age, &endpoints);
        NetworkFigures { network, state, reading, counts, endpoints }
    }

    fn rates(&self) -> Vec<RateFigures> {
        let Some(rates) = &self.rates else { return Vec::new() };
        let now = self.env.now();
        let assets: BTreeSet<Asset> = self.networks.iter().map(|network| network.asset()).collect();
        let figures = |asset| {
            let (is_available, at) = match rates.rate(asset) {
                Ok(rate) => (true, Some(rate.at)),
                Err(none) => (false, none.since),
            };
            RateFigures { asset, is_available, age: at.map(|at| now.since(at)) }
        };
        assets.into_iter().map(figures).collect()
    }
}
