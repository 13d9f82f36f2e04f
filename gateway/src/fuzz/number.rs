//! Number tokens against a decimal of the test's own: sign, digits and a power of ten, without any
//! arithmetic that could round.

use serde_json::value::RawValue;

use crate::json::decimal::{self, Bounds, DecimalError};
use crate::json::token::Reader;

/// As a gateway reads by default.
const BOUNDS: Bounds = Bounds { digits_max: 60, exponent_max: 40 };

/// A value as its digits without zeros at either end, times a power of ten; zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exact {
    negative: bool,
    digits: String,
    power: i64,
}

impl Exact {
    /// Reads a JSON number whose exponent fits.
    fn of(token: &str) -> Self {
        let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
        let mut power: i64 = exponent.parse().expect("a short exponent");
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        power -= i64::try_from(fraction.len()).expect("a short fraction");
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let kept = digits.trim_end_matches('0');
        if kept.is_empty() {
            return Self { negative: false, digits: String::new(), power: 0 };
        }
        power += i64::try_from(digits.len() - kept.len()).expect("few zeros");
        Self { negative, digits: kept.to_owned(), power }
    }
}

/// Any text as a number token, after an optional line `min max` that shapes its output.
pub fn number(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (min, max, token) = match text.split_once('\n') {
        Some((bounds, token)) => {
            let mut digits = bounds.bytes().map(|byte| usize::from(byte % 16));
            (digits.next().unwrap_or(0), digits.next().unwrap_or(0), token)
        }
        None => (2, 8, text.as_ref()),
    };
    let mut reader = Reader::new(token.as_bytes(), 0);
    let read = reader.number().and_then(|number| reader.end().map(|()| number)).ok();
    // serde_json passes over white space around a value; a token has none before it.
    let second = serde_json::from_str::<&RawValue>(token).ok().map(RawValue::get);
    let second = second.filter(|raw| token.starts_with(raw) && raw.starts_with(is_numeric));
    assert_eq!(read, second);
    if let Some(token) = read {
        plain(token);
    }
    shaped(token, min, if max == 0 { 0 } else { max.max(min) });
}

fn is_numeric(first: char) -> bool {
    first == '-' || first.is_ascii_digit()
}

fn plain(token: &str) {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, ""));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let size = exponent.trim_start_matches(['+', '-']).trim_start_matches('0');
    let far = size.len() > 2 || (size.len() == 2 && size > "40");
    match decimal::plain(token, BOUNDS) {
        Err(DecimalError::TooManyDigits) => assert!(digits > BOUNDS.digits_max),
        Err(DecimalError::ExponentTooLarge) => assert!(far),
        Ok(plain) => {
            assert!(digits <= BOUNDS.digits_max && !far, "beyond the bounds");
            assert!(decimal::is_plain(&plain), "an exponent or a loose zero came out: {plain}");
            assert_eq!(Exact::of(token), Exact::of(&plain));
            integer(token);
        }
    }
}

fn integer(token: &str) {
    let exact = Exact::of(token);
    match decimal::integer(token, BOUNDS) {
        Ok(Some(value)) => assert_eq!(Exact::of(&value.to_string()), exact),
        Ok(None) => {
            let places = exact.power + i64::try_from(exact.digits.len()).unwrap();
            // i128 has 39 digits.
            assert!(exact.power < 0 || places >= 39, "an integer was refused");
        }
        Err(error) => panic!("a plain number has an exact value: {error:?}"),
    }
}

fn shaped(text: &str, min: usize, max: usize) {
    let mut out = Vec::new();
    let written = decimal::shaped(&mut out, text, min, max);
    assert_eq!(written, decimal::is_plain(text));
    if !written {
        assert!(out.is_empty(), "something was written before it was refused");
        return;
    }
    let out = String::from_utf8(out).unwrap();
    assert!(decimal::is_plain(&out), "{out}");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let kept = if max == 0 { fraction } else { &fraction[..fraction.len().min(max)] };
    // Cut towards zero: the value of the digits that are kept, and of no others.
    assert_eq!(Exact::of(&out), Exact::of(&format!("{whole}.{kept}0")));
    let digits = out.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    assert!(out == "0" || digits >= min, "{out} has less than {min} digits");
    assert!(max == 0 || digits <= max, "{out} has more than {max} digits");
}
