//! The operator's audit log: a hash chain that only grows. Whoever changes or removes a line breaks
//! every line after it.

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult};
use sha2::{Digest, Sha256};

use super::{Result, UnitOfWork, all, execute, one};
use crate::domain::time::Micros;

/// The chain of operator actions.
const CHAIN: &str = "operator";

/// What a line says, without its own hash.
struct Line<'a> {
    seq: i64,
    at: i64,
    actor: &'a str,
    action: &'a str,
    object: &'a str,
    detail: &'a str,
    prev_hash: &'a str,
}

impl Line<'_> {
    fn hash(&self) -> String {
        let (seq, at) = (self.seq.to_string(), self.at.to_string());
        let mut hasher = Sha256::new();
        for part in
            [CHAIN, &seq, &at, self.actor, self.action, self.object, self.detail, self.prev_hash]
        {
            // Lengths keep two different lines from hashing the same bytes.
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hex::encode(hasher.finalize())
    }
}

/// A line's place in the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number, from 1; 0 stands before the first.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

#[derive(FromQueryResult)]
struct LineRow {
    seq: i64,
    at: i64,
    actor: String,
    action: String,
    object: String,
    detail: String,
    prev_hash: String,
    hash: String,
}

/// The next lines behind `after`, and the number of the first one among them that is not what its
/// hash says or does not follow the line before it.
pub(super) async fn follow<C: ConnectionTrait>(
    db: &C,
    after: &Link,
    limit: i64,
) -> Result<(Vec<Link>, Option<i64>)> {
    let rows: Vec<LineRow> = all(
        db,
        "SELECT seq, at, actor, action, object, detail, prev_hash, hash FROM audit_log
         WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        vec![CHAIN.into(), after.seq.into(), limit.into()],
    )
    .await?;
    let mut links = vec![after.clone()];
    let mut broken = None;
    for row in rows {
        let LineRow { seq, at, actor, action, object, detail, prev_hash, hash } = &row;
        let line = Line { seq: *seq, at: *at, actor, action, object, detail, prev_hash };
        let before = links.last();
        let follows = before.is_some_and(|last| last.seq + 1 == *seq && last.hash == *prev_hash);
        if !follows || line.hash() != *hash {
            broken = broken.or(Some(*seq));
        }
        links.push(Link { seq: *seq, hash: hash.clone() });
    }
    links.remove(0);
    Ok((links, broken))
}

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
    if unit.backend() == DbBackend::Postgres {
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
    let line = Line { seq, at: at.0, actor, action, object, detail, prev_hash: &prev_hash };
    let hash = line.hash();
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
