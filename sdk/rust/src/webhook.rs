//! Checking and reading a webhook: the documented signature or that of Standard Webhooks, and the
//! documented body with money as decimal text, so that no float touches it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;

/// Why a body is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The APP_KEY is no padded base64 of 32 bytes.
    #[error("the APP_KEY is not 32 bytes in base64")]
    BadAppKey,
    /// The body is not the documented JSON.
    #[error("the body is not a webhook body")]
    BadBody,
    /// The signature is another's.
    #[error("the signature does not match")]
    BadSignature,
    /// The Standard Webhooks secret is no base64, with or without `whsec_` before it.
    #[error("the secret is not base64")]
    BadSecret,
    /// `webhook-timestamp` is no number, or more than five minutes from now: perhaps a replay.
    #[error("the timestamp is not of the last five minutes")]
    BadTimestamp,
}

/// The headers of Standard Webhooks.
#[derive(Debug, Clone, Copy)]
pub struct StandardHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

/// How far `webhook-timestamp` may be from now.
const TOLERANCE_SECONDS: u64 = 300;

/// A webhook whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEvent {
    /// The event, e.g. `payment.confirmed`.
    pub event: String,
    /// The invoice.
    pub invoice_id: String,
    /// Your own reference.
    pub order_id: Option<String>,
    /// The invoice's status.
    pub status: String,
    /// The network.
    pub network: String,
    /// The coin.
    pub coin: String,
    /// US dollars asked, decimal text.
    pub amount_usd: String,
    /// Coins asked, decimal text.
    pub amount_crypto: String,
    /// Coins seen, decimal text.
    pub paid_amount: String,
    /// The transaction that completes the amount.
    pub txid: Option<String>,
    /// How deep it is.
    pub confirmations: u32,
    /// The address.
    pub address: String,
    /// When it happened, `YYYY-MM-DDTHH:MM:SS+00:00`.
    pub timestamp: String,
}

#[derive(Deserialize)]
struct Body<'a> {
    event: String,
    invoice_id: String,
    order_id: Option<String>,
    status: String,
    network: String,
    coin: String,
    #[serde(borrow)]
    amount_usd: &'a RawValue,
    #[serde(borrow)]
    amount_crypto: &'a RawValue,
    #[serde(borrow)]
    paid_amount: &'a RawValue,
    txid: Option<String>,
    confirmations: u32,
    address: String,
    timestamp: String,
    signature: String,
}

/// Checks a body's signature and reads it. Handle each event once: deliveries can repeat, and the header
/// `webhook-id` (`x-cryptopayment-event-id` is the same) tells a repeat. `(invoice_id, event)` does so for
/// `payment.*` alone: other events of an invoice can happen again.
///
/// # Errors
/// See [`VerifyError`]; answer 400 and do nothing then.
pub fn verify(app_key: &str, body: &[u8]) -> Result<WebhookEvent, VerifyError> {
    let key = STANDARD.decode(app_key).map_err(|_| VerifyError::BadAppKey)?;
    if key.len() != 32 {
        return Err(VerifyError::BadAppKey);
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| VerifyError::BadBody)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| VerifyError::BadAppKey)?;
    mac.update(format!("{}.{}", body.invoice_id, body.event).as_bytes());
    let given = decode_hex(&body.signature).ok_or(VerifyError::BadSignature)?;
    mac.verify_slice(&given).map_err(|_| VerifyError::BadSignature)?;
    Ok(body.into())
}

/// Checks a body by its Standard Webhooks headers and reads it. Other than the documented signature
/// this one covers the whole body and its time. Handle each `headers.id` once: deliveries can repeat.
/// `secret` is the endpoint's `signing_secret`.
///
/// # Errors
/// See [`VerifyError`]; answer 400 and do nothing then.
pub fn verify_standard(
    secret: &str,
    headers: StandardHeaders<'_>,
    body: &[u8],
) -> Result<WebhookEvent, VerifyError> {
    #[expect(clippy::disallowed_methods, reason = "a replay is told by the receiver's clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    verify_standard_at(now, secret, headers, body)
}

fn verify_standard_at(
    now: u64,
    secret: &str,
    headers: StandardHeaders<'_>,
    body: &[u8],
) -> Result<WebhookEvent, VerifyError> {
    let key = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = STANDARD.decode(key).map_err(|_| VerifyError::BadSecret)?;
    let sent: u64 = headers.timestamp.parse().map_err(|_| VerifyError::BadTimestamp)?;
    if now.abs_diff(sent) > TOLERANCE_SECONDS {
        return Err(VerifyError::BadTimestamp);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| VerifyError::BadSecret)?;
    mac.update(format!("{}.{}.", headers.id, headers.timestamp).as_bytes());
    mac.update(body);
    let mut given = headers.signature.split(' ').filter_map(|text| text.strip_prefix("v1,"));
    let matches = given.any(|text| {
        let code = STANDARD.decode(text).unwrap_or_default();
        mac.clone().verify_slice(&code).is_ok()
    });
    if !matches {
        return Err(VerifyError::BadSignature);
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| VerifyError::BadBody)?;
    Ok(body.into())
}

impl From<Body<'_>> for WebhookEvent {
    fn from(body: Body<'_>) -> Self {
        Self {
            event: body.event,
            invoice_id: body.invoice_id,
            order_id: body.order_id,
            status: body.status,
            network: body.network,
            coin: body.coin,
            amount_usd: body.amount_usd.get().to_owned(),
            amount_crypto: body.amount_crypto.get().to_owned(),
            paid_amount: body.paid_amount.get().to_owned(),
            txid: body.txid,
            confirmations: body.confirmations,
            address: body.address,
            timestamp: body.timestamp,
        }
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `hmac.new(bytes(range(32)), b"550e8400.payment.confirmed", sha256)` of Python's library.
    const SIGNATURE: &str = "2533e4afdf9dea22b7a239980807d69c5aa44524f5bb552e198c3c5582f3c915";
    const APP_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn body(signature: &str) -> String {
        format!(
            r#"{{"event":"payment.confirmed","invoice_id":"550e8400","order_id":null,
            "status":"confirmed","network":"trc20","coin":"USDT","amount_usd":50.00,
            "amount_crypto":50.00,"paid_amount":0.30000000000000004,"txid":"a1","confirmations":19,
            "address":"T","timestamp":"2024-01-15T10:05:00+00:00","signature":"{signature}"}}"#
        )
    }

    #[test]
    fn a_genuine_body_is_read_to_the_digit() {
        let event = verify(APP_KEY, body(SIGNATURE).as_bytes()).unwrap();
        assert_eq!(event.amount_usd, "50.00");
        assert_eq!(event.paid_amount, "0.30000000000000004");
        assert_eq!(event.order_id, None);
    }

    #[test]
    fn anything_else_is_refused() {
        let other = SIGNATURE.replacen(SIGNATURE.get(..1).unwrap(), "0", 1);
        let other = if other == SIGNATURE { SIGNATURE.replacen('0', "1", 1) } else { other };
        for bad in [other.as_str(), "", "zz", "é"] {
            let refused = verify(APP_KEY, body(bad).as_bytes());
            assert_eq!(refused, Err(VerifyError::BadSignature), "{bad}");
        }
        assert_eq!(verify(APP_KEY, b"{}"), Err(VerifyError::BadBody));
        assert_eq!(verify("AAEC", body(SIGNATURE).as_bytes()), Err(VerifyError::BadAppKey));
    }
    /// The example of Standard Webhooks' own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const AT: u64 = 1_614_265_330;

    fn headers(signature: &str) -> StandardHeaders<'_> {
        StandardHeaders { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: "1614265330", signature }
    }

    #[test]
    fn the_specifications_example_passes_but_for_its_body() {
        let body = br#"{"test": 2432232314}"#;
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        // Its signature is right: what is refused is that it is no body of ours.
        let passed = Err(VerifyError::BadBody);
        let both = format!("v1,AAAA v1a,{good} {good}");
        for signature in [good, both.as_str()] {
            assert_eq!(verify_standard_at(AT, SECRET, headers(signature), body), passed);
        }
        assert_eq!(verify_standard_at(AT + 300, SECRET, headers(good), body), passed);
        let bare = SECRET.trim_start_matches("whsec_");
        assert_eq!(verify_standard_at(AT - 300, bare, headers(good), body), passed);
        for at in [AT + 301, AT - 301] {
            let late = verify_standard_at(at, SECRET, headers(good), body);
            assert_eq!(late, Err(VerifyError::BadTimestamp));
        }
        for (secret, signature, body, why) in [
            ("whsec_AAEC", good, body.as_slice(), VerifyError::BadSignature),
            ("whsec_%", good, body, VerifyError::BadSecret),
            (SECRET, &good[3..], body, VerifyError::BadSignature),
            (SECRET, "", body, VerifyError::BadSignature),
            (SECRET, good, br#"{"test":2432232314}"#, VerifyError::BadSignature),
        ] {
            assert_eq!(verify_standard_at(AT, secret, headers(signature), body), Err(why));
        }
    }
}
