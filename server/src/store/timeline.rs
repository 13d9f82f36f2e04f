//! What the event log tells of invoices, for their timelines. Not here: the log as a merchant reads it
//! (`events`).

use std::collections::BTreeMap;

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{Db, Result, StoreError, all, known, places};
use crate::domain::event::{EventBody, EventKind};
use crate::domain::time::Micros;
use crate::domain::timeline::{Entry, Happened};

/// Events of one invoice that its timeline shows: the newest.
pub const EVENTS_MAX: u32 = 100;

#[derive(FromQueryResult)]
struct Row {
    aggregate_id: Uuid,
    kind: String,
    payload: String,
    created_at: i64,
}

/// The newest events of these invoices as lines, each invoice's in its order.
pub async fn told(db: &Db, invoices: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<Entry>>> {
    let mut lines: BTreeMap<Uuid, Vec<Entry>> = BTreeMap::new();
    if invoices.is_empty() {
        return Ok(lines);
    }
    let sql = format!(
        "SELECT e.aggregate_id, e.type AS kind, e.payload, e.created_at
         FROM event e JOIN invoice i ON i.id = e.aggregate_id
         WHERE e.aggregate_id IN ({}) AND e.aggregate_version > i.event_count - {EVENTS_MAX}
         ORDER BY e.aggregate_id, e.aggregate_version",
        places(invoices.len(), 0)
    );
    let values = invoices.iter().map(|id| (*id).into()).collect();
    let rows: Vec<Row> = all(db.reader(), &sql, values).await?;
    for row in rows {
        let body: EventBody = serde_json::from_str(&row.payload)
            .map_err(|error| StoreError::Corrupt(format!("event payload: {error}")))?;
        let kind = known(EventKind::parse(&row.kind), "event", &row.kind)?;
        lines.entry(row.aggregate_id).or_default().push(Entry {
            happened: Happened::Told(kind),
            at: Micros(row.created_at),
            txid: body.txid,
        });
    }
    Ok(lines)
}
