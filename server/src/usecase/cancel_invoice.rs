//! Canceling an invoice for which nothing was seen. It goes through the same evaluation as
//! everything else that changes a status.

use uuid::Uuid;

use super::apply_deposits::ApplyDeposits;
use super::{CONFLICT_RETRIES_MAX, Caller};
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::invoice::{Standing, Status};
use crate::store::invoices::{self, Invoice, InvoiceView};
use crate::store::{StoreError, cursor, deposits};

/// Cancels an invoice of the caller's; canceling a canceled one returns it as it is.
pub async fn run(apply: &ApplyDeposits, caller: &Caller, id: Uuid) -> Result<InvoiceView, Failure> {
    for _ in 0..CONFLICT_RETRIES_MAX {
        match attempt(apply, caller, id).await? {
            Attempt::Done => {
                let view = invoices::get(&apply.db, caller.merchant_id, id).await?;
                return view.ok_or_else(not_found);
            }
            Attempt::Again => {}
        }
    }
    Err(StoreError::Conflict("invoice kept moving".to_owned()).into())
}

enum Attempt {
    Done,
    Again,
}

async fn attempt(apply: &ApplyDeposits, caller: &Caller, id: Uuid) -> Result<Attempt, Failure> {
    let mut unit = apply.db.begin("cancel_invoice").await?;
    let locked = invoices::lock(&unit, &[id]).await?.pop();
    let invoice = locked.filter(|i| i.merchant_id == caller.merchant_id).ok_or_else(not_found)?;
    if invoice.standing.canceled {
        return Ok(Attempt::Done);
    }
    let cursor = cursor::get_in(&unit, invoice.network).await?;
    let cursor = cursor.ok_or_else(|| Failure::internal("invoice on a network never scanned"))?;
    let seen = deposits::of_invoices(&unit, &[id]).await?;
    if invoice.standing.status != Status::Pending || !seen.is_empty() {
        return Err(Failure::new(
            Class::FailedPrecondition,
            Reason::InvoiceNotCancelable,
            "the invoice can not be canceled: a payment was seen or it is closed",
        ));
    }
    let now = apply.env.now();
    invoices::mark_canceled(&unit, id, now).await?;
    let standing = Standing { canceled: true, ..invoice.standing };
    let invoice = Invoice { standing, ..invoice };
    let (network, moment) = (invoice.network, cursor.moment(now));
    match apply.settle(&mut unit, network, &[(invoice, Vec::new())], moment).await {
        Ok(()) => {}
        Err(StoreError::Conflict(_)) => return Ok(Attempt::Again),
        Err(error) => return Err(error.into()),
    }
    match unit.commit().await {
        Ok(_) => Ok(Attempt::Done),
        Err(StoreError::Conflict(_)) => Ok(Attempt::Again),
        Err(error) => Err(error.into()),
    }
}

/// There is no such invoice, or it is another merchant's: the same answer for both.
pub fn not_found() -> Failure {
    Failure::new(Class::NotFound, Reason::InvoiceNotFound, "there is no such invoice")
}
