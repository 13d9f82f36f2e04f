//! The operator's audit log: a hash chain that only grows. Whoever changes or removes a line breaks
//! every line after it.

use sea_orm::{ConnectionTrait as _, DbBackend, FromQueryResult};
use sha2::{Digest, Sha256};

use super::{Result, UnitOfWork, execute, one};
use crate::domain::time::Micros;

/// The chain of operator actions.
const CHAIN: &str = "operator";

#[derive(FromQueryResult)]
struct LastRow {
    seq: i64,
    hash: String,
}

/// Appends one action to the chain. Two at once: one waits until the other's unit of work is over, so
/// this stands last in a unit of work.
pub async fn append(
    unit: &UnitOfWork,
    actor: &str,
    action: &str,
    object: &str,
    detail: &str,
    at: Micros,
) -> Result<()> {
    if unit.db().get_database_backend() == DbBackend::Postgres {
        // Readers go on; SQLite has one writer anyway.
        execute(unit.db(), "LOCK TABLE audit_log IN EXCLUSIVE MODE", Vec::new()).await?;
    }
    let last: Option<LastRow> = one(
        unit.db(),
        "SELECT seq, hash FROM audit_log WHERE chain = $1 ORDER BY seq DESC LIMIT 1",
        vec![CHAIN.into()],
    )
    .await?;
    let (seq, prev_hash) = last.map_or((1, String::new()), |row| (row.seq + 1, row.hash));
    let mut hasher = Sha256::new();
    for part in
        [CHAIN, &seq.to_string(), &at.0.to_string(), actor, action, object, detail, &prev_hash]
    {
        // Lengths keep two different lines from hashing the same bytes.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hex::encode(hasher.finalize());
    execute(
        unit.db(),
        "INSERT INTO audit_log (chain, seq, at, actor, action, object, detail, prev_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        vec![
            CHAIN.into(),
            seq.into(),
            at.0.into(),
            actor.into(),
            action.into(),
            object.into(),
            detail.into(),
            prev_hash.into(),
            hash.into(),
        ],
    )
    .await?;
    Ok(())
}
