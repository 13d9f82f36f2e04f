//! What a coin costs: the trait that sources implement, the fixed source of the sandbox, and what the
//! market's sources tell of themselves. Not here: turning dollars into coins (`domain::price`), which
//! quotes are believed (`domain::quotes`).

pub mod client;
pub mod exchanges;
pub mod market;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::asset::Asset;
use crate::domain::quotes::Exchange;
use crate::domain::time::Micros;
use crate::env::Env;

/// A price, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// US dollars a coin, plain decimal text.
    pub usd: String,
    /// Where it came from: `par`, `fixed`, or e.g. `median(kraken,coinbase,binance)`.
    pub source: String,
    /// When it was true, business time.
    pub at: Micros,
}

/// There is no fresh price of a coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRate {
    /// The coin.
    pub asset: Asset,
    /// When there was one last, business time; `None` if never since the process began.
    pub since: Option<Micros>,
    /// Why there is none now.
    pub why: String,
}

impl fmt::Display for NoRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.since.and_then(|at| OffsetDateTime::from_unix_timestamp(at.seconds()).ok());
        let since = last.and_then(|at| at.format(&Rfc3339).ok());
        let since = since.unwrap_or_else(|| "the server started".to_owned());
        write!(f, "there is no fresh rate of {} since {since}: {}", self.asset, self.why)
    }
}

impl std::error::Error for NoRate {}

/// A source of prices.
pub trait RateSource: Send + Sync {
    /// The fresh price of an asset. It is read from memory and never waited for, so that no price
    /// API can slow a call down.
    ///
    /// # Errors
    /// [`NoRate`] when there is no fresh price, whatever the cause.
    fn rate(&self, asset: Asset) -> Result<Rate, NoRate>;
}

/// What a market's source last said, for whoever looks after the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// Who is asked.
    pub exchange: Exchange,
    /// Where.
    pub url: String,
    /// The last quote of each coin, whether or not it is still fresh.
    pub quotes: Vec<QuoteState>,
    /// What was wrong when it was asked last; `None` when nothing was.
    pub last_error: Option<SourceError>,
}

/// The last quote of one coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteState {
    /// The coin.
    pub asset: Asset,
    /// US dollars a coin, plain decimal text.
    pub usd: String,
    /// How long ago it was true.
    pub age: Duration,
}

/// The last failure of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// What was wrong.
    pub text: String,
    /// How long ago.
    pub age: Duration,
}

/// Prices from the configuration, always fresh: for the sandbox.
pub struct FixedRates {
    prices: BTreeMap<Asset, String>,
    env: Env,
}

impl FixedRates {
    /// A source with these prices, US dollars a coin.
    pub fn new(prices: BTreeMap<Asset, String>, env: Env) -> Self {
        Self { prices, env }
    }
}

impl RateSource for FixedRates {
    fn rate(&self, asset: Asset) -> Result<Rate, NoRate> {
        let at = self.env.now();
        if asset.is_dollar() {
            return Ok(par(at));
        }
        let usd = self.prices.get(&asset).cloned().ok_or_else(|| NoRate {
            asset,
            since: None,
            why: "its price is not set".to_owned(),
        })?;
        Ok(Rate { usd, source: "fixed".to_owned(), at })
    }
}

/// Dollar coins cost exactly 1, whatever a market says.
fn par(at: Micros) -> Rate {
    Rate { usd: "1.00".to_owned(), source: "par".to_owned(), at }
}
