//! A unit of work: one transaction, the events it will write, and its commit, which gives each event
//! its place in its merchant's log. Because a merchant's counter row is locked until the commit, the
//! order of the log is the order of commits and no reader ever skips one.

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, FromQueryResult,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use uuid::Uuid;

use super::{Result, StoreError, execute, one, placeholders};
use crate::domain::event::{EventBody, EventKind};
use crate::domain::time::Micros;
use crate::failpoint;
use crate::metrics::{OpenUnit, UnitEnd};

/// Values bound per event row.
const EVENT_COLUMNS: usize = 7;

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
    name: &'static str,
    events: Vec<NewEvent>,
    counted: OpenUnit,
}

#[derive(FromQueryResult)]
struct Next {
    next: i64,
}

impl UnitOfWork {
    pub(super) async fn begin(
        db: &DatabaseConnection,
        name: &'static str,
        mut counted: OpenUnit,
    ) -> Result<Self> {
        // SQLite takes the write lock at once: a later upgrade could fail half way.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        let transaction = db.begin_with_options(options).await?;
        counted.reaches(UnitEnd::RolledBack);
        Ok(Self { transaction, name, events: Vec::new(), counted })
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
        failpoint::hit(self.name, "before_commit");
        let committed = self.transaction.commit().await.map_err(StoreError::from);
        self.counted.reaches(match &committed {
            Ok(()) => UnitEnd::Committed,
            Err(StoreError::Conflict(_)) => UnitEnd::Conflict,
            Err(_) => UnitEnd::Failed,
        });
        committed?;
        failpoint::hit(self.name, "after_commit");
        Ok(any)
    }

    async fn append(&self, merchant_id: Uuid, events: Vec<NewEvent>) -> Result<()> {
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let advance =
            "UPDATE merchant_seq SET next = next + $2 WHERE merchant_id = $1 RETURNING next";
        let columns = "(merchant_id, seq, aggregate_id, aggregate_version, type, api_key_id, \
                       payload, created_at)";
        let mut values = vec![merchant_id.into(), count.into()];
        let mut rows = Vec::with_capacity(events.len());
        for (n, event) in events.into_iter().enumerate() {
            let payload = serde_json::to_string(&event.body)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            rows.push([
                i64::try_from(n).unwrap_or(i64::MAX).into(),
                event.aggregate_id.into(),
                event.aggregate_version.into(),
                event.kind.as_str().to_owned().into(),
                event.api_key_id.into(),
                payload.into(),
                event.at.0.into(),
            ]);
        }
        let groups = placeholders(rows.len(), EVENT_COLUMNS, 2);
        values.extend(rows.into_iter().flatten());
        if self.backend() == DbBackend::Postgres {
            // One statement: the counter's row lock and the inserts in one round trip. The casts of
            // the first row give the VALUES list its types.
            let typed = groups.replacen(
                "($3, $4, $5, $6, $7, $8, $9)",
                "($3::bigint, $4::uuid, $5::bigint, $6::text, $7::uuid, $8::text, $9::bigint)",
                1,
            );
            let sql = format!(
                "WITH counter AS ({advance}) INSERT INTO event {columns}
                 SELECT $1, counter.next - $2 + v.n, v.aggregate_id, v.aggregate_version, v.type,
                        v.api_key_id, v.payload, v.created_at
                 FROM counter, (VALUES {typed}) AS v (n, aggregate_id, aggregate_version, type,
                        api_key_id, payload, created_at)"
            );
            let written = execute(&self.transaction, &sql, values).await?;
            return if i64::try_from(written) == Ok(count) {
                Ok(())
            } else {
                Err(no_log(merchant_id))
            };
        }
        let counter: Option<Next> =
            one(&self.transaction, advance, vec![merchant_id.into(), count.into()]).await?;
        let first = counter.ok_or_else(|| no_log(merchant_id))?.next - count;
        // $2 becomes the first sequence; each row's own number is added to it.
        values[1] = first.into();
        let sql = format!(
            "INSERT INTO event {columns}
             SELECT $1, $2 + v.column1, v.column2, v.column3, v.column4, v.column5, v.column6,
                    v.column7
             FROM (VALUES {groups}) AS v"
        );
        execute(&self.transaction, &sql, values).await?;
        Ok(())
    }
}

fn no_log(merchant_id: Uuid) -> StoreError {
    StoreError::Corrupt(format!("merchant {merchant_id} has no event log"))
}
