//! What is looked at in a database without changing it: the engine's settings, which migrations it has
//! seen, the triggers that keep its logs, what it was stamped with. Not here: what is right
//! (`app::doctor`).

use cryptopayment_migrations::Migrator;
use sea_orm::FromQueryResult;
use sea_orm_migration::MigratorTrait;

use super::deployment::Deployment;
use super::{Db, Result, StoreError, all, lease_now, one};
use crate::domain::time::Micros;

/// Tables that nothing is changed or removed in.
const APPEND_ONLY: [&str; 4] = ["audit_log", "event", "posting", "transfer"];
/// Columns of an invoice that never change.
const IMMUTABLE: [&str; 4] = ["address_id", "amount_base", "expires_at", "merchant_id"];

/// The settings of SQLite that durability and the triggers depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteSettings {
    /// Of the file: `wal` once the server has run.
    pub journal_mode: String,
    /// Of a connection of ours: 2 is FULL.
    pub synchronous: i64,
    /// Of a connection of ours.
    pub recursive_triggers: bool,
    /// Of a connection of ours.
    pub foreign_keys: bool,
}

/// The settings of PostgreSQL that durability depends on.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct PostgresSettings {
    /// E.g. `150008` for 15.8.
    pub version: String,
    /// `on` or `off`.
    pub fsync: String,
    /// `on` or `off`.
    pub full_page_writes: String,
    /// `on`, `off`, `local`, `remote_write` or `remote_apply`.
    pub synchronous_commit: String,
    /// Connections that the server takes.
    pub connections_max: String,
    /// Whether it only follows another one.
    pub standby: bool,
}

/// Where a database stands against this program's migrations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrations {
    /// Migrations the database has not seen.
    pub pending: Vec<String>,
    /// Migrations that this program does not know: the database is of a later version.
    pub unknown: Vec<String>,
}

/// What a network was stamped with.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct StampedNetwork {
    /// The network.
    pub network: String,
    /// Which instance of it.
    pub chain: String,
    /// The hash of its genesis block.
    pub genesis: String,
}

#[derive(FromQueryResult)]
struct JournalRow {
    journal_mode: String,
}

#[derive(FromQueryResult)]
struct SynchronousRow {
    synchronous: i64,
}

#[derive(FromQueryResult)]
struct RecursiveRow {
    recursive_triggers: i64,
}

#[derive(FromQueryResult)]
struct ForeignRow {
    foreign_keys: i64,
}

#[derive(FromQueryResult)]
struct NameRow {
    name: String,
}

#[derive(FromQueryResult)]
struct CountRow {
    count: i64,
}

#[derive(FromQueryResult)]
struct NowRow {
    now: i64,
}

/// SQLite's settings.
pub async fn sqlite_settings(db: &Db) -> Result<SqliteSettings> {
    let journal: JournalRow = pragma(db, "journal_mode").await?;
    let synchronous: SynchronousRow = pragma(db, "synchronous").await?;
    let recursive: RecursiveRow = pragma(db, "recursive_triggers").await?;
    let foreign: ForeignRow = pragma(db, "foreign_keys").await?;
    Ok(SqliteSettings {
        journal_mode: journal.journal_mode,
        synchronous: synchronous.synchronous,
        recursive_triggers: recursive.recursive_triggers == 1,
        foreign_keys: foreign.foreign_keys == 1,
    })
}

async fn pragma<T: FromQueryResult>(db: &Db, name: &str) -> Result<T> {
    let row: Option<T> = one(db.reader(), &format!("PRAGMA {name}"), vec![]).await?;
    row.ok_or_else(|| StoreError::Corrupt(format!("no setting {name}")))
}

/// PostgreSQL's settings.
pub async fn postgres_settings(db: &Db) -> Result<PostgresSettings> {
    let row: Option<PostgresSettings> = one(
        db.reader(),
        "SELECT current_setting('server_version_num') AS version,
                current_setting('fsync') AS fsync,
                current_setting('full_page_writes') AS full_page_writes,
                current_setting('synchronous_commit') AS synchronous_commit,
                current_setting('max_connections') AS connections_max,
                pg_is_in_recovery() AS standby",
        vec![],
    )
    .await?;
    row.ok_or_else(|| StoreError::Corrupt("no settings".to_owned()))
}

/// What the database's clock says.
pub async fn clock(db: &Db) -> Result<Micros> {
    let sql = format!("SELECT {} AS now", lease_now(db.backend()));
    let row: Option<NowRow> = one(db.reader(), &sql, vec![]).await?;
    Ok(Micros(row.map_or(0, |row| row.now)))
}

/// Which migrations are missing, on either side.
pub async fn migrations(db: &Db) -> Result<Migrations> {
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let sql = if db.is_sqlite() {
        "SELECT COUNT(*) AS count FROM sqlite_master WHERE name = 'seaql_migrations'"
    } else {
        "SELECT CAST(COUNT(*) AS BIGINT) AS count FROM pg_class
         WHERE oid = to_regclass('seaql_migrations')"
    };
    let table: Option<CountRow> = one(db.reader(), sql, vec![]).await?;
    let seen: Vec<NameRow> = if table.is_some_and(|row| row.count > 0) {
        let sql = "SELECT version AS name FROM seaql_migrations ORDER BY version";
        all(db.reader(), sql, vec![]).await?
    } else {
        Vec::new()
    };
    let seen: Vec<String> = seen.into_iter().map(|row| row.name).collect();
    let missing = |from: &[String], of: &[String]| -> Vec<String> {
        of.iter().filter(|name| !from.contains(name)).cloned().collect()
    };
    Ok(Migrations { pending: missing(&seen, &known), unknown: missing(&known, &seen) })
}

/// The triggers that should keep logs and invoices as they are, and are not there or not enabled.
pub async fn missing_triggers(db: &Db) -> Result<Vec<String>> {
    let (sql, endings) = if db.is_sqlite() {
        ("SELECT name FROM sqlite_master WHERE type = 'trigger'", ["no_update", "no_delete"])
    } else {
        let sql = "SELECT CAST(tgname AS TEXT) AS name FROM pg_trigger
                   WHERE NOT tgisinternal AND tgenabled <> 'D'";
        (sql, ["append_only", "no_truncate"])
    };
    let rows: Vec<NameRow> = all(db.reader(), sql, vec![]).await?;
    let logs = APPEND_ONLY.iter().flat_map(|table| endings.map(|end| format!("{table}_{end}")));
    let columns = IMMUTABLE.iter().map(|column| format!("invoice_{column}_immutable"));
    let wanted = logs.chain(columns);
    Ok(wanted.filter(|name| !rows.iter().any(|row| row.name == *name)).collect())
}

/// What the database belongs to; `None` before its first start.
pub async fn deployment(db: &Db) -> Result<Option<Deployment>> {
    one(db.reader(), "SELECT environment, wallet_id FROM deployment", vec![]).await
}

/// The chains that the database was begun on.
pub async fn networks(db: &Db) -> Result<Vec<StampedNetwork>> {
    let sql = "SELECT network, chain, genesis FROM network_stamp ORDER BY network";
    all(db.reader(), sql, vec![]).await
}
