//! Exact decimal numbers as text: number tokens to plain decimals and back. Nothing here computes
//! in binary floating point, and nothing parses a number into one.

use std::borrow::Cow;

/// Why a number token cannot be read exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    TooManyDigits,
    ExponentTooLarge,
}

/// Bounds within which number tokens are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub digits_max: usize,
    pub exponent_max: u32,
}

/// The parts of a number token, which its caller knows to be one.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
}

fn parts(token: &str, bounds: Bounds) -> Result<Parts<'_>, DecimalError> {
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        None => (token, 0),
        Some((mantissa, text)) => {
            let digits = text.trim_start_matches(['+', '-']).trim_start_matches('0');
            let size = match digits {
                "" => 0,
                _ => digits.parse::<u32>().map_err(|_| DecimalError::ExponentTooLarge)?,
            };
            let size = i32::try_from(size)
                .ok()
                .filter(|_| size <= bounds.exponent_max)
                .ok_or(DecimalError::ExponentTooLarge)?;
            (mantissa, if text.starts_with('-') { -size } else { size })
        }
    };
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() > bounds.digits_max {
        return Err(DecimalError::TooManyDigits);
    }
    Ok(Parts { negative, whole, fraction, exponent })
}

/// The plain decimal form of a JSON number token; a token without exponent stays as it is.
pub(crate) fn plain(token: &str, bounds: Bounds) -> Result<Cow<'_, str>, DecimalError> {
    let parts = parts(token, bounds)?;
    if !token.contains(['e', 'E']) {
        return Ok(Cow::Borrowed(token));
    }
    let digits = format!("{}{}", parts.whole, parts.fraction);
    // Where the point stands in `digits`; may lie outside of it on either side.
    let point = parts.whole.len() as i64 + i64::from(parts.exponent);
    let mut text = String::new();
    if parts.negative {
        text.push('-');
    }
    match usize::try_from(point) {
        Err(_) | Ok(0) => {
            text.push_str("0.");
            text.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
            text.push_str(&digits);
        }
        Ok(point) if point >= digits.len() => {
            let whole = digits.trim_start_matches('0');
            text.push_str(whole);
            if !whole.is_empty() {
                text.extend(std::iter::repeat_n('0', point - digits.len()));
            } else {
                text.push('0');
            }
        }
        Ok(point) => {
            let whole = digits[..point].trim_start_matches('0');
            text.push_str(if whole.is_empty() { "0" } else { whole });
            text.push('.');
            text.push_str(&digits[point..]);
        }
    }
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    Ok(Cow::Owned(text))
}

/// The exact integer a number token stands for: `None` if it has a fraction or does not fit.
pub(crate) fn integer(token: &str, bounds: Bounds) -> Result<Option<i128>, DecimalError> {
    let plain = plain(token, bounds)?;
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    if fraction.bytes().any(|digit| digit != b'0') {
        return Ok(None);
    }
    Ok(whole.parse().ok())
}

/// Whether `text` is a JSON number without exponent: `-?(0|[1-9][0-9]*)(\.[0-9]+)?`.
pub(crate) fn is_plain(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        None => (unsigned, None),
        Some((whole, fraction)) => (whole, Some(fraction)),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits)
}

/// Writes a plain decimal as a number token with at least `min` and at most `max` digits after the
/// point (0: no limit), cut towards zero; trailing zeros beyond `min` go, and zero is `0`.
/// False when `text` is no plain decimal; nothing is written then.
pub(crate) fn shaped(out: &mut Vec<u8>, text: &str, min: usize, max: usize) -> bool {
    if !is_plain(text) {
        return false;
    }
    let negative = text.starts_with('-');
    let unsigned = text.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let fraction = if max > 0 { &fraction[..fraction.len().min(max)] } else { fraction };
    let fraction = fraction.trim_end_matches('0');
    if whole == "0" && fraction.is_empty() {
        out.push(b'0');
        return true;
    }
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(whole.as_bytes());
    if !fraction.is_empty() || min > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
        out.extend(std::iter::repeat_n(b'0', min.saturating_sub(fraction.len())));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { digits_max: 60, exponent_max: 40 };

    #[test]
    fn exponents_become_plain_digits() {
        for (token, wanted) in [
            ("50", "50"),
            ("50.0", "50.0"),
            ("5.0e-5", "0.00005"),
            ("5e-5", "0.00005"),
            ("1E2", "100"),
            ("1.25e+1", "12.5"),
            ("-1.5e1", "-15"),
            ("0e9", "0"),
            ("0.001e2", "0.1"),
            ("0.1e1", "1"),
            ("12e-2", "0.12"),
            ("1e0", "1"),
            ("1e000000000000000000000000000001", "10"),
        ] {
            assert_eq!(plain(token, BOUNDS).as_deref(), Ok(wanted), "{token}");
            assert!(is_plain(wanted), "{wanted}");
        }
        assert_eq!(plain("1e41", BOUNDS), Err(DecimalError::ExponentTooLarge));
        assert_eq!(plain("1e-99999999999999999999", BOUNDS), Err(DecimalError::ExponentTooLarge));
        assert_eq!(plain(&"1".repeat(61), BOUNDS), Err(DecimalError::TooManyDigits));
    }

    #[test]
    fn integers_are_exact() {
        assert_eq!(integer("18446744073709551615", BOUNDS), Ok(Some(u64::MAX.into())));
        assert_eq!(integer("9007199254740993", BOUNDS), Ok(Some(9_007_199_254_740_993)));
        assert_eq!(integer("5.0", BOUNDS), Ok(Some(5)));
        assert_eq!(integer("1.5e1", BOUNDS), Ok(Some(15)));
        assert_eq!(integer("0.5", BOUNDS), Ok(None));
        assert_eq!(integer("1e40", BOUNDS), Ok(None), "beyond i128");
    }

    #[test]
    fn output_is_cut_towards_zero_and_keeps_its_digits() {
        for (text, min, max, wanted) in [
            ("50", 2, 0, "50.00"),
            ("450.000", 2, 8, "450.00"),
            ("0.0250", 2, 8, "0.025"),
            ("0.1", 2, 8, "0.10"),
            ("0.00", 2, 8, "0"),
            ("-0.001", 2, 2, "0"),
            ("0.123456789", 2, 8, "0.12345678"),
            ("-1.999", 0, 2, "-1.99"),
            ("100", 0, 0, "100"),
        ] {
            let mut out = Vec::new();
            assert!(shaped(&mut out, text, min, max));
            assert_eq!(out, wanted.as_bytes(), "{text}");
        }
        for text in ["", "1e5", "01", ".5", "5.", "+1", "NaN", "1 ", "--1", "1.2.3", "０"] {
            assert!(!shaped(&mut Vec::new(), text, 2, 8), "{text}");
        }
    }
}
