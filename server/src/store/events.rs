//! Reading a merchant's event log, and turning it into deliveries. Writing it is the commit of a
//! unit of work. Readers resume from a sequence, which is the order of commits.

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{Db, Result, StoreError, all, execute, for_update, known, one, places, unsigned};
use crate::domain::event::{EventBody, EventKind};
use crate::domain::time::Micros;
use crate::env::Env;

/// Events dispatched by one unit of work.
const DISPATCHED_EVENTS_MAX: i64 = 500;
/// Merchants looked at by one dispatch.
const DISPATCHED_MERCHANTS_MAX: i64 = 100;

/// Merchants asked about by one statement.
const MERCHANTS_PER_STATEMENT_MAX: usize = 500;

const DELIVERY_COLUMNS: [Column; 6] = [
    ("id", Kind::Id),
    ("merchant_id", Kind::Id),
    ("seq", Kind::Number),
    ("endpoint_id", Kind::Id),
    ("aggregate_id", Kind::Id),
    ("due_at", Kind::Number),
];

/// An event of a merchant's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log.
    pub seq: u64,
    /// What happened.
    pub kind: EventKind,
    /// The invoice.
    pub aggregate_id: Uuid,
    /// Counts the invoice's events from 1.
    pub aggregate_version: u32,
    /// The invoice at that moment.
    pub body: EventBody,
    /// Business time.
    pub created_at: Micros,
}

/// Which part of a log exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// The oldest event kept.
    pub first: u64,
    /// One past the newest event.
    pub next: u64,
}

#[derive(FromQueryResult)]
struct EventRow {
    seq: i64,
    kind: String,
    aggregate_id: Uuid,
    aggregate_version: i64,
    payload: String,
    created_at: i64,
}

#[derive(FromQueryResult)]
struct RangeRow {
    first: i64,
    next: i64,
}

#[derive(FromQueryResult)]
struct NextRow {
    merchant_id: Uuid,
    next: i64,
}

#[derive(FromQueryResult)]
struct BehindRow {
    merchant_id: Uuid,
}

#[derive(FromQueryResult)]
struct CounterRow {
    next: i64,
    dispatched: i64,
}

#[derive(FromQueryResult)]
struct TargetRow {
    seq: i64,
    kind: String,
    aggregate_id: Uuid,
    endpoint_id: Uuid,
    events: String,
}

/// Events of a merchant after a sequence, oldest first.
pub async fn list(db: &Db, merchant_id: Uuid, after: u64, limit: u32) -> Result<Vec<Event>> {
    let rows: Vec<EventRow> = all(
        db.reader(),
        "SELECT seq, type AS kind, aggregate_id, aggregate_version, payload, created_at
         FROM event WHERE merchant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        vec![
            merchant_id.into(),
            i64::try_from(after).unwrap_or(i64::MAX).into(),
            i64::from(limit).into(),
        ],
    )
    .await?;
    rows.into_iter().map(EventRow::read).collect()
}

/// Which part of a merchant's log exists.
pub async fn range(db: &Db, merchant_id: Uuid) -> Result<LogRange> {
    let row: Option<RangeRow> = one(
        db.reader(),
        "SELECT first, next FROM merchant_seq WHERE merchant_id = $1",
        vec![merchant_id.into()],
    )
    .await?;
    let row = row.ok_or_else(|| StoreError::Corrupt("merchant has no event log".to_owned()))?;
    Ok(LogRange { first: unsigned(row.first, "first")?, next: unsigned(row.next, "next")? })
}

/// The newest sequence of each of these merchants' logs.
pub async fn newest(db: &Db, merchants: &[Uuid]) -> Result<Vec<(Uuid, u64)>> {
    let mut newest = Vec::with_capacity(merchants.len());
    for chunk in merchants.chunks(MERCHANTS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT merchant_id, next FROM merchant_seq WHERE merchant_id IN ({})",
            places(chunk.len(), 0)
        );
        let values = chunk.iter().map(|id| (*id).into()).collect();
        for row in all::<NextRow, _>(db.reader(), &sql, values).await? {
            newest.push((row.merchant_id, unsigned(row.next - 1, "newest event")?));
        }
    }
    Ok(newest)
}

impl EventRow {
    fn read(self) -> Result<Event> {
        let body = serde_json::from_str(&self.payload)
            .map_err(|error| StoreError::Corrupt(format!("event payload: {error}")))?;
        Ok(Event {
            seq: unsigned(self.seq, "sequence")?,
            kind: known(EventKind::parse(&self.kind), "event", &self.kind)?,
            aggregate_id: self.aggregate_id,
            aggregate_version: u32::try_from(self.aggregate_version).unwrap_or(u32::MAX),
            body,
            created_at: Micros(self.created_at),
        })
    }
}

/// Makes delivery rows of events that were not dispatched yet, for endpoints that want them.
/// Returns how many events were dispatched.
pub async fn dispatch(db: &Db, env: &Env) -> Result<u64> {
    let behind: Vec<BehindRow> = all(
        db.reader(),
        "SELECT merchant_id FROM merchant_seq WHERE dispatched < next - 1 LIMIT $1",
        vec![DISPATCHED_MERCHANTS_MAX.into()],
    )
    .await?;
    let mut dispatched = 0;
    for row in behind {
        dispatched += dispatch_merchant(db, env, row.merchant_id).await?;
    }
    Ok(dispatched)
}

async fn dispatch_merchant(db: &Db, env: &Env, merchant_id: Uuid) -> Result<u64> {
    let unit = db.begin("dispatch").await?;
    let sql = format!(
        "SELECT next, dispatched FROM merchant_seq WHERE merchant_id = $1{}",
        for_update(db.backend())
    );
    let counter: Option<CounterRow> = one(unit.db(), &sql, vec![merchant_id.into()]).await?;
    let Some(counter) = counter.filter(|row| row.dispatched < row.next - 1) else {
        return Ok(0);
    };
    let upto = (counter.next - 1).min(counter.dispatched + DISPATCHED_EVENTS_MAX);
    let targets: Vec<TargetRow> = all(
        unit.db(),
        "SELECT e.seq, e.type AS kind, e.aggregate_id, p.id AS endpoint_id, p.events
         FROM event e JOIN endpoint p ON p.api_key_id = e.api_key_id
         WHERE e.merchant_id = $1 AND e.seq > $2 AND e.seq <= $3 AND p.url IS NOT NULL
         ORDER BY e.seq",
        vec![merchant_id.into(), counter.dispatched.into(), upto.into()],
    )
    .await?;
    let now = env.now();
    let wanted: Vec<TargetRow> = targets
        .into_iter()
        .filter(|target| target.events.split(',').any(|wanted| wanted == target.kind))
        .collect();
    // Deliveries are listed by their ids: those of one moment are to stand in their events' order.
    let mut ids: Vec<Uuid> = wanted.iter().map(|_| env.new_id()).collect();
    ids.sort_unstable();
    let rows = ids
        .into_iter()
        .zip(wanted)
        .map(|(id, target)| {
            vec![
                id.into(),
                merchant_id.into(),
                target.seq.into(),
                target.endpoint_id.into(),
                target.aggregate_id.into(),
                now.0.into(),
            ]
        })
        .collect();
    for source in row_set::sources(unit.backend(), &DELIVERY_COLUMNS, &["0", "'pending'"], rows) {
        let sql = format!(
            "INSERT INTO delivery (id, merchant_id, seq, endpoint_id, aggregate_id, due_at,
                attempt, state)
             {} ON CONFLICT (merchant_id, seq, endpoint_id) DO NOTHING",
            source.sql
        );
        execute(unit.db(), &sql, source.values).await?;
    }
    execute(
        unit.db(),
        "UPDATE merchant_seq SET dispatched = $2 WHERE merchant_id = $1",
        vec![merchant_id.into(), upto.into()],
    )
    .await?;
    unit.commit().await?;
    unsigned(upto - counter.dispatched, "dispatched events")
}
