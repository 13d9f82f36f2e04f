//! Listing a merchant's invoices by page number or by token. A token names the last invoice of the
//! page before, so that nothing is skipped or repeated while new ones come in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Caller;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::time::Micros;
use crate::store::Db;
use crate::store::invoices::{self, InvoiceFilter, InvoiceView, PageStart};

/// Invoices on a page.
pub const PER_PAGE: u32 = 20;
/// The deepest page that can be asked for by number.
pub const PAGE_MAX: u32 = 500;
/// Bytes of a decoded token: time, id, and what binds it to its list.
const TOKEN_BYTES: usize = 8 + 16 + 8;

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The invoices, newest first.
    pub invoices: Vec<InvoiceView>,
    /// The page's number, unless it was asked for by token.
    pub page: Option<u32>,
    /// Rows of the whole list, counted to 10,000.
    pub total: u32,
    /// The last page that has rows, at least 1.
    pub last_page: u32,
    /// Continues after this page.
    pub next_page_token: Option<String>,
}

/// Returns one page.
pub async fn run(
    db: &Db,
    caller: &Caller,
    filter: &InvoiceFilter,
    page: Option<u32>,
    token: Option<&str>,
) -> Result<Page, Failure> {
    let binding = binding(caller.merchant_id, filter);
    let (start, page) = match (page, token) {
        (Some(_), Some(_)) => {
            let hint = "can not be given together with page";
            return Err(Failure::field("page_token", Reason::InvalidField, hint));
        }
        (None, Some(token)) => (decode(token, binding)?, None),
        (page, None) => {
            let page = page.unwrap_or(1);
            (PageStart::Offset(offset_of(page)?), Some(page))
        }
    };
    let mut invoices = invoices::list(db, caller.merchant_id, filter, start, PER_PAGE + 1).await?;
    let more = invoices.len() > PER_PAGE as usize;
    invoices.truncate(PER_PAGE as usize);
    let total = invoices::count(db, caller.merchant_id, filter).await?;
    let next_page_token = invoices
        .last()
        .filter(|_| more)
        .map(|last| encode(last.invoice.created_at, last.invoice.id, binding));
    let last_page = total.div_ceil(PER_PAGE).max(1);
    Ok(Page { invoices, page, total, last_page, next_page_token })
}

fn offset_of(page: u32) -> Result<u64, Failure> {
    if page == 0 {
        return Err(Failure::field("page", Reason::InvalidField, "must be at least 1"));
    }
    if page > PAGE_MAX {
        let hint = format!("is beyond {PAGE_MAX}; continue with page_token");
        let failure = Failure::field("page", Reason::PageTooDeep, hint);
        return Err(Failure { class: Class::OutOfRange, ..failure });
    }
    Ok(u64::from(page - 1) * u64::from(PER_PAGE))
}

/// What ties a token to its merchant and filters: eight bytes of a hash over them.
fn binding(merchant_id: Uuid, filter: &InvoiceFilter) -> [u8; 8] {
    let mut hasher = Sha256::new();
    hasher.update(merchant_id.as_bytes());
    hasher.update(format!("{filter:?}").as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let mut binding = [0; 8];
    binding.copy_from_slice(&digest[..8]);
    binding
}

fn encode(created_at: Micros, id: Uuid, binding: [u8; 8]) -> String {
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    bytes.extend_from_slice(&created_at.0.to_be_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(&binding);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(token: &str, binding: [u8; 8]) -> Result<PageStart, Failure> {
    let refused = || {
        let hint = "is damaged or belongs to another list";
        Failure::field("page_token", Reason::InvalidPageToken, hint)
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
    let bytes = <[u8; TOKEN_BYTES]>::try_from(bytes.as_slice()).map_err(|_| refused())?;
    let (position, bound) = bytes.split_at(24);
    if bound != binding {
        return Err(refused());
    }
    let (time, id) = position.split_at(8);
    let time = <[u8; 8]>::try_from(time).map_err(|_| refused())?;
    let id = Uuid::from_slice(id).map_err(|_| refused())?;
    Ok(PageStart::After(Micros(i64::from_be_bytes(time)), id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_belongs_to_its_list_alone() {
        let filter = InvoiceFilter::default();
        let mine = binding(Uuid::from_u128(1), &filter);
        let token = encode(Micros(5), Uuid::from_u128(9), mine);
        assert!(matches!(
            decode(&token, mine).unwrap(),
            PageStart::After(Micros(5), id) if id == Uuid::from_u128(9)
        ));
        let other_merchant = binding(Uuid::from_u128(2), &filter);
        let narrower = InvoiceFilter { order_id: Some("a".to_owned()), ..filter };
        let other_filter = binding(Uuid::from_u128(1), &narrower);
        for wrong in [other_merchant, other_filter] {
            assert_eq!(decode(&token, wrong).unwrap_err().reason, Reason::InvalidPageToken);
        }
        assert!(decode("", mine).is_err() && decode("%%%", mine).is_err());
    }

    #[test]
    fn pages_are_counted_from_one_to_five_hundred() {
        assert_eq!(offset_of(1).unwrap(), 0);
        assert_eq!(offset_of(500).unwrap(), 9_980);
        assert_eq!(offset_of(0).unwrap_err().reason, Reason::InvalidField);
        assert_eq!(offset_of(501).unwrap_err().reason, Reason::PageTooDeep);
    }
}
