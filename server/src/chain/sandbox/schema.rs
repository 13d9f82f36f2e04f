//! The tables of the simulated chains, and the few statements that every part of them uses.

use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult, Statement, Value};

use super::{ChainError, failed};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS block (
    network TEXT NOT NULL,
    height INTEGER NOT NULL,
    hash TEXT NOT NULL,
    parent TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (network, height)
);
CREATE TABLE IF NOT EXISTS tx (
    n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,
    txid TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'included', 'gone')),
    height INTEGER,
    succeeded INTEGER NOT NULL,
    UNIQUE (network, txid)
);
CREATE INDEX IF NOT EXISTS tx_place ON tx (network, state, height, n);
CREATE TABLE IF NOT EXISTS payment (
    network TEXT NOT NULL,
    txid TEXT NOT NULL,
    position INTEGER NOT NULL,
    address_key BLOB NOT NULL,
    units TEXT NOT NULL,
    own_asset INTEGER NOT NULL,
    PRIMARY KEY (network, txid, position)
);
CREATE TABLE IF NOT EXISTS consumed (
    network TEXT NOT NULL,
    outpoint TEXT NOT NULL,
    txid TEXT NOT NULL,
    PRIMARY KEY (network, outpoint, txid)
);
CREATE INDEX IF NOT EXISTS consumed_txid ON consumed (network, txid);
CREATE TABLE IF NOT EXISTS scenario (
    n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,
    address_id BLOB NOT NULL UNIQUE,
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    from_metadata INTEGER NOT NULL,
    step INTEGER NOT NULL,
    txids TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('playing', 'done', 'abandoned')),
    noted_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS scenario_open ON scenario (state, n);
";

/// Makes the tables that are missing.
pub async fn create(db: &DatabaseConnection) -> Result<(), ChainError> {
    for statement in TABLES.split(";\n").map(str::trim).filter(|text| !text.is_empty()) {
        db.execute_unprepared(statement).await.map_err(failed)?;
    }
    Ok(())
}

/// Runs a statement; returns how many rows it changed.
pub async fn execute<C: ConnectionTrait>(
    db: &C,
    sql: &str,
    values: Vec<Value>,
) -> Result<u64, ChainError> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.execute_raw(statement).await.map_err(failed)?.rows_affected())
}

/// Runs a query and reads every row.
pub async fn all<T: FromQueryResult, C: ConnectionTrait>(
    db: &C,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>, ChainError> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await.map_err(failed)?;
    rows.iter().map(|row| T::from_query_result(row, "").map_err(failed)).collect()
}

/// A block's row.
#[derive(Debug, Clone, FromQueryResult)]
pub struct BlockRow {
    /// Its height.
    pub height: i64,
    /// Its hash.
    pub hash: String,
    /// The hash of the block before it.
    pub parent: String,
    /// Its time, microseconds.
    pub time: i64,
}

/// A transaction's row.
#[derive(Debug, Clone, FromQueryResult)]
pub struct TxRow {
    /// Its id.
    pub txid: String,
    /// Its block's height.
    pub height: Option<i64>,
    /// `waiting`, `included` or `gone`.
    pub state: String,
}

/// A payment's row, with what its transaction did.
#[derive(Debug, Clone, FromQueryResult)]
pub struct PaymentRow {
    /// Its transaction.
    pub txid: String,
    /// Which payment of it.
    pub position: i64,
    /// Whom it pays.
    pub address_key: Vec<u8>,
    /// How much.
    pub units: String,
}

/// Something that is consumed, and by whom.
#[derive(Debug, Clone, FromQueryResult)]
pub struct ConsumedRow {
    /// What.
    pub outpoint: String,
    /// By which transaction.
    pub txid: String,
}
