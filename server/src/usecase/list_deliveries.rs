//! Reading a merchant's delivery log: pages of deliveries by token, one with its attempts, and what
//! was sent about an event. Not here: sending again (`redeliver`).

use uuid::Uuid;

use super::Caller;
use super::page_token::Binding;
use crate::domain::event::EventKind;
use crate::domain::failure::{Class, Failure, Reason};
use crate::store::Db;
use crate::store::delivery_log::{self, Attempt, Delivery, DeliveryFilter, OperatorFilter};

/// Deliveries on a page.
pub const PER_PAGE: u32 = 20;
/// Deliveries on a page of the operator's.
pub const OPERATOR_PER_PAGE: u32 = 50;
/// Attempts of one delivery that are shown.
pub const ATTEMPTS_SHOWN_MAX: u32 = 50;

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The deliveries, newest event first.
    pub deliveries: Vec<Delivery>,
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
    filter: &DeliveryFilter,
    token: Option<&str>,
) -> Result<Page, Failure> {
    let merchant_id = caller.merchant_id;
    let binding = Binding::of(merchant_id, "deliveries", filter);
    let after = token.map(|token| binding.decode_row(token)).transpose()?;
    let mut deliveries = delivery_log::list(db, merchant_id, filter, after, PER_PAGE + 1).await?;
    let more = deliveries.len() > PER_PAGE as usize;
    deliveries.truncate(PER_PAGE as usize);
    let position = |last: &Delivery| {
        let seq = i64::try_from(last.seq).unwrap_or(i64::MAX);
        binding.encode_row(seq, last.id)
    };
    let next_page_token = deliveries.last().filter(|_| more).map(position);
    let total = delivery_log::count(db, merchant_id, filter).await?;
    let last_page = total.div_ceil(PER_PAGE).max(1);
    Ok(Page { deliveries, total, last_page, next_page_token })
}

/// Returns one delivery with its newest attempts.
pub async fn get(db: &Db, caller: &Caller, id: Uuid) -> Result<(Delivery, Vec<Attempt>), Failure> {
    let merchant_id = caller.merchant_id;
    // In this order: whoever sees an attempt also sees what it did to the delivery.
    let attempts = delivery_log::attempts(db, merchant_id, id, ATTEMPTS_SHOWN_MAX).await?;
    let delivery = delivery_log::get(db, merchant_id, id).await?.ok_or_else(not_found)?;
    Ok((delivery, attempts))
}

/// A page of all merchants' deliveries, and the id that the next page begins before.
pub async fn of_all(
    db: &Db,
    filter: &OperatorFilter,
    before: Option<Uuid>,
) -> Result<(Vec<Delivery>, Option<Uuid>), Failure> {
    let mut found = delivery_log::list_all(db, filter, before, OPERATOR_PER_PAGE + 1).await?;
    let more = found.len() > OPERATOR_PER_PAGE as usize;
    found.truncate(OPERATOR_PER_PAGE as usize);
    let next = found.last().filter(|_| more).map(|last| last.id);
    Ok((found, next))
}

/// One delivery of any merchant with its newest attempts.
pub async fn get_any(db: &Db, id: Uuid) -> Result<(Delivery, Vec<Attempt>), Failure> {
    let (merchant_id, _) = delivery_log::get_any(db, id).await?.ok_or_else(not_found)?;
    let attempts = delivery_log::attempts(db, merchant_id, id, ATTEMPTS_SHOWN_MAX).await?;
    // As in `get`: an attempt that is seen has done its work on what is read after it.
    let delivery = delivery_log::get(db, merchant_id, id).await?.ok_or_else(not_found)?;
    Ok((delivery, attempts))
}

/// The newest delivery about an invoice and event, with the bodies that its attempts sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The delivery.
    pub delivery: Delivery,
    /// The bodies, as they are known.
    pub bodies: Vec<String>,
}

/// What the merchant was sent about an invoice and event, in whatever form a caller names them.
pub async fn sent(
    db: &Db,
    caller: &Caller,
    invoice_id: &str,
    event: &str,
) -> Result<Option<Sent>, Failure> {
    let (Ok(invoice_id), Some(kind)) = (Uuid::try_parse(invoice_id), EventKind::parse(event))
    else {
        return Ok(None);
    };
    let filter = DeliveryFilter { invoice_id: Some(invoice_id), kind: Some(kind), state: None };
    let merchant_id = caller.merchant_id;
    let found = delivery_log::list(db, merchant_id, &filter, None, 1).await?;
    let Some(delivery) = found.into_iter().next() else { return Ok(None) };
    let attempts = delivery_log::attempts(db, merchant_id, delivery.id, ATTEMPTS_SHOWN_MAX).await?;
    let bodies = attempts.into_iter().map(|attempt| attempt.request_body);
    let bodies = bodies.filter(|body| !body.is_empty()).collect();
    Ok(Some(Sent { delivery, bodies }))
}

/// There is no such delivery.
pub fn not_found() -> Failure {
    Failure::new(Class::NotFound, Reason::DeliveryNotFound, "there is no such delivery")
}
