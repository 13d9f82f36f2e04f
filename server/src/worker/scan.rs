//! The scanner of one network: follows the chain block by block, undoes blocks that a fork removed,
//! reads the mempool, and moves cursor and watermark. It writes deposit rows, unexpected ones beside
//! them, and the cursor, in one transaction per block, and nothing else.

use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::StreamExt as _;
use uuid::Uuid;

use super::arrivals::{self, Either, Foreign, Owners};
use super::watch_set::WatchSet;
use super::{LEASE_SECONDS, Step};
use crate::chain::{
    Block, BlockRef, ChainReader, Consumption, Transfer, UnexpectedTransfer, Watch,
};
use crate::domain::asset::Network;
use crate::env::Env;
use crate::signals::Signals;
use crate::store::cursor::{self, Cursor, ReadMark, ScannedBlock};
use crate::store::deposits::{self, InBlock};
use crate::store::{Db, UnitOfWork, leases, unexpected_deposits};

/// Blocks scanned before the lease is renewed.
const BLOCKS_PER_TICK_MAX: u64 = 50;
/// Blocks fetched before the one that is written: what a catch-up holds in memory.
const BLOCKS_AHEAD_MAX: usize = 4;
/// The deepest fork that is followed without a person.
const FORK_BLOCKS_MAX: u32 = 1_000;
/// Scanned blocks compared with the node's in one query while a fork's root is looked for.
const FORK_BLOCKS_PER_QUERY: u32 = 100;

/// One network's scanner.
pub struct Scanner {
    db: Db,
    env: Env,
    reader: Arc<dyn ChainReader>,
    signals: Signals,
    holder: Uuid,
    network: Network,
    watch: WatchSet,
    /// Whose addresses are accounts on this chain too.
    foreign: Option<Foreign>,
    fence: Option<i64>,
}

impl Scanner {
    /// A scanner that reads through `reader`.
    pub fn new(
        db: Db,
        env: Env,
        reader: Arc<dyn ChainReader>,
        signals: Signals,
        holder: Uuid,
    ) -> Self {
        let network = reader.network();
        let watch = WatchSet::default();
        Self { db, env, reader, signals, holder, network, watch, foreign: None, fence: None }
    }

    /// The same that looks for another network's addresses too: what reaches them on this chain was meant
    /// for the other one and is an unexpected deposit.
    pub fn watching_also(self, network: Option<Network>) -> Self {
        let foreign = network.map(|network| Foreign { network, watch: WatchSet::default() });
        Self { foreign, ..self }
    }

    /// One tick: everything up to the head, then the mempool.
    pub async fn tick(&mut self) -> anyhow::Result<Step> {
        let Some(fence) = self.hold_lease().await? else { return Ok(Step::Idle) };
        let began = self.env.now();
        let before = self.watch.load_new(&self.db, self.network).await?;
        // Before the head is asked for: whatever was in the pool by now is looked for in every block up
        // to it. Nobody waits for it to load; until it has, it says yes to all.
        if let Some(Foreign { network, watch }) = &mut self.foreign {
            watch.load_new(&self.db, *network).await?;
        }
        self.mark_watched(fence, before).await?;
        let head = self.reader.head().await?;
        let Some(mut cursor) = self.cursor_at_chain(fence).await? else { return Ok(Step::More) };
        if !self.scan_blocks(fence, &mut cursor, head.tip.height).await? {
            return Ok(Step::More);
        }
        self.scan_mempool(fence, &cursor).await?;
        let mark = ReadMark {
            began,
            node_height: head.tip.height,
            finalized_height: head.finalized_height,
            watch_batch: before,
        };
        let unit = self.db.begin("mark_read").await?;
        if cursor::mark_read(&unit, self.network, fence, &cursor.hash, &mark).await? {
            unit.commit().await?;
        }
        self.signals.scanned(self.network).notify_one();
        let foreign = self.foreign.as_ref().is_none_or(|foreign| foreign.watch.is_complete());
        Ok(if self.watch.is_complete() && foreign { Step::Idle } else { Step::More })
    }

    /// Takes or renews the lease; a new holder writes its fence into the cursor first.
    async fn hold_lease(&mut self) -> anyhow::Result<Option<i64>> {
        let name = format!("scan:{}", self.network);
        let Some(lease) = leases::acquire(&self.db, &name, self.holder, LEASE_SECONDS).await?
        else {
            self.fence = None;
            return Ok(None);
        };
        if self.fence != Some(lease.fence) {
            self.ensure_cursor().await?;
            let unit = self.db.begin("take_over").await?;
            if !cursor::take_over(&unit, self.network, lease.fence).await? {
                return Ok(None);
            }
            unit.commit().await?;
            self.fence = Some(lease.fence);
        }
        Ok(Some(lease.fence))
    }

    /// A network that was never scanned begins at the chain's head: no address of ours is older.
    async fn ensure_cursor(&self) -> anyhow::Result<()> {
        if self.cursor().await?.is_some() {
            return Ok(());
        }
        let now = self.env.now();
        let head = self.reader.head().await?;
        let unit = self.db.begin("start_cursor").await?;
        cursor::start(&unit, self.network, &scanned(&head.tip), now).await?;
        unit.commit().await?;
        tracing::info!(network = %self.network, height = head.tip.height, "scanning begins");
        Ok(())
    }

    async fn mark_watched(&self, fence: i64, batch: i64) -> anyhow::Result<()> {
        let known = self.cursor().await?.map_or(0, |cursor| cursor.watch_batch);
        if batch > known {
            let unit = self.db.begin("mark_watched").await?;
            if cursor::mark_watched(&unit, self.network, fence, batch).await? {
                unit.commit().await?;
            }
        }
        Ok(())
    }

    /// The cursor, if its block is on the node's chain; else undoes what a fork removed and returns
    /// nothing.
    async fn cursor_at_chain(&self, fence: i64) -> anyhow::Result<Option<Cursor>> {
        let cursor = self.cursor().await?.context("network has no cursor")?;
        match self.reader.header_at(cursor.height).await? {
            Some(block) if block.hash == cursor.hash => return Ok(Some(cursor)),
            Some(_) => {}
            // A node behind us says nothing about our blocks, unless it has forked further down:
            // only a block that it has and that differs proves that.
            None if self.is_behind(&cursor).await? => {
                bail!("node is behind block {} that was scanned", cursor.height)
            }
            None => {}
        }
        let root = self.fork_root(&cursor).await?;
        let unit = self.db.begin("rewind").await?;
        if cursor::rewind(&unit, self.network, fence, &cursor.hash, &root).await? {
            let moved = deposits::unconfirm_above(&unit, self.network, root.height).await?;
            let orphaned =
                unexpected_deposits::orphan_above(&unit, self.network, root.height).await?;
            unit.commit().await?;
            arrivals::tell_orphaned(self.network, orphaned);
            tracing::warn!(
                network = %self.network,
                from = cursor.height,
                to = root.height,
                deposits = moved,
                unexpected = orphaned.open,
                "chain reorganised"
            );
        }
        Ok(None)
    }

    /// Whether the node's newest block is one that was scanned: it lacks blocks and contradicts none.
    async fn is_behind(&self, cursor: &Cursor) -> anyhow::Result<bool> {
        let tip = self.reader.head().await?.tip;
        let ours = cursor::blocks_below(&self.db, self.network, tip.height, 1).await?;
        Ok(tip.height < cursor.height
            && ours
                .first()
                .is_some_and(|block| block.height == tip.height && block.hash == tip.hash))
    }

    /// The newest scanned block that is still on the node's chain.
    async fn fork_root(&self, cursor: &Cursor) -> anyhow::Result<ScannedBlock> {
        let mut height = cursor.height;
        let mut looked = 0;
        while looked < FORK_BLOCKS_MAX {
            let ours =
                cursor::blocks_below(&self.db, self.network, height, FORK_BLOCKS_PER_QUERY).await?;
            if ours.is_empty() {
                break;
            }
            for block in ours {
                let theirs = self.reader.header_at(block.height).await?;
                if theirs.is_some_and(|theirs| theirs.hash == block.hash) {
                    return Ok(block);
                }
                looked += 1;
                height = block.height.saturating_sub(1);
            }
        }
        bail!("no scanned block of the last {looked} is on the node's chain: is it another chain?")
    }

    /// Scans from the cursor up to `head`, some blocks at the most: they are fetched side by side and
    /// written in their order. False when there is more, or when a block does not follow.
    async fn scan_blocks(
        &self,
        fence: i64,
        cursor: &mut Cursor,
        head: u64,
    ) -> anyhow::Result<bool> {
        // Nothing of this tick adds to what is looked for: only the mempool and a rewind do, and the
        // addresses that may be paid by now were loaded before.
        let consumed = deposits::waiting_outpoints(&self.db, self.network).await?;
        let addresses = self.addresses();
        let watch = Watch { addresses: &addresses, consumed: &consumed };
        let last = head.min(cursor.height + BLOCKS_PER_TICK_MAX);
        let mut blocks = futures_util::stream::iter(cursor.height + 1..=last)
            .map(|height| self.reader.block_at(height, watch))
            .buffered(BLOCKS_AHEAD_MAX);
        while let Some(block) = blocks.next().await {
            let Some(block) = block? else { return Ok(false) };
            if !self.scan_block(fence, cursor, block).await? {
                return Ok(false);
            }
            *cursor = self.cursor().await?.context("cursor vanished")?;
        }
        Ok(last == head)
    }

    /// Writes what the block after the cursor holds. False when it does not follow.
    async fn scan_block(&self, fence: i64, cursor: &Cursor, block: Block) -> anyhow::Result<bool> {
        if block.reference.parent != cursor.hash {
            return Ok(false);
        }
        let now = self.env.now();
        // A block's own time may lie; what was read completely before it was seen may not.
        let seen_at = block.reference.time.clamp(cursor.watermark.min(now), now);
        let place = InBlock {
            height: block.reference.height,
            hash: block.reference.hash.clone(),
            at: seen_at,
        };
        let (transfers, others) = (&block.transfers, &block.unexpected);
        let owners = self.owners(transfers, others).await?;
        let found = owners.deposits(&self.env, self.network, transfers, seen_at, Some(&place));
        let unexpected = owners.unexpected(&self.env, transfers, others, &place);
        let unit = self.db.begin("scan").await?;
        if !cursor::advance(&unit, self.network, fence, &scanned(&block.reference)).await? {
            return Ok(false);
        }
        for deposit in &found {
            deposits::record(&unit, self.network, deposit).await?;
        }
        let new = arrivals::record(&unit, self.network, &unexpected).await?;
        self.replace(&unit, &block).await?;
        unit.commit().await?;
        arrivals::tell(self.network, &new);
        if !found.is_empty() {
            self.signals.scanned(self.network).notify_one();
        }
        Ok(true)
    }

    async fn replace(&self, unit: &UnitOfWork, block: &Block) -> anyhow::Result<()> {
        for Consumption { key, .. } in &block.consumptions {
            deposits::consume(unit, self.network, key).await?;
        }
        Ok(())
    }

    async fn scan_mempool(&self, fence: i64, cursor: &Cursor) -> anyhow::Result<()> {
        let consumed = deposits::waiting_outpoints(&self.db, self.network).await?;
        let addresses = self.addresses();
        let watch = Watch { addresses: &addresses, consumed: &consumed };
        let Some(mempool) = self.reader.mempool(watch).await? else { return Ok(()) };
        // What waits is none of our business unless it is a deposit: an unexpected one is written down
        // when it is in a block.
        let owners = self.owners(&mempool.transfers, &[]).await?;
        let now = self.env.now();
        let found = owners.deposits(&self.env, self.network, &mempool.transfers, now, None);
        if found.is_empty() && mempool.consumptions.is_empty() {
            return Ok(());
        }
        let unit = self.db.begin("scan_mempool").await?;
        // The cursor's row guards the write: a scanner that lost its lease changes nothing.
        if !cursor::take_over(&unit, self.network, fence).await?
            || cursor::get_in(&unit, self.network).await?.is_none_or(|at| at.hash != cursor.hash)
        {
            return Ok(());
        }
        for deposit in &found {
            deposits::record(&unit, self.network, deposit).await?;
        }
        for Consumption { key, txid } in &mempool.consumptions {
            deposits::replace(&unit, self.network, key, txid).await?;
        }
        unit.commit().await?;
        Ok(())
    }

    /// Whose the addresses of these transfers are.
    async fn owners(
        &self,
        transfers: &[Transfer],
        unexpected: &[UnexpectedTransfer],
    ) -> anyhow::Result<Owners> {
        let foreign = self.foreign.as_ref().map(|foreign| foreign.network);
        Ok(Owners::of(&self.db, self.network, foreign, transfers, unexpected).await?)
    }

    /// What is of interest on this chain.
    fn addresses(&self) -> Either<'_> {
        let foreign = self.foreign.as_ref().map(|foreign| &foreign.watch);
        Either { own: &self.watch, foreign }
    }

    async fn cursor(&self) -> anyhow::Result<Option<Cursor>> {
        Ok(cursor::get(&self.db, self.network).await?)
    }
}

fn scanned(block: &BlockRef) -> ScannedBlock {
    ScannedBlock {
        height: block.height,
        hash: block.hash.clone(),
        parent: block.parent.clone(),
        time: block.time,
    }
}
