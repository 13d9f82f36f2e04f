//! `[rates]`: where prices come from, with the checks of its settings. Not here: the other tables
//! (`config.rs`), acting on them (`app::rates`).

use std::collections::BTreeSet;

use reqwest::Url;
use serde::Deserialize;

use crate::domain::amount::parse_decimal;
use crate::domain::price::RATE_DECIMALS;
use crate::domain::quotes::Exchange;

/// Where the price of coins comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateKind {
    /// The configuration.
    Fixed,
    /// Exchanges.
    Market,
}

/// `[rates]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Rates {
    pub source: RateKind,
    pub fixed: FixedPrices,
    pub market: Market,
}

/// `[rates.fixed]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct FixedPrices {
    pub btc: String,
    pub ltc: String,
    pub eth: String,
}

/// `[rates.market]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Market {
    pub sources: Vec<Exchange>,
    pub poll_seconds: u64,
    pub stale_seconds_max: u64,
    pub outlier_percent_max: u64,
    pub agreeing_min: usize,
    pub urls: ExchangeUrls,
}

/// `[rates.market.urls]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct ExchangeUrls {
    pub kraken: String,
    pub coinbase: String,
    pub binance: String,
}

impl ExchangeUrls {
    /// The base URL of an exchange.
    pub fn of(&self, exchange: Exchange) -> &str {
        match exchange {
            Exchange::Kraken => &self.kraken,
            Exchange::Coinbase => &self.coinbase,
            Exchange::Binance => &self.binance,
        }
    }
}

impl Rates {
    pub(super) fn check(&self, live: bool, problems: &mut Vec<String>) {
        let mut wrong = |key: &str, why: &str| problems.push(format!("rates.{key}: {why}"));
        if live && self.source == RateKind::Fixed {
            wrong("source", "live demands `market`");
        }
        let fixed = [("btc", &self.fixed.btc), ("ltc", &self.fixed.ltc), ("eth", &self.fixed.eth)];
        for (coin, price) in fixed {
            if !parse_decimal(price, RATE_DECIMALS).is_ok_and(|units| units > 0) {
                wrong(&format!("fixed.{coin}"), "must be a price above zero, as text");
            }
        }
        let market = &self.market;
        let ranges = [
            ("market.poll_seconds", market.poll_seconds, 1, 600),
            ("market.stale_seconds_max", market.stale_seconds_max, 2, 3_600),
            ("market.outlier_percent_max", market.outlier_percent_max, 1, 20),
        ];
        for (key, value, least, most) in ranges {
            if value < least || value > most {
                wrong(key, &format!("must be from {least} to {most}"));
            }
        }
        // With less, one answer that is lost makes a price too old.
        if market.stale_seconds_max / 2 < market.poll_seconds {
            wrong("market.stale_seconds_max", "must be at least twice rates.market.poll_seconds");
        }
        let distinct: BTreeSet<Exchange> = market.sources.iter().copied().collect();
        if distinct.is_empty() || distinct.len() < market.sources.len() {
            wrong("market.sources", "must name at least one exchange, none twice");
        }
        let least = if live { 2 } else { 1 };
        if market.agreeing_min < least || market.agreeing_min > distinct.len() {
            let why = format!("must be from {least} to the number of rates.market.sources");
            wrong("market.agreeing_min", &why);
        }
        for exchange in Exchange::ALL {
            if !is_base_url(market.urls.of(exchange), live) {
                let why = "must be an https URL (http in the sandbox) without user and query";
                wrong(&format!("market.urls.{exchange}"), why);
            }
        }
    }
}

fn is_base_url(text: &str, live: bool) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let scheme = url.scheme() == "https" || (!live && url.scheme() == "http");
        let bare = url.username().is_empty() && url.password().is_none();
        scheme && bare && url.query().is_none() && url.fragment().is_none()
    })
}
