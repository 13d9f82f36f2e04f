//! Timestamps and durations as text: RFC 3339 within protobuf's range, and seconds with `s`.
//! The calendar is that of Howard Hinnant's "chrono-compatible low-level date algorithms".

use prost_types::{Duration, Timestamp};

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range google.protobuf.Timestamp allows.
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;
/// The range google.protobuf.Duration allows: 10,000 years either way.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

const DAY_SECONDS: i64 = 86_400;

/// Writes a timestamp, quotes included; false when it is out of range.
pub(crate) fn write(out: &mut Vec<u8>, time: &Timestamp, seconds_offset: bool) -> bool {
    let in_range = (SECONDS_MIN..=SECONDS_MAX).contains(&time.seconds)
        && (0..1_000_000_000).contains(&time.nanos);
    if !in_range {
        return false;
    }
    let (year, month, day) = civil(time.seconds.div_euclid(DAY_SECONDS));
    let second = time.seconds.rem_euclid(DAY_SECONDS);
    out.push(b'"');
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
    out.push(b'T');
    padded(out, second / 3600, 2);
    out.push(b':');
    padded(out, second / 60 % 60, 2);
    out.push(b':');
    padded(out, second % 60, 2);
    if seconds_offset {
        out.extend_from_slice(b"+00:00\"");
        return true;
    }
    let nanos = i64::from(time.nanos);
    for (unit, width) in [(1_000_000, 3), (1_000, 6), (1, 9)] {
        if nanos != 0 && nanos % unit == 0 {
            out.push(b'.');
            padded(out, nanos / unit, width);
            break;
        }
    }
    out.extend_from_slice(b"Z\"");
    true
}

/// Year, month and day of a count of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months counted from March, so that the leap day is the year's last.
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn padded(out: &mut Vec<u8>, mut value: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for slot in out[start..].iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Reads RFC 3339, and nothing looser: date, time, seconds and offset must all be there.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let fits = |pattern: &[u8], bytes: &[u8]| {
        pattern.len() == bytes.len()
            && pattern.iter().zip(bytes).all(|(p, b)| match p {
                b'0' => b.is_ascii_digit(),
                b'T' => matches!(b, b'T' | b't'),
                b'+' => matches!(b, b'+' | b'-'),
                _ => p == b,
            })
    };
    if !fits(b"0000-00-00T00:00:00", bytes.get(..19)?) {
        return None;
    }
    let rest = &bytes[19..];
    let offset = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            &fraction[digits..]
        }
    };
    if !matches!(offset, b"Z" | b"z") && !fits(b"+00:00", offset) {
        return None;
    }
    let time: Timestamp = text.parse().ok()?;
    (SECONDS_MIN..=SECONDS_MAX).contains(&time.seconds).then_some(time)
}

/// A duration as `1.5s`; `None` when it is out of range or its signs differ.
pub(crate) fn duration(span: &Duration) -> Option<String> {
    let in_range = (-DURATION_SECONDS_MAX..=DURATION_SECONDS_MAX).contains(&span.seconds)
        && (-999_999_999..=999_999_999).contains(&span.nanos)
        && (span.seconds == 0 || span.nanos == 0 || (span.seconds < 0) == (span.nanos < 0));
    in_range.then(|| span.to_string())
}

/// Reads a duration like `1.5s`, at most nine digits after the point.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    if !super::decimal::is_plain(number) || number.split_once('.').is_some_and(|n| n.1.len() > 9) {
        return None;
    }
    let span: Duration = text.parse().ok()?;
    duration(&span).map(|_| span)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn writes_what_prost_writes(
            seconds in SECONDS_MIN..=SECONDS_MAX,
            nanos in 0..1_000_000_000i32,
        ) {
            for nanos in [0, nanos, nanos / 1000 * 1000, nanos / 1_000_000 * 1_000_000] {
                let time = Timestamp { seconds, nanos };
                let mut out = Vec::new();
                prop_assert!(write(&mut out, &time, false));
                let text = String::from_utf8(out).unwrap();
                prop_assert_eq!(&text, &format!("\"{time}\""));
                prop_assert_eq!(parse(text.trim_matches('"')), Some(time));
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}", digits in "[0-9TZtz:+. -]{0,40}") {
            let _ = (parse(&text), parse(&digits), parse_duration(&text), parse_duration(&digits));
        }
    }

    #[test]
    fn refuses_what_rfc_3339_does_not_have() {
        for text in [
            "2024-01-15",
            "2024-01-15T10:30:00",
            "2024-01-15 10:30:00Z",
            "2024-01-15T10:30:00+0000",
            "2024-13-15T10:30:00Z",
            "2024-02-30T10:30:00Z",
            "2024-01-15T25:30:00Z",
            "2024-01-15T10:30:00.Z",
            "0000-01-15T10:30:00Z",
            "+12024-01-15T10:30:00Z",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let time = parse("2024-01-15T12:30:00.5+02:00").unwrap();
        assert_eq!(time, Timestamp { seconds: 1_705_314_600, nanos: 500_000_000 });
    }

    #[test]
    fn whole_seconds_with_an_offset() {
        let mut out = Vec::new();
        let time = Timestamp { seconds: 1_705_314_600, nanos: 999_999_999 };
        assert!(write(&mut out, &time, true));
        assert_eq!(out, b"\"2024-01-15T10:30:00+00:00\"");
        assert!(!write(&mut out, &Timestamp { seconds: SECONDS_MAX + 1, nanos: 0 }, true));
        assert!(!write(&mut out, &Timestamp { seconds: 0, nanos: -1 }, true));
    }
}
