//! The three exchanges' public ticker APIs: which path asks for which coins, and how an answer is
//! read. Prices stay the text they came as until `domain::quotes` reads it. Not here: HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::client::clip;
use crate::domain::asset::Asset;
use crate::domain::quotes::{Exchange, PriceTextError, parse_price};
use crate::domain::time::Micros;

/// One request and the coins it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Path and query, below the exchange's base URL.
    pub path: String,
    /// The coins.
    pub coins: Vec<Asset>,
}

/// What an exchange says of one coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// US dollars a coin, in units of 10^-8.
    pub units: u128,
    /// When this price was last paid, where the exchange says so. A halted market keeps answering.
    pub traded_at: Option<Micros>,
}

/// Why an answer holds no price of a coin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not the JSON that is documented.
    #[error("answered something else than its API: {0}")]
    Form(String),
    /// The exchange's own words.
    #[error("answered: {0}")]
    Refused(String),
    /// The coin is not in it.
    #[error("answered without this coin")]
    Missing,
    /// The price is none.
    #[error("answered a price that {0}: {1}")]
    Price(PriceTextError, String),
    /// The time of the last trade is none.
    #[error("answered no time of its last trade: {0}")]
    Time(String),
}

/// What to ask an exchange; of no coins, nothing.
pub fn questions(exchange: Exchange, coins: &[Asset]) -> Vec<Question> {
    if coins.is_empty() {
        return Vec::new();
    }
    let joined = |names: Vec<String>, separator| names.join(separator);
    match exchange {
        // https://docs.kraken.com/api/docs/rest-api/get-ticker-information
        Exchange::Kraken => {
            let pairs = coins.iter().map(|coin| format!("{}USD", kraken_name(*coin))).collect();
            let path = format!("/0/public/Ticker?pair={}", joined(pairs, ","));
            vec![Question { path, coins: coins.to_vec() }]
        }
        // https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-ticker
        // Not `/v2/prices/BTC-USD/spot`: the ticker is a trade with its time, so that a market that
        // stands still is seen as such.
        Exchange::Coinbase => {
            let question = |coin: &Asset| Question {
                path: format!("/products/{coin}-USD/ticker"),
                coins: vec![*coin],
            };
            coins.iter().map(question).collect()
        }
        // https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
        // `symbols=["BTCUSDT",...]`. Against USDT, the deepest market, which is taken for a dollar as
        // everywhere in this program; if it loses its peg, this source is an outlier.
        Exchange::Binance => {
            let symbols = coins.iter().map(|coin| format!("%22{coin}USDT%22")).collect();
            let path = format!("/api/v3/ticker/price?symbols=%5B{}%5D", joined(symbols, ","));
            vec![Question { path, coins: coins.to_vec() }]
        }
    }
}

/// Reads an answer: each coin of the question has its own result.
pub fn read(
    exchange: Exchange,
    question: &Question,
    body: &[u8],
) -> Vec<(Asset, Result<Price, AnswerError>)> {
    let found = match exchange {
        Exchange::Kraken => kraken(body),
        Exchange::Coinbase => coinbase(question, body),
        Exchange::Binance => binance(body),
    };
    let one = |coin: &Asset| {
        let price = match &found {
            Ok(prices) => prices.get(coin).cloned().unwrap_or(Err(AnswerError::Missing)),
            Err(error) => Err(error.clone()),
        };
        (*coin, price)
    };
    question.coins.iter().map(one).collect()
}

/// What was found in an answer.
type Found = Result<BTreeMap<Asset, Result<Price, AnswerError>>, AnswerError>;

/// Kraken's name of a coin.
fn kraken_name(coin: Asset) -> &'static str {
    match coin {
        Asset::Btc => "XBT",
        other => other.as_str(),
    }
}

#[derive(Deserialize)]
struct KrakenAnswer<'a> {
    error: Vec<String>,
    #[serde(borrow, default)]
    result: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct KrakenTicker<'a> {
    /// The last trade: price, volume.
    #[serde(borrow)]
    c: Vec<&'a RawValue>,
}

fn kraken(body: &[u8]) -> Found {
    let answer: KrakenAnswer<'_> = serde_json::from_slice(body).map_err(|_| form(body))?;
    if !answer.error.is_empty() {
        return Err(AnswerError::Refused(clip(answer.error.join(", ").as_bytes())));
    }
    // Asked for XBTUSD it answers under XXBTZUSD, its older name; newer listings have one name.
    let named = Asset::ALL.into_iter().flat_map(|coin| {
        let name = kraken_name(coin);
        [(format!("X{name}ZUSD"), coin), (format!("{name}USD"), coin)]
    });
    let names: BTreeMap<String, Asset> = named.collect();
    let last = |raw: &RawValue| {
        let text = raw.get().as_bytes();
        let ticker: KrakenTicker<'_> = serde_json::from_slice(text).map_err(|_| form(text))?;
        price(ticker.c.first().ok_or_else(|| form(text))?, None)
    };
    let found = answer.result.iter().filter_map(|(name, raw)| Some((*names.get(name)?, last(raw))));
    Ok(found.collect())
}

#[derive(Deserialize)]
struct CoinbaseTicker<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    time: String,
}

fn coinbase(question: &Question, body: &[u8]) -> Found {
    let ticker: CoinbaseTicker<'_> = serde_json::from_slice(body).map_err(|_| form(body))?;
    let traded_at = OffsetDateTime::parse(&ticker.time, &Rfc3339)
        .ok()
        .and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000).ok())
        .ok_or_else(|| AnswerError::Time(clip(ticker.time.as_bytes())));
    let price = traded_at.and_then(|at| price(ticker.price, Some(Micros(at))));
    Ok(question.coins.iter().map(|coin| (*coin, price.clone())).collect())
}

#[derive(Deserialize)]
struct BinanceTicker<'a> {
    symbol: String,
    #[serde(borrow)]
    price: &'a RawValue,
}

fn binance(body: &[u8]) -> Found {
    let tickers: Vec<BinanceTicker<'_>> = serde_json::from_slice(body).map_err(|_| form(body))?;
    let found = tickers.iter().filter_map(|ticker| {
        let coin = ticker.symbol.strip_suffix("USDT")?.parse().ok()?;
        Some((coin, price(ticker.price, None)))
    });
    Ok(found.collect())
}

/// The price in a JSON string or number, read from its own characters.
fn price(raw: &RawValue, traded_at: Option<Micros>) -> Result<Price, AnswerError> {
    let text: Cow<'_, str> = if raw.get().starts_with('"') {
        let string = serde_json::from_str::<String>(raw.get());
        Cow::Owned(string.map_err(|_| form(raw.get().as_bytes()))?)
    } else {
        Cow::Borrowed(raw.get())
    };
    let units =
        parse_price(&text).map_err(|error| AnswerError::Price(error, clip(text.as_bytes())))?;
    Ok(Price { units, traded_at })
}

fn form(body: &[u8]) -> AnswerError {
    AnswerError::Form(clip(body))
}

#[cfg(test)]
#[path = "exchanges_tests.rs"]
mod tests;
