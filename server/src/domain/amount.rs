//! Money: an integer count of base units with its asset beside it, and the exact decimal text it is
//! read from and written to. No float, no rounding that is not named. Not here: what things cost.

use super::asset::Asset;

/// Digits of the widest amount the database stores (`u128::MAX` has 39).
pub const STORED_DIGITS: usize = 39;

/// Why a decimal text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not plain decimal digits with at most one point.
    #[error("is not a plain decimal number")]
    Malformed,
    /// More digits after the point than the asset or field has.
    #[error("has more than {0} digits after the point")]
    TooPrecise(u32),
    /// Does not fit 128 bits.
    #[error("is too large")]
    TooLarge,
    /// Amounts of two assets met in one sum.
    #[error("mixes two assets")]
    MixedAssets,
    /// A subtraction below zero.
    #[error("is below zero")]
    Negative,
}

/// A non-negative amount of one asset, in base units (satoshi, wei, 10^-6 USDT on TRON, ...).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    /// What is counted.
    pub asset: Asset,
    /// How many base units.
    pub units: u128,
}

impl Amount {
    /// `units` base units of `asset`.
    pub const fn new(asset: Asset, units: u128) -> Self {
        Self { asset, units }
    }

    /// The sum; both must be of one asset and fit.
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.same_asset(other)?;
        let units = self.units.checked_add(other.units).ok_or(AmountError::TooLarge)?;
        Ok(Self { units, ..self })
    }

    /// The difference; both must be of one asset, `other` no larger.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.same_asset(other)?;
        let units = self.units.checked_sub(other.units).ok_or(AmountError::Negative)?;
        Ok(Self { units, ..self })
    }

    /// The exact decimal text in whole coins, see [`decimal`].
    pub fn to_decimal(self) -> String {
        decimal(self.units, self.asset.decimals())
    }

    fn same_asset(self, other: Self) -> Result<(), AmountError> {
        if self.asset == other.asset { Ok(()) } else { Err(AmountError::MixedAssets) }
    }
}

/// `units / 10^decimals` as plain decimal text: trailing zeros stripped but two fraction digits
/// kept, `0` for zero.
pub fn decimal(units: u128, decimals: u32) -> String {
    if units == 0 {
        return "0".to_owned();
    }
    let digits = format!("{units:0width$}", width = decimals as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
    let fraction = fraction.trim_end_matches('0');
    format!("{whole}.{fraction:0<2}")
}

/// Reads plain decimal text (`12`, `12.5`, no sign, no exponent) as `text * 10^decimals` units.
/// Zeros beyond `decimals` are accepted, other digits are not.
pub fn parse_decimal(text: &str, decimals: u32) -> Result<u128, AmountError> {
    let (whole, fraction) = split_decimal(text)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals as usize {
        return Err(AmountError::TooPrecise(decimals));
    }
    let digits = format!("{whole}{fraction:0<width$}", width = decimals as usize);
    parse_digits(&digits)
}

/// Splits plain decimal text at its point, after checking that both parts are digits.
pub fn split_decimal(text: &str) -> Result<(&str, &str), AmountError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if all_digits(whole) && all_digits(fraction) {
        Ok((whole, fraction))
    } else {
        Err(AmountError::Malformed)
    }
}

/// The form in which the database stores an amount: zero-padded, so that text order is number
/// order.
pub fn stored(units: u128) -> String {
    format!("{units:0STORED_DIGITS$}")
}

/// Reads the stored form back.
pub fn parse_stored(text: &str) -> Result<u128, AmountError> {
    if text.len() != STORED_DIGITS {
        return Err(AmountError::Malformed);
    }
    parse_digits(text)
}

fn parse_digits(digits: &str) -> Result<u128, AmountError> {
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() {
        return Ok(0);
    }
    if !trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AmountError::Malformed);
    }
    trimmed.parse().map_err(|_| AmountError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_two_fraction_digits_and_zero_as_zero() {
        let cases = [
            (0, 8, "0"),
            (5_000, 2, "50.00"),
            (2_500_000, 8, "0.025"),
            (10_000_000, 8, "0.10"),
            (1, 18, "0.000000000000000001"),
            (u128::MAX, 0, "340282366920938463463374607431768211455.00"),
        ];
        for (units, decimals, text) in cases {
            assert_eq!(decimal(units, decimals), text);
        }
    }

    #[test]
    fn reads_exactly_what_binary_floats_get_wrong() {
        // Three-decimal amounts that truncate wrongly through f64 at 10^8.
        for (text, units) in [("0.009", 900_000), ("0.018", 1_800_000), ("0.036", 3_600_000)] {
            assert_eq!(parse_decimal(text, 8), Ok(units));
        }
        assert_eq!(parse_decimal("1.1", 18), Ok(1_100_000_000_000_000_000));
        assert_eq!(parse_decimal("1.10000000000", 8), Ok(110_000_000));
    }

    #[test]
    fn refuses_what_is_no_plain_decimal() {
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0x1", "NaN", "1.2.3", " 1", "١"]
        {
            assert_eq!(parse_decimal(text, 8), Err(AmountError::Malformed), "{text:?}");
        }
        assert_eq!(parse_decimal("0.000000001", 8), Err(AmountError::TooPrecise(8)));
        assert_eq!(parse_decimal(&"9".repeat(40), 0), Err(AmountError::TooLarge));
    }

    #[test]
    fn stored_form_orders_as_numbers_and_reads_back() {
        assert!(stored(9) < stored(10));
        for units in [0, 1, u128::MAX] {
            assert_eq!(parse_stored(&stored(units)), Ok(units));
        }
    }

    #[test]
    fn two_assets_never_add_up() {
        let btc = Amount::new(Asset::Btc, 1);
        let ltc = Amount::new(Asset::Ltc, 1);
        assert_eq!(btc.checked_add(ltc), Err(AmountError::MixedAssets));
    }
}
