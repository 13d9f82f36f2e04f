//! The documented shapes of the three APIs, and what is no answer of theirs. Not here: which prices
//! are believed (`domain::quotes`), connections (`tests/it/rates.rs`).

#![allow(clippy::unwrap_used)]

use super::*;

const KRAKEN: &str = include_str!("../../tests/fixtures/rates/kraken.json");
const COINBASE: &str = include_str!("../../tests/fixtures/rates/coinbase.json");
const BINANCE: &str = include_str!("../../tests/fixtures/rates/binance.json");
const COINS: [Asset; 3] = [Asset::Btc, Asset::Ltc, Asset::Eth];

/// Reads `body` as the answer to the first question for all coins.
fn answers(exchange: Exchange, body: &str) -> Vec<(Asset, Result<Price, AnswerError>)> {
    let question = &questions(exchange, &COINS)[0];
    read(exchange, question, body.as_bytes())
}

fn btc(exchange: Exchange, body: &str) -> Result<Price, AnswerError> {
    answers(exchange, body).into_iter().find(|(coin, _)| *coin == Asset::Btc).unwrap().1
}

#[test]
fn asks_as_documented() {
    let paths = |exchange| -> Vec<String> {
        questions(exchange, &COINS).into_iter().map(|question| question.path).collect()
    };
    assert_eq!(paths(Exchange::Kraken), ["/0/public/Ticker?pair=XBTUSD,LTCUSD,ETHUSD"]);
    let coinbase =
        ["/products/BTC-USD/ticker", "/products/LTC-USD/ticker", "/products/ETH-USD/ticker"];
    assert_eq!(paths(Exchange::Coinbase), coinbase);
    let symbols = "%5B%22BTCUSDT%22,%22LTCUSDT%22,%22ETHUSDT%22%5D";
    assert_eq!(paths(Exchange::Binance), [format!("/api/v3/ticker/price?symbols={symbols}")]);
    assert!(Exchange::ALL.iter().all(|exchange| questions(*exchange, &[]).is_empty()));
}

#[test]
fn reads_the_documented_shapes_exactly() {
    let units = |found: Vec<(Asset, Result<Price, AnswerError>)>| -> Vec<u128> {
        found.into_iter().map(|(_, price)| price.unwrap().units).collect()
    };
    let kraken = units(answers(Exchange::Kraken, KRAKEN));
    assert_eq!(kraken, [6_012_340_000_000, 8_005_000_000, 300_149_000_000]);
    let binance = units(answers(Exchange::Binance, BINANCE));
    assert_eq!(binance, [6_011_875_000_000, 8_003_000_000, 300_122_000_000]);
    let price = btc(Exchange::Coinbase, COINBASE).unwrap();
    assert_eq!(price.units, 6_013_001_000_000);
    assert_eq!(price.traded_at, Some(Micros(1_795_620_612_345_678)));
}

#[test]
fn a_trades_time_is_read_with_any_number_of_digits() {
    // Coinbase writes six of them or nine; what is below a microsecond is cut.
    for (time, micros) in [
        ("2026-06-19T12:34:56.123456789Z", 1_781_872_496_123_456),
        ("2026-06-19T12:34:56.999999999Z", 1_781_872_496_999_999),
        ("2026-06-19T12:34:56.123456Z", 1_781_872_496_123_456),
        ("2026-06-19T12:34:56.1Z", 1_781_872_496_100_000),
        ("2026-06-19T12:34:56Z", 1_781_872_496_000_000),
    ] {
        let body = COINBASE.replace("2026-11-25T15:30:12.345678Z", time);
        let traded_at = btc(Exchange::Coinbase, &body).unwrap().traded_at;
        assert_eq!(traded_at, Some(Micros(micros)), "{time}");
    }
}

#[test]
fn one_bad_coin_leaves_the_others() {
    let bad = KRAKEN.replace(r#""c":["80.05000","1.25000000"]"#, r#""c":[]"#);
    let found = answers(Exchange::Kraken, &bad);
    assert!(found[0].1.is_ok() && found[2].1.is_ok());
    assert!(matches!(found[1].1, Err(AnswerError::Form(_))));
    let gone = BINANCE.replace("LTCUSDT", "LTCUSDC");
    let found = answers(Exchange::Binance, &gone);
    assert_eq!(found[1].1, Err(AnswerError::Missing));
    assert!(found[0].1.is_ok() && found[2].1.is_ok());
}

#[test]
fn a_price_is_read_from_its_own_characters() {
    // A number token is as good as a string; neither becomes a float on its way.
    for token in [r#""0.29""#, "0.29", "0.290000000000"] {
        let body = format!(r#"[{{"symbol":"BTCUSDT","price":{token}}}]"#);
        assert_eq!(btc(Exchange::Binance, &body).unwrap().units, 29_000_000, "{token}");
    }
    let nines = "9".repeat(1_000);
    for token in [
        "1e400",
        r#""1e400""#,
        "6e4",
        r#""-60123.4""#,
        "-60123.4",
        "0",
        r#""""#,
        "null",
        "true",
        "[60123]",
        r#"{"a":1}"#,
        r#""NaN""#,
        r#""\ud800""#,
        "99999999999999",
        &nines,
    ] {
        let body = format!(r#"[{{"symbol":"BTCUSDT","price":{token}}}]"#);
        assert!(btc(Exchange::Binance, &body).is_err(), "{token}");
        let body = KRAKEN.replace(r#""60123.40000","0.00042000""#, token);
        assert!(btc(Exchange::Kraken, &body).is_err(), "{token}");
        let body = COINBASE.replace(r#""60130.01""#, token);
        assert!(btc(Exchange::Coinbase, &body).is_err(), "{token}");
    }
}

#[test]
fn what_is_no_answer_is_an_error_that_fits_a_log_line() {
    let deep = "[".repeat(60_000);
    for body in ["", "<html>\r\n<b>busy</b></html>", "{}", "[]", "null", "\u{0}\u{1}", &deep] {
        for exchange in Exchange::ALL {
            let error = btc(exchange, body).unwrap_err().to_string();
            assert!(error.chars().count() < 300 && !error.contains(char::is_control), "{error}");
        }
    }
    let refused = r#"{"error":["EQuery:Unknown asset pair"]}"#;
    let error = btc(Exchange::Kraken, refused).unwrap_err();
    assert_eq!(error, AnswerError::Refused("EQuery:Unknown asset pair".to_owned()));
    let timeless = COINBASE.replace("2026-11-25T15:30:12.345678Z", "yesterday");
    let error = btc(Exchange::Coinbase, &timeless).unwrap_err();
    assert_eq!(error, AnswerError::Time("yesterday".to_owned()));
}
