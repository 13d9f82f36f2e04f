//! Blocks that the operator wants read again, and how far that is. Every step names the height that it
//! goes on from, so that none is taken twice. Not here: reading them (`worker::scan`).

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::{Db, Result, UnitOfWork, all, execute, known, one, signed, unsigned};
use crate::domain::asset::Network;
use crate::domain::time::Micros;

/// How far a rescan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RescanState {
    /// Blocks are left to read.
    Waiting,
    /// Every block was read.
    Done,
    /// The node cannot give a block of it; what was read before stands.
    Failed,
}

impl RescanState {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Waiting, Self::Done, Self::Failed].into_iter().find(|state| state.as_str() == name)
    }
}

/// A range of blocks that is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescan {
    /// Its id.
    pub id: Uuid,
    /// The network.
    pub network: String,
    /// The first block.
    pub from_height: u64,
    /// The last block.
    pub to_height: u64,
    /// The first block that was not read yet.
    pub next_height: u64,
    /// Deposits that were found, or found in another place than they were known in.
    pub deposits_changed: u64,
    /// How far it is.
    pub state: RescanState,
    /// Why it failed.
    pub error: String,
    /// When it was asked for, business time.
    pub created_at: Micros,
    /// When it was done or failed, business time.
    pub ended_at: Option<Micros>,
}

#[derive(FromQueryResult)]
struct Row {
    id: Uuid,
    network: String,
    from_height: i64,
    to_height: i64,
    next_height: i64,
    deposits_changed: i64,
    state: String,
    error: String,
    created_at: i64,
    ended_at: Option<i64>,
}

#[derive(FromQueryResult)]
struct Count {
    count: i64,
}

impl Row {
    fn read(self) -> Result<Rescan> {
        Ok(Rescan {
            id: self.id,
            network: self.network,
            from_height: unsigned(self.from_height, "height")?,
            to_height: unsigned(self.to_height, "height")?,
            next_height: unsigned(self.next_height, "height")?,
            deposits_changed: unsigned(self.deposits_changed, "count")?,
            state: known(RescanState::parse(&self.state), "rescan state", &self.state)?,
            error: self.error,
            created_at: Micros(self.created_at),
            ended_at: self.ended_at.map(Micros),
        })
    }
}

const SELECT: &str =
    "SELECT id, network, from_height, to_height, next_height, deposits_changed, state,
    error, created_at, ended_at FROM chain_rescan";

/// Writes a rescan down, unless the same range waits already. Returns the one that waits.
pub async fn request(
    unit: &UnitOfWork,
    id: Uuid,
    network: Network,
    heights: (u64, u64),
    now: Micros,
) -> Result<Option<Rescan>> {
    let (from, to) = (signed(heights.0, "height")?, signed(heights.1, "height")?);
    execute(
        unit.db(),
        "INSERT INTO chain_rescan (id, network, from_height, to_height, next_height,
            deposits_changed, state, error, created_at, ended_at)
         VALUES ($1, $2, $3, $4, $3, 0, 'waiting', '', $5, NULL)
         ON CONFLICT (network, from_height, to_height) WHERE state = 'waiting' DO NOTHING",
        vec![id.into(), network.as_str().into(), from.into(), to.into(), now.0.into()],
    )
    .await?;
    let sql = format!(
        "{SELECT} WHERE network = $1 AND from_height = $2 AND to_height = $3 AND state = 'waiting'"
    );
    read(unit.db(), &sql, vec![network.as_str().into(), from.into(), to.into()]).await
}

/// How many rescans of a network wait.
pub async fn count_waiting(unit: &UnitOfWork, network: Network) -> Result<u64> {
    let row: Option<Count> = one(
        unit.db(),
        "SELECT COUNT(*) AS count FROM chain_rescan WHERE network = $1 AND state = 'waiting'",
        vec![network.as_str().into()],
    )
    .await?;
    row.map_or(Ok(0), |row| unsigned(row.count, "count"))
}

/// One rescan.
pub async fn get(db: &Db, id: Uuid) -> Result<Option<Rescan>> {
    read(db.reader(), &format!("{SELECT} WHERE id = $1"), vec![id.into()]).await
}

/// The newest rescans of a network, whatever became of them, the newest first.
pub async fn newest(db: &Db, network: Network, count: u32) -> Result<Vec<Rescan>> {
    let sql = format!("{SELECT} WHERE network = $1 ORDER BY created_at DESC, id DESC LIMIT $2");
    let values = vec![network.as_str().into(), i64::from(count).into()];
    let rows: Vec<Row> = all(db.reader(), &sql, values).await?;
    rows.into_iter().map(Row::read).collect()
}

/// The rescan of a network whose turn it is: the oldest that waits.
pub async fn next(db: &Db, network: Network) -> Result<Option<Rescan>> {
    let sql = format!(
        "{SELECT} WHERE network = $1 AND state = 'waiting' ORDER BY created_at, id LIMIT 1"
    );
    read(db.reader(), &sql, vec![network.as_str().into()]).await
}

/// Notes that everything below `next_height` was read and what that changed; done when nothing is left.
/// False when somebody else went on from the same place.
pub async fn advance(
    unit: &UnitOfWork,
    rescan: &Rescan,
    next_height: u64,
    deposits_changed: u64,
    now: Micros,
) -> Result<bool> {
    let changed = execute(
        unit.db(),
        "UPDATE chain_rescan SET next_height = $3, deposits_changed = deposits_changed + $4,
            state = CASE WHEN $3 > to_height THEN 'done' ELSE 'waiting' END,
            ended_at = CASE WHEN $3 > to_height THEN $5 ELSE ended_at END
         WHERE id = $1 AND next_height = $2 AND state = 'waiting'",
        vec![
            rescan.id.into(),
            signed(rescan.next_height, "height")?.into(),
            signed(next_height, "height")?.into(),
            signed(deposits_changed, "count")?.into(),
            now.0.into(),
        ],
    )
    .await?;
    Ok(changed == 1)
}

/// Notes that a rescan cannot go on.
pub async fn fail(unit: &UnitOfWork, rescan: &Rescan, error: &str, now: Micros) -> Result<()> {
    execute(
        unit.db(),
        "UPDATE chain_rescan SET state = 'failed', error = $2, ended_at = $3
         WHERE id = $1 AND state = 'waiting'",
        vec![rescan.id.into(), error.into(), now.0.into()],
    )
    .await?;
    Ok(())
}

async fn read<C: ConnectionTrait>(
    db: &C,
    sql: &str,
    values: Vec<sea_orm::Value>,
) -> Result<Option<Rescan>> {
    let row: Option<Row> = one(db, sql, values).await?;
    row.map(Row::read).transpose()
}
