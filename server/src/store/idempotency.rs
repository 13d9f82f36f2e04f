//! Idempotency keys: written in the transaction of the effect they stand for, so that a key and its
//! effect exist together or not at all. Only successes are kept. Claimed for a whole group at once.

use std::collections::HashMap;

use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{Db, Result, StoreError, UnitOfWork, all, execute, one};
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
    /// What the effect creates or changes.
    pub resource_id: Uuid,
}

/// What a key stands for once it was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Whether this claim was the first: the effect goes with it.
    pub is_new: bool,
    /// The hash of the request that the key stands for.
    pub request_hash: Vec<u8>,
    /// What that request created.
    pub resource_id: Uuid,
}

#[derive(FromQueryResult)]
struct KeptRow {
    principal_id: Uuid,
    key: String,
    request_hash: Vec<u8>,
    resource_id: Uuid,
}

impl KeptRow {
    fn claimed(self) -> Claimed {
        let Self { request_hash, resource_id, .. } = self;
        Claimed { is_new: false, request_hash, resource_id }
    }
}

#[derive(FromQueryResult)]
struct DayRow {
    day: Option<i64>,
}

const CLAIM_COLUMNS: [Column; 6] = [
    ("principal_id", Kind::Id),
    ("method", Kind::Text),
    ("key", Kind::Text),
    ("request_hash", Kind::Bytes),
    ("resource_id", Kind::Id),
    ("day", Kind::Number),
];
const KEY_COLUMNS: [Column; 3] =
    [("principal_id", Kind::Id), ("method", Kind::Text), ("key", Kind::Text)];

/// Claims keys for effects that each create something, and answers in the claims' order. Each key stands
/// once in `claims`, and each `resource_id` is new: by it a claim knows its own row.
pub async fn claim(unit: &UnitOfWork, claims: &[Claim], now: Micros) -> Result<Vec<Claimed>> {
    let new = write(unit, claims, now).await?;
    // Mostly nothing was taken, and nothing has to be read.
    let taken = if new == claims.len() as u64 { &[] } else { claims };
    let mut kept = kept(unit, taken).await?;
    let answer = |claim: &Claim| match kept.remove(&(claim.principal_id, claim.key.clone())) {
        Some(row) if row.resource_id != claim.resource_id => Ok(row.claimed()),
        None if !taken.is_empty() => Err(vanished()),
        _ => Ok(claim.claimed()),
    };
    claims.iter().map(answer).collect()
}

/// Claims one key for an effect on something that may be older than the claim.
pub async fn claim_one(unit: &UnitOfWork, claim: &Claim, now: Micros) -> Result<Claimed> {
    let claims = std::slice::from_ref(claim);
    if write(unit, claims, now).await? == 1 {
        return Ok(claim.claimed());
    }
    let row = kept(unit, claims).await?.into_values().next();
    row.map(KeptRow::claimed).ok_or_else(vanished)
}

/// Writes the keys that nobody has, and returns how many those were. A twin in another transaction waits
/// here for the first and then sees its effect; keys are locked in their own order, so that two groups
/// never wait for each other.
async fn write(unit: &UnitOfWork, claims: &[Claim], now: Micros) -> Result<u64> {
    let mut ordered: Vec<&Claim> = claims.iter().collect();
    ordered.sort_by_key(|claim| (claim.principal_id, claim.method, claim.key.as_str()));
    let day = now.0.div_euclid(MICROS_PER_DAY);
    let rows = ordered.iter().map(|claim| {
        let mut row = claim.key_row();
        row.extend([claim.request_hash.to_vec().into(), claim.resource_id.into(), day.into()]);
        row
    });
    let mut new = 0;
    for source in row_set::sources(unit.backend(), &CLAIM_COLUMNS, &["0"], rows.collect()) {
        let sql = format!(
            "INSERT INTO idempotency (principal_id, method, key, request_hash, resource_id, day, code)
             {} ON CONFLICT (principal_id, method, key) DO NOTHING",
            source.sql
        );
        new += execute(unit.db(), &sql, source.values).await?;
    }
    Ok(new)
}

fn vanished() -> StoreError {
    StoreError::Conflict("idempotency key vanished".to_owned())
}

/// What a key stands for already, outside a unit of work.
pub async fn find(
    db: &Db,
    principal_id: Uuid,
    method: &'static str,
    key: &str,
) -> Result<Option<Claimed>> {
    let row: Option<KeptRow> = one(
        db.reader(),
        "SELECT principal_id, key, request_hash, resource_id FROM idempotency
         WHERE principal_id = $1 AND method = $2 AND key = $3",
        vec![principal_id.into(), method.into(), key.into()],
    )
    .await?;
    Ok(row.map(KeptRow::claimed))
}

/// What the keys of these claims stand for.
async fn kept(unit: &UnitOfWork, claims: &[Claim]) -> Result<HashMap<(Uuid, String), KeptRow>> {
    let rows = claims.iter().map(Claim::key_row).collect();
    let mut kept = HashMap::with_capacity(claims.len());
    for source in row_set::sources(unit.backend(), &KEY_COLUMNS, &[], rows) {
        let sql = format!(
            "WITH v (principal_id, method, key) AS ({})
             SELECT i.principal_id, i.key, i.request_hash, i.resource_id
             FROM v JOIN idempotency i
               ON i.principal_id = v.principal_id AND i.method = v.method AND i.key = v.key",
            source.sql
        );
        let rows: Vec<KeptRow> = all(unit.db(), &sql, source.values).await?;
        kept.extend(rows.into_iter().map(|row| ((row.principal_id, row.key.clone()), row)));
    }
    Ok(kept)
}

impl Claim {
    fn key_row(&self) -> Vec<Value> {
        vec![self.principal_id.into(), self.method.into(), self.key.clone().into()]
    }

    /// What it stands for when it is the first.
    fn claimed(&self) -> Claimed {
        let (request_hash, resource_id) = (self.request_hash.to_vec(), self.resource_id);
        Claimed { is_new: true, request_hash, resource_id }
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
