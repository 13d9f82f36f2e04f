//! The two signatures of a webhook: the documented hex(HMAC-SHA256(APP_KEY, invoice_id + "." + event))
//! and that of Standard Webhooks (https://www.standardwebhooks.com, specification of 2023). Not here:
//! which key is active (`store`), the request that carries them, the search for mistakes (`diagnosis`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What stands before a symmetric signature.
pub const VERSION_PREFIX: &str = "v1,";
/// Bytes of a block of SHA-256, the longest key that HMAC takes as it is.
const BLOCK_BYTES: usize = 64;

/// The signature of `event` of `invoice_id`, lower-case hexadecimal, 64 characters. `app_key` is
/// the decoded `APP_KEY` (merchants see it in base64).
pub fn sign(app_key: &[u8; 32], invoice_id: &str, event: &str) -> String {
    hex::encode(mac(app_key, invoice_id, event).finalize().into_bytes())
}

/// Whether `signature` is that of `event` of `invoice_id`; compares in constant time and takes the
/// documented lower-case form only.
pub fn verify(app_key: &[u8; 32], invoice_id: &str, event: &str, signature: &str) -> bool {
    if signature.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return false;
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(signature, &mut bytes).is_ok()
        && mac(app_key, invoice_id, event).verify_slice(&bytes).is_ok()
}

/// The value of `webhook-signature`: one signature per secret, with spaces between them, over
/// `id.timestamp.body`. `timestamp` is in seconds since 1970.
pub fn sign_standard(secrets: &[[u8; 32]], id: &str, timestamp: i64, body: &[u8]) -> String {
    let start = format!("{id}.{timestamp}.");
    let signatures = secrets.iter().map(|secret| {
        let code = keyed(secret).chain_update(start.as_bytes()).chain_update(body);
        format!("{VERSION_PREFIX}{}", STANDARD.encode(code.finalize().into_bytes()))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

fn mac(app_key: &[u8; 32], invoice_id: &str, event: &str) -> Hmac<Sha256> {
    let mac = keyed(app_key).chain_update(invoice_id.as_bytes());
    mac.chain_update(b".").chain_update(event.as_bytes())
}

/// HMAC-SHA256 with a key of up to [`BLOCK_BYTES`]; what is beyond them is cut off.
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // A key shorter than the hash's block is padded with zeros (RFC 2104, 2); done here, because a
    // key of exactly one block is the form that cannot fail.
    let mut block = Zeroizing::new([0; BLOCK_BYTES]);
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    Hmac::<Sha256>::new((&*block).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const INVOICE: &str = "550e8400-e29b-41d4-a716-446655440000";
    /// Bytes 0 to 31: base64 `AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=`.
    const KEY: [u8; 32] = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        25, 26, 27, 28, 29, 30, 31,
    ];

    /// Computed with OpenSSL 3.0: `printf %s '<invoice>.<event>' | openssl dgst -sha256 -mac HMAC
    /// -macopt hexkey:000102..1f`, and with Python's `hmac`; both gave these.
    const VECTORS: [(&str, &str); 2] = [
        ("payment.detected", "023db3e78c6f68670f5ac3602a09a43965f7f361b869f84a7eb5ecf45034d427"),
        ("payment.confirmed", "436f797df8270532a1939b78b4f60acb52643da194f7f1b0297eb45657e7a2eb"),
    ];

    #[test]
    fn signatures_equal_those_of_other_implementations() {
        for (event, expected) in VECTORS {
            assert_eq!(sign(&KEY, INVOICE, event), expected);
            assert!(verify(&KEY, INVOICE, event, expected));
        }
    }

    /// The example of the specification's own libraries: their secret, id and timestamp, their result.
    #[test]
    fn standard_signatures_equal_the_specifications_example() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        let code = keyed(&secret).chain_update(message).finalize().into_bytes();
        assert_eq!(STANDARD.encode(code), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = sign_standard(&[KEY, [7; 32]], "id-1", 5, b"{}");
        let (one, two) = both.split_once(' ').unwrap();
        assert_eq!(one, sign_standard(&[KEY], "id-1", 5, b"{}"));
        assert_eq!(two, sign_standard(&[[7; 32]], "id-1", 5, b"{}"));
        assert_eq!(sign_standard(&[], "id-1", 5, b"{}"), "");
    }

    #[test]
    fn anything_else_is_refused() {
        let good = sign(&KEY, INVOICE, "payment.confirmed");
        assert!(!verify(&KEY, INVOICE, "payment.detected", &good));
        assert!(!verify(&KEY, "550e8400", "payment.confirmed", &good));
        assert!(!verify(&[0; 32], INVOICE, "payment.confirmed", &good));
        for bad in ["", "zz", &good[..62], &good.to_uppercase(), &format!("{good}00")] {
            assert!(!verify(&KEY, INVOICE, "payment.confirmed", bad), "{bad}");
        }
    }
}
