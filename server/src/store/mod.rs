//! All SQL of the ledger's database, and nothing else: connections, units of work, queries that
//! return domain types. Text is the same on SQLite and PostgreSQL (`$n` placeholders). No rule of
//! the business is decided here.

pub mod addresses;
pub mod audit;
pub mod cursor;
pub mod deliveries;
pub mod delivery_log;
pub mod deployment;
pub mod deposits;
pub mod endpoints;
pub mod events;
pub mod figures;
pub mod idempotency;
pub mod inspection;
pub mod invoice_status;
pub mod invoices;
pub mod journal;
pub mod keys;
pub mod leases;
pub mod ledger;
pub mod ledger_audit;
pub mod ledger_entries;
pub mod merchants;
pub mod reconciliation;
pub mod rescans;
mod row_set;
pub mod timeline;
pub mod unexpected_deposits;
pub mod unit_of_work;
pub mod waiting_deposits;

use std::time::Duration;

use cryptopayment_migrations::Migrator;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr,
    FromQueryResult, QueryResult, Statement, Value,
};
use sea_orm_migration::MigratorTrait;

use crate::metrics::UnitMeter;
pub use unit_of_work::UnitOfWork;

/// Connections that read a SQLite file beside its one writer.
const SQLITE_READERS_MAX: u32 = 8;
/// How long a statement waits for a connection.
const ACQUIRE_SECONDS_MAX: u64 = 10;
/// How long SQLite waits for a lock before it gives up.
const BUSY_SECONDS_MAX: u64 = 10;
/// How long whoever only looks waits for a connection.
const LOOK_SECONDS_MAX: u64 = 5;
/// Prepared statements kept per PostgreSQL connection.
const STATEMENTS_CACHED_MAX: usize = 512;

/// Why the database did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction was in the way; doing the whole unit of work again may succeed.
    #[error("conflict with another transaction: {0}")]
    Conflict(String),
    /// The database can not be reached or is overloaded.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// What is stored makes no sense.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// Anything else the database said.
    #[error("database: {0}")]
    Database(DbErr),
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let text = error.to_string();
        // PostgreSQL 40001 serialization_failure, 40P01 deadlock_detected, 55P03 lock_not_available;
        // SQLite busy and locked.
        let conflicts = [
            "40001",
            "40P01",
            "could not serialize",
            "deadlock",
            "lock timeout",
            "database is locked",
        ];
        if conflicts.iter().any(|mark| text.contains(mark)) {
            return Self::Conflict(text);
        }
        match error {
            DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => Self::Unavailable(text),
            other => Self::Database(other),
        }
    }
}

/// The result of a query.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What a session of PostgreSQL waits for. A process that is frozen, or cut off, in the middle of a unit
/// of work would keep its locks for hours otherwise: the server ends such sessions, and who waits for
/// them gives up and tries again. No unit of work waits for anything but the database.
const POSTGRES_BOUNDS: [(&str, &str); 6] = [
    ("lock_timeout", "15s"),
    ("idle_in_transaction_session_timeout", "20s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "25s"),
];

/// The ledger's database.
#[derive(Clone, Debug)]
pub struct Db {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    units: UnitMeter,
}

impl Db {
    /// Opens `sqlite://PATH` (created if missing) or `postgres://...`. Does not migrate.
    pub async fn open(url: &str, connections_max: u32) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let writer = Database::connect(sqlite_options(url, 1)).await?;
            let reader = Database::connect(sqlite_options(url, SQLITE_READERS_MAX)).await?;
            return Ok(Self { writer, reader, units: UnitMeter::default() });
        }
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(connections_max)
            .acquire_timeout(Duration::from_secs(ACQUIRE_SECONDS_MAX))
            .sqlx_logging(false)
            .map_sqlx_postgres_opts(|o| {
                o.application_name("cryptopayment")
                    .statement_cache_capacity(STATEMENTS_CACHED_MAX)
                    .options(POSTGRES_BOUNDS)
            });
        let writer = Database::connect(options).await?;
        Ok(Self { reader: writer.clone(), writer, units: UnitMeter::default() })
    }

    /// Opens a database to look at it, beside the process that works on it or without one. Nothing is
    /// made or changed, a missing SQLite file included.
    pub async fn open_read_only(url: &str) -> Result<Self> {
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(LOOK_SECONDS_MAX))
            .connect_timeout(Duration::from_secs(LOOK_SECONDS_MAX))
            .sqlx_logging(false)
            .map_sqlx_postgres_opts(|o| {
                o.application_name("cryptopayment-doctor")
                    .options([("default_transaction_read_only", "on")])
            })
            // Its journal mode is a property of the file, which is left as it is.
            .map_sqlx_sqlite_opts(|o| sqlite_settings(o).create_if_missing(false).read_only(true));
        let reader = Database::connect(options).await?;
        Ok(Self { writer: reader.clone(), reader, units: UnitMeter::default() })
    }

    /// The same, counting its units of work there.
    #[must_use]
    pub fn counting(self, units: UnitMeter) -> Self {
        Self { units, ..self }
    }

    /// Runs every migration the database has not seen.
    pub async fn migrate(&self) -> Result<()> {
        Migrator::up(&self.writer, None).await?;
        Ok(())
    }

    /// Whether every migration of this program was run.
    pub async fn is_migrated(&self) -> Result<bool> {
        Ok(Migrator::get_pending_migrations(&self.writer).await?.is_empty())
    }

    /// Which engine it is.
    pub fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// Whether it is SQLite: one process, one writer.
    pub fn is_sqlite(&self) -> bool {
        self.backend() == DbBackend::Sqlite
    }

    /// For reads outside a unit of work.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// Begins a unit of work. `name` is what its failpoints are called.
    pub async fn begin(&self, name: &'static str) -> Result<UnitOfWork> {
        UnitOfWork::begin(&self.writer, self.units.begin(name)).await
    }
}

fn sqlite_options(url: &str, connections: u32) -> ConnectOptions {
    let url = if url.contains('?') { url.to_owned() } else { format!("{url}?mode=rwc") };
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(ACQUIRE_SECONDS_MAX))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|o| sqlite_settings(o).journal_mode(SqliteJournalMode::Wal));
    options
}

/// What every connection to SQLite is set to.
fn sqlite_settings(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Without it INSERT OR REPLACE would pass the append-only triggers.
        .pragma("recursive_triggers", "ON")
        .busy_timeout(Duration::from_secs(BUSY_SECONDS_MAX))
}

/// The lease clock: the database's own time in microseconds, the one clock that replicas share.
fn lease_now(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        _ => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    }
}

/// `FOR UPDATE` where the engine has it; SQLite's one writer needs none.
fn for_update(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres { " FOR UPDATE" } else { "" }
}

/// Runs a statement and returns how many rows it changed.
async fn execute<C: ConnectionTrait>(db: &C, sql: &str, values: Vec<Value>) -> Result<u64> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.execute_raw(statement).await?.rows_affected())
}

/// Runs a query and reads every row.
async fn all<T: FromQueryResult, C: ConnectionTrait>(
    db: &C,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row: &QueryResult| T::from_query_result(row, "").map_err(Into::into)).collect()
}

/// Runs a query and reads its first row, if there is one.
async fn one<T: FromQueryResult, C: ConnectionTrait>(
    db: &C,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<T>> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    row.map(|row| T::from_query_result(&row, "").map_err(Into::into)).transpose()
}

/// `($1, $2, ...)` groups for `rows` rows of `columns` values, starting after `offset` values.
fn placeholders(rows: usize, columns: usize, offset: usize) -> String {
    let group = |row: usize| {
        let places: Vec<String> =
            (1..=columns).map(|column| format!("${}", offset + row * columns + column)).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(group).collect::<Vec<_>>().join(", ")
}

/// `$a, $b, ...` for `count` values, starting after `offset` values.
fn places(count: usize, offset: usize) -> String {
    (1..=count).map(|n| format!("${}", offset + n)).collect::<Vec<_>>().join(", ")
}

/// A stored number that can not be negative.
fn unsigned(value: i64, what: &str) -> Result<u64> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt(format!("{what} is negative")))
}

/// A number on its way into a BIGINT column.
fn signed(value: u64, what: &str) -> Result<i64> {
    i64::try_from(value).map_err(|_| StoreError::Corrupt(format!("{what} is too large")))
}

/// A stored amount.
fn units(text: &str) -> Result<u128> {
    crate::domain::amount::parse_stored(text)
        .map_err(|error| StoreError::Corrupt(format!("amount {text:?} {error}")))
}

/// A stored name that a domain type must know.
fn known<T>(parsed: Option<T>, what: &str, name: &str) -> Result<T> {
    parsed.ok_or_else(|| StoreError::Corrupt(format!("unknown {what} {name:?}")))
}
