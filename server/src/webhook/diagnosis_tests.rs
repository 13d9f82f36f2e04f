//! The search for a receiver's mistake: each usual mistake is made here with other tools' results or
//! by hand, and must be named.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;

use super::diagnosis::{Check, Evidence, Finding, KeyUsed, Keys, compare, documented, standard};
use super::signing::{keyed, sign, sign_standard};
use crate::domain::time::Micros;

const INVOICE: &str = "550e8400-e29b-41d4-a716-446655440000";
const EVENT: &str = "payment.confirmed";
const NOW: i64 = 1_700_000_000;

fn keys() -> Keys {
    Keys { app_key: [1; 32], app_key_next: Some([2; 32]), secrets: vec![[3; 32], [4; 32]] }
}

fn body(signature: &str) -> String {
    format!(r#"{{"event":"{EVENT}","invoice_id":"{INVOICE}","signature":"{signature}"}}"#)
}

fn good() -> String {
    body(&sign(&[1; 32], INVOICE, EVENT))
}

fn hex_of(key: &[u8], message: &str) -> String {
    hex::encode(keyed(key).chain_update(message.as_bytes()).finalize().into_bytes())
}

fn findings(check: &Check) -> Vec<Finding> {
    check.findings.iter().map(|(finding, _)| *finding).collect()
}

fn check_body(body: &str) -> Check {
    documented(&Evidence { body, ..Evidence::default() }, &keys())
}

/// What a receiver's own code computed over the good body.
fn check_computed(signature: &str) -> Check {
    let body = good();
    let evidence = Evidence { body: &body, signature: Some(signature), ..Evidence::default() };
    documented(&evidence, &keys())
}

#[test]
fn a_good_body_is_good_with_either_key() {
    let check = check_body(&good());
    assert!(check.is_valid && check.findings.is_empty());
    assert_eq!(check.key, Some(KeyUsed::AppKey));
    assert_eq!(check.signed_text.unwrap(), format!("{INVOICE}.{EVENT}"));
    let check = check_body(&body(&sign(&[2; 32], INVOICE, EVENT)));
    assert_eq!((check.is_valid, check.key), (true, Some(KeyUsed::AppKeyNext)));
    assert_eq!(findings(&check), [Finding::KeyNotActive]);
}

#[test]
fn every_usual_mistake_is_named() {
    let text = STANDARD.encode([1; 32]);
    let right = format!("{INVOICE}.{EVENT}");
    let whole = good();
    let base64 = STANDARD.encode(hex::decode(hex_of(&[1; 32], &right)).unwrap());
    let rows = [
        (hex_of(&[1; 32], &right).to_uppercase(), vec![Finding::UpperCaseHex]),
        (hex_of(text.as_bytes(), &right), vec![Finding::KeyNotDecoded]),
        (hex_of(&[1; 32], &whole), vec![Finding::WholeBodySigned]),
        (hex_of(text.as_bytes(), &whole), vec![Finding::KeyNotDecoded, Finding::WholeBodySigned]),
        (base64, vec![Finding::WrongEncoding]),
        (hex_of(&[1; 32], &format!("{EVENT}.{INVOICE}")), vec![Finding::WrongMessage]),
        (hex_of(&[1; 32], &format!("{INVOICE}{EVENT}")), vec![Finding::WrongMessage]),
        (hex_of(&[1; 32], INVOICE), vec![Finding::WrongMessage]),
        (hex_of(&[1; 32], &format!("{right}\n")), vec![Finding::WrongMessage]),
        (hex_of(&[9; 32], &right), vec![Finding::WrongKey]),
        ("f00".to_owned(), vec![Finding::SignatureMalformed]),
        ("zz".repeat(32), vec![Finding::SignatureMalformed]),
    ];
    for (signature, expected) in rows {
        let check = check_computed(&signature);
        assert!(!check.is_valid, "{signature}");
        assert_eq!(findings(&check), expected, "{signature}");
    }
    for (text, expected) in [
        ("", Finding::BodyNotJson),
        ("[]", Finding::BodyNotJson),
        ("{\"event\":\"a\"", Finding::BodyNotJson),
        ("{\"event\":\"a\"}", Finding::FieldMissing),
        ("{\"event\":1,\"invoice_id\":\"b\"}", Finding::FieldMissing),
        ("{\"event\":\"a\",\"invoice_id\":\"b\"}", Finding::SignatureMissing),
    ] {
        assert_eq!(findings(&check_body(text)), [expected], "{text}");
    }
}

fn check_standard(signatures: &str, timestamp: &str, body: &str) -> Check {
    let evidence = Evidence {
        body,
        id: Some("id-1"),
        timestamp: Some(timestamp),
        signatures: Some(signatures),
        ..Evidence::default()
    };
    standard(&evidence, &keys(), Micros::from_seconds(NOW))
}

#[test]
fn standard_webhooks_is_checked_with_its_time() {
    let body = good();
    let now = NOW.to_string();
    let both = sign_standard(&[[8; 32], [4; 32]], "id-1", NOW, body.as_bytes());
    let check = check_standard(&both, &now, &body);
    assert_eq!((check.is_valid, check.key), (true, Some(KeyUsed::SecretPrevious)));
    assert_eq!(check.signed_text.unwrap(), format!("id-1.{now}.{body}"));
    for (moved, expected) in [
        (-300, vec![]),
        (300, vec![]),
        (-301, vec![Finding::TimestampTooOld]),
        (301, vec![Finding::TimestampTooNew]),
    ] {
        let at = NOW + moved;
        let signature = sign_standard(&[[3; 32]], "id-1", at, body.as_bytes());
        let check = check_standard(&signature, &at.to_string(), &body);
        assert_eq!((check.is_valid, findings(&check)), (expected.is_empty(), expected), "{moved}");
        assert_eq!(check.key, Some(KeyUsed::Secret));
    }
}

#[test]
fn mistakes_with_standard_webhooks_are_named() {
    let body = good();
    let now = NOW.to_string();
    let signed = format!("id-1.{now}.{body}");
    let bare = STANDARD.encode([3; 32]);
    let v1 = |key: &[u8], message: &str| {
        let code = keyed(key).chain_update(message.as_bytes()).finalize().into_bytes();
        format!("v1,{}", STANDARD.encode(code))
    };
    let right = v1(&[3; 32], &signed);
    let rows = [
        (right.trim_start_matches("v1,").to_owned(), vec![Finding::SignatureMalformed]),
        (format!("v1,{}", hex_of(&[3; 32], &signed)), vec![Finding::WrongEncoding]),
        (v1(bare.as_bytes(), &signed), vec![Finding::KeyNotDecoded]),
        (v1(format!("whsec_{bare}").as_bytes(), &signed), vec![Finding::KeyNotDecoded]),
        (v1(&[3; 32], &body), vec![Finding::WrongMessage]),
        (v1(&[9; 32], &signed), vec![Finding::WrongKey]),
        ("v1,nothing".to_owned(), vec![Finding::SignatureMalformed]),
    ];
    for (signatures, expected) in rows {
        let check = check_standard(&signatures, &now, &body);
        assert!(!check.is_valid, "{signatures}");
        assert_eq!(findings(&check), expected, "{signatures}");
    }
    let check = check_standard(&right, "yesterday", &body);
    assert_eq!(findings(&check), [Finding::WrongKey, Finding::TimestampMalformed]);
    let evidence =
        Evidence { body: &body, id: Some("id-1"), timestamp: Some(""), ..Evidence::default() };
    let check = standard(&evidence, &keys(), Micros::from_seconds(NOW));
    assert_eq!(findings(&check), [Finding::HeaderMissing]);
    assert!(check.findings[0].1.contains("webhook-timestamp, webhook-signature"));
}

#[test]
fn the_log_explains_what_keys_alone_can_not() {
    let sent = body(&sign(&[9; 32], INVOICE, EVENT));
    let explained = |body: &str, signature: Option<&str>, sent_for: Option<&str>| {
        let evidence = Evidence { body, signature, ..Evidence::default() };
        let mut checks = [documented(&evidence, &keys())];
        compare(&mut checks, &evidence, std::slice::from_ref(&sent), sent_for);
        (checks[0].is_valid, findings(&checks[0]))
    };
    assert_eq!(explained(&sent, None, None), (false, vec![Finding::KeyReplaced]));
    assert_eq!(explained(&sent, None, Some("pk_x")), (false, vec![Finding::OtherApiKey]));
    let own = sign(&[7; 32], INVOICE, EVENT);
    assert_eq!(explained(&sent, Some(&own), None), (false, vec![Finding::WrongKey]));
    // Signed again with the active key: the body is the same but for its signature.
    assert_eq!(explained(&good(), None, None), (true, vec![]));
    let spaced = good().replace("\",\"", "\", \"");
    assert_eq!(explained(&spaced, None, None), (true, vec![Finding::BodyChanged]));

    let now = NOW.to_string();
    let signatures = sign_standard(&[[3; 32]], "id-1", NOW, sent.as_bytes());
    let changed = sent.replace(':', ": ");
    let evidence = Evidence {
        body: &changed,
        id: Some("id-1"),
        timestamp: Some(&now),
        signatures: Some(&signatures),
        ..Evidence::default()
    };
    let mut checks = [standard(&evidence, &keys(), Micros::from_seconds(NOW))];
    compare(&mut checks, &evidence, &[sent], None);
    assert_eq!(findings(&checks[0]), [Finding::BodyChanged]);
    assert!(checks[0].findings[0].1.contains("from byte 9 on"), "{:?}", checks[0]);
}
