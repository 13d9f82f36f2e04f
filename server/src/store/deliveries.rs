//! Deliveries: claiming those that are due, and writing down what came of each attempt. A claim ends
//! by the database's clock, so a process that died while sending delays its deliveries, never
//! loses them.

use sea_orm::FromQueryResult;
use uuid::Uuid;

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

/// Writes attempts and their consequences down, in one unit of work. An attempt whose claim went to
/// another process meanwhile is written down by that process instead.
pub async fn finish(db: &Db, attempts: &[FinishedAttempt]) -> Result<()> {
    let unit = db.begin("finish_deliveries").await?;
    for attempt in attempts {
        let (state, due_at) = match attempt.next {
            NextStep::Delivered => ("delivered", None),
            NextStep::RetryAt(at) => ("pending", Some(at.0)),
            NextStep::Failed => ("failed", None),
        };
        let changed = execute(
            unit.db(),
            "UPDATE delivery SET attempt = $3, state = $4, due_at = COALESCE($5, due_at),
                claimed_by = NULL, claimed_until = NULL
             WHERE id = $1 AND claimed_by = $2 AND attempt = $3 - 1",
            vec![
                attempt.delivery_id.into(),
                attempt.holder.into(),
                i64::from(attempt.attempt).into(),
                state.into(),
                due_at.into(),
            ],
        )
        .await?;
        if changed == 1 {
            insert_attempt(&unit, attempt).await?;
        }
    }
    unit.commit().await?;
    Ok(())
}

async fn insert_attempt(unit: &super::UnitOfWork, attempt: &FinishedAttempt) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO delivery_attempt (delivery_id, n, started_at, duration_ms, url, status_code,
            error, response) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        vec![
            attempt.delivery_id.into(),
            i64::from(attempt.attempt).into(),
            attempt.started_at.0.into(),
            i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX).into(),
            attempt.url.clone().into(),
            attempt.status_code.map(i64::from).into(),
            attempt.error.clone().into(),
            attempt.response.replace('\0', "\u{FFFD}").into(),
        ],
    )
    .await?;
    Ok(())
}
