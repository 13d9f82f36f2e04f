//! A strict pull reader of JSON (RFC 8259): numbers keep their source text, keys are unique, text
//! is valid Unicode without U+0000, depth is bounded. What the tokens mean is not decided here.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::reason;

/// Longest dotted path reported, in characters; keys come from the caller.
const PATH_CHARS_MAX: usize = 200;

/// Why a text was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadError {
    /// One of the codes in [`reason`].
    pub code: &'static str,
    pub description: String,
    /// Innermost step first, since it is built on the way out.
    steps: Vec<String>,
}

impl ReadError {
    pub(crate) fn new(code: &'static str, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), steps: Vec::new() }
    }

    pub(crate) fn invalid(description: impl Into<String>) -> Self {
        Self::new(reason::INVALID_FIELD, description)
    }

    /// The same error, seen from the object that holds it under `name`.
    pub(crate) fn under(mut self, name: &str) -> Self {
        self.steps.push(name.to_owned());
        self
    }

    pub(crate) fn element(mut self, index: usize) -> Self {
        self.steps.push(format!("[{index}]"));
        self
    }

    /// `a.b[3].c`, cut to a bounded length.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        shorten(&path, PATH_CHARS_MAX)
    }
}

/// At most `chars_max` characters of `text`.
pub(crate) fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

impl Next {
    /// How it is called in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::True | Self::False => "a boolean",
            Self::Null => "null",
        }
    }
}

/// A key as it stands, quotes included, and decoded.
struct Key<'a> {
    token: &'a [u8],
    text: Cow<'a, str>,
}

/// Reads one JSON text from front to back.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth_left: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], depth_max: u32) -> Self {
        Self { bytes, pos: 0, depth_left: depth_max }
    }

    fn malformed(&self, what: &str) -> ReadError {
        ReadError::new(reason::MALFORMED_JSON, format!("{what} at byte {}", self.pos))
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.pos), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.pos += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    /// Looks at the value that comes next.
    pub(crate) fn peek(&mut self) -> Result<Next, ReadError> {
        self.space();
        match self.byte() {
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            Some(b'"') => Ok(Next::String),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(b't') => Ok(Next::True),
            Some(b'f') => Ok(Next::False),
            Some(b'n') => Ok(Next::Null),
            None => Err(self.malformed("the text ends where a value should stand")),
            Some(_) => Err(self.malformed("no JSON value")),
        }
    }

    /// The text must be over.
    pub(crate) fn end(&mut self) -> Result<(), ReadError> {
        self.space();
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.malformed("something follows the value")),
        }
    }

    /// Reads `true`, `false` or `null`.
    pub(crate) fn literal(&mut self, next: Next) -> Result<&'static str, ReadError> {
        let word = match next {
            Next::True => "true",
            Next::False => "false",
            _ => "null",
        };
        if !self.bytes[self.pos..].starts_with(word.as_bytes()) {
            return Err(self.malformed("no JSON value"));
        }
        self.pos += word.len();
        match self.byte() {
            Some(b) if b.is_ascii_alphanumeric() => Err(self.malformed("no JSON value")),
            _ => Ok(word),
        }
    }

    /// Reads a number token as it stands.
    pub(crate) fn number(&mut self) -> Result<&'a str, ReadError> {
        let start = self.pos;
        if self.byte() == Some(b'-') {
            self.pos += 1;
        }
        let whole = self.digits();
        let leading_zero = whole.len() > 1 && whole[0] == b'0';
        if whole.is_empty() || leading_zero {
            return Err(self.malformed("no JSON number"));
        }
        if self.byte() == Some(b'.') {
            self.pos += 1;
            if self.digits().is_empty() {
                return Err(self.malformed("no JSON number"));
            }
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.pos += 1;
            }
            if self.digits().is_empty() {
                return Err(self.malformed("no JSON number"));
            }
        }
        if self.byte().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'.') {
            return Err(self.malformed("no JSON number"));
        }
        std::str::from_utf8(&self.bytes[start..self.pos])
            .map_err(|_| self.malformed("no JSON number"))
    }

    fn digits(&mut self) -> &'a [u8] {
        let start = self.pos;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.pos += 1;
        }
        &self.bytes[start..self.pos]
    }

    /// Reads a string and decodes it.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, ReadError> {
        self.pos += 1;
        let start = self.pos;
        loop {
            match self.byte() {
                Some(b'"') => {
                    let text = self.unicode(start)?;
                    self.pos += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.escaped(start).map(Cow::Owned),
                Some(byte) if byte >= 0x20 => self.pos += 1,
                Some(_) => return Err(self.malformed("a control character in a string")),
                None => return Err(self.malformed("the text ends within a string")),
            }
        }
    }

    fn unicode(&self, start: usize) -> Result<&'a str, ReadError> {
        std::str::from_utf8(&self.bytes[start..self.pos])
            .map_err(|_| self.malformed("a string that is not UTF-8"))
    }

    /// The rest of a string from its first backslash on.
    fn escaped(&mut self, start: usize) -> Result<String, ReadError> {
        let mut text = self.unicode(start)?.to_owned();
        loop {
            let run = self.pos;
            while self.byte().is_some_and(|b| b >= 0x20 && b != b'"' && b != b'\\') {
                self.pos += 1;
            }
            text.push_str(self.unicode(run)?);
            match self.byte() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.pos += 1;
                    let decoded = self.escape()?;
                    text.push(decoded);
                }
                Some(_) => return Err(self.malformed("a control character in a string")),
                None => return Err(self.malformed("the text ends within a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ReadError> {
        let byte = self.byte().ok_or_else(|| self.malformed("the text ends within a string"))?;
        self.pos += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.malformed("an unknown escape in a string")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, ReadError> {
        let first = self.hex()?;
        let code = match first {
            0 => return Err(self.malformed("U+0000 in a string")),
            0xd800..=0xdbff => {
                let low = match self.bytes.get(self.pos..self.pos + 2) {
                    Some(b"\\u") => {
                        self.pos += 2;
                        self.hex()?
                    }
                    _ => 0,
                };
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(self.malformed("half of a surrogate pair"));
                }
                0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.malformed("half of a surrogate pair"))
    }

    fn hex(&mut self) -> Result<u32, ReadError> {
        let digits = self.bytes.get(self.pos..self.pos + 4).unwrap_or_default();
        if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.malformed("an incomplete escape in a string"));
        }
        self.pos += 4;
        let value = digits.iter().filter_map(|digit| char::from(*digit).to_digit(16));
        Ok(value.fold(0, |code, digit| code * 16 + digit))
    }

    /// Enters the object or array that comes next.
    pub(crate) fn open(&mut self) -> Result<(), ReadError> {
        self.depth_left =
            self.depth_left.checked_sub(1).ok_or_else(|| self.malformed("nested too deep"))?;
        self.pos += 1;
        Ok(())
    }

    /// Goes to the next key, or leaves the object. `first` starts out true.
    pub(crate) fn key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, ReadError> {
        Ok(self.key_token(first)?.map(|key| key.text))
    }

    fn key_token(&mut self, first: &mut bool) -> Result<Option<Key<'a>>, ReadError> {
        if !self.more(first, b'}')? {
            return Ok(None);
        }
        let start = self.pos;
        if self.byte() != Some(b'"') {
            return Err(self.malformed("a key should stand here"));
        }
        let text = self.string()?;
        let token = &self.bytes[start..self.pos];
        self.space();
        if self.byte() != Some(b':') {
            return Err(self.malformed("a colon should stand here"));
        }
        self.pos += 1;
        Ok(Some(Key { token, text }))
    }

    /// Goes to the next element, or leaves the array. `first` starts out true.
    pub(crate) fn item(&mut self, first: &mut bool) -> Result<bool, ReadError> {
        self.more(first, b']')
    }

    fn more(&mut self, first: &mut bool, close: u8) -> Result<bool, ReadError> {
        self.space();
        let is_first = std::mem::replace(first, false);
        match self.byte() {
            Some(byte) if byte == close => {
                self.pos += 1;
                self.depth_left += 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.pos += 1;
                self.space();
                match self.byte() {
                    Some(byte) if byte == close => Err(self.malformed("a comma too many")),
                    _ => Ok(true),
                }
            }
            Some(_) if is_first => Ok(true),
            Some(_) => Err(self.malformed("a comma or the end should stand here")),
            None => Err(self.malformed("the text ends too early")),
        }
    }

    /// Checks the next value and appends it to `out` without white space, token for token.
    pub(crate) fn copy(&mut self, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let next = self.peek()?;
        match next {
            Next::Object => self.copy_object(out),
            Next::Array => self.copy_array(out),
            Next::String => {
                let start = self.pos;
                self.string()?;
                out.extend_from_slice(&self.bytes[start..self.pos]);
                Ok(())
            }
            Next::Number => {
                out.extend_from_slice(self.number()?.as_bytes());
                Ok(())
            }
            Next::True | Next::False | Next::Null => {
                out.extend_from_slice(self.literal(next)?.as_bytes());
                Ok(())
            }
        }
    }

    fn copy_object(&mut self, out: &mut Vec<u8>) -> Result<(), ReadError> {
        self.open()?;
        out.push(b'{');
        let mut keys = HashSet::new();
        let mut first = true;
        while let Some(key) = self.key_token(&mut first)? {
            if !keys.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(key.token);
            out.push(b':');
            if !keys.insert(key.text.clone()) {
                return Err(duplicate(&key.text));
            }
            self.copy(out).map_err(|error| error.under(&key.text))?;
        }
        out.push(b'}');
        Ok(())
    }

    fn copy_array(&mut self, out: &mut Vec<u8>) -> Result<(), ReadError> {
        self.open()?;
        out.push(b'[');
        let mut first = true;
        let mut index = 0;
        while self.item(&mut first)? {
            if index > 0 {
                out.push(b',');
            }
            self.copy(out).map_err(|error| error.element(index))?;
            index += 1;
        }
        out.push(b']');
        Ok(())
    }
}

/// The error for a key that stands twice in one object.
pub(crate) fn duplicate(key: &str) -> ReadError {
    ReadError::new(reason::DUPLICATE_FIELD, "the key stands twice in one object").under(key)
}
