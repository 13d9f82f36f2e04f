//! A unit of work: one transaction, the events it will write, and its commit, which gives each event
//! its place in its merchant's log. Because a merchant's counter row is locked until the commit, the
//! order of the log is the order of commits and no reader ever skips one.

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, FromQueryResult,
    SqliteTransactionMode, TransactionOptions, TransactionTrait, Value,
};
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{Result, StoreError, execute, one, placeholders};
use crate::domain::event::{EventBody, EventKind};
use crate::domain::time::Micros;
use crate::failpoint;
use crate::metrics::{OpenUnit, UnitEnd};

const EVENT_COLUMNS: [Column; 8] = [
    ("merchant_id", Kind::Id),
    ("seq", Kind::Number),
    ("aggregate_id", Kind::Id),
    ("aggregate_version", Kind::Number),
    ("type", Kind::Text),
    ("api_key_id", Kind::Id),
    ("payload", Kind::Text),
    ("created_at", Kind::Number),
];
/// Of those, what each event has of its own.
const OWN_COLUMNS: usize = EVENT_COLUMNS.len() - 1;
/// Takes numbers of a merchant's log.
const ADVANCE: &str =
    "UPDATE merchant_seq SET next = next + $2 WHERE merchant_id = $1 RETURNING next";

/// An event on its way into a merchant's log.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Whose log.
    pub merchant_id: Uuid,
    /// The invoice.
    pub aggregate_id: Uuid,
    /// Counts the invoice's events from 1.
    pub aggregate_version: i64,
    /// What happened.
    pub kind: EventKind,
    /// The key that created the invoice: whose endpoint is told.
    pub api_key_id: Option<Uuid>,
    /// The invoice at that moment.
    pub body: EventBody,
    /// Business time.
    pub at: Micros,
}

/// One transaction. Dropped without a commit it changes nothing.
pub struct UnitOfWork {
    transaction: DatabaseTransaction,
    events: Vec<NewEvent>,
    counted: OpenUnit,
}

#[derive(FromQueryResult)]
struct Next {
    next: i64,
}

impl UnitOfWork {
    pub(super) async fn begin(db: &DatabaseConnection, mut counted: OpenUnit) -> Result<Self> {
        // SQLite takes the write lock at once: a later upgrade could fail half way.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        let transaction = db.begin_with_options(options).await?;
        counted.reaches(UnitEnd::RolledBack);
        Ok(Self { transaction, events: Vec::new(), counted })
    }

    /// For this room's queries inside the transaction.
    pub(super) fn db(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// Which engine it runs on.
    pub(super) fn backend(&self) -> DbBackend {
        self.transaction.get_database_backend()
    }

    /// Writes an event when this commits.
    pub fn emit(&mut self, event: NewEvent) {
        self.events.push(event);
    }

    /// Writes the events and commits. Returns whether there were any.
    pub async fn commit(mut self) -> Result<bool> {
        let mut by_merchant: BTreeMap<Uuid, Vec<NewEvent>> = BTreeMap::new();
        for event in std::mem::take(&mut self.events) {
            by_merchant.entry(event.merchant_id).or_default().push(event);
        }
        let any = !by_merchant.is_empty();
        for (merchant_id, events) in by_merchant {
            self.append(merchant_id, events).await?;
        }
        failpoint::hit(self.counted.name(), "before_commit");
        let committed = self.transaction.commit().await.map_err(StoreError::from);
        self.counted.reaches(match &committed {
            Ok(()) => UnitEnd::Committed,
            Err(StoreError::Conflict(_)) => UnitEnd::Conflict,
            Err(_) => UnitEnd::Failed,
        });
        committed?;
        failpoint::hit(self.counted.name(), "after_commit");
        Ok(any)
    }

    async fn append(&self, merchant_id: Uuid, events: Vec<NewEvent>) -> Result<()> {
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut rows = Vec::with_capacity(events.len());
        for (n, event) in (0_i64..).zip(events) {
            let payload = serde_json::to_string(&event.body)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            rows.push([
                n.into(),
                event.aggregate_id.into(),
                event.aggregate_version.into(),
                event.kind.as_str().to_owned().into(),
                event.api_key_id.into(),
                payload.into(),
                event.at.0.into(),
            ]);
        }
        if self.backend() == DbBackend::Postgres {
            return self.append_at_once(merchant_id, count, rows).await;
        }
        let values = vec![merchant_id.into(), count.into()];
        let counter: Option<Next> = one(&self.transaction, ADVANCE, values).await?;
        let first = counter.ok_or_else(|| no_log(merchant_id))?.next - count;
        let row = |(seq, own): (i64, [Value; OWN_COLUMNS])| {
            [merchant_id.into(), seq.into()].into_iter().chain(own.into_iter().skip(1)).collect()
        };
        let rows = (first..).zip(rows).map(row).collect();
        for source in row_set::sources(self.backend(), &EVENT_COLUMNS, &[], rows) {
            let sql = format!("INSERT INTO event ({}) {}", column_names(), source.sql);
            execute(&self.transaction, &sql, source.values).await?;
        }
        Ok(())
    }

    /// One statement: the counter's row lock and the inserts in one round trip. The casts of the first
    /// row give the VALUES list its types.
    async fn append_at_once(
        &self,
        merchant_id: Uuid,
        count: i64,
        rows: Vec<[Value; OWN_COLUMNS]>,
    ) -> Result<()> {
        let typed = placeholders(rows.len(), OWN_COLUMNS, 2).replacen(
            "($3, $4, $5, $6, $7, $8, $9)",
            "($3::bigint, $4::uuid, $5::bigint, $6::text, $7::uuid, $8::text, $9::bigint)",
            1,
        );
        let sql = format!(
            "WITH counter AS ({ADVANCE}) INSERT INTO event ({})
             SELECT $1, counter.next - $2 + v.n, v.aggregate_id, v.aggregate_version, v.type,
                    v.api_key_id, v.payload, v.created_at
             FROM counter, (VALUES {typed}) AS v (n, aggregate_id, aggregate_version, type,
                    api_key_id, payload, created_at)",
            column_names()
        );
        let mut values = vec![merchant_id.into(), count.into()];
        values.extend(rows.into_iter().flatten());
        let written = execute(&self.transaction, &sql, values).await?;
        if i64::try_from(written) == Ok(count) { Ok(()) } else { Err(no_log(merchant_id)) }
    }
}

fn column_names() -> String {
    EVENT_COLUMNS.map(|(name, _)| name).join(", ")
}

fn no_log(merchant_id: Uuid) -> StoreError {
    StoreError::Corrupt(format!("merchant {merchant_id} has no event log"))
}
