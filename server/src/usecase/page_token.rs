//! Page tokens: where a page of a list ended, as opaque text that belongs to this list alone. What a
//! position consists of is the list's own business.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::failure::{Failure, Reason};

/// Bytes that tie a token to its list.
const BINDING_BYTES: usize = 8;
/// Characters of a token; a longer one is not even decoded.
const TOKEN_CHARS_MAX: usize = 1_024;

/// What ties a token to its list: a hash over its merchant, its name and its filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding([u8; BINDING_BYTES]);

impl Binding {
    /// The binding of a merchant's list.
    pub fn of(merchant_id: Uuid, list: &str, filter: &impl Debug) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(merchant_id.as_bytes());
        hasher.update(format!("{list} {filter:?}").as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut binding = [0; BINDING_BYTES];
        binding.copy_from_slice(&digest[..BINDING_BYTES]);
        Self(binding)
    }

    /// The token of a position.
    pub fn encode(self, position: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([position, &self.0].concat())
    }

    /// The position of a token of this list.
    pub fn decode(self, token: &str) -> Result<Vec<u8>, Failure> {
        let bytes = Some(token).filter(|token| token.len() <= TOKEN_CHARS_MAX);
        let mut bytes =
            bytes.and_then(|token| URL_SAFE_NO_PAD.decode(token).ok()).ok_or_else(refused)?;
        let bound = bytes.len().checked_sub(BINDING_BYTES).map(|at| bytes.split_off(at));
        if bound.as_deref() == Some(&self.0) { Ok(bytes) } else { Err(refused()) }
    }

    /// The token of a list that is ordered by a number and then by id.
    pub fn encode_row(self, order: i64, id: Uuid) -> String {
        self.encode(&[&order.to_be_bytes()[..], id.as_bytes()].concat())
    }

    /// The number and id in such a token.
    pub fn decode_row(self, token: &str) -> Result<(i64, Uuid), Failure> {
        let position = self.decode(token)?;
        let (order, id) = position.split_at_checked(8).ok_or_else(refused)?;
        let order = <[u8; 8]>::try_from(order).map_err(|_| refused())?;
        let id = Uuid::from_slice(id).map_err(|_| refused())?;
        Ok((i64::from_be_bytes(order), id))
    }
}

/// What a token that fits no position gets.
pub fn refused() -> Failure {
    let hint = "is damaged or belongs to another list";
    Failure::field("page_token", Reason::InvalidPageToken, hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_belongs_to_its_list_alone() {
        let mine = Binding::of(Uuid::from_u128(1), "invoices", &Some("a"));
        let token = mine.encode(b"here");
        assert_eq!(mine.decode(&token).unwrap(), b"here");
        let others = [
            Binding::of(Uuid::from_u128(2), "invoices", &Some("a")),
            Binding::of(Uuid::from_u128(1), "entries", &Some("a")),
            Binding::of(Uuid::from_u128(1), "invoices", &Some("b")),
        ];
        for other in others {
            assert_eq!(other.decode(&token).unwrap_err().reason, Reason::InvalidPageToken);
        }
        let row = mine.encode_row(-5, Uuid::from_u128(9));
        assert_eq!(mine.decode_row(&row).unwrap(), (-5, Uuid::from_u128(9)));
        for short in [&b"short"[..], &[0; 23], &[0; 25]] {
            assert!(mine.decode_row(&mine.encode(short)).is_err());
        }
        for damaged in ["", "%%%", "AAAA", &token[1..], &"A".repeat(5_000)] {
            assert!(mine.decode(damaged).is_err(), "{damaged}");
        }
    }
}
