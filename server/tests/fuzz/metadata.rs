//! Metadata: what is taken is JSON for serde_json too, comes back token for token, and is taken again
//! unchanged. What is refused although serde_json takes it is too large, too deep, no object, or has
//! a key twice or U+0000.

use cryptopayment::domain::metadata::{
    METADATA_BYTES_MAX, METADATA_LEVELS_MAX, MetadataError, minify,
};
use serde_json::Value;
use serde_json::value::RawValue;

pub fn metadata(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match minify(&text) {
        Ok(minified) => {
            assert!(serde_json::from_str::<&RawValue>(&text).is_ok(), "no JSON: {text}");
            assert!(minified.starts_with('{') && minified.len() <= METADATA_BYTES_MAX);
            let plain = without_space(&text);
            assert!(minified == plain || (minified == "{}" && plain == "[]"), "another token");
            assert_eq!(minify(&minified).as_ref(), Ok(&minified));
        }
        Err(error) => refused(&text, error),
    }
}

fn refused(text: &str, error: MetadataError) {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    match error {
        MetadataError::Malformed => panic!("stricter than serde_json: {text}"),
        MetadataError::NotAnObject => assert!(!value.is_object() && value != Value::Array(vec![])),
        MetadataError::TooLarge => assert!(text.len() > METADATA_BYTES_MAX),
        MetadataError::TooDeep => {
            let opened = text.matches(['{', '[']).count();
            assert!(opened > METADATA_LEVELS_MAX, "{text}");
        }
        MetadataError::ForbiddenCharacter => assert!(text.contains("\\u0000"), "{text}"),
        // serde_json keeps the last of two equal keys, so its value has fewer.
        MetadataError::DuplicateKey => assert!(text.matches(':').count() > keys(&value), "{text}"),
    }
}

fn keys(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len() + map.values().map(keys).sum::<usize>(),
        Value::Array(list) => list.iter().map(keys).sum(),
        _ => 0,
    }
}

fn without_space(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: char| {
        let kept = inside || !matches!(c, ' ' | '\t' | '\n' | '\r');
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => inside = !inside,
            _ => {}
        }
        kept.then_some(c)
    };
    text.chars().filter_map(keep).collect()
}
