//! Blocks read again because the operator asked for it: what a node left out the first time is found
//! now. Under the scanner's fence, some blocks a tick, each part with its progress in one transaction.
//! Not here: who asked (`usecase::rescan_blocks`).

use std::time::Duration;

use anyhow::anyhow;
use futures_util::{StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

use super::{BLOCKS_AHEAD_MAX, BLOCKS_PER_TICK_MAX, Scanner};
use crate::chain::{Block, ChainError, Watch};
use crate::domain::time::Micros;
use crate::store::cursor::{self, Cursor};
use crate::store::deposits::{self, Recorded};
use crate::store::rescans::{self, Rescan};
use crate::store::waiting_deposits;
use crate::worker::{Step, arrivals};

/// Turns in a row in which a rescan may get no further before it fails, half a minute as configured by
/// default: a fork may be under way, or a node limit us. Pruned blocks never come, and others wait.
const TURNS_WITHOUT_PROGRESS_MAX: u32 = 60;
/// Where turns take long, so many of them and that time are enough.
const SLOW_TURNS_WITHOUT_PROGRESS_MAX: u32 = 3;
const SECONDS_WITHOUT_PROGRESS_MAX: u64 = 30;

/// Where a rescan got no further.
#[derive(Debug)]
pub(super) struct Stuck {
    id: Uuid,
    next_height: u64,
    turns: u32,
    since: Micros,
}

impl Scanner {
    /// Goes on with the oldest rescan that waits, if there is one: never above the cursor, and only
    /// through blocks of the chain that the cursor stands on.
    pub(super) async fn rescan(&mut self, fence: i64, cursor: &Cursor) -> anyhow::Result<Step> {
        let Some(rescan) = rescans::next(&self.db, self.network).await? else {
            return Ok(Step::Idle);
        };
        let last = rescan.next_height.saturating_add(BLOCKS_PER_TICK_MAX - 1);
        let last = last.min(rescan.to_height).min(cursor.height);
        if last < rescan.next_height {
            // A fork undid what was to be read again; it is scanned anew first.
            return Ok(Step::Idle);
        }
        let consumed = waiting_deposits::outpoints(&self.db, self.network).await?;
        let addresses = self.addresses();
        let watch = Watch { addresses: &addresses, consumed: &consumed };
        let blocks = match self.read_again(rescan.next_height, last, watch).await {
            Ok(blocks) => blocks,
            Err(error) => return self.no_progress(&rescan, error).await,
        };
        if !self.is_scanned_chain(&blocks).await? {
            let text = format!("blocks {}-{last} are not those scanned", rescan.next_height);
            return self.no_progress(&rescan, ChainError::Transient(text)).await;
        }
        self.record_again(fence, cursor, &rescan, &blocks).await
    }

    /// Ends a rescan that can not go on; one that may is tried again for some turns.
    async fn no_progress(&mut self, rescan: &Rescan, error: ChainError) -> anyhow::Result<Step> {
        let Rescan { id, next_height, .. } = *rescan;
        let before =
            self.stuck_rescan.take().filter(|at| (at.id, at.next_height) == (id, next_height));
        let now = self.env.system_now();
        let turns = before.as_ref().map_or(0, |at| at.turns) + 1;
        let since = before.map_or(now, |at| at.since);
        let is_long = now.since(since) >= Duration::from_secs(SECONDS_WITHOUT_PROGRESS_MAX);
        let is_enough = turns >= TURNS_WITHOUT_PROGRESS_MAX
            || (is_long && turns >= SLOW_TURNS_WITHOUT_PROGRESS_MAX);
        if matches!(error, ChainError::Transient(_)) && !is_enough {
            self.stuck_rescan = Some(Stuck { id, next_height, turns, since });
            return Err(anyhow!(error).context("rescan"));
        }
        let unit = self.db.begin("fail_rescan").await?;
        rescans::fail(&unit, rescan, &error.to_string(), self.env.now()).await?;
        unit.commit().await?;
        tracing::warn!(network = %self.network, %id, next_height, %error, "rescan failed");
        Ok(Step::More)
    }

    async fn read_again(
        &self,
        first: u64,
        last: u64,
        watch: Watch<'_>,
    ) -> Result<Vec<Block>, ChainError> {
        // The cursor's block is above it, and is there: a passing lack is that of one of several nodes behind
        // one address.
        let missing = |height| {
            let text = format!("no node gives block {height}: its history may be pruned");
            ChainError::Transient(text)
        };
        futures_util::stream::iter(first..=last)
            .map(|height| async move {
                let block = self.reader.old_block_at(height, watch).await?;
                block.ok_or_else(|| missing(height))
            })
            .buffered(BLOCKS_AHEAD_MAX)
            .try_collect()
            .await
    }

    /// Whether the blocks follow each other up to one that was scanned. Of blocks so old that none of
    /// their hashes is kept the node's word is taken: it is on the cursor's chain.
    async fn is_scanned_chain(&self, blocks: &[Block]) -> anyhow::Result<bool> {
        let linked = blocks.windows(2).all(|two| two[1].reference.parent == two[0].reference.hash);
        let Some(last) = blocks.last().map(|block| &block.reference) else { return Ok(false) };
        let kept = cursor::blocks_below(&self.db, self.network, last.height + 1, 2).await?;
        let fits = kept.iter().all(|kept| {
            if kept.height == last.height {
                kept.hash == last.hash
            } else {
                kept.height != last.height + 1 || kept.parent == last.hash
            }
        });
        Ok(linked && fits)
    }

    async fn record_again(
        &self,
        fence: i64,
        cursor: &Cursor,
        rescan: &Rescan,
        blocks: &[Block],
    ) -> anyhow::Result<Step> {
        let now = self.env.now();
        let mut all = Vec::with_capacity(blocks.len());
        for block in blocks {
            // When it would have been seen is not known any more; its own time is the nearest to it.
            all.push(self.arrived(block, block.reference.time.min(now)).await?);
        }
        let unit = self.db.begin("rescan").await?;
        // The cursor's row guards the write, as it does when blocks are scanned the first time.
        if !cursor::take_over(&unit, self.network, fence).await?
            || cursor::get_in(&unit, self.network).await?.is_none_or(|at| at.hash != cursor.hash)
        {
            return Ok(Step::Idle);
        }
        let (mut changed, mut new, mut ownerless) = (0, Vec::new(), Vec::new());
        for (block, arrived) in blocks.iter().zip(&all) {
            for deposit in &arrived.deposits {
                let recorded = deposits::record(&unit, self.network, deposit).await?;
                let is_change = matches!(recorded, Recorded::Changed | Recorded::Ownerless);
                changed += u64::from(is_change);
                ownerless.extend((recorded == Recorded::Ownerless).then_some(deposit));
            }
            new.extend(arrivals::record(&unit, self.network, &arrived.unexpected).await?);
            self.replace(&unit, block).await?;
        }
        let next = rescan.next_height + blocks.len() as u64;
        if !rescans::advance(&unit, rescan, next, changed, now).await? {
            return Ok(Step::Idle);
        }
        unit.commit().await?;
        arrivals::tell(self.network, &new);
        arrivals::tell_ownerless(self.network, &ownerless);
        if changed > 0 {
            tracing::warn!(network = %self.network, id = %rescan.id, changed, "rescan found deposits");
            self.signals.scanned(self.network).notify_one();
        }
        Ok(Step::More)
    }
}
