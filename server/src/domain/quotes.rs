//! What exchanges say a coin costs and what is believed of it: the bounds of a price, its age, the
//! median, and who is too far from it. Pure functions. Not here: asking the exchanges (`rates`).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::amount::{AmountError, parse_decimal};
use super::price::RATE_DECIMALS;
use super::time::Micros;

/// One US dollar in the units that quotes are kept in.
const DOLLAR: u128 = 10_u128.pow(RATE_DECIMALS);
/// Below this a coin's price is taken for damage: one US cent.
const PRICE_UNITS_MIN: u128 = DOLLAR / 100;
/// Above this a coin's price is taken for damage: 100 million US dollars.
const PRICE_UNITS_MAX: u128 = 100_000_000 * DOLLAR;
/// Characters of a price; exchanges send up to 20.
const PRICE_CHARS_MAX: usize = 40;

/// An exchange that is asked for prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exchange {
    /// Kraken, against US dollars.
    Kraken,
    /// Coinbase Exchange, against US dollars.
    Coinbase,
    /// Binance, against USDT.
    Binance,
}

impl Exchange {
    /// Every exchange.
    pub const ALL: [Self; 3] = [Self::Kraken, Self::Coinbase, Self::Binance];

    /// The name in settings and in `rate_source`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kraken => "kraken",
            Self::Coinbase => "coinbase",
            Self::Binance => "binance",
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one exchange says of one coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Who says so.
    pub exchange: Exchange,
    /// US dollars a coin, in units of 10^-8.
    pub units: u128,
    /// When it was true, by the system's clock.
    pub at: Micros,
}

/// What makes quotes a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The oldest quote that counts.
    pub stale_max: Duration,
    /// How far a quote may be from the median, and two quotes from each other, percent.
    pub outlier_percent_max: u128,
    /// How many quotes must agree.
    pub agreeing_min: usize,
}

/// The rate that exchanges agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// US dollars a coin, in units of 10^-8.
    pub units: u128,
    /// Whose quotes it is made of, in the order of [`Exchange`].
    pub exchanges: Vec<Exchange>,
    /// When the oldest of them was true, by the system's clock.
    pub at: Micros,
}

/// Why quotes make no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAgreement {
    /// Too few are fresh.
    #[error("{fresh} of the {needed} quotes that are needed are fresh")]
    TooFew {
        /// Fresh quotes.
        fresh: usize,
        /// How many must agree.
        needed: usize,
    },
    /// Enough are fresh, too few of them are near each other.
    #[error("{fresh} quotes are fresh, {agreeing} of the {needed} that are needed agree")]
    TooFar {
        /// Fresh quotes.
        fresh: usize,
        /// Those that are near the median.
        agreeing: usize,
        /// How many must agree.
        needed: usize,
    },
}

/// Why a text is no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceTextError {
    /// Far longer than any price.
    #[error("has more than {PRICE_CHARS_MAX} characters")]
    TooLong,
    /// No plain decimal number: a sign, an exponent, more than 8 decimals.
    #[error(transparent)]
    Decimal(#[from] AmountError),
    /// A number, and not what a coin costs.
    #[error("is not between one US cent and 100 million US dollars")]
    Absurd,
}

/// Reads what an exchange sent as US dollars a coin, in units of 10^-8.
pub fn parse_price(text: &str) -> Result<u128, PriceTextError> {
    if text.len() > PRICE_CHARS_MAX {
        return Err(PriceTextError::TooLong);
    }
    let units = parse_decimal(text, RATE_DECIMALS)?;
    if (PRICE_UNITS_MIN..=PRICE_UNITS_MAX).contains(&units) {
        Ok(units)
    } else {
        Err(PriceTextError::Absurd)
    }
}

/// The rate that `quotes`, one an exchange, agree on at `now` of the system's clock.
///
/// Quotes that are too old do not count; neither do those of the future, which a clock that was set
/// back leaves behind. Of three and more, those too far from the median are dropped, and the median
/// of the rest is the rate. Of two, nobody can tell who is wrong: they are near each other or there
/// is no rate.
pub fn agree(quotes: &[Quote], now: Micros, rules: &Rules) -> Result<Agreed, NoAgreement> {
    let is_fresh = |quote: &&Quote| quote.at <= now && now.since(quote.at) <= rules.stale_max;
    let mut near: Vec<Quote> = quotes.iter().filter(is_fresh).copied().collect();
    let (fresh, needed) = (near.len(), rules.agreeing_min.max(1));
    if fresh < needed {
        return Err(NoAgreement::TooFew { fresh, needed });
    }
    near.sort_by_key(|quote| (quote.units, quote.exchange));
    if near.len() > 2 {
        let center = median(&near);
        near.retain(|quote| is_near(quote.units.abs_diff(center), center, rules));
    }
    if let [low, high] = near.as_slice()
        && !is_near(high.units - low.units, low.units, rules)
    {
        near.clear();
    }
    let agreeing = near.len();
    let oldest = near.iter().map(|quote| quote.at).min().filter(|_| agreeing >= needed);
    let at = oldest.ok_or(NoAgreement::TooFar { fresh, agreeing, needed })?;
    let mut exchanges: Vec<Exchange> = near.iter().map(|quote| quote.exchange).collect();
    exchanges.sort_unstable();
    Ok(Agreed { units: median(&near), exchanges, at })
}

fn is_near(distance: u128, of: u128, rules: &Rules) -> bool {
    distance * 100 <= of * rules.outlier_percent_max
}

/// The middle of sorted quotes; between two, their mean, rounded down by less than 10^-8 dollars.
fn median(sorted: &[Quote]) -> u128 {
    let units = |at: usize| sorted.get(at).map_or(0, |quote| quote.units);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        units(middle)
    } else {
        (units(middle.saturating_sub(1)) + units(middle)) / 2
    }
}

#[cfg(test)]
#[path = "quotes_tests.rs"]
mod tests;
