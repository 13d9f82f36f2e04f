//! Page tokens: where the page before ended, tied to its merchant, list and filters. Lists are read on
//! by key, so that nothing is skipped or repeated while new rows come in. Not here: any list.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::failure::{Failure, Reason};

/// Bytes of a position: a number to sort by, and an id.
const POSITION_BYTES: usize = 8 + 16;
/// Bytes of what binds a token to its list.
const BINDING_BYTES: usize = 8;

/// What ties a token to its merchant and filters: eight bytes of a hash over them. The filter's type
/// stands for the list.
pub fn binding(merchant_id: Uuid, filter: &impl fmt::Debug) -> [u8; BINDING_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(merchant_id.as_bytes());
    hasher.update(format!("{filter:?}").as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let mut binding = [0; BINDING_BYTES];
    binding.copy_from_slice(&digest[..BINDING_BYTES]);
    binding
}

/// The token of a position.
pub fn encode(order: i64, id: Uuid, binding: [u8; BINDING_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode([&order.to_be_bytes(), id.as_bytes().as_slice(), &binding].concat())
}

/// The position of a token.
///
/// # Errors
/// When it is damaged or belongs to another list.
pub fn decode(token: &str, binding: [u8; BINDING_BYTES]) -> Result<(i64, Uuid), Failure> {
    let refused = || {
        let hint = "is damaged or belongs to another list";
        Failure::field("page_token", Reason::InvalidPageToken, hint)
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
    let bytes = <[u8; POSITION_BYTES + BINDING_BYTES]>::try_from(bytes.as_slice())
        .map_err(|_| refused())?;
    let (position, bound) = bytes.split_at(POSITION_BYTES);
    if bound != binding {
        return Err(refused());
    }
    let (order, id) = position.split_at(8);
    let order = <[u8; 8]>::try_from(order).map_err(|_| refused())?;
    let id = Uuid::from_slice(id).map_err(|_| refused())?;
    Ok((i64::from_be_bytes(order), id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::delivery_log::DeliveryFilter;
    use crate::store::invoices::InvoiceFilter;

    #[test]
    fn a_token_belongs_to_its_list_alone() {
        let filter = InvoiceFilter::default();
        let merchant = Uuid::from_u128(1);
        let mine = binding(merchant, &filter);
        let token = encode(5, Uuid::from_u128(9), mine);
        assert_eq!(decode(&token, mine).unwrap(), (5, Uuid::from_u128(9)));
        let other_merchant = binding(Uuid::from_u128(2), &filter);
        let narrower = InvoiceFilter { order_id: Some("a".to_owned()), ..filter };
        let other_filter = binding(merchant, &narrower);
        let other_list = binding(merchant, &DeliveryFilter::default());
        for wrong in [other_merchant, other_filter, other_list] {
            assert_eq!(decode(&token, wrong).unwrap_err().reason, Reason::InvalidPageToken);
        }
        assert!(decode("", mine).is_err() && decode("%%%", mine).is_err());
    }
}
