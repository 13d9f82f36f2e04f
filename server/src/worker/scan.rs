//! The scanner of one network: follows the chain block by block, undoes blocks that a fork removed,
//! reads the mempool, and moves cursor and watermark. It writes deposit rows, unexpected ones beside them,
//! and the cursor together, in one transaction for a block, or for some where many were missed, and
//! nothing else.

mod known;
mod rescan;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::StreamExt as _;
use uuid::Uuid;

use super::arrivals::{self, Arrived, Either, Foreign, Owners};
use super::watch_set::WatchSet;
use super::{LEASE_SECONDS, Step};
use crate::chain::{
    Block, BlockRef, ChainReader, Consumption, Head, Transfer, UnexpectedTransfer, Watch,
};
use crate::domain::asset::Network;
use crate::domain::time::Micros;
use crate::env::Env;
use crate::signals::Signals;
use crate::store::cursor::{self, Cursor, ReadMark, ScannedBlock};
use crate::store::deposits::{self, FoundDeposit, InBlock, Recorded};
use crate::store::{Db, UnitOfWork, leases, reconciliation, unexpected_deposits, waiting_deposits};
use known::{Known, Turn};
use rescan::Stuck;

/// Blocks scanned before the lease is renewed.
const BLOCKS_PER_TICK_MAX: u64 = 50;
/// Blocks asked of the node at once.
const BLOCKS_AHEAD_MAX: usize = 4;
/// Blocks written in one transaction while there are more: what was found in them is held in memory.
const BLOCKS_PER_TRANSACTION_MAX: usize = 25;
/// The deepest fork that is followed without a person.
const FORK_BLOCKS_MAX: u32 = 1_000;
/// Blocks below the first one that are known at the most: a fork at the very start goes no deeper.
const START_ANCESTORS_MAX: u64 = 100;
/// Scanned blocks compared with the node's in one query while a fork's root is looked for.
const FORK_BLOCKS_PER_QUERY: u32 = 100;

/// Seconds between two complete reads of a mempool after which the node is asked since when it has what
/// is new: a payment that was made while nobody looked may have been made in time.
const UNSEEN_SECONDS_MAX: u64 = 3;

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
    known: Known,
    /// The block at which the last turn began, if it left more to read.
    left_more_at: Option<String>,
    /// The rescan that got no further in the last turn.
    stuck_rescan: Option<Stuck>,
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
        Self {
            db,
            env,
            reader,
            signals,
            holder,
            network,
            watch,
            foreign: None,
            fence: None,
            known: Known::default(),
            left_more_at: None,
            stuck_rescan: None,
        }
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
        let newest = self.watch.load_new(&self.db, self.network).await?;
        // Before the head is asked for: whatever was in the pool by now is looked for in every block up
        // to it. Nobody waits for it to load; until it has, it says yes to all.
        if let Some(Foreign { network, watch }) = &mut self.foreign {
            watch.load_new(&self.db, *network).await?;
        }
        self.mark_watched(fence, newest).await?;
        let head = self.reader.head().await?;
        let Some(mut cursor) = self.cursor_at_chain(fence).await? else { return Ok(Step::More) };
        let (height, hash) = (cursor.height, cursor.hash.clone());
        if !self.scan_blocks(fence, &mut cursor, head.tip.height).await? {
            return self.more_after(height, hash);
        }
        self.left_more_at = None;
        let is_whole = self.scan_mempool(fence, &cursor).await?;
        let read_until = self.known.after(&Turn {
            began,
            ended: self.env.system_now(),
            is_current: self.reader.is_current(),
            is_whole,
            tip_at: head.tip.time,
            settles_after: self.reader.settles_after(),
            read_at: cursor.read_at,
        });
        let mark = ReadMark {
            began,
            read_until,
            node_height: head.tip.height,
            finalized_height: head.finalized_height,
            watch_batch: newest,
        };
        let unit = self.db.begin("mark_read").await?;
        if cursor::mark_read(&unit, self.network, fence, &cursor.hash, &mark).await? {
            unit.commit().await?;
        }
        self.signals.scanned(self.network).notify_one();
        let rescanned = self.rescan(fence, &cursor).await?;
        let foreign = self.foreign.as_ref().is_none_or(|foreign| foreign.watch.is_complete());
        Ok(if self.watch.is_complete() && foreign { rescanned } else { Step::More })
    }

    /// What becomes of a turn that began at this block and left more to read. A fork may come between two
    /// reads, and is undone at once; whoever begins at the same block again has met no fork.
    fn more_after(&mut self, height: u64, hash: String) -> anyhow::Result<Step> {
        if self.left_more_at.as_ref() != Some(&hash) {
            self.left_more_at = Some(hash);
            return Ok(Step::More);
        }
        let error = format!("what the node gives above block {height} contradicts itself");
        self.reader.note_contradiction(&error);
        Err(anyhow!(error))
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
            // Another process may have read meanwhile.
            self.known = Known::default();
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
        let ancestors = self.ancestors(&head).await?;
        let unit = self.db.begin("start_cursor").await?;
        cursor::start(&unit, self.network, &scanned(&head.tip), now).await?;
        for block in &ancestors {
            cursor::insert_block(&unit, self.network, &scanned(block)).await?;
        }
        unit.commit().await?;
        tracing::info!(network = %self.network, height = head.tip.height, "scanning begins");
        Ok(())
    }

    /// The blocks below the head down to the final one, as far as they are kept: should a fork take the
    /// first scanned block away, there is one to go on from.
    async fn ancestors(&self, head: &Head) -> anyhow::Result<Vec<BlockRef>> {
        let tip = head.tip.height;
        let lowest = tip.saturating_sub(START_ANCESTORS_MAX);
        let lowest = head.finalized_height.unwrap_or(0).min(tip).max(lowest);
        let mut headers = futures_util::stream::iter(lowest..tip)
            .map(|height| self.reader.header_at(height))
            .buffered(BLOCKS_AHEAD_MAX);
        let mut blocks: Vec<BlockRef> = Vec::new();
        while let Some(header) = headers.next().await {
            blocks.push(header?.context("node does not give a block below its head")?);
        }
        let parents = blocks.iter().skip(1).chain([&head.tip]);
        if blocks.iter().zip(parents).any(|(block, next)| next.parent != block.hash) {
            bail!("the chain's newest blocks changed while they were read");
        }
        Ok(blocks)
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
        if root.hash == cursor.hash {
            bail!("node did not have block {} and has it again: its head flaps", cursor.height);
        }
        self.reader.confirm_fork(root.height, cursor.height - root.height).await?;
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
        let consumed = waiting_deposits::outpoints(&self.db, self.network).await?;
        let addresses = self.addresses();
        let watch = Watch { addresses: &addresses, consumed: &consumed };
        let last = head.min(cursor.height + BLOCKS_PER_TICK_MAX);
        let mut parts = futures_util::stream::iter(cursor.height + 1..=last)
            .map(|height| self.reader.block_at(height, watch))
            .buffered(BLOCKS_AHEAD_MAX)
            .chunks(BLOCKS_PER_TRANSACTION_MAX);
        while let Some(part) = parts.next().await {
            let mut blocks = Vec::with_capacity(part.len());
            let mut trouble = None;
            for block in part {
                match block {
                    Ok(Some(block)) => blocks.push(block),
                    Ok(None) => {
                        trouble = Some(anyhow!("node states block {head} and does not give it"))
                    }
                    Err(error) => trouble = Some(error.into()),
                }
                if trouble.is_some() {
                    break;
                }
            }
            let follow = self.scan_part(fence, cursor, &blocks).await?;
            // Not at once again: a node that lost a block it had stated may go on so for long.
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
            if !follow {
                return Ok(false);
            }
            *cursor = self.cursor().await?.context("cursor vanished")?;
        }
        Ok(last == head)
    }

    /// Writes what the blocks after the cursor hold. False when one does not follow the one before.
    async fn scan_part(
        &self,
        fence: i64,
        cursor: &Cursor,
        blocks: &[Block],
    ) -> anyhow::Result<bool> {
        let now = self.env.now();
        let mut parent = &cursor.hash;
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks.iter().take_while(|block| {
            let follows = block.reference.parent == *parent;
            parent = &block.reference.hash;
            follows
        }) {
            // A block's own time may lie; what was read completely before it was seen may not.
            let seen_at = block.reference.time.clamp(cursor.read_at.min(now), now);
            parts.push((block, self.arrived(block, seen_at).await?));
        }
        if parts.is_empty() {
            return Ok(false);
        }
        let unit = self.db.begin("scan").await?;
        let (mut new, mut ownerless) = (Vec::new(), Vec::new());
        for (block, arrived) in &parts {
            if !cursor::advance(&unit, self.network, fence, &scanned(&block.reference)).await? {
                return Ok(false);
            }
            if block.may_hide_payments {
                reconciliation::note_hidden(&unit, self.network, block.reference.height).await?;
            }
            for deposit in &arrived.deposits {
                let recorded = deposits::record(&unit, self.network, deposit).await?;
                ownerless.extend((recorded == Recorded::Ownerless).then_some(deposit));
            }
            new.extend(arrivals::record(&unit, self.network, &arrived.unexpected).await?);
            self.replace(&unit, block).await?;
        }
        unit.commit().await?;
        arrivals::tell(self.network, &new);
        arrivals::tell_ownerless(self.network, &ownerless);
        if parts.iter().any(|(_, arrived)| !arrived.deposits.is_empty()) {
            self.signals.scanned(self.network).notify_one();
        }
        Ok(parts.len() == blocks.len())
    }

    async fn replace(&self, unit: &UnitOfWork, block: &Block) -> anyhow::Result<()> {
        for Consumption { key, .. } in &block.consumptions {
            deposits::consume(unit, self.network, key).await?;
        }
        Ok(())
    }

    /// Reads the mempool. False when a block came before it was read: what that block holds was seen in
    /// neither of them.
    async fn scan_mempool(&self, fence: i64, cursor: &Cursor) -> anyhow::Result<bool> {
        let consumed = waiting_deposits::outpoints(&self.db, self.network).await?;
        let addresses = self.addresses();
        let watch = Watch { addresses: &addresses, consumed: &consumed };
        let Some(mempool) = self.reader.mempool(watch).await? else { return Ok(true) };
        let is_whole = self.reader.header_at(cursor.height + 1).await?.is_none();
        // What waits is none of our business unless it is a deposit: an unexpected one is written down
        // when it is in a block.
        let owners = self.owners(&mempool.transfers, &[]).await?;
        let now = self.env.now();
        let found = owners.deposits(&self.env, self.network, &mempool.transfers, now, None);
        let mut found = waiting_deposits::news(&self.db, self.network, found).await?;
        self.date(&mut found, cursor.read_at.min(now), now).await?;
        let contested = self.contested(&mempool.consumptions).await?;
        if found.is_empty() && contested.is_empty() {
            return Ok(is_whole);
        }
        let unit = self.db.begin("scan_mempool").await?;
        // The cursor's row guards the write: a scanner that lost its lease changes nothing.
        if !cursor::take_over(&unit, self.network, fence).await?
            || cursor::get_in(&unit, self.network).await?.is_none_or(|at| at.hash != cursor.hash)
        {
            return Ok(false);
        }
        for deposit in &found {
            deposits::record(&unit, self.network, deposit).await?;
        }
        for Consumption { key, txid } in contested {
            deposits::replace(&unit, self.network, key, txid).await?;
        }
        unit.commit().await?;
        Ok(is_whole)
    }

    /// Of what waiting transactions consume, that which a deposit waits for by another transaction: most of
    /// it is what the deposits' own transactions consume.
    async fn contested<'a>(
        &self,
        consumptions: &'a [Consumption],
    ) -> anyhow::Result<Vec<&'a Consumption>> {
        let keys: Vec<&str> = consumptions.iter().map(|one| one.key.as_str()).collect();
        let consumers = waiting_deposits::consumers(&self.db, self.network, &keys).await?;
        let is_contested = |one: &&Consumption| {
            let waiting = consumers.get(&one.key);
            waiting.is_some_and(|txids| txids.iter().any(|txid| *txid != one.txid))
        };
        Ok(consumptions.iter().filter(is_contested).collect())
    }

    /// Dates what waits by when the node saw it, if nobody looked since `unseen_from`. Not before that:
    /// a node's clock may be wrong, what was read completely by then may not.
    async fn date(
        &self,
        found: &mut [FoundDeposit],
        unseen_from: Micros,
        now: Micros,
    ) -> anyhow::Result<()> {
        if now.since(unseen_from) <= Duration::from_secs(UNSEEN_SECONDS_MAX) {
            return Ok(());
        }
        let txids: Vec<String> = found.iter().map(|deposit| deposit.txid.clone()).collect();
        // What is written down keeps its time.
        let known = waiting_deposits::known_txids(&self.db, self.network, &txids).await?;
        let new = |deposit: &&mut FoundDeposit| !known.contains(&deposit.txid);
        let new: Vec<&mut FoundDeposit> = found.iter_mut().filter(new).collect();
        let txids: Vec<String> = new.iter().map(|deposit| deposit.txid.clone()).collect();
        let since = self.reader.waiting_since(&txids).await?;
        for (deposit, since) in new.into_iter().zip(since) {
            deposit.first_seen_at = since.unwrap_or(now).clamp(unseen_from, now);
        }
        Ok(())
    }

    /// What a block brought to addresses of ours, seen at that time.
    async fn arrived(&self, block: &Block, seen_at: Micros) -> anyhow::Result<Arrived> {
        let BlockRef { height, ref hash, .. } = block.reference;
        let place = InBlock { height, hash: hash.clone(), at: seen_at };
        let (transfers, others) = (&block.transfers, &block.unexpected);
        let owners = self.owners(transfers, others).await?;
        Ok(Arrived {
            deposits: owners.deposits(&self.env, self.network, transfers, seen_at, Some(&place)),
            unexpected: owners.unexpected(&self.env, transfers, others, &place),
        })
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
