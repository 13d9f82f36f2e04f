//! The YAML that documents write, as JSON: block mappings and lists, texts plain or in double quotes, lists
//! in brackets. What is outside of that, or what YAML would take for something else, is refused.

use serde_json::{Map, Value};

/// A line that says something, from 1.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a document.
pub fn read(document: &str) -> Result<Value, String> {
    let mut lines = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let text = line.trim();
        if !text.is_empty() && !text.starts_with('#') {
            let indent = line.len() - line.trim_start_matches(' ').len();
            // An entry of a list is a line of its own, deeper by its dash.
            let number = index + 1;
            match text.strip_prefix("- ") {
                Some(entry) => {
                    lines.push(Line { number, indent, text: "-" });
                    lines.push(Line { number, indent: indent + 2, text: entry });
                }
                None => lines.push(Line { number, indent, text }),
            }
        }
    }
    let mut at = 0;
    let value = block(&lines, &mut at)?;
    lines
        .get(at)
        .map_or(Ok(value), |line| Err(format!("line {}: its depth fits nowhere", line.number)))
}

/// The mapping, list or text that begins at this line.
fn block(lines: &[Line<'_>], at: &mut usize) -> Result<Value, String> {
    let first = lines.get(*at).ok_or("ends too early")?;
    let mut list = Vec::new();
    let mut mapping = Map::new();
    while let Some(line) = lines.get(*at).filter(|line| line.indent == first.indent) {
        let wrong = |what: &str| format!("line {}: {what}", line.number);
        *at += 1;
        if line.text == "-" {
            list.push(block(lines, at)?);
            continue;
        }
        let Some((key, rest)) = line.text.split_once(':') else {
            return if *at > 1 && first.number == line.number && mapping.is_empty() {
                scalar(line.text).map_err(|what| wrong(&what))
            } else {
                Err(wrong("is no `key: value`"))
            };
        };
        let value = match rest.strip_prefix(' ') {
            Some(rest) => scalar(rest.trim()).map_err(|what| wrong(&what))?,
            None if rest.is_empty() => {
                let deeper = lines.get(*at).is_some_and(|next| next.indent > line.indent);
                if !deeper {
                    return Err(wrong("has nothing below it"));
                }
                block(lines, at)?
            }
            None => return Err(wrong("has no space behind its colon")),
        };
        if mapping.insert(key.to_owned(), value).is_some() {
            return Err(wrong("stands twice"));
        }
    }
    match (list.is_empty(), mapping.is_empty()) {
        (false, true) => Ok(Value::Array(list)),
        (true, false) => Ok(Value::Object(mapping)),
        _ => Err(format!("line {}: is list and mapping at once", first.number)),
    }
}

/// A text on one line, or a list of texts in brackets.
fn scalar(text: &str) -> Result<Value, String> {
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inside.split(',').map(|one| scalar(one.trim())).collect();
    }
    if let Some(inside) = text.strip_prefix('"') {
        let inside = inside.strip_suffix('"').filter(|text| !text.contains(['"', '\\']));
        return inside.map(Value::from).ok_or_else(|| format!("{text}: its quotes do not fit"));
    }
    if text.is_empty() || text.starts_with(|first| "{}[]&*!|>'%@`,".contains(first)) {
        return Err(format!("{text}: a plain text does not begin so"));
    }
    if text.contains(": ") || text.contains(" #") || text.ends_with(':') {
        return Err(format!("{text}: is no text without quotes"));
    }
    Ok(text.into())
}

#[test]
fn yaml_is_read_or_refused() {
    let document =
        "# all\na:\n  - b: 1\n    c: [\"d\", e]\n\n  - b: up{x=\"y\"} == 0\nf:\n  - plain\n";
    let expected = serde_json::json!({
        "a": [{"b": "1", "c": ["d", "e"]}, {"b": "up{x=\"y\"} == 0"}], "f": ["plain"]
    });
    assert_eq!(read(document), Ok(expected));
    let wrong = [
        "a",
        "a:",
        "a:b",
        "a: b: c",
        "a: {b}",
        "a: \"b",
        "a: b # c",
        "a: b\na: c",
        "a:\n  - b\n c: d",
    ];
    for wrong in wrong {
        assert!(read(wrong).is_err(), "{wrong:?} is read");
    }
}
