//! Compares what a document shows with what was printed. What differs from run to run (ids, keys,
//! addresses, transactions, times, ports) is compared by its form. Not here: who printed it.

/// What is wrong with the printed text, if anything.
pub fn difference(shown: &str, printed: &str, json: bool) -> Option<String> {
    let form = |text: &str| masked(&if json { compact(text) } else { trimmed(text) });
    let (wanted, got) = (form(shown), form(printed));
    (!matches(&wanted, &got)).then(|| format!("shown:\n{wanted}\nprinted:\n{got}\n"))
}

/// Whether the text is as wanted, where `...` stands for anything.
fn matches(wanted: &str, got: &str) -> bool {
    let pieces: Vec<&str> = wanted.split("...").map(str::trim).collect();
    let [first, middle @ .., last] = pieces.as_slice() else { return wanted == got };
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// Without blanks at the ends of lines and of the text.
fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Without blanks and line breaks outside of strings.
fn compact(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let mut out = String::new();
    for c in text.chars() {
        if inside || !c.is_whitespace() {
            out.push(c);
        }
        inside ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    out
}

/// With names instead of what differs from run to run.
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut token = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "_-+:./=".contains(c) {
            token.push(c);
            continue;
        }
        out.push_str(&named(&token));
        token.clear();
        out.push(c);
    }
    out + &named(&token)
}

fn named(token: &str) -> String {
    if let Some(name) = name_of(token) {
        return name.to_owned();
    }
    for separator in ['/', '=', ':'] {
        if let Some((before, after)) = token.split_once(separator) {
            return format!("{}{separator}{}", named(before), named(after));
        }
    }
    match token.strip_suffix(['.', ':']) {
        Some(before) if !token.ends_with("..") => {
            format!("{}{}", named(before), &token[before.len()..])
        }
        _ => token.to_owned(),
    }
}

fn name_of(token: &str) -> Option<&'static str> {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = token.strip_prefix("0x").unwrap_or(token);
    let time =
        token.len() >= 20 && token.as_bytes()[10] == b'T' && token[..4].parse::<u16>().is_ok();
    let address = |start: &str| token.starts_with(start) && token.len() > 30;
    let tron = token.len() == 34 && token.starts_with('T');
    match token {
        _ if token.starts_with("pk_test_") => Some("KEY"),
        _ if token.starts_with("sk_test_") => Some("SECRET"),
        _ if token.len() == 44 && token.ends_with('=') => Some("APP_KEY"),
        _ if token.len() == 36 && uuid::Uuid::try_parse(token).is_ok() => Some("UUID"),
        _ if digits.len() == 64 && hex(digits) => Some("HEX64"),
        _ if digits.len() == 40 && hex(digits) => Some("ADDRESS"),
        _ if tron || address("rltc1") || address("bcrt1") => Some("ADDRESS"),
        _ if token.starts_with("127.0.0.1:") => Some("HOST"),
        _ if time => Some("TIME"),
        _ => None,
    }
}

#[test]
fn outputs_are_compared_by_their_form() {
    let shown = "{ \"id\": \"550e8400-e29b-41d4-a716-446655440000\", \"n\": 50.00, ... }";
    let printed = "{\"id\":\"01a21368-9ae0-7289-b7a5-aff4f692999d\",\"n\":50.00,\"m\":1}";
    assert_eq!(difference(shown, printed, true), None);
    assert!(difference(shown, &printed.replace("50.00", "50.0"), true).is_some());
    assert_eq!(
        difference("at http://127.0.0.1:8080 (a)", "at http://127.0.0.1:5 (a)", false),
        None
    );
    assert!(difference("paid", "paid twice", false).is_some());
}
