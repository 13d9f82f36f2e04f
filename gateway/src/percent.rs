//! Percent-encoding (RFC 3986, section 2.1) and query strings as HTML forms send them.

use std::borrow::Cow;

/// What is special besides `%XX` itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One path segment: everything is decoded.
    Segment,
    /// Part of a value that spans several segments: an encoded slash stays encoded.
    Segments,
    /// A query: `+` is a space.
    Query,
}

/// Decodes `text`; `None` for incomplete escapes and for what is not UTF-8 then.
pub(crate) fn decode(text: &str, mode: Mode) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || (b == b'+' && mode == Mode::Query)) {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let decoded = hex(*bytes.get(at + 1)?)? << 4 | hex(*bytes.get(at + 2)?)?;
                match (decoded, mode) {
                    (b'/', Mode::Segments) => out.extend_from_slice(&bytes[at..at + 3]),
                    _ => out.push(decoded),
                }
                at += 3;
                continue;
            }
            b'+' if mode == Mode::Query => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panics(text in "[%+a-f0-9/]{0,20}|\\PC{0,20}") {
            for mode in [Mode::Segment, Mode::Segments, Mode::Query] {
                let _ = decode(&text, mode);
            }
        }

        #[test]
        fn decodes_what_was_encoded(text in "\\PC{0,20}") {
            let encoded: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
            let decoded = decode(&encoded, Mode::Segment);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn special_characters_depend_on_the_place() {
        assert_eq!(decode("a+b%2Fc", Mode::Segment).as_deref(), Some("a+b/c"));
        assert_eq!(decode("a+b%2Fc", Mode::Segments).as_deref(), Some("a+b%2Fc"));
        assert_eq!(decode("a+b%2Fc", Mode::Query).as_deref(), Some("a b/c"));
        assert_eq!(decode("%", Mode::Query), None);
        assert_eq!(decode("%4", Mode::Query), None);
        assert_eq!(decode("%zz", Mode::Query), None);
        assert_eq!(decode("%ff", Mode::Query), None);
    }
}
