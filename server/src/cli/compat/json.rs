//! JSON as it was written: keys in their order, numbers as the text they are. What a client of floats
//! and maps would not notice is what a contract to the byte is about. Not here: what must stand in it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Levels of nesting that are read.
const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// `null`, `true`, `false` or a number, as it was written.
    Token(String),
    /// A string, without its quotes.
    Text(String),
    /// A list.
    List(Vec<Raw>),
    /// An object in its order.
    Object(Vec<(String, Raw)>),
}

impl Raw {
    /// Reads a text; `None` if it is no JSON.
    pub fn parse(text: &str) -> Option<Self> {
        let raw: Box<RawValue> = serde_json::from_str(text).ok()?;
        read(raw.get(), DEPTH_MAX)
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The value under a path of keys, `invoice.id`.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, key| value.get(key))
    }

    /// The keys of an object, comma separated, in their order.
    pub fn keys(&self) -> String {
        match self {
            Self::Object(pairs) => {
                pairs.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ")
            }
            other => format!("no object: {other}"),
        }
    }

    /// The string's text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a list.
    pub fn entries(&self) -> &[Self] {
        match self {
            Self::List(entries) => entries,
            _ => &[],
        }
    }
}

/// What is wrong with the keys of an object: which are missing, which are too many unless there may be more,
/// where their order is another one. `None` if nothing is.
pub fn keys_differ(documented: &str, object: &Raw, may_be_more: bool) -> Option<String> {
    let Raw::Object(pairs) = object else { return Some(object.keys()) };
    let documented: Vec<&str> = documented.split(", ").collect();
    let got: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
    let (known, more): (Vec<&str>, Vec<&str>) =
        got.iter().partition(|key| documented.contains(*key));
    let missing: Vec<&str> = documented.iter().copied().filter(|key| !got.contains(key)).collect();
    let mut wrong = Vec::new();
    if !missing.is_empty() {
        wrong.push(format!("without {}", missing.join(", ")));
    }
    if !more.is_empty() && !may_be_more {
        wrong.push(format!("with {} besides", more.join(", ")));
    }
    if wrong.is_empty() && known != documented {
        let moved = known.iter().enumerate().find(|(n, key)| documented.get(*n) != Some(*key));
        wrong.push(format!("in another order from {} on", moved.map_or("", |(_, key)| key)));
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => f.write_str(token),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(entries) => write!(f, "[{} entries]", entries.len()),
            Self::Object(_) => write!(f, "{{{}}}", self.keys()),
        }
    }
}

fn read(text: &str, depth: usize) -> Option<Raw> {
    let depth = depth.checked_sub(1)?;
    Some(match text.bytes().next()? {
        b'{' => {
            let Pairs(pairs) = serde_json::from_str(text).ok()?;
            let read = |(key, raw): (String, Box<RawValue>)| Some((key, read(raw.get(), depth)?));
            Raw::Object(pairs.into_iter().map(read).collect::<Option<_>>()?)
        }
        b'[' => {
            let entries: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            let read = |raw: Box<RawValue>| read(raw.get(), depth);
            Raw::List(entries.into_iter().map(read).collect::<Option<_>>()?)
        }
        b'"' => Raw::Text(serde_json::from_str(text).ok()?),
        _ => Raw::Token(text.to_owned()),
    })
}

/// The pairs of an object in the order they were written.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// Whether a token is an amount as the contract writes it: no exponent, trailing zeros stripped but
/// at least two fraction digits, zero is `0`.
pub fn is_amount(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((whole, fraction)) = token.split_once('.') else { return token == "0" };
    let plain = whole == "0" || !whole.starts_with('0');
    let short = fraction.len() == 2 || (fraction.len() > 2 && !fraction.ends_with('0'));
    let zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
    digits(whole) && digits(fraction) && plain && short && !zero
}

/// Whether a text has a form: `d` stands for a digit, `h` for one of lower-case hex.
pub fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, like)| match like {
            b'd' => byte.is_ascii_digit(),
            b'h' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            other => byte == other,
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_keep_their_order_and_numbers_their_text() {
        let raw = Raw::parse(r#" {"b": 50.00, "a": {"z": [1, "x"], "y": null}} "#).unwrap();
        assert_eq!(raw.keys(), "b, a");
        assert_eq!(raw.get("b").unwrap().to_string(), "50.00");
        assert_eq!(raw.at("a.z").unwrap().entries()[1].text(), Some("x"));
        assert_eq!(raw.at("a.y").unwrap().to_string(), "null");
        assert!(Raw::parse("{").is_none() && Raw::parse("").is_none());
        assert!(Raw::parse(&"[".repeat(40)).is_none());
    }

    #[test]
    fn differing_keys_are_named() {
        let differ = |object: &str, may_be_more: bool| {
            keys_differ("a, b, c", &Raw::parse(object).unwrap(), may_be_more)
        };
        for (object, wrong) in [
            (r#"{"a":1,"b":1,"c":1}"#, None),
            (r#"{"a":1,"c":1}"#, Some("without b")),
            (r#"{"x":1,"a":1,"b":1,"c":1,"y":1}"#, Some("with x, y besides")),
            (r#"{"a":1,"z":1}"#, Some("without b, c; with z besides")),
            (r#"{"a":1,"c":1,"b":1}"#, Some("in another order from c on")),
            (r#"{"a":1,"b":1,"c":1,"c":1}"#, Some("in another order from c on")),
            ("5", Some("no object: 5")),
        ] {
            assert_eq!(differ(object, false).as_deref(), wrong, "{object}");
        }
        assert_eq!(differ(r#"{"x":1,"a":1,"b":1,"y":1,"c":1}"#, true), None);
        assert_eq!(differ(r#"{"x":1,"a":1,"c":1}"#, true).as_deref(), Some("without b"));
    }

    #[test]
    fn amounts_are_written_in_one_way() {
        for good in ["0", "50.00", "0.025", "0.10", "450.00", "0.00000001"] {
            assert!(is_amount(good), "{good}");
        }
        for bad in ["", "50", "0.0", "0.00", "50.0", "50.100", "05.00", "5e1", "-1.00", "1."] {
            assert!(!is_amount(bad), "{bad}");
        }
        assert!(has_form("2024-01-15T10:30:00+00:00", "dddd-dd-ddTdd:dd:dd+00:00"));
    }
}
