//! Which quotes are believed: the cases an operator should know, and properties that hold for all
//! quotes. Not here: the exchanges' answers (`rates::exchanges`).

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const NOW: Micros = Micros(1_800_000_000_000_000);
const RULES: Rules =
    Rules { stale_max: Duration::from_secs(120), outlier_percent_max: 3, agreeing_min: 2 };

fn quote(exchange: Exchange, dollars: u128, age_seconds: i64) -> Quote {
    Quote { exchange, units: dollars * DOLLAR, at: Micros(NOW.0 - age_seconds * 1_000_000) }
}

/// Fresh quotes in US dollars, in the order of [`Exchange`].
fn fresh(dollars: &[u128]) -> Vec<Quote> {
    let named = Exchange::ALL.into_iter().zip(dollars);
    named.map(|(exchange, dollars)| quote(exchange, *dollars, 1)).collect()
}

fn dollars(quotes: &[Quote]) -> Result<u128, NoAgreement> {
    agree(quotes, NOW, &RULES).map(|agreed| agreed.units / DOLLAR)
}

#[test]
fn the_median_of_those_that_agree() {
    use Exchange::{Binance, Coinbase, Kraken};

    assert_eq!(dollars(&fresh(&[60_000, 60_100, 60_300])), Ok(60_100));
    // One lies by half: the mean of the others.
    let agreed = agree(&fresh(&[60_000, 90_000, 60_100]), NOW, &RULES).unwrap();
    assert_eq!((agreed.units / DOLLAR, agreed.exchanges), (60_050, vec![Kraken, Binance]));
    // Two that agree, and two of which nobody knows which one lies.
    assert_eq!(dollars(&fresh(&[60_000, 61_800])), Ok(60_900));
    let too_far = |fresh, agreeing| NoAgreement::TooFar { fresh, agreeing, needed: 2 };
    assert_eq!(dollars(&fresh(&[60_000, 61_801])), Err(too_far(2, 0)));
    assert_eq!(dollars(&fresh(&[60_000, 70_000, 80_000])), Err(too_far(3, 1)));
    // The oldest quote that is used dates the rate; a liar's age does not.
    let mixed = [quote(Kraken, 100, 30), quote(Coinbase, 200, 90), quote(Binance, 100, 60)];
    let agreed = agree(&mixed, NOW, &RULES).unwrap();
    assert_eq!(NOW.since(agreed.at), Duration::from_secs(60));
}

#[test]
fn old_and_future_quotes_do_not_count() {
    use Exchange::{Binance, Coinbase, Kraken};

    let at_limit = [quote(Kraken, 100, 120), quote(Coinbase, 100, 0), quote(Binance, 130, 121)];
    assert_eq!(dollars(&at_limit), Ok(100));
    let too_few = |fresh| NoAgreement::TooFew { fresh, needed: 2 };
    assert_eq!(dollars(&[quote(Kraken, 100, 121), quote(Coinbase, 100, 0)]), Err(too_few(1)));
    assert_eq!(dollars(&[quote(Kraken, 100, -1), quote(Coinbase, 100, 0)]), Err(too_few(1)));
    assert_eq!(dollars(&[]), Err(too_few(0)));
    let alone = Rules { agreeing_min: 1, ..RULES };
    assert!(agree(&fresh(&[100]), NOW, &alone).is_ok(), "if the operator believes one");
    assert!(agree(&[], NOW, &Rules { agreeing_min: 0, ..RULES }).is_err(), "never of nothing");
}

#[test]
fn a_price_is_plain_digits_within_bounds() {
    for (text, units) in [
        ("60123.40000", 60_123 * DOLLAR + DOLLAR * 4 / 10),
        ("60123.45000000", 60_123 * DOLLAR + DOLLAR * 45 / 100),
        ("0.01", PRICE_UNITS_MIN),
        ("100000000", PRICE_UNITS_MAX),
    ] {
        assert_eq!(parse_price(text), Ok(units), "{text}");
    }
    for text in ["0", "0.00", "0.009", "100000000.00000001", "99999999999999999999"] {
        assert_eq!(parse_price(text), Err(PriceTextError::Absurd), "{text}");
    }
    let long = "1".repeat(41);
    assert_eq!(parse_price(&long), Err(PriceTextError::TooLong));
    for text in ["", "-60000", "+60000", "6e4", "1e400", "NaN", "inf", "6,0", "null", " 1", "0x1"] {
        assert!(matches!(parse_price(text), Err(PriceTextError::Decimal(_))), "{text}");
    }
    assert!(parse_price("1.000000001").is_err(), "nine decimals");
}

fn any_quotes() -> impl Strategy<Value = Vec<Quote>> {
    let one = |exchange| {
        (PRICE_UNITS_MIN..PRICE_UNITS_MAX, -200_i64..400).prop_map(move |(units, age)| {
            Some(Quote { exchange, units, at: Micros(NOW.0 - age * 1_000_000) })
        })
    };
    let maybe = move |exchange| prop_oneof![1 => Just(None), 4 => one(exchange)];
    let all = (maybe(Exchange::Kraken), maybe(Exchange::Coinbase), maybe(Exchange::Binance));
    all.prop_map(|(a, b, c)| [a, b, c].into_iter().flatten().collect())
}

/// An honest price, and how far others are from it, in thousandths.
fn around() -> impl Strategy<Value = (u128, u128)> {
    (PRICE_UNITS_MIN * 1_000..PRICE_UNITS_MAX / 2, 1_000_u128..1_029)
}

proptest! {
    #[test]
    fn a_rate_lies_among_enough_fresh_quotes_and_near_each(quotes in any_quotes()) {
        if let Ok(agreed) = agree(&quotes, NOW, &RULES) {
            prop_assert!(agreed.exchanges.len() >= RULES.agreeing_min);
            let is_used = |quote: &&Quote| agreed.exchanges.contains(&quote.exchange);
            let used: Vec<&Quote> = quotes.iter().filter(is_used).collect();
            prop_assert_eq!(used.len(), agreed.exchanges.len());
            for quote in used {
                let distance = quote.units.abs_diff(agreed.units);
                prop_assert!(distance * 100 <= agreed.units * RULES.outlier_percent_max);
                prop_assert!(quote.at >= agreed.at && quote.at <= NOW);
                prop_assert!(NOW.since(quote.at) <= RULES.stale_max);
            }
        }
    }

    #[test]
    fn the_order_of_quotes_does_not_matter(quotes in any_quotes(), turn in 0_usize..3) {
        let mut turned = quotes.clone();
        turned.rotate_left(turn.min(quotes.len()));
        prop_assert_eq!(agree(&quotes, NOW, &RULES), agree(&turned, NOW, &RULES));
    }

    #[test]
    fn a_quote_that_is_not_fresh_changes_nothing(quotes in any_quotes()) {
        let is_fresh = |quote: &&Quote| (0..=120_000_000).contains(&(NOW.0 - quote.at.0));
        let only_fresh: Vec<Quote> = quotes.iter().filter(is_fresh).copied().collect();
        prop_assert_eq!(agree(&quotes, NOW, &RULES), agree(&only_fresh, NOW, &RULES));
    }

    #[test]
    fn one_liar_of_three_can_not_leave_the_range_of_the_honest(
        (low, thousandths) in around(),
        lie in PRICE_UNITS_MIN..PRICE_UNITS_MAX,
        liar in 0_usize..3,
    ) {
        let high = low * thousandths / 1_000;
        let mut units = vec![low, high];
        units.insert(liar, lie);
        let named = Exchange::ALL.into_iter().zip(units);
        let quotes: Vec<Quote> =
            named.map(|(exchange, units)| Quote { exchange, units, at: NOW }).collect();
        let agreed = agree(&quotes, NOW, &RULES);
        let within = agreed.as_ref().is_ok_and(|agreed| (low..=high).contains(&agreed.units));
        prop_assert!(within, "{:?} of {:?}", agreed, quotes);
    }
}
