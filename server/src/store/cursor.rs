//! How far each network was read: the cursor, the blocks behind it, and the watermark. Every write
//! carries the scanner's fence and the hash it read from, so that a stale scanner changes nothing.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{Db, Result, UnitOfWork, all, execute, one, signed, unsigned};
use crate::domain::asset::Network;
use crate::domain::invoice::Moment;
use crate::domain::time::Micros;

/// Blocks kept behind the cursor, to find where a fork began.
const BLOCKS_KEPT_MAX: i64 = 10_000;

/// Where a network's scanner stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The newest scanned block's height.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// Height up to which the chain calls its blocks final.
    pub finalized_height: Option<u64>,
    /// Business time at which that height last grew.
    pub finalized_at: Option<Micros>,
    /// The newest block the node knew at the last read.
    pub node_height: u64,
    /// The newest batch of addresses the scanner watches.
    pub watch_batch: i64,
    /// Business time at which the nodes were last read, be it that they stand still; none before that.
    pub looked_at: Option<Micros>,
    /// Business time up to which blocks and mempool were read completely.
    pub read_at: Micros,
    /// Business time up to which every payment is known: `read_at`, or less while payments may hide in
    /// scanned blocks until balances are reconciled.
    pub watermark: Micros,
}

/// A scanned block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// The hash of the block before it.
    pub parent: String,
    /// The time it states.
    pub time: Micros,
}

/// What a complete read found out about the chain as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadMark {
    /// Business time at which the read began.
    pub began: Micros,
    /// Business time up to which everything was seen that is on the chain or in the mempool.
    pub read_until: Micros,
    /// The newest block the node knew.
    pub node_height: u64,
    /// Height up to which the chain calls its blocks final.
    pub finalized_height: Option<u64>,
    /// The newest batch of addresses that was watched during the whole read.
    pub watch_batch: i64,
}

#[derive(FromQueryResult)]
struct CursorRow {
    height: i64,
    hash: String,
    finalized_height: Option<i64>,
    finalized_at: Option<i64>,
    node_height: i64,
    watch_batch: i64,
    looked_at: Option<i64>,
    watermark_at: i64,
    reconciled_at: Option<i64>,
}

#[derive(FromQueryResult)]
struct BlockRow {
    height: i64,
    hash: String,
    parent: String,
    time: i64,
}

impl Cursor {
    /// Whether the scanned blocks are a whole chain to judge by. In the middle of a reorganisation
    /// they are not: blocks were undone and those that take their place were not all read yet.
    pub fn is_whole(&self) -> bool {
        self.height >= self.node_height
    }

    /// Whether the chain is read and has called nothing new final for far longer than it takes. One that
    /// stands still has not either: who waits for it waits all the same, and should be told.
    pub fn is_finality_stalled(&self, network: Network) -> bool {
        let limit = network.finality_stalled_seconds();
        let since = self.finalized_at.zip(self.looked_at).map(|(at, looked)| looked.since(at));
        since.is_some_and(|time| time.as_secs() > limit)
    }

    /// The moment at which an evaluation with this cursor happens.
    pub fn moment(&self, now: Micros) -> Moment {
        Moment {
            now,
            watermark: self.watermark,
            head: self.height,
            finalized: self.finalized_height,
        }
    }
}

impl CursorRow {
    fn read(self) -> Result<Cursor> {
        Ok(Cursor {
            height: unsigned(self.height, "height")?,
            hash: self.hash,
            finalized_height: self
                .finalized_height
                .map(|height| unsigned(height, "finalized height"))
                .transpose()?,
            finalized_at: self.finalized_at.map(Micros),
            node_height: unsigned(self.node_height, "node height")?,
            watch_batch: self.watch_batch,
            looked_at: self.looked_at.map(Micros),
            read_at: Micros(self.watermark_at),
            watermark: watermark(self.watermark_at, self.reconciled_at),
        })
    }
}

/// Up to when every payment is known: `read_at`, or less where payments may hide in what was read.
pub(super) fn watermark(read_at: i64, reconciled_at: Option<i64>) -> Micros {
    Micros(reconciled_at.unwrap_or(i64::MAX).min(read_at))
}

const SELECT: &str =
    "SELECT height, hash, finalized_height, finalized_at, node_height, watch_batch,
     looked_at, watermark_at, reconciled_at FROM chain_cursor WHERE network = $1";

/// The cursor of a network; `None` before its first scan.
pub async fn get(db: &Db, network: Network) -> Result<Option<Cursor>> {
    read(db.reader(), network).await
}

/// The cursor, inside a unit of work.
pub async fn get_in(unit: &UnitOfWork, network: Network) -> Result<Option<Cursor>> {
    read(unit.db(), network).await
}

async fn read<C: ConnectionTrait>(db: &C, network: Network) -> Result<Option<Cursor>> {
    let row: Option<CursorRow> = one(db, SELECT, vec![network.as_str().into()]).await?;
    row.map(CursorRow::read).transpose()
}

/// Starts a network's cursor at `block`: payments in later blocks are found.
pub async fn start(
    unit: &UnitOfWork,
    network: Network,
    block: &ScannedBlock,
    now: Micros,
) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO chain_cursor (network, height, hash, finalized_height, node_height, fence,
            watch_batch, watermark_at)
         VALUES ($1, $2, $3, NULL, $2, 0, 0, $4) ON CONFLICT (network) DO NOTHING",
        vec![
            network.as_str().into(),
            signed(block.height, "height")?.into(),
            block.hash.clone().into(),
            now.0.into(),
        ],
    )
    .await?;
    insert_block(unit, network, block).await
}

/// Writes a new holder's fence into the cursor; older holders can not move it any more.
pub async fn take_over(unit: &UnitOfWork, network: Network, fence: i64) -> Result<bool> {
    let changed = execute(
        unit.db(),
        "UPDATE chain_cursor SET fence = $2 WHERE network = $1 AND fence <= $2",
        vec![network.as_str().into(), fence.into()],
    )
    .await?;
    Ok(changed == 1)
}

/// Moves the cursor from `block.parent` to `block`. False when it stands elsewhere or the fence is
/// not the newest: nothing of this unit of work may be committed then.
pub async fn advance(
    unit: &UnitOfWork,
    network: Network,
    fence: i64,
    block: &ScannedBlock,
) -> Result<bool> {
    let changed = execute(
        unit.db(),
        "UPDATE chain_cursor SET height = $2, hash = $3
         WHERE network = $1 AND hash = $4 AND fence = $5",
        vec![
            network.as_str().into(),
            signed(block.height, "height")?.into(),
            block.hash.clone().into(),
            block.parent.clone().into(),
            fence.into(),
        ],
    )
    .await?;
    if changed != 1 {
        return Ok(false);
    }
    insert_block(unit, network, block).await?;
    execute(
        unit.db(),
        "DELETE FROM chain_block WHERE network = $1 AND height < $2",
        vec![network.as_str().into(), (signed(block.height, "height")? - BLOCKS_KEPT_MAX).into()],
    )
    .await?;
    Ok(true)
}

/// Moves the cursor back from `from_hash` to an ancestor, forgetting the blocks above it: none of those
/// that come in their place was called final yet. What was
/// reconciled at one of them is so no more and waits for it again, with all addresses: what hid below the
/// ancestor is here as before, and its delta is not. Nothing is a whole chain again before it is as high
/// as the one that was left.
pub async fn rewind(
    unit: &UnitOfWork,
    network: Network,
    fence: i64,
    from_hash: &str,
    to: &ScannedBlock,
) -> Result<bool> {
    let height = signed(to.height, "height")?;
    let changed = execute(
        unit.db(),
        "UPDATE chain_cursor SET height = $2, hash = $3,
            node_height = CASE WHEN node_height < height THEN height ELSE node_height END,
            finalized_height = CASE WHEN finalized_height > $2 THEN $2 ELSE finalized_height END,
            reconciled_height = CASE WHEN reconciled_height > $2 THEN $2 ELSE reconciled_height END,
            reconciled_at = CASE WHEN reconciled_height > $2 AND hidden_height IS NOT NULL
                THEN COALESCE(reconciled_at, watermark_at) ELSE reconciled_at END,
            pass_index = CASE WHEN reconciled_height > $2 THEN NULL ELSE pass_index END,
            pass_height = CASE WHEN reconciled_height > $2 THEN NULL
                WHEN pass_height > $2 THEN $2 ELSE pass_height END
         WHERE network = $1 AND hash = $4 AND fence = $5",
        vec![
            network.as_str().into(),
            height.into(),
            to.hash.clone().into(),
            from_hash.into(),
            fence.into(),
        ],
    )
    .await?;
    execute(
        unit.db(),
        "DELETE FROM chain_block WHERE network = $1 AND height > $2",
        vec![network.as_str().into(), height.into()],
    )
    .await?;
    Ok(changed == 1)
}

/// Notes that everything up to the cursor, and the mempool, was read completely. What the chain called
/// final stays so where a node does not say what is.
pub async fn mark_read(
    unit: &UnitOfWork,
    network: Network,
    fence: i64,
    hash: &str,
    mark: &ReadMark,
) -> Result<bool> {
    let finalized = mark.finalized_height.map(|h| signed(h, "finalized height")).transpose()?;
    let changed = execute(
        unit.db(),
        "UPDATE chain_cursor SET node_height = $2, looked_at = $4,
            finalized_height = COALESCE($3, finalized_height),
            finalized_at = CASE WHEN $3 IS NULL THEN finalized_at
                WHEN finalized_at IS NULL OR finalized_height IS NULL OR finalized_height < $3
                THEN $4 ELSE finalized_at END,
            watermark_at = CASE WHEN watermark_at < $8 THEN $8 ELSE watermark_at END,
            watch_batch = CASE WHEN watch_batch < $5 THEN $5 ELSE watch_batch END
         WHERE network = $1 AND hash = $6 AND fence = $7",
        vec![
            network.as_str().into(),
            signed(mark.node_height, "node height")?.into(),
            finalized.into(),
            mark.began.0.into(),
            mark.watch_batch.into(),
            hash.into(),
            fence.into(),
            mark.read_until.0.into(),
        ],
    )
    .await?;
    Ok(changed == 1)
}

/// Notes that addresses up to `batch` are watched from now on.
pub async fn mark_watched(
    unit: &UnitOfWork,
    network: Network,
    fence: i64,
    batch: i64,
) -> Result<bool> {
    let changed = execute(
        unit.db(),
        "UPDATE chain_cursor SET watch_batch = $2
         WHERE network = $1 AND watch_batch < $2 AND fence = $3",
        vec![network.as_str().into(), batch.into(), fence.into()],
    )
    .await?;
    Ok(changed == 1)
}

/// The scanned blocks at and below `height`, newest first.
pub async fn blocks_below(
    db: &Db,
    network: Network,
    height: u64,
    count: u32,
) -> Result<Vec<ScannedBlock>> {
    let rows: Vec<BlockRow> = all(
        db.reader(),
        "SELECT height, hash, parent, time FROM chain_block
         WHERE network = $1 AND height <= $2 ORDER BY height DESC LIMIT $3",
        vec![network.as_str().into(), signed(height, "height")?.into(), i64::from(count).into()],
    )
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ScannedBlock {
                height: unsigned(row.height, "height")?,
                hash: row.hash,
                parent: row.parent,
                time: Micros(row.time),
            })
        })
        .collect()
}

/// Writes down a block of the chain that is read: one that a fork may be followed back to.
pub async fn insert_block(unit: &UnitOfWork, network: Network, block: &ScannedBlock) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO chain_block (network, hash, height, parent, time)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        vec![
            network.as_str().into(),
            block.hash.clone().into(),
            signed(block.height, "height")?.into(),
            block.parent.clone().into(),
            block.time.0.into(),
        ],
    )
    .await?;
    Ok(())
}
