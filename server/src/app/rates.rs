//! Makes the source of prices that the configuration names, and starts the loops that ask exchanges.
//! Every process that serves has its own. No rule lives here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, RateKind};
use crate::domain::asset::Asset;
use crate::domain::quotes::Rules;
use crate::env::Env;
use crate::rates::client::{ClientError, Limits};
use crate::rates::market::{MarketRates, MarketSettings};
use crate::rates::{FixedRates, RateSource};
use crate::worker::{Step, reconcile};

/// The configured source; of the market, with its loops running.
pub(super) fn spawn(
    config: &Config,
    env: &Env,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Arc<dyn RateSource>, ClientError> {
    if config.rates.source == RateKind::Fixed {
        return Ok(Arc::new(FixedRates::new(fixed_prices(config), env.clone())));
    }
    let market = Arc::new(market(config, env)?);
    let interval = Duration::from_secs(config.rates.market.poll_seconds);
    for exchange in market.exchanges() {
        let (market, env, stop) = (Arc::clone(&market), env.clone(), stop.clone());
        tasks.spawn(async move {
            let wake = Notify::new();
            let poll = || async {
                market.poll(exchange).await;
                Ok(Step::Idle)
            };
            reconcile("rates", &env, interval, &wake, &stop, poll).await;
        });
    }
    Ok(market)
}

/// The market as configured, not asked yet. Whoever looks after a deployment polls it once and reads
/// its sources.
///
/// # Errors
/// See [`ClientError`].
pub fn market(config: &Config, env: &Env) -> Result<MarketRates, ClientError> {
    let settings = &config.rates.market;
    let base = |exchange| settings.urls.of(exchange).trim_end_matches('/').to_owned();
    let sources = settings.sources.iter();
    let coins: BTreeSet<Asset> = config.enabled().keys().map(|network| network.asset()).collect();
    let market = MarketSettings {
        exchanges: sources.map(|exchange| (*exchange, base(*exchange))).collect(),
        coins: coins.into_iter().filter(|coin| !coin.is_dollar()).collect(),
        rules: Rules {
            stale_max: Duration::from_secs(settings.stale_seconds_max),
            outlier_percent_max: u128::from(settings.outlier_percent_max),
            agreeing_min: settings.agreeing_min,
        },
        https_only: !config.is_sandbox(),
        limits: Limits::default(),
    };
    MarketRates::new(market, env.clone())
}

fn fixed_prices(config: &Config) -> BTreeMap<Asset, String> {
    let fixed = &config.rates.fixed;
    let prices = [(Asset::Btc, &fixed.btc), (Asset::Ltc, &fixed.ltc), (Asset::Eth, &fixed.eth)];
    prices.into_iter().map(|(asset, price)| (asset, price.clone())).collect()
}
