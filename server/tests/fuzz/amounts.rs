//! Amounts: 16 bytes are base units, the rest is a text that asks for dollars, names a rate or a
//! number of coins. Checked against digits moved around as text, and against products instead of
//! quotients.

use cryptopayment::domain::amount::{self, AmountError};
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::price::{self, CENTS_MAX, CENTS_MIN, PriceError, RATE_DECIMALS};
use cryptopayment::domain::quotes::parse_price;

/// Decimals that assets have, and both ends.
const DECIMALS: [u32; 6] = [0, 2, 6, 8, 18, 38];

pub fn amounts(data: &[u8]) {
    let mut units = [0; 16];
    for (slot, byte) in units.iter_mut().zip(data) {
        *slot = *byte;
    }
    let units = u128::from_be_bytes(units);
    let text = String::from_utf8_lossy(data.get(16..).unwrap_or_default());
    formatted(units);
    for decimals in DECIMALS {
        parsed(&text, decimals);
    }
    let _ = parse_price(&text);
    asked(&text);
    priced(units, &text);
}

/// What is written reads back, and the stored form orders as numbers do.
fn formatted(units: u128) {
    for decimals in DECIMALS {
        let text = amount::decimal(units, decimals);
        assert_eq!(amount::parse_decimal(&text, decimals), Ok(units), "{text}");
        assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{text}");
    }
    let stored = amount::stored(units);
    assert_eq!(amount::parse_stored(&stored), Ok(units));
    if let Some(next) = units.checked_add(1) {
        assert!(stored < amount::stored(next));
    }
}

/// Whole digits and exactly `decimals` more, as one number's text without leading zeros; `None` for
/// what is no plain decimal, or has more.
fn shifted(text: &str, decimals: u32) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let wanted = usize::try_from(decimals).unwrap();
    let mut moved = fraction.to_owned();
    while moved.len() < wanted {
        moved.push('0');
    }
    let (kept, cut) = moved.split_at(wanted);
    if cut.chars().any(|c| c != '0') {
        return None;
    }
    let all = format!("{whole}{kept}");
    let short = all.trim_start_matches('0');
    Some(if short.is_empty() { "0".to_owned() } else { short.to_owned() })
}

fn parsed(text: &str, decimals: u32) {
    match (amount::parse_decimal(text, decimals), shifted(text, decimals)) {
        (Ok(units), shifted) => {
            assert_eq!(Some(units.to_string()), shifted, "{text}");
            let again = amount::decimal(units, decimals);
            assert_eq!(amount::parse_decimal(&again, decimals), Ok(units), "{text}");
        }
        (Err(AmountError::TooLarge), Some(digits)) => {
            assert!(digits.len() >= 39, "{text} fits");
        }
        (Err(_), None) => {}
        (Err(error), Some(_)) => panic!("{text} was refused: {error}"),
    }
}

/// Dollars are rounded half a cent up, and to nothing else.
fn asked(text: &str) {
    let exact = shifted(text, 40);
    match price::parse_usd(text) {
        Ok(cents) => {
            assert!((CENTS_MIN..=CENTS_MAX).contains(&cents), "{text}");
            // In units of 10^-40: cents * 10^38 is the text, give or take 0.5 * 10^38.
            let exact = exact.expect("more than 40 decimals are more than 17 digits");
            let thousandths = exact.get(..exact.len().saturating_sub(37)).unwrap_or_default();
            let thousandths: i64 = thousandths.parse().unwrap();
            let below = cents * 10 - thousandths;
            // From half a cent less (which counts down) to half a cent more (which counts up).
            assert!((-4..=5).contains(&below), "{text} became {cents}");
        }
        Err(PriceError::TooSmall) => {
            let negative = text
                .strip_prefix('-')
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
            let whole = text.split('.').next().unwrap_or_default();
            assert!(negative || whole.bytes().all(|byte| byte == b'0'), "{text}");
        }
        Err(_) => {}
    }
}

/// Coins are rounded up: what is asked for is worth what was asked, and one step less is not.
fn priced(units: u128, rate: &str) {
    let span = u128::try_from(CENTS_MAX - CENTS_MIN + 1).unwrap();
    let cents = CENTS_MIN + i64::try_from(units % span).unwrap();
    for network in Network::ALL {
        let Ok(coins) = price::coins_for(network, cents, rate) else { continue };
        let asset = network.asset();
        let step = 10_u128.pow(asset.decimals() - asset.payable_decimals());
        assert_eq!(coins % step, 0, "wallets cannot send {coins} {asset}");
        let rate = amount::parse_decimal(rate, RATE_DECIMALS).unwrap();
        let worth = |steps: u128| steps.checked_mul(rate)?.checked_mul(100);
        let asked =
            u128::try_from(cents).unwrap() * 10_u128.pow(asset.payable_decimals() + RATE_DECIMALS);
        let steps = coins / step;
        assert!(worth(steps).is_none_or(|worth| worth >= asked), "{cents} at {rate}: too few");
        assert!(worth(steps - 1).is_some_and(|worth| worth < asked), "{cents} at {rate}: too many");
    }
}
