//! What a payment is asked for: how deep and how final it must be by its amount, and what a merchant
//! allows to be missing. Not here: how an invoice is held against what was agreed (`invoice`).

/// Hundredths of a percent in the whole.
const BASIS_POINTS: u128 = 10_000;
/// The largest share of an amount that a merchant may allow to be missing: 10 percent.
pub const SHORTFALL_BASIS_POINTS_MAX: u32 = 1_000;

/// What makes a payment safe to credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finality {
    /// How deep it must be.
    pub confirmations: u32,
    /// Whether the chain itself must call its block final, besides that depth.
    pub requires_finality: bool,
}

impl Finality {
    /// What passes both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            confirmations: self.confirmations.max(other.confirmations),
            requires_finality: self.requires_finality || other.requires_finality,
        }
    }

    /// Whether whoever passes this has passed `other`.
    const fn asks_no_less_than(self, other: Self) -> bool {
        self.confirmations >= other.confirmations
            && (self.requires_finality || !other.requires_finality)
    }
}

/// What a network asks for, by what an invoice is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalityPolicy {
    /// From the smallest amount on.
    least: Finality,
    /// From these amounts in cents on, ascending.
    bands: Vec<(i64, Finality)>,
}

/// Why bands are no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BandError {
    /// They do not ascend.
    #[error("must be above the amount of the band before it")]
    Order,
    /// More money would be safe with less.
    #[error("must not ask for less than the band before it")]
    Weaker,
}

impl FinalityPolicy {
    /// `least` for every amount, and each band from its amount in US cents on.
    ///
    /// # Errors
    /// The number of the band that is wrong, and how.
    pub fn new(least: Finality, bands: Vec<(i64, Finality)>) -> Result<Self, (usize, BandError)> {
        let mut before = (0, least);
        for (n, &(from_cents, asked)) in bands.iter().enumerate() {
            if from_cents <= before.0 {
                return Err((n, BandError::Order));
            }
            if !asked.asks_no_less_than(before.1) {
                return Err((n, BandError::Weaker));
            }
            before = (from_cents, asked);
        }
        Ok(Self { least, bands })
    }

    /// What the smallest amount is asked for.
    pub const fn least(&self) -> Finality {
        self.least
    }

    /// What the largest amount is asked for.
    pub fn most(&self) -> Finality {
        self.of_amount(i64::MAX)
    }

    /// What an invoice over so many US cents is asked for.
    pub fn of_amount(&self, cents: i64) -> Finality {
        let band = self.bands.iter().rev().find(|(from_cents, _)| cents >= *from_cents);
        band.map_or(self.least, |(_, asked)| *asked)
    }
}

/// What `units` are worth in US cents where `amount_units` are worth `amount_cents`, rounded down and as
/// much as fits.
pub fn worth_cents(units: u128, amount_units: u128, amount_cents: i64) -> i64 {
    let (amount, cents) = (amount_units.max(1), u128::try_from(amount_cents).unwrap_or(0));
    // Whole parts and the rest by themselves: the product of both would not always fit.
    let whole = (units / amount).saturating_mul(cents);
    let rest = (units % amount).checked_mul(cents).map_or(0, |product| product / amount);
    i64::try_from(whole.saturating_add(rest)).unwrap_or(i64::MAX)
}

/// Base units that may be missing from a payment of `amount_units`: the larger of what the network
/// and the merchant allow, the merchant's share rounded down, and never the whole amount.
pub fn shortfall_units(amount_units: u128, network_units: u128, basis_points: u32) -> u128 {
    let share = u128::from(basis_points.min(SHORTFALL_BASIS_POINTS_MAX));
    // Whole parts and the rest by themselves: the product of both would not always fit.
    let whole = amount_units / BASIS_POINTS * share;
    let rest = amount_units % BASIS_POINTS * share / BASIS_POINTS;
    network_units.max(whole + rest).min(amount_units.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_share_is_never_rounded_up(amount in 1_u128..1 << 110, points in 0_u32..1_001) {
            let allowed = shortfall_units(amount, 0, points);
            prop_assert!(allowed * BASIS_POINTS <= amount * u128::from(points));
            prop_assert!((allowed + 1) * BASIS_POINTS > amount * u128::from(points));
            prop_assert!(allowed < amount);
        }

        #[test]
        fn something_is_always_needed(
            amount in any::<u128>(),
            network in any::<u128>(),
            points in any::<u32>(),
        ) {
            prop_assume!(amount > 0);
            prop_assert!(shortfall_units(amount, network, points) < amount);
        }
    }

    #[test]
    fn units_are_worth_what_was_asked_for_the_same() {
        for (units, amount, cents, worth) in [
            (0, 300, 100, 0),
            (299, 300, 100, 99),
            (300, 300, 100, 100),
            (450, 300, 101, 151),
            (u128::MAX, 1, 100, i64::MAX),
            (1 << 127, u128::MAX, i64::MAX, 0),
            (5, 0, 7, 35),
        ] {
            assert_eq!(worth_cents(units, amount, cents), worth, "{units} {amount} {cents}");
        }
    }

    const fn finality(confirmations: u32, requires_finality: bool) -> Finality {
        Finality { confirmations, requires_finality }
    }

    #[test]
    fn a_band_counts_from_its_amount_on() {
        let bands = vec![(100_000, finality(3, false)), (1_000_000, finality(6, true))];
        let policy = FinalityPolicy::new(finality(1, false), bands).unwrap();
        for (cents, confirmations, requires_finality) in [
            (100, 1, false),
            (99_999, 1, false),
            (100_000, 3, false),
            (999_999, 3, false),
            (1_000_000, 6, true),
            (i64::MAX, 6, true),
        ] {
            assert_eq!(
                policy.of_amount(cents),
                finality(confirmations, requires_finality),
                "{cents}"
            );
        }
    }

    #[test]
    fn more_money_is_never_asked_for_less() {
        let new = |bands| FinalityPolicy::new(finality(2, false), bands).unwrap_err();
        assert_eq!(new(vec![(0, finality(2, true))]), (0, BandError::Order));
        assert_eq!(new(vec![(5, finality(1, true))]), (0, BandError::Weaker));
        let strict = (5, finality(2, true));
        assert_eq!(new(vec![strict, (5, finality(9, true))]), (1, BandError::Order));
        assert_eq!(new(vec![strict, (6, finality(9, false))]), (1, BandError::Weaker));
    }

    #[test]
    fn the_larger_allowance_counts() {
        assert_eq!(shortfall_units(50_000_000, 0, 0), 0);
        assert_eq!(shortfall_units(50_000_000, 0, 50), 250_000);
        assert_eq!(shortfall_units(50_000_000, 300_000, 50), 300_000);
        assert_eq!(shortfall_units(199, 0, 100), 1, "1.99 units are one");
        assert_eq!(shortfall_units(1, 5, 1_000), 0);
    }
}
