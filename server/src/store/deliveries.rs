//! Deliveries: claiming those that are due, and writing down what came of each attempt. A claim ends
//! by the database's clock, so a process that died while sending delays its deliveries, never
//! loses them.

use std::collections::HashSet;

use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{Db, Result, StoreError, all, execute, lease_now};
use crate::domain::event::EventBody;
use crate::domain::time::Micros;

/// A delivery that this process may send now.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// Its row.
    pub id: Uuid,
    /// Attempts made before this one.
    pub attempt: u32,
    /// Where to.
    pub url: String,
    /// The event's place in its merchant's log.
    pub seq: u64,
    /// What to tell.
    pub body: EventBody,
    /// The key whose APP_KEY signs.
    pub api_key_id: Uuid,
    /// That APP_KEY, sealed.
    pub sealed_app_key: Vec<u8>,
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub struct FinishedAttempt {
    /// The delivery.
    pub delivery_id: Uuid,
    /// The claim's holder.
    pub holder: Uuid,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Where to.
    pub url: String,
    /// When it began, business time.
    pub started_at: Micros,
    /// How long it took.
    pub duration_ms: u64,
    /// What the receiver answered.
    pub status_code: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response: String,
    /// What the delivery is from now on.
    pub next: NextStep,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// It arrived.
    Delivered,
    /// Try again at this business time.
    RetryAt(Micros),
    /// It was the last attempt.
    Failed,
}

/// Stands for no retry.
const NO_RETRY: i64 = 0;
const FINISHED_COLUMNS: [Column; 5] = [
    ("finished_id", Kind::Id),
    ("holder", Kind::Id),
    ("made", Kind::Number),
    ("new_state", Kind::Text),
    ("retry_at", Kind::Number),
];
const ATTEMPT_COLUMNS: [Column; 8] = [
    ("delivery_id", Kind::Id),
    ("n", Kind::Number),
    ("started_at", Kind::Number),
    ("duration_ms", Kind::Number),
    ("url", Kind::Text),
    ("status_code", Kind::OptionalNumber),
    ("error", Kind::OptionalText),
    ("response", Kind::Text),
];

#[derive(FromQueryResult)]
struct ClaimedRow {
    id: Uuid,
}

#[derive(FromQueryResult)]
struct LoadedRow {
    id: Uuid,
    attempt: i64,
    seq: i64,
    url: Option<String>,
    payload: String,
    api_key_id: Uuid,
    app_key: Vec<u8>,
}

/// Claims up to `limit` due deliveries for `seconds`. A newer event of an invoice waits until the
/// first attempt of each older one to the same endpoint was made.
pub async fn claim(
    db: &Db,
    holder: Uuid,
    now: Micros,
    limit: u32,
    seconds: i64,
) -> Result<Vec<ClaimedDelivery>> {
    let clock = lease_now(db.backend());
    let skip = if db.is_sqlite() { "" } else { " FOR UPDATE SKIP LOCKED" };
    let sql = format!(
        "UPDATE delivery SET claimed_by = $1, claimed_until = {clock} + $2
         WHERE id IN (
            SELECT d.id FROM delivery d
            WHERE d.state = 'pending' AND d.due_at <= $3
              AND (d.claimed_until IS NULL OR d.claimed_until < {clock})
              AND NOT EXISTS (
                SELECT 1 FROM delivery o
                WHERE o.endpoint_id = d.endpoint_id AND o.aggregate_id = d.aggregate_id
                  AND o.seq < d.seq AND o.attempt = 0 AND o.state = 'pending')
            ORDER BY d.due_at, d.seq LIMIT $4{skip})
         RETURNING id"
    );
    let unit = db.begin("claim_deliveries").await?;
    let values =
        vec![holder.into(), (seconds * 1_000_000).into(), now.0.into(), i64::from(limit).into()];
    let claimed: Vec<ClaimedRow> = all(unit.db(), &sql, values).await?;
    let loaded: Vec<LoadedRow> = if claimed.is_empty() {
        Vec::new()
    } else {
        let sql = format!(
            "SELECT d.id, d.attempt, d.seq, p.url, e.payload, k.id AS api_key_id, k.app_key
             FROM delivery d
             JOIN endpoint p ON p.id = d.endpoint_id
             JOIN api_key k ON k.id = p.api_key_id
             JOIN event e ON e.merchant_id = d.merchant_id AND e.seq = d.seq
             WHERE d.id IN ({}) ORDER BY d.due_at, d.seq",
            super::places(claimed.len(), 0)
        );
        all(unit.db(), &sql, claimed.iter().map(|row| row.id.into()).collect()).await?
    };
    let mut deliveries = Vec::with_capacity(loaded.len());
    for row in loaded {
        match row.url.clone() {
            Some(url) => deliveries.push(row.read(url)?),
            // The endpoint was removed: nothing is sent to it any more.
            None => {
                execute(
                    unit.db(),
                    "UPDATE delivery SET state = 'dropped', claimed_by = NULL,
                        claimed_until = NULL WHERE id = $1",
                    vec![row.id.into()],
                )
                .await?;
            }
        }
    }
    unit.commit().await?;
    Ok(deliveries)
}

impl LoadedRow {
    fn read(self, url: String) -> Result<ClaimedDelivery> {
        let body = serde_json::from_str(&self.payload)
            .map_err(|error| StoreError::Corrupt(format!("event payload: {error}")))?;
        Ok(ClaimedDelivery {
            id: self.id,
            attempt: u32::try_from(self.attempt).unwrap_or(u32::MAX),
            url,
            seq: super::unsigned(self.seq, "sequence")?,
            body,
            api_key_id: self.api_key_id,
            sealed_app_key: self.app_key,
        })
    }
}

/// Writes attempts, each of another delivery, and their consequences down, in one unit of work. An
/// attempt whose claim went to another process meanwhile is written down by that process instead.
pub async fn finish(db: &Db, attempts: &[FinishedAttempt]) -> Result<()> {
    let mut ordered: Vec<&FinishedAttempt> = attempts.iter().collect();
    ordered.sort_by_key(|attempt| attempt.delivery_id);
    let unit = db.begin("finish_deliveries").await?;
    let rows = ordered.iter().map(|attempt| finished_row(attempt)).collect();
    let mut finished = HashSet::with_capacity(attempts.len());
    for source in row_set::sources(db.backend(), &FINISHED_COLUMNS, &[], rows) {
        let sql = format!(
            "WITH v (finished_id, holder, made, new_state, retry_at) AS ({})
             UPDATE delivery SET attempt = v.made, state = v.new_state,
                due_at = CASE WHEN v.retry_at = {NO_RETRY} THEN due_at ELSE v.retry_at END,
                claimed_by = NULL, claimed_until = NULL
             FROM v WHERE id = v.finished_id AND claimed_by = v.holder AND attempt = v.made - 1
             RETURNING id",
            source.sql
        );
        let rows: Vec<ClaimedRow> = all(unit.db(), &sql, source.values).await?;
        finished.extend(rows.into_iter().map(|row| row.id));
    }
    let made = ordered.into_iter().filter(|attempt| finished.contains(&attempt.delivery_id));
    let rows = made.map(attempt_row).collect();
    for source in row_set::sources(db.backend(), &ATTEMPT_COLUMNS, &[], rows) {
        let sql = format!(
            "INSERT INTO delivery_attempt (delivery_id, n, started_at, duration_ms, url,
                status_code, error, response) {}",
            source.sql
        );
        execute(unit.db(), &sql, source.values).await?;
    }
    unit.commit().await?;
    Ok(())
}

/// The values of [`FINISHED_COLUMNS`].
fn finished_row(attempt: &FinishedAttempt) -> Vec<Value> {
    let (state, retry_at) = match attempt.next {
        NextStep::Delivered => ("delivered", NO_RETRY),
        NextStep::RetryAt(at) => ("pending", at.0),
        NextStep::Failed => ("failed", NO_RETRY),
    };
    vec![
        attempt.delivery_id.into(),
        attempt.holder.into(),
        i64::from(attempt.attempt).into(),
        state.into(),
        retry_at.into(),
    ]
}

/// The values of [`ATTEMPT_COLUMNS`].
fn attempt_row(attempt: &FinishedAttempt) -> Vec<Value> {
    vec![
        attempt.delivery_id.into(),
        i64::from(attempt.attempt).into(),
        attempt.started_at.0.into(),
        i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX).into(),
        attempt.url.clone().into(),
        attempt.status_code.map_or(0, i64::from).into(),
        attempt.error.clone().unwrap_or_default().into(),
        attempt.response.replace('\0', "\u{FFFD}").into(),
    ]
}
