//! Words that belong in one place: clocks, randomness, the process environment, floats, payment
//! words, the writing of an invoice's status. Not here: which room names which.

use crate::source::Source;
use crate::{Finding, phrases, words};

const CLOCKS: [&str; 5] =
    ["SystemTime::now", "Instant::now", "Utc::now", "Local::now", "OffsetDateTime::now_utc"];
const RANDOMNESS: [&str; 7] =
    ["getrandom::", "rand::", "OsRng", "SysRng", "thread_rng", "Uuid::new_v4", "Uuid::now_v7"];
const ENVIRONMENT: [&str; 3] = ["env::var", "env::var_os", "env::vars"];
/// The library's readers of extended keys take some that BIP 32 calls invalid.
const EXTENDED_KEYS: [&str; 6] = [
    "Xpriv::from_str",
    "Xpriv::decode",
    "Xpub::from_str",
    "Xpub::decode",
    "parse::<Xpriv>",
    "parse::<Xpub>",
];

/// What the neutral gateway must never have heard of.
const PAYMENT_WORDS: [&str; 36] = [
    "bep20",
    "bitcoin",
    "btc",
    "checkout",
    "coin",
    "coins",
    "crypto",
    "cryptocurrency",
    "cryptopayment",
    "currency",
    "customer",
    "deposit",
    "deposits",
    "erc20",
    "eth",
    "ethereum",
    "invoice",
    "invoices",
    "ledger",
    "litecoin",
    "ltc",
    "merchant",
    "merchants",
    "money",
    "payer",
    "payment",
    "payments",
    "payout",
    "refund",
    "trc20",
    "tron",
    "usd",
    "usdt",
    "wallet",
    "withdrawal",
    "withdrawals",
];

/// The one file that writes an invoice's status, on behalf of `evaluate`.
const STATUS_WRITER: &str = "server/src/store/invoice_status.rs";

fn in_server(source: &Source) -> bool {
    source.path.starts_with("server/src/") && !source.is_test
}

/// The system clock is read outside `env.rs`.
pub fn clocks(source: &Source) -> Vec<Finding> {
    if !in_server(source) || source.path == "server/src/env.rs" {
        return Vec::new();
    }
    found_phrases(source, &CLOCKS)
}

/// Randomness is drawn outside `env.rs`.
pub fn randomness(source: &Source) -> Vec<Finding> {
    if !in_server(source) || source.path == "server/src/env.rs" {
        return Vec::new();
    }
    found_phrases(source, &RANDOMNESS)
}

/// The process environment is read outside `config.rs` and `main.rs`.
pub fn environment(source: &Source) -> Vec<Finding> {
    let reads_it = ["server/src/config.rs", "server/src/main.rs"].contains(&source.path.as_str());
    if !in_server(source) || reads_it || source.path.starts_with("server/src/config/") {
        return Vec::new();
    }
    found_phrases(source, &ENVIRONMENT)
}

/// An extended key is read from a text or from bytes.
pub fn extended_keys(source: &Source) -> Vec<Finding> {
    if in_server(source) { found_phrases(source, &EXTENDED_KEYS) } else { Vec::new() }
}

fn found_phrases(source: &Source, wanted: &[&str]) -> Vec<Finding> {
    let mut found = Vec::new();
    for phrase in wanted {
        for line in phrases(&source.live_code, phrase) {
            found.push(Finding::new(line, format!("`{phrase}`")));
        }
    }
    found
}

/// A float in a room that computes with money.
pub fn floats(source: &Source) -> Vec<Finding> {
    let money = source.room().is_some_and(|room| ["domain", "usecase", "store"].contains(&room));
    if !money || source.is_test {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in ["f32", "f64"] {
        for line in words(&source.live_code, name) {
            found.push(Finding::new(line, format!("`{name}`")));
        }
    }
    for (index, line) in source.live_code.lines().enumerate() {
        if has_float_literal(line) {
            found.push(Finding::new(index + 1, "a float literal".to_owned()));
        }
    }
    found
}

/// Digits on both sides of a point, which no tuple access (`pair.0.1`) precedes.
fn has_float_literal(line: &str) -> bool {
    let text: Vec<char> = line.chars().collect();
    (1..text.len().saturating_sub(1)).any(|at| {
        let number =
            text[at] == '.' && text[at - 1].is_ascii_digit() && text[at + 1].is_ascii_digit();
        let before = text[..at].iter().rev().find(|&&c| !c.is_ascii_digit() && c != '_');
        number && !before.is_some_and(|&c| c == '.' || c.is_alphabetic())
    })
}

/// Work that was put off.
pub fn unfinished(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in ["todo", "unimplemented"] {
        for line in phrases(&source.code, &format!("{name}!")) {
            found.push(Finding::new(line, format!("`{name}!`")));
        }
    }
    found
}

/// A payment word anywhere in the gateway: code, comment or string.
pub fn payment_words(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("gateway/src/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, line) in source.raw.lines().enumerate() {
        for word in plain_words(line) {
            if PAYMENT_WORDS.contains(&word.as_str()) {
                found.push(Finding::new(index + 1, format!("the word `{word}`")));
            }
        }
    }
    found
}

/// The words of a line in lower case: `payOut_id` is `pay`, `out`, `id`.
fn plain_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in line.chars() {
        let starts = c.is_uppercase() && before.is_lowercase();
        if !c.is_alphanumeric() || starts {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

/// SQL that writes an invoice's status, or may do so unseen, outside the one file for it.
pub fn status_writers(source: &Source) -> Vec<Finding> {
    if !in_server(source) || source.path == STATUS_WRITER {
        return Vec::new();
    }
    source
        .live_literals()
        .filter_map(|literal| {
            let sql = one_line(&literal.text);
            writes_status(&sql).then(|| Finding::new(literal.line, format!("`{sql}`")))
        })
        .collect()
}

/// Lower case, one space between words, without quotes and line continuations.
fn one_line(sql: &str) -> String {
    let plain = sql.replace(['\\', '"', '\n'], " ").to_lowercase();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn writes_status(sql: &str) -> bool {
    let updated = sql.split("update invoice").skip(1).any(|rest| {
        let other_table = rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        !other_table && sets_status(rest)
    });
    let upserted = sql.split("insert into invoice").skip(1).any(|rest| {
        let other_table = rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        !other_table && rest.split_once("do update").is_some_and(|(_, set)| sets_status(set))
    });
    updated || upserted
}

/// Whether the SET part names the status, or cannot be read because it is put together elsewhere.
fn sets_status(rest: &str) -> bool {
    let Some((_, after_set)) = rest.split_once("set ") else { return true };
    let set = after_set.split(" where ").next().unwrap_or_default();
    set.is_empty()
        || set.contains('{')
        || set.split(|c: char| !c.is_alphanumeric()).any(|w| w == "status")
}
