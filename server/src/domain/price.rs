//! From US dollars to coins: reading the asked amount, and how many coins it is at a rate. Every
//! rounding is named here. Not here: where a rate comes from (`rates`).

use super::amount::{AmountError, parse_decimal, split_decimal};
use super::asset::{Asset, Network};

/// The smallest invoice, in US cents.
pub const CENTS_MIN: i64 = 100;
/// The largest invoice, in US cents.
pub const CENTS_MAX: i64 = 100_000_000;
/// Significant digits of an asked amount: what a client's binary float can print.
const SIGNIFICANT_DIGITS_MAX: usize = 17;
/// Decimals that rates are kept with.
pub const RATE_DECIMALS: u32 = 8;

/// Why an asked amount is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// No plain decimal number.
    #[error("must be a plain decimal number")]
    Malformed,
    /// Below the minimum.
    #[error("must be at least 1.00")]
    TooSmall,
    /// Above the maximum.
    #[error("must be at most 1000000")]
    TooLarge,
    /// More digits than any amount has.
    #[error("has more than 17 significant digits")]
    TooPrecise,
    /// So few coins that the network would not relay them.
    #[error("is below what the network relays")]
    BelowDust,
    /// The rate is zero, unreadable or beyond every price.
    #[error("has no usable rate")]
    BadRate,
}

/// Reads US dollars as cents: the minimum is checked first, then digits, then half a cent is
/// rounded up.
pub fn parse_usd(text: &str) -> Result<i64, PriceError> {
    if let Some(positive) = text.strip_prefix('-') {
        return Err(split_decimal(positive).map_or(PriceError::Malformed, |_| PriceError::TooSmall));
    }
    let (whole, fraction) = split_decimal(text).map_err(|_| PriceError::Malformed)?;
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() {
        return Err(PriceError::TooSmall);
    }
    if whole.len() > 7 {
        return Err(PriceError::TooLarge);
    }
    if whole.len() + fraction.len() > SIGNIFICANT_DIGITS_MAX {
        return Err(PriceError::TooPrecise);
    }
    let thousandths: i64 = format!("{whole}{fraction:0<3}")[..whole.len() + 3]
        .parse()
        .map_err(|_| PriceError::Malformed)?;
    let cents = (thousandths + 5) / 10;
    if cents > CENTS_MAX { Err(PriceError::TooLarge) } else { Ok(cents.max(CENTS_MIN)) }
}

/// How many base units `cents` are at `rate` (US dollars a coin, decimal text), rounded up to what
/// wallets can send exactly.
pub fn coins_for(network: Network, cents: i64, rate: &str) -> Result<u128, PriceError> {
    let asset = network.asset();
    let payable = asset.payable_decimals();
    let cents = u128::try_from(cents).map_err(|_| PriceError::TooSmall)?;
    let rate = parse_decimal(rate, RATE_DECIMALS).map_err(|_| PriceError::BadRate)?;
    // cents/100 dollars at rate/10^8 dollars a coin, counted in 10^-payable coins.
    let asked = cents.checked_mul(10_u128.pow(payable + RATE_DECIMALS));
    let asked = asked.ok_or(PriceError::TooLarge)?;
    let coin = rate.checked_mul(100).filter(|coin| *coin > 0).ok_or(PriceError::BadRate)?;
    let units = asked.div_ceil(coin).checked_mul(10_u128.pow(asset.decimals() - payable));
    let units = units.ok_or(PriceError::TooLarge)?;
    if units < network.dust_limit() { Err(PriceError::BelowDust) } else { Ok(units) }
}

/// Base units of a decimal text of whole coins.
pub fn coins(asset: Asset, text: &str) -> Result<u128, AmountError> {
    parse_decimal(text, asset.decimals())
}

/// Cents as dollars with two decimals.
pub fn usd(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reads_dollars_as_every_client_sends_them() {
        let cases = [
            ("50", 5_000),
            ("50.0", 5_000),
            ("50.00", 5_000),
            ("1", 100),
            ("1.004", 100),
            ("1.005", 101),
            ("19.999", 2_000),
            ("1000000", 100_000_000),
            ("1000000.004", 100_000_000),
            ("0000050.10", 5_010),
            ("1.3000000000000000", 130),
        ];
        for (text, cents) in cases {
            assert_eq!(parse_usd(text), Ok(cents), "{text}");
        }
    }

    #[test]
    fn refuses_other_amounts_with_the_minimum_first() {
        let cases = [
            ("0.99", PriceError::TooSmall),
            ("0.995", PriceError::TooSmall),
            ("0.30000000000000004000001", PriceError::TooSmall),
            ("0", PriceError::TooSmall),
            ("-5", PriceError::TooSmall),
            ("1000000.005", PriceError::TooLarge),
            ("10000000", PriceError::TooLarge),
            ("1.00000000000000001", PriceError::TooPrecise),
            ("", PriceError::Malformed),
            ("-", PriceError::Malformed),
            ("1e3", PriceError::Malformed),
            ("NaN", PriceError::Malformed),
            ("1,00", PriceError::Malformed),
        ];
        for (text, error) in cases {
            assert_eq!(parse_usd(text), Err(error), "{text}");
        }
    }

    #[test]
    fn coins_round_up_to_what_wallets_can_send() {
        assert_eq!(coins_for(Network::Trc20, 5_000, "1"), Ok(50_000_000));
        assert_eq!(coins_for(Network::Bep20, 5_000, "1"), Ok(50 * 10_u128.pow(18)));
        assert_eq!(coins_for(Network::Ltc, 5_000, "80.00"), Ok(62_500_000));
        // 50 / 60001 = 0.000833319...: the ninth decimal is rounded up into the eighth.
        assert_eq!(coins_for(Network::Btc, 5_000, "60001"), Ok(83_332));
        assert_eq!(coins_for(Network::Eth, 100, "3000"), Ok(333_340_000_000_000));
        assert_eq!(coins_for(Network::Btc, 100, "900000"), Err(PriceError::BelowDust));
        assert_eq!(coins_for(Network::Btc, 100, "0"), Err(PriceError::BadRate));
        // Fits an amount, but not when it is multiplied.
        let absurd = "9".repeat(30);
        assert_eq!(coins_for(Network::Btc, 100, &absurd), Err(PriceError::BadRate));
    }
}
