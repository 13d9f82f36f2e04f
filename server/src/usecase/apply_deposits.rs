//! Applying what the scanner found: evaluate each invoice that may have changed, move the ledger,
//! write status and events, all in one unit of work. The only caller of `invoice_status::write`
//! beside `cancel_invoice`, which goes through the same function.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use uuid::Uuid;

use crate::domain::asset::Network;
use crate::domain::deposit::Deposit;
use crate::domain::event::{EventBody, EventKind};
use crate::domain::invoice::{Evaluation, Moment, Status, evaluate};
use crate::domain::ledger::{
    AccountKind, TransferKind, deposit_postings, reversal_postings, suspense_postings,
    suspense_reversal_postings,
};
use crate::domain::policy::{Finality, FinalityPolicy, worth_cents};
use crate::domain::{amount, price};
use crate::env::Env;
use crate::store::cursor::Cursor;
use crate::store::deposits::{self, Applied};
use crate::store::invoices::{self, Invoice};
use crate::store::journal::{Journal, TransferKey};
use crate::store::unit_of_work::NewEvent;
use crate::store::{Db, Result, StoreError, UnitOfWork, addresses, cursor, invoice_status};

/// Invoices evaluated in one unit of work.
pub const GROUP_INVOICES_MAX: u32 = 256;
/// How often cursor and deposits are read until no block came in between.
const READS_MAX: usize = 8;

/// The use case with what it needs.
#[derive(Clone)]
pub struct ApplyDeposits {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Who vouches for addresses.
    pub verifying_key: VerifyingKey,
    /// The deployment's environment.
    pub environment: String,
    /// What each network asks for, by what arrives.
    pub finality: Arc<BTreeMap<Network, FinalityPolicy>>,
}

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Invoices that were evaluated.
    pub evaluated: usize,
    /// Whether events were written.
    pub events: bool,
}

impl ApplyDeposits {
    /// Evaluates one group of invoices of a network that may have changed.
    pub async fn run(&self, network: Network) -> Result<Outcome> {
        let seen = cursor::get(&self.db, network).await?;
        let Some(seen) = seen.filter(Cursor::is_whole) else { return Ok(Outcome::default()) };
        let moment = seen.moment(self.env.now());
        let due = invoices::due(&self.db, network, moment, GROUP_INVOICES_MAX).await?;
        if due.is_empty() {
            return Ok(Outcome::default());
        }
        match self.apply_group(network, &due).await {
            Ok(outcome) => Ok(outcome),
            Err(error @ (StoreError::Conflict(_) | StoreError::Unavailable(_))) => Err(error),
            // One damaged invoice must not hold up everybody else's money.
            Err(_) if due.len() > 1 => self.apply_each(network, &due).await,
            Err(error) => Err(error),
        }
    }

    async fn apply_group(&self, network: Network, ids: &[Uuid]) -> Result<Outcome> {
        let mut unit = self.db.begin("apply").await?;
        let evaluated = self.apply(&mut unit, network, ids).await?;
        let events = unit.commit().await?;
        Ok(Outcome { evaluated, events })
    }

    async fn apply_each(&self, network: Network, ids: &[Uuid]) -> Result<Outcome> {
        let mut total = Outcome::default();
        for id in ids {
            match self.apply_group(network, std::slice::from_ref(id)).await {
                Ok(one) => {
                    total.evaluated += one.evaluated;
                    total.events |= one.events;
                }
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => tracing::error!(
                    alarm = "invoice_not_applied",
                    invoice = %id,
                    error = %error,
                    "an invoice can not be evaluated"
                ),
            }
        }
        Ok(total)
    }

    /// Evaluates the given invoices by cursor and deposits of one moment, so that a deposit is never taken
    /// for deeper than it is, and none is undone in the middle of a fork.
    pub async fn apply(
        &self,
        unit: &mut UnitOfWork,
        network: Network,
        ids: &[Uuid],
    ) -> Result<usize> {
        let locked = invoices::lock(unit, ids).await?;
        let (cursor, found) = seen(unit, network, ids).await?;
        if !cursor.is_whole() {
            return Ok(0);
        }
        let moment = cursor.moment(self.env.now());
        let mut by_invoice: HashMap<Uuid, Vec<Deposit>> = HashMap::new();
        for (invoice, deposit) in found {
            by_invoice.entry(invoice).or_default().push(deposit);
        }
        let due: Vec<(Invoice, Vec<Deposit>)> = locked
            .into_iter()
            .map(|invoice| {
                let deposits = by_invoice.remove(&invoice.id).unwrap_or_default();
                (invoice, deposits)
            })
            .collect();
        self.settle(unit, network, &due, moment).await?;
        Ok(due.len())
    }

    /// Evaluates locked invoices of a network, each with all of its deposits, and writes everything
    /// that follows, in statements whose number does not grow with the invoices'.
    pub async fn settle(
        &self,
        unit: &mut UnitOfWork,
        network: Network,
        due: &[(Invoice, Vec<Deposit>)],
        moment: Moment,
    ) -> Result<()> {
        let evaluated: Vec<Evaluated<'_>> = due
            .iter()
            .map(|(invoice, deposits)| {
                let asked = self.asked(network, invoice, deposits);
                let (terms, standing) = (&invoice.terms, invoice.standing);
                let evaluation = evaluate(terms, asked, standing, moment, deposits);
                Evaluated { evaluation, invoice, deposits, asked }
            })
            .collect();
        self.move_money(unit, network, &evaluated).await?;
        let marks: Vec<Applied> = evaluated.iter().flat_map(Evaluated::marks).collect();
        deposits::mark_applied(unit, &marks).await?;
        let changed: Vec<&Evaluated<'_>> =
            evaluated.iter().filter(|one| one.is_changed()).collect();
        let statuses: Vec<_> = changed.iter().map(|one| (one.invoice, &one.evaluation)).collect();
        invoice_status::write(unit, &statuses, moment.now).await?;
        for one in changed {
            one.emit(unit, moment);
        }
        Ok(())
    }

    /// What makes an invoice's deposits safe: what was agreed, and where more arrived than was asked for
    /// what is asked for so much. A fork pays off by what it takes back, not by what was invoiced.
    fn asked(&self, network: Network, invoice: &Invoice, deposits: &[Deposit]) -> Finality {
        let Invoice { terms, amount_cents, .. } = invoice;
        let counted = deposits.iter().filter(|deposit| deposit.counts());
        let arrived = counted.fold(0, |sum: u128, deposit| sum.saturating_add(deposit.units));
        match self.finality.get(&network) {
            Some(policy) if arrived > terms.amount_units => {
                let worth = worth_cents(arrived, terms.amount_units, *amount_cents);
                terms.finality().and(policy.of_amount(worth))
            }
            _ => terms.finality(),
        }
    }

    /// Credits, reversals, and what is seen and not credited yet.
    async fn move_money(
        &self,
        unit: &UnitOfWork,
        network: Network,
        evaluated: &[Evaluated<'_>],
    ) -> Result<()> {
        let moving: Vec<&Evaluated<'_>> =
            evaluated.iter().filter(|one| one.moves_money()).collect();
        if moving.is_empty() {
            return Ok(());
        }
        let merchants = moving.iter().map(|one| one.invoice.merchant_id).collect();
        let refs: Vec<Uuid> = moving
            .iter()
            .flat_map(|one| one.evaluation.credit.iter().chain(&one.evaluation.reverse).copied())
            .collect();
        let now = self.env.now();
        let mut journal = Journal::open(unit, network.asset(), &merchants, &refs, now).await?;
        let credited: Vec<&Invoice> = moving
            .iter()
            .filter(|one| !one.evaluation.credit.is_empty())
            .map(|one| one.invoice)
            .collect();
        let strangers = self.strangers(unit, network, &credited).await?;
        for one in moving {
            for id in &one.evaluation.reverse {
                self.reverse(&mut journal, one.invoice, one.deposit(*id)?)?;
            }
            for id in &one.evaluation.credit {
                let is_ours = !strangers.contains(&one.invoice.id);
                self.credit(&mut journal, one.invoice, one.deposit(*id)?, is_ours)?;
            }
            let (plus, minus) = one.pending();
            if plus != minus {
                journal.move_pending(&self.env, one.invoice.merchant_id, plus, minus)?;
            }
        }
        journal.write(unit).await
    }

    fn credit(
        &self,
        journal: &mut Journal,
        invoice: &Invoice,
        deposit: &Deposit,
        is_ours: bool,
    ) -> Result<()> {
        let (asset, owner) = (invoice.network.asset(), invoice.merchant_id);
        let postings = if is_ours {
            let owed = journal.balance(owner, AccountKind::MerchantReceivable).posted;
            deposit_postings(owner, asset, deposit.units, owed)
        } else {
            suspense_postings(asset, deposit.units)
        };
        journal.post(&self.env, transfer(TransferKind::Deposit, deposit), &postings)
    }

    /// The invoices among these whose address the signer did not vouch for: money on it is nobody's.
    async fn strangers(
        &self,
        unit: &UnitOfWork,
        network: Network,
        invoices: &[&Invoice],
    ) -> Result<HashSet<Uuid>> {
        let ids: Vec<Uuid> = invoices.iter().map(|invoice| invoice.address_id).collect();
        let signed = addresses::signed_addresses(unit, network, &ids).await?;
        let is_ours = |invoice: &Invoice| {
            signed.get(&invoice.address_id).is_some_and(|signed| {
                signed.address.text == invoice.address_text
                    && signed.is_authentic(&self.verifying_key, &self.environment)
            })
        };
        let strangers = invoices.iter().filter(|invoice| !is_ours(invoice));
        Ok(strangers
            .map(|invoice| {
                tracing::error!(
                    alarm = "address_signature",
                    invoice = %invoice.id,
                    "the invoice's address is not the signer's: credited to suspense"
                );
                invoice.id
            })
            .collect())
    }

    fn reverse(&self, journal: &mut Journal, invoice: &Invoice, deposit: &Deposit) -> Result<()> {
        let (asset, owner) = (invoice.network.asset(), invoice.merchant_id);
        let postings = if journal.was_suspended(transfer(TransferKind::Deposit, deposit)) {
            suspense_reversal_postings(asset, deposit.units)
        } else {
            let balance = journal.balance(owner, AccountKind::MerchantAvailable);
            let available = balance.posted.saturating_sub(balance.held);
            reversal_postings(owner, asset, deposit.units, available)
        };
        journal.post(&self.env, transfer(TransferKind::DepositReversal, deposit), &postings)?;
        tracing::error!(
            alarm = "credited_deposit_reorged",
            invoice = %invoice.id, network = %invoice.network, txid = deposit.txid,
            "a credited deposit left the chain: the credit is reversed"
        );
        Ok(())
    }
}

/// How far the chain was read, and what was seen for the invoices by then. PostgreSQL reads each statement
/// at a moment of its own: what was read holds if the cursor is where it was.
async fn seen(
    unit: &UnitOfWork,
    network: Network,
    ids: &[Uuid],
) -> Result<(Cursor, Vec<(Uuid, Deposit)>)> {
    for _ in 0..READS_MAX {
        let cursor = cursor_in(unit, network).await?;
        let found = deposits::of_invoices(unit, ids).await?;
        if cursor_in(unit, network).await?.hash == cursor.hash {
            return Ok((cursor, found));
        }
    }
    Err(StoreError::Conflict("blocks come faster than deposits are read".to_owned()))
}

async fn cursor_in(unit: &UnitOfWork, network: Network) -> Result<Cursor> {
    let cursor = cursor::get_in(unit, network).await?;
    cursor.ok_or_else(|| StoreError::Conflict("cursor vanished".to_owned()))
}

/// The transfer of this kind about a deposit, in its generation.
const fn transfer(kind: TransferKind, deposit: &Deposit) -> TransferKey {
    TransferKey { kind, ref_id: deposit.id, generation: deposit.credit_generation }
}

/// An invoice and what was decided about it.
struct Evaluated<'a> {
    invoice: &'a Invoice,
    deposits: &'a [Deposit],
    asked: Finality,
    evaluation: Evaluation,
}

impl Evaluated<'_> {
    fn deposit(&self, id: Uuid) -> Result<&Deposit> {
        let found = self.deposits.iter().find(|deposit| deposit.id == id);
        found.ok_or_else(|| StoreError::Corrupt("evaluated deposit vanished".to_owned()))
    }

    /// What was done about each deposit.
    fn marks(&self) -> impl Iterator<Item = Applied> {
        self.deposits.iter().map(|deposit| {
            let reversed = self.evaluation.reverse.contains(&deposit.id);
            let credited =
                self.evaluation.credit.contains(&deposit.id) || (deposit.credited && !reversed);
            Applied {
                id: deposit.id,
                version: deposit.version,
                credited,
                credit_generation: deposit.credit_generation + i64::from(reversed),
                counted_pending: self.evaluation.pending.contains(&deposit.id),
                asked: self.asked,
            }
        })
    }

    /// By how much the balance's `pending` grows and shrinks.
    fn pending(&self) -> (u128, u128) {
        let (mut plus, mut minus) = (0_u128, 0_u128);
        for (deposit, mark) in self.deposits.iter().zip(self.marks()) {
            match (deposit.counted_pending, mark.counted_pending) {
                (false, true) => plus = plus.saturating_add(deposit.units),
                (true, false) => minus = minus.saturating_add(deposit.units),
                _ => {}
            }
        }
        (plus, minus)
    }

    fn moves_money(&self) -> bool {
        let (plus, minus) = self.pending();
        plus != minus || !self.evaluation.credit.is_empty() || !self.evaluation.reverse.is_empty()
    }

    fn is_changed(&self) -> bool {
        let (before, now) = (self.invoice.standing, &self.evaluation);
        now.status != before.status || now.exception != before.exception || !now.events.is_empty()
    }

    fn emit(&self, unit: &mut UnitOfWork, moment: Moment) {
        for (n, kind) in (1_i64..).zip(&self.evaluation.events) {
            unit.emit(NewEvent {
                merchant_id: self.invoice.merchant_id,
                aggregate_id: self.invoice.id,
                aggregate_version: self.invoice.event_count + n,
                kind: *kind,
                api_key_id: self.invoice.api_key_id,
                body: event_body(self.invoice, &self.evaluation, *kind, moment),
                at: moment.now,
            });
        }
    }
}

/// The invoice as an event of that kind tells it: each with the status and confirmations of its own
/// moment, also where detection and confirmation fall into one.
fn event_body(
    invoice: &Invoice,
    evaluation: &Evaluation,
    kind: EventKind,
    moment: Moment,
) -> EventBody {
    let asset = invoice.network.asset();
    let most = invoice.terms.confirmations_required.saturating_sub(1);
    let (status, confirmations) = if kind == EventKind::PaymentDetected {
        (Status::Confirming, evaluation.summary.received.min(most))
    } else {
        (evaluation.status, evaluation.summary.received)
    };
    EventBody {
        event: kind.as_str().to_owned(),
        invoice_id: invoice.id,
        order_id: invoice.order_id.clone(),
        status: status.as_str().to_owned(),
        network: invoice.network.as_str().to_owned(),
        coin: invoice.network.invoice_coin().to_owned(),
        amount_usd: price::usd(invoice.amount_cents),
        amount_crypto: amount::decimal(invoice.terms.amount_units, asset.decimals()),
        paid_amount: amount::decimal(evaluation.summary.paid_units, asset.decimals()),
        txid: evaluation.summary.txid.clone(),
        confirmations,
        address: invoice.address_text.clone(),
        timestamp: moment.now.0,
    }
}
