//! Listing a merchant's invoices by page number or by token. A token names the last invoice of the
//! page before, so that nothing is skipped or repeated while new ones come in.

use super::Caller;
use super::page_token::Binding;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::time::Micros;
use crate::store::Db;
use crate::store::invoices::{self, InvoiceFilter, InvoiceView, PageStart};

/// Invoices on a page.
pub const PER_PAGE: u32 = 20;
/// The deepest page that can be asked for by number.
pub const PAGE_MAX: u32 = 500;

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
    let binding = Binding::of(caller.merchant_id, "invoices", filter);
    let (start, page) = match (page, token) {
        (Some(_), Some(_)) => {
            let hint = "can not be given together with page";
            return Err(Failure::field("page_token", Reason::InvalidField, hint));
        }
        (None, Some(token)) => {
            let (created_at, id) = binding.decode_row(token)?;
            (PageStart::After(Micros(created_at), id), None)
        }
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
        .map(|last| binding.encode_row(last.invoice.created_at.0, last.invoice.id));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pages_are_counted_from_one_to_five_hundred() {
        assert_eq!(offset_of(1).unwrap(), 0);
        assert_eq!(offset_of(500).unwrap(), 9_980);
        assert_eq!(offset_of(0).unwrap_err().reason, Reason::InvalidField);
        assert_eq!(offset_of(501).unwrap_err().reason, Reason::PageTooDeep);
    }
}
