//! What a merchant allows beside the exact amount in time. Not here: how an invoice is held against
//! what was agreed (`invoice`).

/// Hundredths of a percent in the whole.
const BASIS_POINTS: u128 = 10_000;
/// The largest share of an amount that a merchant may allow to be missing: 10 percent.
pub const SHORTFALL_BASIS_POINTS_MAX: u32 = 1_000;

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
    fn the_larger_allowance_counts() {
        assert_eq!(shortfall_units(50_000_000, 0, 0), 0);
        assert_eq!(shortfall_units(50_000_000, 0, 50), 250_000);
        assert_eq!(shortfall_units(50_000_000, 300_000, 50), 300_000);
        assert_eq!(shortfall_units(199, 0, 100), 1, "1.99 units are one");
        assert_eq!(shortfall_units(1, 5, 1_000), 0);
    }
}
