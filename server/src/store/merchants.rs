//! Merchants. Each has an event log from its first moment.

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{Db, Result, UnitOfWork, all, execute, one};
use crate::domain::time::Micros;

/// Merchants returned by one list.
const LISTED_MAX: i64 = 1_000;

/// Somebody who is paid.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Merchant {
    /// Its id.
    pub id: Uuid,
    /// Its name for people.
    pub name: String,
    /// When it was approved, microseconds; its keys work from then on.
    pub approved_at: Option<i64>,
    /// Whether payments after expiry count as in time.
    pub honors_late: bool,
    /// How much may be missing from a full payment, hundredths of a percent.
    pub shortfall_basis_points: i64,
    /// When it was created, microseconds.
    pub created_at: i64,
}

const COLUMNS: &str = "id, name, approved_at, honors_late, shortfall_basis_points, created_at";

/// Inserts a merchant and its empty event log.
pub async fn insert(unit: &UnitOfWork, merchant: &Merchant) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO merchant (id, name, approved_at, honors_late, shortfall_basis_points,
            created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        vec![
            merchant.id.into(),
            merchant.name.clone().into(),
            merchant.approved_at.into(),
            merchant.honors_late.into(),
            merchant.shortfall_basis_points.into(),
            merchant.created_at.into(),
        ],
    )
    .await?;
    execute(
        unit.db(),
        "INSERT INTO merchant_seq (merchant_id, next, first, dispatched) VALUES ($1, 1, 1, 0)",
        vec![merchant.id.into()],
    )
    .await?;
    Ok(())
}

/// Approves a merchant that is not yet.
pub async fn approve(unit: &UnitOfWork, id: Uuid, at: Micros) -> Result<Option<Merchant>> {
    execute(
        unit.db(),
        "UPDATE merchant SET approved_at = $2 WHERE id = $1 AND approved_at IS NULL",
        vec![id.into(), at.0.into()],
    )
    .await?;
    let sql = format!("SELECT {COLUMNS} FROM merchant WHERE id = $1");
    one(unit.db(), &sql, vec![id.into()]).await
}

/// Changes what a merchant's new invoices are agreed on; what is `None` stays.
pub async fn update(
    unit: &UnitOfWork,
    id: Uuid,
    honors_late: Option<bool>,
    shortfall_basis_points: Option<i64>,
) -> Result<Option<Merchant>> {
    execute(
        unit.db(),
        "UPDATE merchant SET honors_late = COALESCE($2, honors_late),
            shortfall_basis_points = COALESCE($3, shortfall_basis_points) WHERE id = $1",
        vec![id.into(), honors_late.into(), shortfall_basis_points.into()],
    )
    .await?;
    let sql = format!("SELECT {COLUMNS} FROM merchant WHERE id = $1");
    one(unit.db(), &sql, vec![id.into()]).await
}

/// One merchant.
pub async fn get(db: &Db, id: Uuid) -> Result<Option<Merchant>> {
    let sql = format!("SELECT {COLUMNS} FROM merchant WHERE id = $1");
    one(db.reader(), &sql, vec![id.into()]).await
}

/// All merchants, oldest first.
pub async fn list(db: &Db) -> Result<Vec<Merchant>> {
    let sql = format!("SELECT {COLUMNS} FROM merchant ORDER BY created_at, id LIMIT $1");
    all(db.reader(), &sql, vec![LISTED_MAX.into()]).await
}
