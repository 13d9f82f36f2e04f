//! Checking and reading a webhook: the documented signature, and the documented body with money as
//! decimal text, so that no float touches it.

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
}

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

/// Checks a body's signature and reads it. Handle each `(invoice_id, event)` once: deliveries can
/// repeat.
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
    Ok(WebhookEvent {
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
    })
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
}
