//! A database with many more addresses than it was given by its own pool. Not here: whose they are.
//! The pool's own ones come last, so that they are loaded last.

use sea_orm::{ConnectionTrait as _, Database};

use super::core::NETWORK;
use super::server::Engine;

/// Adds addresses of nobody, and moves those that are there behind them.
pub async fn crowd(engine: Engine, url: &str, others: u32) {
    let database = Database::connect(url).await.unwrap();
    let (numbers, id, key) = match engine {
        Engine::Sqlite => (
            format!(
                "WITH RECURSIVE many (n) AS
                 (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {others})"
            ),
            "randomblob(16)",
            "CAST(n AS BLOB)",
        ),
        Engine::Postgres => (
            format!("WITH many (n) AS (SELECT generate_series(1, {others}))"),
            "gen_random_uuid()",
            "convert_to(n::text, 'UTF8')",
        ),
    };
    let insert = format!(
        "INSERT INTO address (id, network, address_key, text, wallet_id, chain, role, account,
             path_index, fill_batch, signature, state)
         {numbers} SELECT {id}, '{NETWORK}', {key}, 'nobody', 'nobody', 'sandbox', 0, 0, n,
             (SELECT MAX(fill_batch) FROM address) + n / 10000, {key}, 'free' FROM many"
    );
    database.execute_unprepared(&insert).await.unwrap();
    let behind = "UPDATE address SET fill_batch = (SELECT MAX(fill_batch) + 1 FROM address)
                  WHERE wallet_id <> 'nobody'";
    database.execute_unprepared(behind).await.unwrap();
    let newest = "UPDATE pool_seq SET next =
                      (SELECT MAX(fill_batch) + 1 FROM address a WHERE a.network = pool_seq.network)";
    database.execute_unprepared(newest).await.unwrap();
    database.close().await.unwrap();
}
