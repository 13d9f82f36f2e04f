//! The JSON reader against serde_json, and the writer of strings and integers against both.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json::escape;
use crate::json::token::{Next, ReadError, Reader};
use crate::reason;

/// As a gateway reads bodies by default; far below serde_json's own 128.
const DEPTH_MAX: u32 = 32;
/// Characters of the longest path in an error, with the mark that it was cut.
const PATH_CHARS_MAX: usize = 201;

/// Any bytes as JSON: what the reader takes, serde_json takes for the same value, and the copy has
/// the same tokens. What only serde_json takes is deep, has a key twice, or holds U+0000.
pub fn json_reader(data: &[u8]) {
    let mut copy = Vec::new();
    let mut reader = Reader::new(data, DEPTH_MAX);
    let read = reader.copy(&mut copy).and_then(|()| reader.end());
    let second = serde_json::from_slice::<Value>(data);
    match (read, second) {
        (Ok(()), second) => {
            let text = std::str::from_utf8(data).expect("all of an accepted text is Unicode");
            assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "laxer than serde_json");
            assert_eq!(copy, without_space(data), "another token");
            assert_eq!(copied(&copy).as_ref(), Ok(&copy), "its own copy is read otherwise");
            let (pulled, _) = pulled(data).expect("read token by token it is accepted too");
            match second {
                Ok(value) => assert_eq!(pulled, value),
                // Exact numbers need no binary float that could hold them.
                Err(error) => assert!(error.to_string().contains("number out of range"), "{error}"),
            }
        }
        (Err(error), Ok(value)) => explained(data, &error, &value),
        (Err(error), Err(_)) => assert!(error.path().chars().count() <= PATH_CHARS_MAX),
    }
}

/// The documented ways in which the reader is stricter than serde_json.
fn explained(data: &[u8], error: &ReadError, value: &Value) {
    let holds = |text: &[u8]| data.windows(text.len()).any(|window| window == text);
    if error.code == reason::DUPLICATE_FIELD {
        if let Ok((_, keys)) = pulled(data) {
            assert!(keys > count_keys(value), "no key stands twice: {error:?}");
        }
    } else if error.description.starts_with("U+0000") {
        assert!(holds(b"\\u0000"), "{error:?}");
    } else if error.description.starts_with("nested too deep") {
        assert!(depth(data) > DEPTH_MAX, "{error:?}");
    } else {
        panic!("stricter than serde_json without a reason: {error:?}");
    }
}

fn copied(data: &[u8]) -> Result<Vec<u8>, ReadError> {
    let mut copy = Vec::new();
    let mut reader = Reader::new(data, DEPTH_MAX);
    reader.copy(&mut copy)?;
    reader.end()?;
    Ok(copy)
}

/// A text as the reader's single steps tell it, and how many keys there were.
fn pulled(data: &[u8]) -> Result<(Value, usize), ReadError> {
    let mut reader = Reader::new(data, DEPTH_MAX);
    let mut keys = 0;
    let value = pull(&mut reader, &mut keys)?;
    reader.end()?;
    Ok((value, keys))
}

fn pull(reader: &mut Reader<'_>, keys: &mut usize) -> Result<Value, ReadError> {
    let mut first = true;
    Ok(match reader.peek()? {
        Next::Object => {
            reader.open()?;
            let mut map = Map::new();
            while let Some(key) = reader.key(&mut first)? {
                *keys += 1;
                map.insert(key.into_owned(), pull(reader, keys)?);
            }
            Value::Object(map)
        }
        Next::Array => {
            reader.open()?;
            let mut list = Vec::new();
            while reader.item(&mut first)? {
                list.push(pull(reader, keys)?);
            }
            Value::Array(list)
        }
        Next::String => Value::String(reader.string()?.into_owned()),
        Next::Number => serde_json::from_str(reader.number()?).unwrap_or_default(),
        next => match reader.literal(next)? {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::Null,
        },
    })
}

fn count_keys(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len() + map.values().map(count_keys).sum::<usize>(),
        Value::Array(list) => list.iter().map(count_keys).sum(),
        _ => 0,
    }
}

/// Calls `each` with every byte, and whether it stands in a string.
fn scan(data: &[u8], mut each: impl FnMut(u8, bool)) {
    let (mut inside, mut escaped) = (false, false);
    for &byte in data {
        each(byte, inside);
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            _ => {}
        }
    }
}

fn without_space(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    scan(data, |byte, inside| {
        if inside || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(byte);
        }
    });
    out
}

fn depth(data: &[u8]) -> u32 {
    let (mut depth, mut deepest) = (0_u32, 0);
    scan(data, |byte, inside| match byte {
        b'[' | b'{' if !inside => {
            depth += 1;
            deepest = deepest.max(depth);
        }
        b']' | b'}' if !inside => depth = depth.saturating_sub(1),
        _ => {}
    });
    deepest
}

/// Any text as a string, and any eight bytes as an integer: what is written is JSON, and reads back.
pub fn json_writer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut out = Vec::new();
    escape::string(&mut out, &text);
    assert!(out.iter().all(|byte| *byte >= 0x20), "a control character in JSON");
    assert_eq!(serde_json::from_slice::<String>(&out).ok().as_deref(), Some(text.as_ref()));
    let mut reader = Reader::new(&out, 0);
    match reader.string() {
        Ok(read) => assert_eq!(read, text),
        Err(error) => assert!(text.contains('\0'), "{error:?}"),
    }
    let key = escape::key(&text);
    assert_eq!(key.strip_suffix(b":"), Some(out.as_slice()));

    let number = data.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (mut unsigned, mut signed) = (Vec::new(), Vec::new());
    escape::unsigned(&mut unsigned, number);
    escape::signed(&mut signed, number as i64);
    assert_eq!(unsigned, number.to_string().into_bytes());
    assert_eq!(signed, (number as i64).to_string().into_bytes());
}
