//! Looks at the nodes of one network from time to time, and notes how they stand for whoever asks.
//! Not here: how they are judged (`chain::endpoints`).

use std::sync::Arc;

use tokio::sync::Mutex;
use uuid::Uuid;

use super::Step;
use crate::chain::ChainReader as _;
use crate::chain::endpoints::Endpoints;
use crate::domain::endpoint::Endpoint;
use crate::store::{Db, endpoints, leases};

/// Seconds for which the process that notes keeps the right to: two would write over each other.
const LEASE_SECONDS: i64 = 30;

/// One network's watcher.
pub struct EndpointWatcher {
    db: Db,
    endpoints: Arc<Endpoints>,
    holder: Uuid,
    /// What was noted last.
    noted: Mutex<Vec<Endpoint>>,
}

impl EndpointWatcher {
    /// Watches the nodes behind one reader.
    pub fn new(db: Db, endpoints: Arc<Endpoints>, holder: Uuid) -> Self {
        Self { db, endpoints, holder, noted: Mutex::default() }
    }

    /// One look. Every process looks for itself; one of them notes what it sees.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        self.endpoints.look().await;
        let network = self.endpoints.network();
        let name = format!("endpoints:{network}");
        let mut noted = self.noted.lock().await;
        if leases::acquire(&self.db, &name, self.holder, LEASE_SECONDS).await?.is_none() {
            noted.clear();
            return Ok(Step::Idle);
        }
        let stand = self.endpoints.report();
        if *noted != stand {
            let unit = self.db.begin("note_endpoints").await?;
            endpoints::note(&unit, network, &stand).await?;
            unit.commit().await?;
            *noted = stand;
        }
        Ok(Step::Idle)
    }
}
