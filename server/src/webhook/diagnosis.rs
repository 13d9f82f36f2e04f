//! Says whether a receiver should accept a body, and if not, which of the usual mistakes explains what
//! it holds against it. Every comparison of signatures is made in constant time. Not here: signing,
//! and the log of what was sent (`store`), which is handed in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use serde_json::Value;

use super::signing::{VERSION_PREFIX, keyed};
use crate::domain::time::Micros;

/// How far a `webhook-timestamp` may be from now (Standard Webhooks: libraries refuse more).
pub const TOLERANCE_SECONDS: i64 = 300;
/// What stands before the base64 of a Standard Webhooks secret.
const SECRET_PREFIX: &str = "whsec_";
/// Signatures of one `webhook-signature` that are looked at.
const SIGNATURES_MAX: usize = 8;
/// Bytes of an HMAC-SHA256.
const CODE_BYTES: usize = 32;

/// What a receiver got.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The body's exact text.
    pub body: &'a str,
    /// A signature to hold against it instead of the body's own.
    pub signature: Option<&'a str>,
    /// `webhook-id`.
    pub id: Option<&'a str>,
    /// `webhook-timestamp`.
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`.
    pub signatures: Option<&'a str>,
}

impl Evidence<'_> {
    /// Whether any header of Standard Webhooks came with it.
    pub fn has_headers(&self) -> bool {
        self.id.is_some() || self.timestamp.is_some() || self.signatures.is_some()
    }
}

/// What could have signed it.
#[derive(Clone, Default)]
pub struct Keys {
    /// The active APP_KEY.
    pub app_key: [u8; 32],
    /// The next one.
    pub app_key_next: Option<[u8; 32]>,
    /// The Standard Webhooks secret and the one before it, while that signs too.
    pub secrets: Vec<[u8; 32]>,
}

/// How it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// The signature in the body.
    Documented,
    /// The signature in the headers.
    Standard,
}

/// Which key signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUsed {
    /// The active APP_KEY.
    AppKey,
    /// The next APP_KEY.
    AppKeyNext,
    /// The Standard Webhooks secret.
    Secret,
    /// The secret before it.
    SecretPrevious,
}

/// What is wrong, or worth knowing. The contract's enum says cause and cure of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract's enum documents each of them")]
pub enum Finding {
    BodyNotJson,
    FieldMissing,
    SignatureMissing,
    SignatureMalformed,
    UpperCaseHex,
    WrongEncoding,
    KeyNotDecoded,
    WholeBodySigned,
    WrongMessage,
    WrongKey,
    OtherApiKey,
    KeyReplaced,
    BodyChanged,
    HeaderMissing,
    TimestampMalformed,
    TimestampTooOld,
    TimestampTooNew,
    KeyNotActive,
}

/// What one recipe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The recipe.
    pub recipe: Recipe,
    /// Whether a receiver that follows it accepts the body.
    pub is_valid: bool,
    /// Which key signed it.
    pub key: Option<KeyUsed>,
    /// The exact text to sign.
    pub signed_text: Option<String>,
    /// What is wrong or worth knowing, each with a sentence.
    pub findings: Vec<(Finding, String)>,
}

impl Check {
    fn new(recipe: Recipe) -> Self {
        Self { recipe, is_valid: false, key: None, signed_text: None, findings: Vec::new() }
    }

    /// Adds a finding.
    pub fn find(&mut self, finding: Finding, text: impl Into<String>) {
        self.findings.push((finding, text.into()));
    }

    fn with(mut self, finding: Finding, text: impl Into<String>) -> Self {
        self.find(finding, text);
        self
    }

    /// Puts a better explanation in the place of one that says only that nothing matched.
    pub fn explain(&mut self, finding: Finding, text: impl Into<String>) {
        self.findings.retain(|(found, _)| *found != Finding::WrongKey);
        self.find(finding, text);
    }

    /// Whether nothing explains yet why it does not match.
    pub fn is_unexplained(&self) -> bool {
        self.findings.iter().any(|(found, _)| *found == Finding::WrongKey)
    }
}

/// What the documented recipe signs, and the body's own signature.
struct Documented {
    invoice_id: String,
    event: String,
    signature: Option<String>,
}

/// The fields of a body that say which event it tells: invoice id and event, if it has both.
pub fn subject(body: &str) -> Option<(String, String)> {
    read(body).ok().map(|documented| (documented.invoice_id, documented.event))
}

fn read(body: &str) -> Result<Documented, (Finding, String)> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(body) else {
        let text = "the body is no JSON object; hand the raw bytes on before anything parses them";
        return Err((Finding::BodyNotJson, text.to_owned()));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    match (text("invoice_id"), text("event")) {
        (Some(invoice_id), Some(event)) => {
            Ok(Documented { invoice_id, event, signature: text("signature") })
        }
        _ => {
            let text = "the body lacks `invoice_id` or `event`, which are what is signed";
            Err((Finding::FieldMissing, text.to_owned()))
        }
    }
}

/// A signature's bytes and what is unusual about how they are written.
struct Written {
    code: [u8; CODE_BYTES],
    deviation: Option<(Finding, &'static str)>,
}

fn from_hex(text: &str) -> Option<Written> {
    let mut code = [0; CODE_BYTES];
    hex::decode_to_slice(text, &mut code).ok()?;
    let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let why =
        "the hex digits are upper case; they are lower case here, as PHP's hash_hmac gives them";
    Some(Written { code, deviation: upper.then_some((Finding::UpperCaseHex, why)) })
}

fn from_base64(text: &str) -> Option<Written> {
    let code = STANDARD.decode(text).ok()?;
    Some(Written { code: code.try_into().ok()?, deviation: None })
}

/// Holds a body against the documented recipe.
pub fn documented(evidence: &Evidence<'_>, keys: &Keys) -> Check {
    let mut check = Check::new(Recipe::Documented);
    let body = match read(evidence.body) {
        Ok(body) => body,
        Err((finding, text)) => return check.with(finding, text),
    };
    check.signed_text = Some(format!("{}.{}", body.invoice_id, body.event));
    let given = evidence.signature.or(body.signature.as_deref()).unwrap_or_default();
    if given.is_empty() {
        return check.with(Finding::SignatureMissing, "the body has no `signature`");
    }
    let other = (Finding::WrongEncoding, "the signature is base64; it is hex here");
    let written = from_hex(given)
        .or_else(|| from_base64(given).map(|w| Written { deviation: Some(other), ..w }));
    let Some(written) = written else {
        let text = "the signature is not 64 hex digits: compute HMAC-SHA256 and write it as hex";
        return check.with(Finding::SignatureMalformed, text);
    };
    let mut candidates = vec![(KeyUsed::AppKey, keys.app_key)];
    candidates.extend(keys.app_key_next.map(|key| (KeyUsed::AppKeyNext, key)));
    for (used, key) in candidates {
        let text = STANDARD.encode(key);
        for (bytes, deviation) in [
            (key.as_slice(), None),
            (
                text.as_bytes(),
                Some("the base64 text of APP_KEY was used as the key; decode it first"),
            ),
        ] {
            for (message, form) in messages(&body, evidence.body) {
                if !matches(bytes, &message, &written.code) {
                    continue;
                }
                check.key = Some(used);
                let deviations = written.deviation.into_iter();
                let deviations = deviations
                    .chain(deviation.map(|why| (Finding::KeyNotDecoded, why)))
                    .chain(form);
                check.findings = deviations.map(|(f, why)| (f, why.to_owned())).collect();
                check.is_valid = check.findings.is_empty();
                if used == KeyUsed::AppKeyNext {
                    let text = "it is signed with the next APP_KEY, which signs tests alone until \
                                it is activated";
                    check.find(Finding::KeyNotActive, text);
                }
                return check;
            }
        }
    }
    let text = "neither the active nor the next APP_KEY of the calling key made this signature, \
                also not in one of the usual mistakes: is it the key of this endpoint?";
    check.with(Finding::WrongKey, text)
}

type Form = Option<(Finding, &'static str)>;

/// The right message, then what is signed by mistake.
fn messages(body: &Documented, raw: &str) -> [(String, Form); 6] {
    let Documented { invoice_id, event, .. } = body;
    let wrong = |why| Some((Finding::WrongMessage, why));
    let whole = "the whole body was signed; this recipe signs `invoice_id.event` alone";
    [
        (format!("{invoice_id}.{event}"), None),
        (raw.to_owned(), Some((Finding::WholeBodySigned, whole))),
        (format!("{event}.{invoice_id}"), wrong("the event stands before the invoice id")),
        (format!("{invoice_id}{event}"), wrong("the dot between invoice id and event is missing")),
        (invoice_id.clone(), wrong("the event is missing in what was signed")),
        (format!("{invoice_id}.{event}\n"), wrong("a line end stands behind what was signed")),
    ]
}

fn matches(key: &[u8], message: &str, code: &[u8; CODE_BYTES]) -> bool {
    keyed(key).chain_update(message.as_bytes()).verify_slice(code).is_ok()
}

/// Holds a body and its headers against Standard Webhooks, at `now` of the system's clock.
pub fn standard(evidence: &Evidence<'_>, keys: &Keys, now: Micros) -> Check {
    let mut check = Check::new(Recipe::Standard);
    let given = |header: Option<&'static str>, value: Option<&str>| match value {
        Some(value) if !value.is_empty() => None,
        _ => header,
    };
    let missing: Vec<&str> = [
        given(Some("webhook-id"), evidence.id),
        given(Some("webhook-timestamp"), evidence.timestamp),
        given(Some("webhook-signature"), evidence.signatures),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (Some(id), Some(timestamp), Some(signatures)) =
        (evidence.id, evidence.timestamp, evidence.signatures)
    else {
        return check.with(Finding::HeaderMissing, format!("missing: {}", missing.join(", ")));
    };
    if !missing.is_empty() {
        return check.with(Finding::HeaderMissing, format!("empty: {}", missing.join(", ")));
    }
    let signed = format!("{id}.{timestamp}.{}", evidence.body);
    check.signed_text = Some(signed.clone());
    search(&mut check, signatures, &signed, evidence.body, keys);
    check_time(&mut check, timestamp, now);
    check.is_valid = check.key.is_some() && check.findings.is_empty();
    check
}

fn search(check: &mut Check, signatures: &str, signed: &str, body: &str, keys: &Keys) {
    let mut is_readable = false;
    for text in signatures.split(' ').take(SIGNATURES_MAX) {
        let code = text.strip_prefix(VERSION_PREFIX);
        let unversioned = (Finding::SignatureMalformed, "`v1,` before the signature is missing");
        let hex = (Finding::WrongEncoding, "the signature is hex; it is base64 here");
        let written = match from_base64(code.unwrap_or(text)) {
            Some(written) if code.is_some() => Some(written),
            Some(written) => Some(Written { deviation: Some(unversioned), ..written }),
            None => from_hex(code.unwrap_or(text))
                .map(|written| Written { deviation: Some(hex), ..written }),
        };
        let Some(written) = written else { continue };
        is_readable = true;
        if let Some((used, mistakes)) = match_standard(&written, signed, body, keys) {
            check.key = Some(used);
            check.findings = mistakes.into_iter().map(|(f, why)| (f, why.to_owned())).collect();
            return;
        }
    }
    if is_readable {
        let text = "no secret of this endpoint made this signature over this body: another secret \
                    was used, or the body is not the one that was sent";
        check.find(Finding::WrongKey, text);
    } else {
        let text = "the signature is not `v1,` and the base64 of 32 bytes";
        check.find(Finding::SignatureMalformed, text);
    }
}

fn match_standard(
    written: &Written,
    signed: &str,
    body: &str,
    keys: &Keys,
) -> Option<(KeyUsed, Vec<(Finding, &'static str)>)> {
    let names = [KeyUsed::Secret, KeyUsed::SecretPrevious];
    let not_decoded =
        Some("the secret's text was used as the key; decode the base64 behind `whsec_` first");
    let body_alone = (Finding::WrongMessage, "the body alone was signed, without id and timestamp");
    for (used, secret) in names.into_iter().zip(&keys.secrets) {
        let bare = STANDARD.encode(secret);
        let text = format!("{SECRET_PREFIX}{bare}");
        for (key, deviation) in [
            (secret.as_slice(), None),
            (text.as_bytes(), not_decoded),
            (bare.as_bytes(), not_decoded),
        ] {
            for (message, form) in [(signed, None), (body, Some(body_alone))] {
                if matches(key, message, &written.code) {
                    let deviation = deviation.map(|why| (Finding::KeyNotDecoded, why));
                    let mistakes = written.deviation.into_iter().chain(deviation).chain(form);
                    return Some((used, mistakes.collect()));
                }
            }
        }
    }
    None
}

fn check_time(check: &mut Check, timestamp: &str, now: Micros) {
    let Ok(seconds) = timestamp.parse::<i64>() else {
        let text = "the timestamp is no whole number of seconds since 1970";
        return check.find(Finding::TimestampMalformed, text);
    };
    let age = now.seconds().saturating_sub(seconds);
    if age > TOLERANCE_SECONDS {
        let text =
            format!("sent {age} seconds ago; receivers refuse more than {TOLERANCE_SECONDS}");
        check.find(Finding::TimestampTooOld, text);
    } else if age < -TOLERANCE_SECONDS {
        let text = format!("{} seconds ahead of this server's clock", age.unsigned_abs());
        check.find(Finding::TimestampTooNew, text);
    }
}

/// Holds the checks against the bodies that were really sent about the same invoice and event.
/// `sent_for` is the API key that was told, if it is another than the calling one.
pub fn compare(
    checks: &mut [Check],
    evidence: &Evidence<'_>,
    sent: &[String],
    sent_for: Option<&str>,
) {
    let exact = sent.iter().any(|body| body == evidence.body);
    let alike = sent.iter().any(|body| unsigned(body) == unsigned(evidence.body));
    let difference = sent.iter().map(|body| common(body, evidence.body)).max();
    for check in checks {
        let is_standard = check.recipe == Recipe::Standard;
        let is_own = is_standard || evidence.signature.is_none();
        if let Some(api_key) = sent_for.filter(|_| check.is_unexplained()) {
            let text = format!("it was sent for {api_key}: call with that key, use its secrets");
            check.explain(Finding::OtherApiKey, text);
        } else if exact && is_own && check.is_unexplained() {
            let text = "this very body was sent, signed with a key that was replaced since";
            check.explain(Finding::KeyReplaced, text);
        } else if let Some(offset) = difference
            && ((is_standard && !exact && check.is_unexplained()) || (!is_standard && !alike))
        {
            let text = format!(
                "what was sent differs from this body from byte {offset} on: verify the raw bytes, \
                 before anything parses and writes them again"
            );
            check.explain(Finding::BodyChanged, text);
        }
    }
}

/// A body up to its signature, which alone may differ between attempts.
fn unsigned(body: &str) -> &str {
    body.rfind("\"signature\"").and_then(|at| body.get(..at)).unwrap_or(body)
}

/// Bytes that two texts have in common at their start.
fn common(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
}
