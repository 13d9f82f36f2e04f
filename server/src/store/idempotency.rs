//! Idempotency keys: written in the transaction of the effect they stand for, so that a key and its
//! effect exist together or not at all. Only successes are kept.

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{Db, Result, StoreError, UnitOfWork, execute, one};
use crate::domain::time::Micros;

/// Microseconds of a day, for pruning by day.
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Keys forgotten by one unit of work.
const PRUNED_KEYS_MAX: i64 = 1_000;

/// A key on its way in.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Whose key: the merchant.
    pub principal_id: Uuid,
    /// The RPC's full name.
    pub method: &'static str,
    /// The caller's key.
    pub key: String,
    /// SHA-256 over the parsed values of the request.
    pub request_hash: [u8; 32],
    /// What the effect creates.
    pub resource_id: Uuid,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It is new: the effect goes with it.
    New,
    /// The same request had this effect before.
    Existing(Uuid),
    /// The key stands for another request.
    Conflict,
}

#[derive(FromQueryResult)]
struct Row {
    request_hash: Vec<u8>,
    resource_id: Uuid,
}

#[derive(FromQueryResult)]
struct DayRow {
    day: Option<i64>,
}

/// Claims a key. A twin in another transaction waits here for the first and then sees its effect.
pub async fn claim(unit: &UnitOfWork, claim: &Claim, now: Micros) -> Result<Claimed> {
    let inserted = execute(
        unit.db(),
        "INSERT INTO idempotency (principal_id, method, key, request_hash, resource_id, code, day)
         VALUES ($1, $2, $3, $4, $5, 0, $6) ON CONFLICT (principal_id, method, key) DO NOTHING",
        vec![
            claim.principal_id.into(),
            claim.method.into(),
            claim.key.clone().into(),
            claim.request_hash.to_vec().into(),
            claim.resource_id.into(),
            now.0.div_euclid(MICROS_PER_DAY).into(),
        ],
    )
    .await?;
    if inserted == 1 {
        return Ok(Claimed::New);
    }
    let row: Option<Row> = one(
        unit.db(),
        "SELECT request_hash, resource_id FROM idempotency
         WHERE principal_id = $1 AND method = $2 AND key = $3",
        vec![claim.principal_id.into(), claim.method.into(), claim.key.clone().into()],
    )
    .await?;
    let row = row.ok_or_else(|| StoreError::Conflict("idempotency key vanished".to_owned()))?;
    if row.request_hash == claim.request_hash {
        Ok(Claimed::Existing(row.resource_id))
    } else {
        Ok(Claimed::Conflict)
    }
}

/// Forgets the oldest keys that were claimed more than `retention_days` whole days before `now`.
/// Returns whether there may be more of them.
pub async fn prune(db: &Db, retention_days: u32, now: Micros) -> Result<bool> {
    let first_kept = now.0.div_euclid(MICROS_PER_DAY) - i64::from(retention_days);
    let oldest: Option<DayRow> =
        one(db.reader(), "SELECT MIN(day) AS day FROM idempotency", vec![]).await?;
    if oldest.and_then(|row| row.day).is_none_or(|day| day >= first_kept) {
        return Ok(false);
    }
    let unit = db.begin("prune_idempotency").await?;
    let pruned = execute(
        unit.db(),
        "DELETE FROM idempotency WHERE (principal_id, method, key) IN (
            SELECT principal_id, method, key FROM idempotency WHERE day < $1
            ORDER BY day LIMIT $2)",
        vec![first_kept.into(), PRUNED_KEYS_MAX.into()],
    )
    .await?;
    unit.commit().await?;
    Ok(i64::try_from(pruned) == Ok(PRUNED_KEYS_MAX))
}
