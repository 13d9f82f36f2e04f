//! Reading unexpected deposits: pages of them for the operator, the newest first, and one. Not here:
//! settling one (`settle_unexpected`).

use uuid::Uuid;

use crate::domain::failure::{Class, Failure, Reason};
use crate::store::Db;
use crate::store::unexpected_deposits::{self, UnexpectedDeposit, UnexpectedFilter};

/// Unexpected deposits on a page.
pub const PER_PAGE: u32 = 50;

/// A page of them, and the id that the next page begins before.
pub async fn run(
    db: &Db,
    filter: &UnexpectedFilter,
    before: Option<Uuid>,
) -> Result<(Vec<UnexpectedDeposit>, Option<Uuid>), Failure> {
    let mut found = unexpected_deposits::list(db, filter, before, PER_PAGE + 1).await?;
    let more = found.len() > PER_PAGE as usize;
    found.truncate(PER_PAGE as usize);
    let next = found.last().filter(|_| more).map(|last| last.id);
    Ok((found, next))
}

/// One of them.
pub async fn get(db: &Db, id: Uuid) -> Result<UnexpectedDeposit, Failure> {
    unexpected_deposits::get(db, id).await?.ok_or_else(not_found)
}

/// There is no such unexpected deposit.
pub fn not_found() -> Failure {
    let text = "there is no such unexpected deposit";
    Failure::new(Class::NotFound, Reason::UnexpectedDepositNotFound, text)
}
