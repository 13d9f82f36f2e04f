//! The merchant's own JSON: checked to be one object within its limits and minified token for token,
//! so that what comes back is what was given. Not here: interpreting any of it.

use std::collections::HashSet;

/// Bytes of the minified text.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Levels of nesting, the outermost object included.
pub const METADATA_LEVELS_MAX: usize = 8;

/// Why a text is no metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not one JSON value, or half of a surrogate pair in a string.
    #[error("is not valid JSON")]
    Malformed,
    /// JSON, but no object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// Too much of it.
    #[error("is larger than {METADATA_BYTES_MAX} bytes")]
    TooLarge,
    /// Too deep.
    #[error("is nested deeper than {METADATA_LEVELS_MAX} levels")]
    TooDeep,
    /// A key stands twice in one object.
    #[error("has a key twice in one object")]
    DuplicateKey,
    /// A string holds U+0000.
    #[error("holds U+0000")]
    ForbiddenCharacter,
}

/// The minified text of a metadata object; `[]` (PHP's empty array) counts as `{}`.
pub fn minify(text: &str) -> Result<String, MetadataError> {
    // Checked here before a scan: white space may make the source longer than the result.
    if text.len() > METADATA_BYTES_MAX * 4 {
        return Err(MetadataError::TooLarge);
    }
    let mut scanner = Scanner { rest: text, out: String::with_capacity(text.len()) };
    scanner.value(0)?;
    scanner.skip_space();
    if !scanner.rest.is_empty() {
        return Err(MetadataError::Malformed);
    }
    match scanner.out.as_str() {
        "[]" => Ok("{}".to_owned()),
        out if !out.starts_with('{') => Err(MetadataError::NotAnObject),
        out if out.len() > METADATA_BYTES_MAX => Err(MetadataError::TooLarge),
        _ => Ok(scanner.out),
    }
}

/// Copies tokens from `rest` to `out` without the white space between them.
struct Scanner<'a> {
    rest: &'a str,
    out: String,
}

impl Scanner<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest.bytes().next()
    }

    fn take(&mut self, bytes: usize) {
        let (token, rest) = self.rest.split_at(bytes);
        self.out.push_str(token);
        self.rest = rest;
    }

    fn expect(&mut self, byte: u8) -> Result<(), MetadataError> {
        if self.peek() == Some(byte) {
            self.take(1);
            Ok(())
        } else {
            Err(MetadataError::Malformed)
        }
    }

    fn value(&mut self, level: usize) -> Result<(), MetadataError> {
        match self.peek() {
            Some(b'{' | b'[') if level >= METADATA_LEVELS_MAX => Err(MetadataError::TooDeep),
            Some(b'{') => self.object(level + 1),
            Some(b'[') => self.array(level + 1),
            Some(b'"') => self.string().map(drop),
            Some(_) => self.scalar(),
            None => Err(MetadataError::Malformed),
        }
    }

    fn object(&mut self, level: usize) -> Result<(), MetadataError> {
        self.take(1);
        let mut keys = HashSet::new();
        while self.peek() != Some(b'}') {
            if !keys.is_empty() {
                self.expect(b',')?;
            }
            if self.peek() != Some(b'"') {
                return Err(MetadataError::Malformed);
            }
            if !keys.insert(self.string()?) {
                return Err(MetadataError::DuplicateKey);
            }
            self.expect(b':')?;
            self.value(level)?;
        }
        self.take(1);
        Ok(())
    }

    fn array(&mut self, level: usize) -> Result<(), MetadataError> {
        self.take(1);
        let mut first = true;
        while self.peek() != Some(b']') {
            if !first {
                self.expect(b',')?;
            }
            self.value(level)?;
            first = false;
        }
        self.take(1);
        Ok(())
    }

    /// Copies a string token and returns what it says.
    fn string(&mut self) -> Result<String, MetadataError> {
        let mut escaped = false;
        let end = self.rest.bytes().enumerate().skip(1).find_map(|(at, byte)| {
            if escaped {
                escaped = false;
                return None;
            }
            escaped = byte == b'\\';
            (byte == b'"').then_some(at + 1)
        });
        let token = end.and_then(|end| self.rest.get(..end)).ok_or(MetadataError::Malformed)?;
        let said: String = serde_json::from_str(token).map_err(|_| MetadataError::Malformed)?;
        if said.contains('\0') {
            return Err(MetadataError::ForbiddenCharacter);
        }
        self.take(token.len());
        Ok(said)
    }

    /// Copies a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<(), MetadataError> {
        let end = self
            .rest
            .bytes()
            .position(|byte| !matches!(byte, b'a'..=b'z' | b'E' | b'0'..=b'9' | b'+' | b'-' | b'.'))
            .unwrap_or(self.rest.len());
        let token = &self.rest[..end];
        // RawValue checks the grammar and keeps the digits; a float would change them.
        let valid = serde_json::from_str::<&serde_json::value::RawValue>(token).is_ok();
        if token.is_empty() || !valid {
            return Err(MetadataError::Malformed);
        }
        self.take(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_tokens_and_drops_white_space() {
        let text =
            "{ \"n\" : 1.50e+3 ,\n\"big\": 12345678901234567890.000, \"a\": [ true, null ] }";
        let minified = r#"{"n":1.50e+3,"big":12345678901234567890.000,"a":[true,null]}"#;
        assert_eq!(minify(text).unwrap(), minified);
        assert_eq!(minify("[]").unwrap(), "{}");
    }

    #[test]
    fn refuses_what_is_no_metadata() {
        let deep = format!("{}1{}", "{\"a\":".repeat(9), "}".repeat(9));
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(METADATA_BYTES_MAX));
        let cases = [
            ("", MetadataError::Malformed),
            ("{", MetadataError::Malformed),
            ("{} {}", MetadataError::Malformed),
            ("{\"a\":01}", MetadataError::Malformed),
            ("{\"a\":NaN}", MetadataError::Malformed),
            ("{\"a\":1,}", MetadataError::Malformed),
            ("{'a':1}", MetadataError::Malformed),
            ("[1]", MetadataError::NotAnObject),
            ("\"text\"", MetadataError::NotAnObject),
            ("{\"a\":1,\"\\u0061\":2}", MetadataError::DuplicateKey),
            ("{\"a\":\"\\u0000\"}", MetadataError::ForbiddenCharacter),
            ("{\"a\":\"\\ud800\"}", MetadataError::Malformed),
            (deep.as_str(), MetadataError::TooDeep),
            (large.as_str(), MetadataError::TooLarge),
        ];
        for (text, error) in cases {
            assert_eq!(minify(text), Err(error), "{text:.60}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            if let Ok(minified) = minify(&text) {
                prop_assert_eq!(minify(&minified).unwrap(), minified);
            }
        }
    }
}
