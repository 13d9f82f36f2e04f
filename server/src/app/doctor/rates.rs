//! Where prices come from: whether the exchanges answer, and how far apart they are.

use futures_util::future::join_all;

use super::Check;
use crate::app::rates::market;
use crate::config::{Config, RateKind};
use crate::domain::asset::{Asset, Network};
use crate::env::Env;
use crate::rates::{RateSource as _, SourceState};

/// Asks every configured exchange once.
pub async fn examine(config: &Config, env: &Env) -> Vec<Check> {
    if config.rates.source == RateKind::Fixed {
        return vec![Check::ok("rates", "fixed by the configuration; no exchange is asked")];
    }
    let market = match market(config, env) {
        Ok(market) => market,
        Err(error) => {
            let cure = "install CA certificates (Debian: package ca-certificates)";
            return vec![Check::fail("rates", error.to_string(), cure)];
        }
    };
    join_all(market.exchanges().map(|exchange| market.poll(exchange))).await;
    let sources = market.sources();
    let mut checks: Vec<Check> = sources.iter().map(source).collect();
    let coins = config.enabled().into_keys().map(Network::asset).filter(|coin| !coin.is_dollar());
    for coin in coins {
        let name = format!("rate {coin}");
        let said = quotes(&sources, coin);
        checks.push(match market.rate(coin) {
            Ok(rate) => Check::ok(name, format!("{} USD, {}: {said}", rate.usd, rate.source)),
            Err(why) => {
                let cure = "invoices of this coin are refused until enough exchanges agree: see the \
                            sources above, and [rates.market] in the configuration";
                Check::fail(name, format!("{}: {said}", why.why), cure)
            }
        });
    }
    checks
}

fn source(state: &SourceState) -> Check {
    let name = format!("exchange {}", state.exchange);
    match &state.last_error {
        None => Check::ok(name, format!("{} quotes from {}", state.quotes.len(), state.url)),
        Some(error) => {
            let text = format!("{}: {}", state.url, error.text);
            Check::warn(name, text, "look at this machine's way out, or wait: the others may do")
        }
    }
}

/// What each exchange says of a coin, which shows how far apart they are.
fn quotes(sources: &[SourceState], coin: Asset) -> String {
    let of = |state: &SourceState| {
        let quote = state.quotes.iter().find(|quote| quote.asset == coin)?;
        Some(format!("{} {}", state.exchange, quote.usd))
    };
    let said: Vec<String> = sources.iter().filter_map(of).collect();
    if said.is_empty() { "nobody quotes it".to_owned() } else { said.join(", ") }
}
