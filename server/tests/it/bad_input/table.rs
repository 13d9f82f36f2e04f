//! The tables of bad input: files under `fixtures/bad_input`, a case on each line, in the form that
//! their README says. Not here: how a case is sent and what is checked.

use std::collections::BTreeMap;
use std::path::Path;

/// What the payloads of a section are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// Bodies of this method and path.
    Bodies { method: String, path: String },
    /// Paths, called by this method.
    Paths { method: String },
    /// Header lines of this method, path and body.
    Headers { method: String, path: String, body: String },
    /// Whole requests; the sending half of the connection is closed after them if `ends`.
    Raw { ends: bool },
    /// Fields of the request message of this gRPC method.
    Grpc { path: String },
}

/// One case.
#[derive(Debug, Clone)]
pub struct Row {
    /// File and line.
    pub place: String,
    pub section: Section,
    /// The HTTP statuses of the answers, or the gRPC code; `closed`: there is no answer any more.
    pub statuses: Vec<String>,
    /// The reason. `.`: HTTP itself refuses it, before there is a request to answer in JSON.
    pub code: String,
    /// The field; `-` if none is at fault.
    pub field: String,
    /// What the message must hold.
    pub hint: Option<String>,
    /// With placeholders.
    pub payload: String,
}

/// Every row of the table `name`.
pub fn rows(name: &str) -> Vec<Row> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bad_input");
    let text = std::fs::read_to_string(directory.join(name)).unwrap();
    let (mut rows, mut section) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{name}:{number}");
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(read_section(title).unwrap_or_else(|| panic!("{place}: {line}")));
        } else if !line.is_empty() && !line.starts_with('#') {
            let section = section.clone().unwrap();
            rows.push(read_row(&place, section, line).unwrap_or_else(|| panic!("{place}: {line}")));
        }
    }
    rows
}

fn read_section(title: &str) -> Option<Section> {
    let mut parts = title.splitn(4, ' ').map(str::to_owned);
    let kind = parts.next()?;
    Some(match kind.as_str() {
        "bodies" => Section::Bodies { method: parts.next()?, path: parts.next()? },
        "paths" => Section::Paths { method: parts.next()? },
        "headers" => Section::Headers {
            method: parts.next()?,
            path: parts.next()?,
            body: parts.next().unwrap_or_default(),
        },
        "raw" => Section::Raw { ends: parts.next().is_some() },
        "grpc" => Section::Grpc { path: parts.next()? },
        _ => return None,
    })
}

fn read_row(place: &str, section: Section, line: &str) -> Option<Row> {
    let (expected, payload) = line.split_once('|')?;
    let mut expected = expected.split_whitespace();
    let statuses = expected.next()?;
    Some(Row {
        place: place.to_owned(),
        section,
        statuses: statuses.split('+').map(str::to_owned).collect(),
        code: expected.next()?.to_owned(),
        field: expected.next()?.to_owned(),
        hint: expected.next().map(|hint| hint.replace('~', " ").trim().to_owned()),
        payload: payload.strip_prefix(' ').unwrap_or(payload).to_owned(),
    })
}

/// The bytes that a payload stands for.
pub fn expand(text: &str, names: &BTreeMap<&str, String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("$(") {
        bytes.extend_from_slice(before.as_bytes());
        let (name, after) = from.split_once(')').unwrap_or_else(|| panic!("open: {text}"));
        if let Some(value) = names.get(name) {
            bytes.extend_from_slice(value.as_bytes());
        } else if let Some((times, what)) = name.split_once('*') {
            bytes.extend(what.repeat(times.parse().unwrap()).into_bytes());
        } else {
            bytes.extend(hex::decode(name).unwrap_or_else(|_| panic!("{name} in {text}")));
        }
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// A message from fields like `1="text" 2=5 3={1="text"}`, or the very bytes after `bytes:`.
pub fn message(text: &[u8]) -> Vec<u8> {
    if let Some(bytes) = text.strip_prefix(b"bytes:") {
        return bytes.to_vec();
    }
    let (mut out, mut rest) = (Vec::new(), text.trim_ascii());
    while !rest.is_empty() {
        let at = rest.iter().position(|b| *b == b'=').unwrap();
        let number: u64 = std::str::from_utf8(&rest[..at]).unwrap().parse().unwrap();
        rest = &rest[at + 1..];
        let (value, length) = match rest[0] {
            b'"' => {
                let end = rest[1..].iter().position(|b| *b == b'"').unwrap();
                (Ok(rest[1..=end].to_vec()), end + 2)
            }
            b'{' => {
                let end = rest.iter().rposition(|b| *b == b'}').unwrap();
                (Ok(message(&rest[1..end])), end + 1)
            }
            _ => {
                let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
                let digits = std::str::from_utf8(&rest[..end]).unwrap();
                // As int32 and enums do, a negative number takes ten bytes.
                (Err(digits.parse::<i128>().unwrap() as u64), end)
            }
        };
        match value {
            Ok(bytes) => {
                varint(&mut out, number << 3 | 2);
                varint(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
            Err(value) => {
                varint(&mut out, number << 3);
                varint(&mut out, value);
            }
        }
        rest = rest[length..].trim_ascii();
    }
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
