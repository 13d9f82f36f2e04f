//! Deliveries: claiming those that are due or asked for again, and writing down what came of each
//! attempt. A claim ends by the database's clock, so a process that died while sending delays its
//! deliveries, never loses them. Not here: reading what was sent (`delivery_log`).

use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{Db, Result, StoreError, UnitOfWork, all, execute, lease_now, one};
use crate::domain::event::EventBody;
use crate::domain::time::Micros;

/// A delivery that this process may send now.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// Its row.
    pub id: Uuid,
    /// Scheduled attempts made before this one.
    pub scheduled: u32,
    /// Attempts out of turn made before this one.
    pub redeliveries: u32,
    /// Whether this attempt is out of turn.
    pub is_redelivery: bool,
    /// Where to.
    pub url: String,
    /// Whose it is.
    pub merchant_id: Uuid,
    /// The event's place in its merchant's log.
    pub seq: u64,
    /// What to tell.
    pub body: EventBody,
    /// The key whose APP_KEY signs.
    pub api_key_id: Uuid,
    /// That APP_KEY, sealed.
    pub sealed_app_key: Vec<u8>,
    /// The endpoint's Standard Webhooks secret, sealed.
    pub sealed_secret: Option<Vec<u8>>,
    /// The secret before it, sealed.
    pub sealed_secret_previous: Option<Vec<u8>>,
    /// Until when that signs too, microseconds.
    pub previous_until: Option<i64>,
}

impl ClaimedDelivery {
    /// Which attempt this is of all, from 1.
    pub fn number(&self) -> u32 {
        self.scheduled + self.redeliveries + 1
    }
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub struct FinishedAttempt {
    /// The delivery as it was claimed.
    pub delivery: ClaimedDelivery,
    /// The claim's holder.
    pub holder: Uuid,
    /// When it began, business time.
    pub started_at: Micros,
    /// How long it took.
    pub duration_ms: u64,
    /// What the receiver answered.
    pub status_code: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// The request's headers.
    pub request_headers: Vec<(String, String)>,
    /// The request's body.
    pub request_body: String,
    /// The answer's headers.
    pub response_headers: Vec<(String, String)>,
    /// The beginning of the answer's body.
    pub response: String,
    /// Whether the body was longer.
    pub is_response_cut: bool,
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
    /// The attempt was out of turn and did not arrive: nothing but its count changes.
    Unchanged,
}

/// What stands for no number in a row set.
const NONE: i64 = 0;
const FINISHED_COLUMNS: [Column; 7] = [
    ("finished_id", Kind::Id),
    ("holder", Kind::Id),
    ("scheduled", Kind::Number),
    ("out_of_turn", Kind::Number),
    ("is_redelivery", Kind::Flag),
    ("new_state", Kind::OptionalText),
    ("retry_at", Kind::OptionalNumber),
];
const ATTEMPT_COLUMNS: [Column; 13] = [
    ("delivery_id", Kind::Id),
    ("n", Kind::Number),
    ("started_at", Kind::Number),
    ("duration_ms", Kind::Number),
    ("url", Kind::Text),
    ("status_code", Kind::OptionalNumber),
    ("error", Kind::OptionalText),
    ("response", Kind::Text),
    ("redelivery", Kind::Flag),
    ("request_headers", Kind::Text),
    ("request_body", Kind::Text),
    ("response_headers", Kind::Text),
    ("response_cut", Kind::Flag),
];

#[derive(FromQueryResult)]
struct ClaimedRow {
    id: Uuid,
}

#[derive(FromQueryResult)]
struct LoadedRow {
    id: Uuid,
    attempt: i64,
    redeliveries: i64,
    redeliver_at: Option<i64>,
    seq: i64,
    merchant_id: Uuid,
    url: Option<String>,
    payload: String,
    api_key_id: Uuid,
    app_key: Vec<u8>,
    signing_secret: Option<Vec<u8>>,
    signing_secret_previous: Option<Vec<u8>>,
    signing_secret_previous_until: Option<i64>,
}

/// What to claim.
#[derive(Debug)]
pub struct Claim {
    /// Who claims.
    pub holder: Uuid,
    /// How many at the most.
    pub limit: u32,
    /// For how long, by the database's clock.
    pub seconds: i64,
    /// Merchants whose deliveries are left alone for now.
    pub crowding: Vec<Uuid>,
}

/// Claims deliveries: those that shall be sent again out of turn, then those that are due. A newer event
/// of an invoice waits until the first attempt of each older one to the same endpoint was made; a
/// redelivery waits for nothing but an attempt that is under way.
pub async fn claim(db: &Db, now: Micros, claim: &Claim) -> Result<Vec<ClaimedDelivery>> {
    let clock = lease_now(db.backend());
    let skip = if db.is_sqlite() { "" } else { " FOR UPDATE SKIP LOCKED" };
    let update = format!("UPDATE delivery SET claimed_by = $1, claimed_until = {clock} + $2");
    let mut free = format!("(d.claimed_until IS NULL OR d.claimed_until < {clock})");
    if !claim.crowding.is_empty() {
        let crowding = super::places(claim.crowding.len(), 4);
        free.push_str(&format!(" AND d.merchant_id NOT IN ({crowding})"));
    }
    let again = format!(
        "{update} WHERE id IN (
            SELECT d.id FROM delivery d WHERE d.redeliver_at <= $3 AND {free}
            ORDER BY d.redeliver_at LIMIT $4{skip})
         RETURNING id"
    );
    let due = format!(
        "{update} WHERE id IN (
            SELECT d.id FROM delivery d
            WHERE d.state = 'pending' AND d.due_at <= $3 AND {free}
              AND NOT EXISTS (
                SELECT 1 FROM delivery o
                WHERE o.endpoint_id = d.endpoint_id AND o.aggregate_id = d.aggregate_id
                  AND o.seq < d.seq AND o.attempt = 0 AND o.state = 'pending')
            ORDER BY d.due_at, d.seq LIMIT $4{skip})
         RETURNING id"
    );
    let values = |limit: i64| {
        let lease = claim.seconds * 1_000_000;
        let values: [Value; 4] = [claim.holder.into(), lease.into(), now.0.into(), limit.into()];
        values.into_iter().chain(claim.crowding.iter().map(|id| (*id).into())).collect()
    };
    let limit = i64::from(claim.limit);
    let unit = db.begin("claim_deliveries").await?;
    let mut claimed: Vec<ClaimedRow> = all(unit.db(), &again, values(limit)).await?;
    let room = limit - i64::try_from(claimed.len()).unwrap_or(limit);
    let scheduled: Vec<ClaimedRow> = all(unit.db(), &due, values(room)).await?;
    claimed.extend(scheduled);
    let mut deliveries = Vec::with_capacity(claimed.len());
    for row in load(&unit, &claimed).await? {
        match row.url.clone() {
            Some(url) => deliveries.push(row.read(url)?),
            None => drop_delivery(&unit, row.id).await?,
        }
    }
    unit.commit().await?;
    Ok(deliveries)
}

/// Whether there may be something to claim of merchants other than these: read beside whoever writes.
pub async fn is_any_due_beside(db: &Db, now: Micros, crowding: &[Uuid]) -> Result<bool> {
    let clock = lease_now(db.backend());
    let theirs = super::places(crowding.len(), 1);
    let free = format!(
        "(claimed_until IS NULL OR claimed_until < {clock}) AND merchant_id NOT IN ({theirs})"
    );
    let sql = format!(
        "SELECT id FROM delivery WHERE id IN (
            SELECT id FROM delivery WHERE redeliver_at <= $1 AND {free} LIMIT 1)
         OR id IN (
            SELECT id FROM delivery WHERE state = 'pending' AND due_at <= $1 AND {free} LIMIT 1)"
    );
    let values = [now.0.into()].into_iter().chain(crowding.iter().map(|id| (*id).into()));
    Ok(one::<ClaimedRow, _>(db.reader(), &sql, values.collect()).await?.is_some())
}

async fn load(unit: &UnitOfWork, claimed: &[ClaimedRow]) -> Result<Vec<LoadedRow>> {
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT d.id, d.attempt, d.redeliveries, d.redeliver_at, d.seq, d.merchant_id, p.url, e.payload,
                k.id AS api_key_id, k.app_key, p.signing_secret, p.signing_secret_previous,
                p.signing_secret_previous_until
         FROM delivery d
         JOIN endpoint p ON p.id = d.endpoint_id
         JOIN api_key k ON k.id = p.api_key_id
         JOIN event e ON e.merchant_id = d.merchant_id AND e.seq = d.seq
         WHERE d.id IN ({}) ORDER BY d.due_at, d.seq",
        super::places(claimed.len(), 0)
    );
    all(unit.db(), &sql, claimed.iter().map(|row| row.id.into()).collect()).await
}

/// The endpoint was removed: nothing is sent to it any more.
async fn drop_delivery(unit: &UnitOfWork, id: Uuid) -> Result<()> {
    let sql = "UPDATE delivery SET redeliver_at = NULL, claimed_by = NULL, claimed_until = NULL,
                  state = CASE state WHEN 'pending' THEN 'dropped' ELSE state END
               WHERE id = $1";
    execute(unit.db(), sql, vec![id.into()]).await?;
    Ok(())
}

impl LoadedRow {
    fn read(self, url: String) -> Result<ClaimedDelivery> {
        let body = serde_json::from_str(&self.payload)
            .map_err(|error| StoreError::Corrupt(format!("event payload: {error}")))?;
        Ok(ClaimedDelivery {
            id: self.id,
            scheduled: u32::try_from(self.attempt).unwrap_or(u32::MAX),
            redeliveries: u32::try_from(self.redeliveries).unwrap_or(u32::MAX),
            is_redelivery: self.redeliver_at.is_some(),
            url,
            merchant_id: self.merchant_id,
            seq: super::unsigned(self.seq, "sequence")?,
            body,
            api_key_id: self.api_key_id,
            sealed_app_key: self.app_key,
            sealed_secret: self.signing_secret,
            sealed_secret_previous: self.signing_secret_previous,
            previous_until: self.signing_secret_previous_until,
        })
    }
}

/// Writes attempts, each of another delivery, and their consequences down, in one unit of work. An
/// attempt whose claim went to another process meanwhile is written down by that process instead.
pub async fn finish(db: &Db, attempts: &[FinishedAttempt]) -> Result<()> {
    if finish_all(db, attempts).await? || attempts.len() == 1 {
        return Ok(());
    }
    for attempt in attempts {
        finish_all(db, std::slice::from_ref(attempt)).await?;
    }
    Ok(())
}

/// Writes all of them down, or, if a claim went away, none.
async fn finish_all(db: &Db, attempts: &[FinishedAttempt]) -> Result<bool> {
    let mut ordered: Vec<&FinishedAttempt> = attempts.iter().collect();
    ordered.sort_by_key(|attempt| attempt.delivery.id);
    let unit = db.begin("finish_deliveries").await?;
    let rows = ordered.iter().map(|attempt| finished_row(attempt)).collect();
    let mut finished = 0;
    for source in row_set::sources(db.backend(), &FINISHED_COLUMNS, &[], rows) {
        // A redelivery asked for while a scheduled attempt was under way is still to be made.
        let sql = format!(
            "WITH v (finished_id, holder, scheduled, out_of_turn, is_redelivery, new_state, retry_at)
                AS ({})
             UPDATE delivery SET
                attempt = attempt + CASE WHEN v.is_redelivery THEN 0 ELSE 1 END,
                redeliveries = redeliveries + CASE WHEN v.is_redelivery THEN 1 ELSE 0 END,
                redeliver_at = CASE WHEN v.is_redelivery THEN NULL ELSE redeliver_at END,
                state = COALESCE(v.new_state, state), due_at = COALESCE(v.retry_at, due_at),
                claimed_by = NULL, claimed_until = NULL
             FROM v WHERE id = v.finished_id AND claimed_by = v.holder AND attempt = v.scheduled
                AND redeliveries = v.out_of_turn",
            source.sql
        );
        finished += execute(unit.db(), &sql, source.values).await?;
    }
    if usize::try_from(finished).ok() != Some(ordered.len()) {
        return Ok(false);
    }
    let rows = ordered.into_iter().map(attempt_row).collect::<Result<Vec<_>>>()?;
    for source in row_set::sources(db.backend(), &ATTEMPT_COLUMNS, &[], rows) {
        let sql = format!(
            "INSERT INTO delivery_attempt (delivery_id, n, started_at, duration_ms, url,
                status_code, error, response, redelivery, request_headers, request_body,
                response_headers, response_cut) {}",
            source.sql
        );
        execute(unit.db(), &sql, source.values).await?;
    }
    unit.commit().await?;
    Ok(true)
}

/// The values of [`FINISHED_COLUMNS`].
fn finished_row(attempt: &FinishedAttempt) -> Vec<Value> {
    let (state, retry_at) = match attempt.next {
        NextStep::Delivered => ("delivered", NONE),
        NextStep::RetryAt(at) => ("pending", at.0),
        NextStep::Failed => ("failed", NONE),
        NextStep::Unchanged => ("", NONE),
    };
    let delivery = &attempt.delivery;
    vec![
        delivery.id.into(),
        attempt.holder.into(),
        i64::from(delivery.scheduled).into(),
        i64::from(delivery.redeliveries).into(),
        delivery.is_redelivery.into(),
        state.into(),
        retry_at.into(),
    ]
}

/// The values of [`ATTEMPT_COLUMNS`].
fn attempt_row(attempt: &FinishedAttempt) -> Result<Vec<Value>> {
    let delivery = &attempt.delivery;
    Ok(vec![
        delivery.id.into(),
        i64::from(delivery.number()).into(),
        attempt.started_at.0.into(),
        i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX).into(),
        delivery.url.clone().into(),
        attempt.status_code.map_or(NONE, i64::from).into(),
        attempt.error.clone().unwrap_or_default().into(),
        attempt.response.replace('\0', "\u{FFFD}").into(),
        delivery.is_redelivery.into(),
        headers(&attempt.request_headers)?.into(),
        attempt.request_body.clone().into(),
        headers(&attempt.response_headers)?.into(),
        attempt.is_response_cut.into(),
    ])
}

/// Headers as they are stored: `[[name, value], ...]`.
fn headers(pairs: &[(String, String)]) -> Result<String> {
    serde_json::to_string(pairs).map_err(|error| StoreError::Corrupt(error.to_string()))
}
