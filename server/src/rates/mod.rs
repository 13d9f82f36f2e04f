//! What a coin costs: the trait that sources implement, and the fixed source of the sandbox. Not
//! here: turning dollars into coins (`domain::price`).

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::domain::asset::Asset;
use crate::domain::time::Micros;
use crate::env::Env;

/// A price, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// US dollars a coin, plain decimal text.
    pub usd: String,
    /// Where it came from.
    pub source: String,
    /// When it was true, business time.
    pub at: Micros,
}

/// A source of prices.
#[async_trait]
pub trait RateSource: Send + Sync {
    /// The fresh price of an asset; `None` when there is none, whatever the cause.
    async fn rate(&self, asset: Asset) -> Option<Rate>;
}

/// Prices from the configuration, always fresh: for the sandbox. Dollar coins cost exactly 1.
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

#[async_trait]
impl RateSource for FixedRates {
    async fn rate(&self, asset: Asset) -> Option<Rate> {
        let at = self.env.now();
        if asset.is_dollar() {
            return Some(Rate { usd: "1.00".to_owned(), source: "par".to_owned(), at });
        }
        let usd = self.prices.get(&asset)?.clone();
        Some(Rate { usd, source: "fixed".to_owned(), at })
    }
}
