//! Path templates of google.api.http: `/v1/{name=shelves/*}/books/{id}:verb`.
//! Source: the grammar in google/api/http.proto. Matching is in `router`.

/// Most segments of a template or a request path.
pub(crate) const SEGMENTS_MAX: usize = 32;

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    /// `*`: exactly one segment.
    One,
    /// `**`: the rest, which may be empty; only as the last segment.
    Rest,
}

/// A variable and the segments it takes, `to` excluded; `None` is the end of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Dotted path of the field.
    pub field: String,
    pub from: usize,
    pub to: Option<usize>,
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub segments: Vec<Segment>,
    pub variables: Vec<Variable>,
    pub verb: Option<String>,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("it does not begin with a slash")?;
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb: None };
        // A verb follows the last colon outside of braces.
        let open = rest.rfind('}').map_or(0, |at| at + 1);
        let (rest, verb) = match rest[open..].rfind(':') {
            None => (rest, None),
            Some(at) => (&rest[..open + at], Some(&rest[open + at + 1..])),
        };
        if let Some(verb) = verb {
            if !is_literal(verb) {
                return Err("its verb is empty or has special characters");
            }
            template.verb = Some(verb.to_owned());
        }
        for piece in pieces(rest)? {
            match piece.strip_prefix('{') {
                None => template.push(piece)?,
                Some(inner) => {
                    let inner = inner.strip_suffix('}').ok_or("a brace is not closed")?;
                    template.variable(inner)?;
                }
            }
        }
        let rest = template.segments.iter().position(|segment| *segment == Segment::Rest);
        if rest.is_some_and(|at| at + 1 != template.segments.len()) {
            return Err("`**` does not stand last");
        }
        if template.segments.len() > SEGMENTS_MAX {
            return Err("it has too many segments");
        }
        Ok(template)
    }

    fn push(&mut self, segment: &str) -> Result<(), &'static str> {
        self.segments.push(match segment {
            "*" => Segment::One,
            "**" => Segment::Rest,
            literal if is_literal(literal) => Segment::Literal(literal.to_owned()),
            _ => return Err("a segment is empty or has special characters"),
        });
        Ok(())
    }

    fn variable(&mut self, inner: &str) -> Result<(), &'static str> {
        let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !field.split('.').all(is_name) {
            return Err("a variable is no field path");
        }
        if self.variables.iter().any(|variable| variable.field == field) {
            return Err("a variable stands twice");
        }
        let from = self.segments.len();
        for segment in pattern.split('/') {
            self.push(segment)?;
        }
        let open_ended = self.segments.last() == Some(&Segment::Rest);
        let to = (!open_ended).then_some(self.segments.len());
        self.variables.push(Variable { field: field.to_owned(), from, to });
        Ok(())
    }
}

/// Splits at slashes outside of braces.
fn pieces(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut pieces = Vec::new();
    let (mut start, mut inside) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '{' if inside => return Err("braces are nested"),
            '{' => inside = true,
            '}' if !inside => return Err("a brace was not open"),
            '}' => inside = false,
            '/' if !inside => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("a brace is not closed");
    }
    if !text.is_empty() {
        pieces.push(&text[start..]);
    }
    Ok(pieces)
}

/// Unreserved characters of RFC 3986 and a few that need no encoding in a path.
fn is_literal(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~@!$&'+,;".contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panics(text in "[/{}=*:.a-z]{0,30}|\\PC{0,30}") {
            let _ = Template::parse(&text);
        }
    }

    #[test]
    fn variables_know_their_segments() {
        let template = Template::parse("/v1/{name=shelves/*}/books/{book.id}:cancel").unwrap();
        assert_eq!(template.verb.as_deref(), Some("cancel"));
        assert_eq!(template.segments.len(), 5);
        assert_eq!(template.variables[0].field, "name");
        assert_eq!((template.variables[0].from, template.variables[0].to), (1, Some(3)));
        assert_eq!((template.variables[1].from, template.variables[1].to), (4, Some(5)));
        let open = Template::parse("/files/{path=**}").unwrap();
        assert_eq!((open.variables[0].from, open.variables[0].to), (1, None));
    }

    #[test]
    fn refuses_what_the_grammar_does_not_have() {
        for text in [
            "v1/a", "", "/a//b", "/a/", "/{a", "/a}", "/{a={b}}", "/{}", "/{a=}", "/**/a", "/a:",
            "/{a}/{a}", "/a b", "/{a}x", "/x{a}", "/a%20b", "/{a.}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert_eq!(Template::parse("/").unwrap().segments, []);
    }
}
