//! The raw driver: the rows of an invoice written with sqlx alone, one transaction each or many in
//! one, as fast as the engine lets it. The limit that creation is held against.

use std::str::FromStr as _;

use sea_orm::sqlx::postgres::PgPoolOptions;
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{AssertSqlSafe, PgPool, Row as _, SqlitePool, query};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::server::Engine;

/// Connections that write one transaction a request on PostgreSQL.
const POSTGRES_WRITERS: usize = 16;
/// Connections that write batches there.
const POSTGRES_BATCHERS: usize = 2;
/// Rows of a batch: as many as a group of ours may have.
pub const BATCH_ROWS: usize = 256;
/// Rows of one SQLite statement.
const SQLITE_STATEMENT_ROWS: usize = 64;

const KEY: &str = "INSERT INTO idempotency
    (resource_id, key, principal_id, method, request_hash, code, day)";
const INVOICE: &str = "INSERT INTO invoice (id, merchant_id, api_key_id, address_id, address_text,
    network, asset, order_id, metadata, amount_cents, amount_base, shortfall_base, rate,
    rate_source, rate_at, confirmations_required, requires_finality, inclusion_seconds, honors_late,
    created_at, expires_at, status, exception, version, event_count)";
/// What every invoice says.
const SAME: &str = "'ltc', 'LTC', NULL, '{}', 500, '000000000000000000000000000000006250000',
    '000000000000000000000000000000000000000', '80.00', 'fixed', 1700000000000000, 6, FALSE, 86400,
    FALSE, 1700000000000000, 1700001800000000, 'pending', 'none', 1, 0";
const USE: &str = "UPDATE address SET state = 'used', leased_to = NULL, leased_until = NULL";

/// The raw driver on one of the engines.
#[derive(Clone)]
pub enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What one invoice has of its own.
pub struct RawRow {
    id: Uuid,
    key: String,
    address: Uuid,
    text: String,
}

/// Whose invoices they are.
#[derive(Clone, Copy)]
pub struct Owner {
    pub merchant: Uuid,
    pub api_key: Uuid,
}

impl Raw {
    /// Connections with the settings that the server uses.
    pub async fn open(engine: Engine, url: &str) -> Self {
        match engine {
            Engine::Sqlite => {
                let options = SqliteConnectOptions::from_str(url)
                    .unwrap()
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .pragma("recursive_triggers", "ON");
                let pool = SqlitePoolOptions::new().max_connections(1);
                Self::Sqlite(pool.connect_with(options).await.unwrap())
            }
            Engine::Postgres => {
                let writers = u32::try_from(POSTGRES_WRITERS).unwrap();
                let pool = PgPoolOptions::new().max_connections(writers).connect(url).await;
                Self::Postgres(pool.unwrap())
            }
        }
    }

    /// The merchant of a database that has one.
    pub async fn owner(&self) -> Owner {
        let sql = "SELECT merchant_id, id FROM api_key LIMIT 1";
        match self {
            Self::Sqlite(pool) => {
                let row = query(sql).fetch_one(pool).await.unwrap();
                Owner { merchant: row.get(0), api_key: row.get(1) }
            }
            Self::Postgres(pool) => {
                let row = query(sql).fetch_one(pool).await.unwrap();
                Owner { merchant: row.get(0), api_key: row.get(1) }
            }
        }
    }

    /// Takes addresses from the pool and makes up the rest.
    pub async fn rows(&self, count: usize) -> Vec<RawRow> {
        let sql = format!(
            "UPDATE address SET state = 'leased' WHERE id IN
                (SELECT id FROM address WHERE state = 'free' LIMIT {count}) RETURNING id, text"
        );
        let found: Vec<(Uuid, String)> = match self {
            Self::Sqlite(pool) => {
                let rows = query(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Self::Postgres(pool) => {
                let rows = query(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        };
        assert_eq!(found.len(), count, "the pool is too small");
        let row = |(address, text)| {
            let id = Uuid::now_v7();
            RawRow { id, key: id.to_string(), address, text }
        };
        found.into_iter().map(row).collect()
    }

    /// Each row in a transaction of its own.
    pub async fn one_by_one(&self, owner: Owner, rows: Vec<RawRow>) {
        match self {
            Self::Sqlite(pool) => {
                for row in &rows {
                    sqlite_batch(pool, owner, std::slice::from_ref(row)).await;
                }
            }
            Self::Postgres(pool) => {
                spread(rows, POSTGRES_WRITERS, pool, move |pool, rows| async move {
                    for row in &rows {
                        postgres_one(&pool, owner, row).await;
                    }
                })
                .await;
            }
        }
    }

    /// The rows in batches.
    pub async fn batched(&self, owner: Owner, rows: Vec<RawRow>) {
        match self {
            Self::Sqlite(pool) => {
                for batch in rows.chunks(BATCH_ROWS) {
                    sqlite_batch(pool, owner, batch).await;
                }
            }
            Self::Postgres(pool) => {
                spread(rows, POSTGRES_BATCHERS, pool, move |pool, rows| async move {
                    for batch in rows.chunks(BATCH_ROWS) {
                        postgres_batch(&pool, owner, batch).await;
                    }
                })
                .await;
            }
        }
    }
}

/// Gives each of `tasks` its part of the rows.
async fn spread<F, Fut>(mut rows: Vec<RawRow>, tasks: usize, pool: &PgPool, work: F)
where
    F: Fn(PgPool, Vec<RawRow>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let part = rows.len().div_ceil(tasks);
    let mut running = JoinSet::new();
    while !rows.is_empty() {
        let rest = rows.split_off(part.min(rows.len()));
        running.spawn(work(pool.clone(), std::mem::replace(&mut rows, rest)));
    }
    running.join_all().await;
}

/// One statement, so one round trip and one commit.
async fn postgres_one(pool: &PgPool, owner: Owner, row: &RawRow) {
    let sql = format!(
        "WITH k AS ({KEY} VALUES ($1, $2, $3, 'raw', $6, 0, 1) ON CONFLICT DO NOTHING),
              a AS ({USE}, merchant_id = $3 WHERE id = $4 AND state = 'leased')
         {INVOICE} VALUES ($1, $3, $7, $4, $5, {SAME})"
    );
    query(AssertSqlSafe(sql))
        .bind(row.id)
        .bind(&row.key)
        .bind(owner.merchant)
        .bind(row.address)
        .bind(&row.text)
        .bind(vec![7_u8; 32])
        .bind(owner.api_key)
        .execute(pool)
        .await
        .unwrap();
}

async fn postgres_batch(pool: &PgPool, owner: Owner, rows: &[RawRow]) {
    let sql = format!(
        "WITH r AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::text[], $4::uuid[],
                $5::text[]) AS r (id, key, address, text)),
              k AS ({KEY} SELECT r.id, r.key, $3, 'raw', $6, 0, 1 FROM r ON CONFLICT DO NOTHING),
              a AS ({USE}, merchant_id = $3 FROM r
                WHERE address.id = r.address AND state = 'leased')
         {INVOICE} SELECT r.id, $3, $7, r.address, r.text, {SAME} FROM r"
    );
    query(AssertSqlSafe(sql))
        .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>())
        .bind(owner.merchant)
        .bind(rows.iter().map(|row| row.address).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.text.clone()).collect::<Vec<_>>())
        .bind(vec![7_u8; 32])
        .bind(owner.api_key)
        .execute(pool)
        .await
        .unwrap();
}

/// `(?, ?, ...)` once for each row.
fn groups(rows: usize, group: &str) -> String {
    vec![group; rows].join(", ")
}

/// Any number of rows in one transaction, a few statements each.
async fn sqlite_batch(pool: &SqlitePool, owner: Owner, rows: &[RawRow]) {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for rows in rows.chunks(SQLITE_STATEMENT_ROWS) {
        let keys = groups(rows.len(), "(?, ?, ?, 'raw', ?, 0, 1)");
        let sql = format!("{KEY} VALUES {keys} ON CONFLICT DO NOTHING");
        let mut statement = query(AssertSqlSafe(sql));
        for row in rows {
            statement = statement.bind(row.id).bind(&row.key).bind(owner.merchant);
            statement = statement.bind(vec![7_u8; 32]);
        }
        statement.execute(&mut *transaction).await.unwrap();

        let ids = groups(rows.len(), "?");
        let sql = format!("{USE}, merchant_id = ? WHERE id IN ({ids}) AND state = 'leased'");
        let mut statement = query(AssertSqlSafe(sql)).bind(owner.merchant);
        for row in rows {
            statement = statement.bind(row.address);
        }
        statement.execute(&mut *transaction).await.unwrap();

        let invoices = groups(rows.len(), &format!("(?, ?, ?, ?, ?, {SAME})"));
        let mut statement = query(AssertSqlSafe(format!("{INVOICE} VALUES {invoices}")));
        for row in rows {
            statement = statement.bind(row.id).bind(owner.merchant).bind(owner.api_key);
            statement = statement.bind(row.address).bind(&row.text);
        }
        statement.execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// A counter of the engine that creation is charged for.
#[derive(Clone, Copy, Default)]
pub struct Charges {
    /// Bytes of write-ahead log; on SQLite bytes handed to the kernel.
    pub log_bytes: u64,
    /// Times that the log was forced to the disk.
    pub syncs: u64,
}

/// What PostgreSQL has been charged so far. Its statistics are told about a second late.
pub async fn postgres_charges(pool: &PgPool) -> Charges {
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, wal_sync::bigint
               FROM pg_stat_wal";
    let row = query(sql).fetch_one(pool).await.unwrap();
    let number = |n: usize| u64::try_from(row.get::<i64, _>(n)).unwrap();
    Charges { log_bytes: number(0), syncs: number(1) }
}
