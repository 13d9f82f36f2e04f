//! The numbers that an operator watches, counted in a time that does not grow with the database: each count
//! ends at a limit, each newest or oldest is one entry of an index. Not here: how far networks were read
//! (`cursor`), how their nodes stand (`endpoints`).

use sea_orm::FromQueryResult;

use super::{Db, Result, StoreError, one, unsigned};
use crate::domain::asset::Network;
use crate::domain::time::Micros;

/// Rows that one figure counts up to: more is as bad.
pub const COUNTED_ROWS_MAX: u32 = 10_000;

/// What waits, and what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues {
    /// Deliveries that are still to be made, however often they were tried.
    pub deliveries_pending: u64,
    /// Deliveries that failed for good and are still on record.
    pub deliveries_failed: u64,
    /// When the oldest pending delivery was due, business time.
    pub oldest_due: Option<Micros>,
    /// Events that no delivery was made of yet.
    pub events_undispatched: u64,
    /// Unexpected deposits that nobody settled.
    pub unexpected_deposits: u64,
}

/// What a network has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    /// Addresses made so far, in all.
    pub addresses: u64,
    /// Those that no process has.
    pub addresses_free: u64,
    /// Invoices that nobody has paid in full.
    pub invoices_pending: u64,
    /// Invoices whose payment is not deep enough yet.
    pub invoices_confirming: u64,
}

#[derive(FromQueryResult)]
struct QueuesRow {
    pending: i64,
    failed: i64,
    oldest_due: Option<i64>,
    undispatched: i64,
    unexpected: i64,
}

#[derive(FromQueryResult)]
struct CountsRow {
    addresses: i64,
    free: i64,
    pending: i64,
    confirming: i64,
}

/// How many rows there are, up to the limit that is the query's `$1`.
fn counted(rows: &str) -> String {
    format!("(SELECT COUNT(*) FROM (SELECT 1 AS one FROM {rows} LIMIT $1) AS counted)")
}

/// What waits.
pub async fn queues(db: &Db) -> Result<Queues> {
    let sql = format!(
        "SELECT {pending} AS pending, {failed} AS failed, {unexpected} AS unexpected,
            (SELECT due_at FROM delivery WHERE state = 'pending' ORDER BY due_at LIMIT 1) AS oldest_due,
            (SELECT CAST(COALESCE(SUM(next - 1 - dispatched), 0) AS BIGINT) FROM merchant_seq
                WHERE dispatched < next - 1) AS undispatched",
        pending = counted("delivery WHERE state = 'pending'"),
        failed = counted("delivery WHERE state = 'failed'"),
        unexpected = counted("unexpected_deposit WHERE state = 'seen'"),
    );
    let row: Option<QueuesRow> =
        one(db.reader(), &sql, vec![i64::from(COUNTED_ROWS_MAX).into()]).await?;
    let row = row.ok_or_else(none)?;
    Ok(Queues {
        deliveries_pending: unsigned(row.pending, "count")?,
        deliveries_failed: unsigned(row.failed, "count")?,
        oldest_due: row.oldest_due.map(Micros),
        events_undispatched: unsigned(row.undispatched, "count")?,
        unexpected_deposits: unsigned(row.unexpected, "count")?,
    })
}

/// What a network has.
pub async fn of_network(db: &Db, network: Network) -> Result<NetworkCounts> {
    let sql = format!(
        "SELECT {pending} AS pending, {confirming} AS confirming, {free} AS free,
            COALESCE((SELECT path_index + 1 FROM address
                WHERE network = $2 AND wallet_id = (SELECT wallet_id FROM deployment) AND role = 0
                ORDER BY account DESC, path_index DESC LIMIT 1), 0) AS addresses",
        pending = counted("invoice WHERE network = $2 AND status = 'pending'"),
        confirming = counted("invoice WHERE network = $2 AND status = 'confirming'"),
        free = counted("address WHERE network = $2 AND state = 'free'"),
    );
    let values = vec![i64::from(COUNTED_ROWS_MAX).into(), network.as_str().into()];
    let row: Option<CountsRow> = one(db.reader(), &sql, values).await?;
    let row = row.ok_or_else(none)?;
    Ok(NetworkCounts {
        addresses: unsigned(row.addresses, "count")?,
        addresses_free: unsigned(row.free, "count")?,
        invoices_pending: unsigned(row.pending, "count")?,
        invoices_confirming: unsigned(row.confirming, "count")?,
    })
}

fn none() -> StoreError {
    StoreError::Corrupt("no counts".to_owned())
}
