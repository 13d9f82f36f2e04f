//! Reconciles the balances of one network's addresses at each final block while scanned blocks may hide
//! payments: what an address owns beyond its recorded deposits is booked as a deposit of its own. It
//! writes such deposits and how far it is. Not here: which blocks hide payments (`chain`, `scan`).

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use uuid::Uuid;

use super::{LEASE_SECONDS, Step, arrivals};
use crate::chain::{BlockRef, ChainReader};
use crate::domain::asset::Network;
use crate::domain::deposit::{DELTA_PREFIX, Delta, delta};
use crate::domain::invoice::Status;
use crate::domain::time::Micros;
use crate::env::Env;
use crate::signals::Signals;
use crate::store::cursor::ScannedBlock;
use crate::store::deposits::{self, FoundDeposit, InBlock, Recorded};
use crate::store::reconciliation::{self, HeldAddress, Pass, Progress, RoundMark};
use crate::store::{Db, leases};

/// Addresses whose balances are asked for, and whose deltas are booked, together.
const PAGE_ADDRESSES_MAX: u32 = 250;
/// Addresses that a round's part of a pass over all of them asks about.
const PASS_ADDRESSES_MAX: u32 = 2_000;
/// For how long after its time an unpaid invoice's address is asked about in every round.
const EXPIRED_SECONDS: i64 = 86_400;

/// One network's reconciler.
pub struct Reconciler {
    db: Db,
    env: Env,
    reader: Arc<dyn ChainReader>,
    signals: Signals,
    holder: Uuid,
    network: Network,
}

/// One round: the final block at which balances are held against deposits.
struct Round {
    began: Micros,
    block: ScannedBlock,
    /// When what it finds counts as seen.
    seen_at: Micros,
    /// Whether what is known of the network waits for it.
    is_awaited: bool,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    addresses: usize,
    booked: usize,
    short: usize,
}

impl Reconciler {
    /// A reconciler that reads through `reader`.
    pub fn new(
        db: Db,
        env: Env,
        reader: Arc<dyn ChainReader>,
        signals: Signals,
        holder: Uuid,
    ) -> Self {
        let network = reader.network();
        Self { db, env, reader, signals, holder, network }
    }

    /// One round, where one is due.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        let began = self.env.now();
        let Some(progress) = reconciliation::progress(&self.db, self.network).await? else {
            return Ok(Step::Idle);
        };
        let Some(round) = due(&progress, began) else { return Ok(Step::Idle) };
        if !self.holds_lease().await? {
            return Ok(Step::Idle);
        }
        let mut tally = Tally::default();
        if round.is_awaited {
            self.reconcile_awaited(&round, &mut tally).await?;
        }
        let pass = self.go_on_with_pass(&round, &progress, &mut tally).await?;
        let unit = self.db.begin("mark_reconciled").await?;
        let known_to = round.is_awaited.then(|| round.block.time.min(round.began));
        let mark = RoundMark { known_to, pass };
        if !reconciliation::hold_block(&unit, self.network, &round.block).await?
            || !reconciliation::mark(&unit, self.network, &round.block, &mark).await?
        {
            return Ok(Step::Idle);
        }
        unit.commit().await?;
        self.tell(&round, tally);
        Ok(Step::Idle)
    }

    async fn holds_lease(&self) -> anyhow::Result<bool> {
        let name = format!("reconcile:{}", self.network);
        let lease = leases::acquire(&self.db, &name, self.holder, LEASE_SECONDS).await?;
        Ok(lease.is_some())
    }

    /// Every address that an open invoice, or one that expired lately, waits at.
    async fn reconcile_awaited(&self, round: &Round, tally: &mut Tally) -> anyhow::Result<()> {
        let lately = Micros(round.began.0.saturating_sub(EXPIRED_SECONDS * 1_000_000));
        for (status, from) in [
            (Status::Pending, Micros(0)),
            (Status::Confirming, Micros(0)),
            (Status::Expired, lately),
        ] {
            let mut after = Some((from, Uuid::nil()));
            while let Some(key) = after {
                let page = reconciliation::awaited(
                    &self.db,
                    self.network,
                    status,
                    key,
                    PAGE_ADDRESSES_MAX,
                );
                let (held, next) = page.await?;
                self.reconcile(round, &held, tally).await?;
                after = next;
            }
        }
        Ok(())
    }

    /// Some of all addresses: money may arrive at any of them, and is found in the end. Returns where the
    /// pass stands.
    async fn go_on_with_pass(
        &self,
        round: &Round,
        progress: &Progress,
        tally: &mut Tally,
    ) -> anyhow::Result<Option<Pass>> {
        let fresh = Pass { height: round.block.height, next_index: Some(0) };
        let mut pass = match progress.pass {
            Some(pass) if pass.next_index.is_some() => pass,
            Some(pass) if progress.hidden_height <= Some(pass.height) => return Ok(Some(pass)),
            _ => fresh,
        };
        let mut left = PASS_ADDRESSES_MAX;
        while let Some(from) = pass.next_index.filter(|_| left > 0) {
            let limit = PAGE_ADDRESSES_MAX.min(left);
            let (held, next) = reconciliation::used(&self.db, self.network, from, limit).await?;
            self.reconcile(round, &held, tally).await?;
            left -= limit;
            pass.next_index = next;
        }
        Ok(Some(pass))
    }

    /// Holds the balances of a page against what is recorded. Most are even, and nothing is written.
    async fn reconcile(
        &self,
        round: &Round,
        page: &[HeldAddress],
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        if page.is_empty() {
            return Ok(());
        }
        if !self.holds_lease().await? {
            bail!("another process reconciles {}", self.network);
        }
        let keys: Vec<Vec<u8>> = page.iter().map(|held| held.key.clone()).collect();
        let balances = self.reader.balances(&reference(&round.block), &keys).await?;
        ensure!(balances.len() == page.len(), "{} balances of {}", balances.len(), page.len());
        tally.addresses += page.len();
        let ids: Vec<Uuid> = page.iter().map(|held| held.owner.address_id).collect();
        let height = round.block.height;
        let recorded = reconciliation::recorded(&self.db, self.network, &ids, height).await?;
        let judge = |held: &HeldAddress, balance| {
            let id = held.owner.address_id;
            let recorded = recorded.get(&id).copied().unwrap_or(0);
            delta(balance, reconciliation::outflows(id, height), recorded)
        };
        let odd: Vec<(&HeldAddress, u128)> = page
            .iter()
            .zip(balances)
            .filter(|(held, balance)| judge(held, *balance) != Delta::Even)
            .collect();
        if odd.is_empty() { Ok(()) } else { self.book(round, &odd, tally).await }
    }

    /// Books what arrived at some addresses. What is recorded is summed up once more, with the cursor
    /// held: nobody else records meanwhile.
    async fn book(
        &self,
        round: &Round,
        odd: &[(&HeldAddress, u128)],
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let (network, height) = (self.network, round.block.height);
        let ids: Vec<Uuid> = odd.iter().map(|(held, _)| held.owner.address_id).collect();
        let unit = self.db.begin("book_deltas").await?;
        if !reconciliation::hold_block(&unit, network, &round.block).await? {
            bail!("final block {height} is not the one that was scanned");
        }
        let recorded = reconciliation::recorded_in(&unit, network, &ids, height).await?;
        let (mut booked, mut short, mut ownerless) = (0, 0, Vec::new());
        for (held, balance) in odd {
            let id = held.owner.address_id;
            let recorded = recorded.get(&id).copied().unwrap_or(0);
            match delta(*balance, reconciliation::outflows(id, height), recorded) {
                Delta::Even => {}
                Delta::Arrived(units) => {
                    let found = self.found(round, held, units);
                    let recorded = deposits::record(&unit, network, &found).await?;
                    ownerless.extend((recorded == Recorded::Ownerless).then_some(found));
                    booked += 1;
                }
                Delta::Gone(_) => short += 1,
            }
        }
        unit.commit().await.context("deltas not booked")?;
        arrivals::tell_ownerless(network, &ownerless.iter().collect::<Vec<_>>());
        tally.booked += booked;
        tally.short += short;
        Ok(())
    }

    fn found(&self, round: &Round, held: &HeldAddress, units: u128) -> FoundDeposit {
        let ScannedBlock { height, hash, .. } = &round.block;
        FoundDeposit {
            id: self.env.new_id(),
            txid: hash.clone(),
            ordinal: format!("{DELTA_PREFIX}{}", hex::encode(&held.key)),
            address_id: held.owner.address_id,
            invoice_id: held.owner.invoice_id,
            merchant_id: held.owner.merchant_id,
            asset: self.network.asset(),
            units,
            first_seen_at: round.seen_at,
            block: Some(InBlock { height: *height, hash: hash.clone(), at: round.seen_at }),
            // It is nothing once its block has left the chain.
            consumes: vec![format!("h:{height}")],
        }
    }

    fn tell(&self, round: &Round, tally: Tally) {
        let (network, height) = (self.network, round.block.height);
        let Tally { addresses, booked, short } = tally;
        if short > 0 {
            tracing::error!(alarm = "balance_below_deposits", %network, height, addresses = short,
                "addresses own less than was paid to them: money left that was not sent from here");
        }
        if booked > 0 {
            tracing::info!(%network, height, addresses, booked, "payments found by balances");
        }
        self.signals.scanned(network).notify_one();
    }
}

/// The round that is due: balances are reconciled once at each final block for as long as payments may
/// hide in blocks up to it.
fn due(progress: &Progress, began: Micros) -> Option<Round> {
    let block = progress.last_final.clone()?;
    let is_awaited = progress.reconciled_at.is_some();
    let is_pass_due = match progress.pass {
        Some(pass) => pass.next_index.is_some() || progress.hidden_height > Some(pass.height),
        None => progress.hidden_height.is_some(),
    };
    let is_new = progress.reconciled_height.is_none_or(|height| height < block.height);
    // It arrived in some block after the last reconciled one, nobody can say in which: it counts as seen
    // when the earliest of them could. An invoice that has expired by then is one whose time was over at
    // the last round, so that what comes now is late for certain.
    let seen_at = match progress.reconciled_at {
        Some(known_to) => known_to.min(began),
        None => block.time.clamp(progress.read_at.min(began), began),
    };
    let is_due = is_new && (is_awaited || is_pass_due);
    is_due.then_some(Round { began, block, seen_at, is_awaited })
}

fn reference(block: &ScannedBlock) -> BlockRef {
    BlockRef {
        height: block.height,
        hash: block.hash.clone(),
        parent: block.parent.clone(),
        time: block.time,
    }
}
