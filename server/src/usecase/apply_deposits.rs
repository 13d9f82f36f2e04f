//! Applying what the scanner found: evaluate each invoice that may have changed, move the ledger,
//! write status and events, all in one unit of work. The only caller of `invoice_status::write`
//! beside `cancel_invoice`, which goes through the same function.

use std::collections::HashMap;

use ed25519_dalek::VerifyingKey;
use uuid::Uuid;

use crate::domain::asset::Network;
use crate::domain::deposit::Deposit;
use crate::domain::event::{EventBody, EventKind};
use crate::domain::invoice::{Evaluation, Moment, Status, evaluate};
use crate::domain::ledger::{
    AccountKey, AccountKind, TransferKind, deposit_postings, reversal_postings, suspense_postings,
    suspense_reversal_postings,
};
use crate::domain::{amount, price};
use crate::env::Env;
use crate::store::cursor::Cursor;
use crate::store::deposits::{self, Applied};
use crate::store::invoices::{self, Invoice};
use crate::store::ledger::{self, NewTransfer};
use crate::store::unit_of_work::NewEvent;
use crate::store::{Db, Result, StoreError, UnitOfWork, addresses, cursor, invoice_status};

/// Invoices evaluated in one unit of work.
pub const GROUP_INVOICES_MAX: u32 = 256;

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

    /// Evaluates the given invoices: the cursor is read first, then the deposits, so that a deposit
    /// is never taken for deeper than it is.
    pub async fn apply(
        &self,
        unit: &mut UnitOfWork,
        network: Network,
        ids: &[Uuid],
    ) -> Result<usize> {
        let cursor = cursor::get_in(unit, network).await?;
        let cursor = cursor.ok_or_else(|| StoreError::Conflict("cursor vanished".to_owned()))?;
        if !cursor.is_whole() {
            return Ok(0);
        }
        let moment = cursor.moment(self.env.now());
        let locked = invoices::lock(unit, ids).await?;
        let mut by_invoice: HashMap<Uuid, Vec<Deposit>> = HashMap::new();
        for (invoice, deposit) in deposits::of_invoices(unit, ids).await? {
            by_invoice.entry(invoice).or_default().push(deposit);
        }
        for invoice in &locked {
            let deposits = by_invoice.remove(&invoice.id).unwrap_or_default();
            self.settle(unit, invoice, &deposits, moment).await?;
        }
        Ok(locked.len())
    }

    /// Evaluates one locked invoice and writes everything that follows.
    pub async fn settle(
        &self,
        unit: &mut UnitOfWork,
        invoice: &Invoice,
        deposits: &[Deposit],
        moment: Moment,
    ) -> Result<Evaluation> {
        let evaluation = evaluate(&invoice.terms, invoice.standing, moment, deposits);
        for id in &evaluation.reverse {
            let deposit = find(deposits, *id)?;
            self.reverse(unit, invoice, deposit).await?;
        }
        for id in &evaluation.credit {
            let deposit = find(deposits, *id)?;
            self.credit(unit, invoice, deposit).await?;
        }
        self.mark(unit, invoice, deposits, &evaluation).await?;
        let standing = invoice.standing;
        let changed = evaluation.status != standing.status
            || evaluation.exception != standing.exception
            || !evaluation.events.is_empty();
        if changed {
            if !invoice_status::write(unit, invoice, &evaluation, moment.now).await? {
                return Err(StoreError::Conflict("invoice moved".to_owned()));
            }
            for (n, kind) in (1_i64..).zip(&evaluation.events) {
                unit.emit(NewEvent {
                    merchant_id: invoice.merchant_id,
                    aggregate_id: invoice.id,
                    aggregate_version: invoice.event_count + n,
                    kind: *kind,
                    api_key_id: invoice.api_key_id,
                    body: event_body(invoice, &evaluation, *kind, moment),
                    at: moment.now,
                });
            }
        }
        Ok(evaluation)
    }

    async fn credit(&self, unit: &UnitOfWork, invoice: &Invoice, deposit: &Deposit) -> Result<()> {
        let asset = invoice.network.asset();
        let postings = if self.is_ours(unit, invoice).await? {
            let owed = AccountKey {
                owner: invoice.merchant_id,
                asset,
                kind: AccountKind::MerchantReceivable,
            };
            let receivable = ledger::balance(unit, &self.env, owed).await?.posted;
            deposit_postings(invoice.merchant_id, asset, deposit.units, receivable)
        } else {
            suspense_postings(asset, deposit.units)
        };
        let transfer = NewTransfer {
            kind: TransferKind::Deposit,
            ref_id: deposit.id,
            generation: deposit.credit_generation,
            asset,
            postings,
        };
        ledger::post(unit, &self.env, &transfer, self.env.now()).await?;
        Ok(())
    }

    /// Whether the signer vouched for the invoice's address: money on another one is nobody's.
    async fn is_ours(&self, unit: &UnitOfWork, invoice: &Invoice) -> Result<bool> {
        let address = addresses::signed_address(unit, invoice.network, invoice.address_id).await?;
        let authentic = address.is_some_and(|address| {
            address.signed.address.text == invoice.address_text
                && address.signed.is_authentic(&self.verifying_key, &self.environment)
        });
        if !authentic {
            tracing::error!(
                alarm = "address_signature",
                invoice = %invoice.id,
                "the invoice's address is not the signer's: credited to suspense"
            );
        }
        Ok(authentic)
    }

    async fn reverse(&self, unit: &UnitOfWork, invoice: &Invoice, deposit: &Deposit) -> Result<()> {
        let asset = invoice.network.asset();
        let (credit, generation) = (TransferKind::Deposit, deposit.credit_generation);
        let was_suspended =
            ledger::touches(unit, credit, deposit.id, generation, AccountKind::Suspense).await?;
        let postings = if was_suspended {
            suspense_reversal_postings(asset, deposit.units)
        } else {
            let owner = invoice.merchant_id;
            let account = AccountKey { owner, asset, kind: AccountKind::MerchantAvailable };
            let balance = ledger::balance(unit, &self.env, account).await?;
            let available = balance.posted.saturating_sub(balance.held);
            reversal_postings(owner, asset, deposit.units, available)
        };
        let transfer = NewTransfer {
            kind: TransferKind::DepositReversal,
            ref_id: deposit.id,
            generation,
            asset,
            postings,
        };
        ledger::post(unit, &self.env, &transfer, self.env.now()).await?;
        tracing::warn!(invoice = %invoice.id, txid = deposit.txid, "credited deposit left the chain");
        Ok(())
    }

    /// Notes on each deposit what was done about it, and moves the balance's `pending`.
    async fn mark(
        &self,
        unit: &UnitOfWork,
        invoice: &Invoice,
        deposits: &[Deposit],
        evaluation: &Evaluation,
    ) -> Result<()> {
        let (mut plus, mut minus) = (0_u128, 0_u128);
        for deposit in deposits {
            let reversed = evaluation.reverse.contains(&deposit.id);
            let credited =
                evaluation.credit.contains(&deposit.id) || (deposit.credited && !reversed);
            let counted_pending = deposit.counts() && !credited;
            match (deposit.counted_pending, counted_pending) {
                (false, true) => plus = plus.saturating_add(deposit.units),
                (true, false) => minus = minus.saturating_add(deposit.units),
                _ => {}
            }
            let applied = Applied {
                id: deposit.id,
                version: deposit.version,
                credited,
                credit_generation: deposit.credit_generation + i64::from(reversed),
                counted_pending,
            };
            if !deposits::mark_applied(unit, applied).await? {
                return Err(StoreError::Conflict("deposit moved".to_owned()));
            }
        }
        if plus == minus {
            return Ok(());
        }
        let account = AccountKey {
            owner: invoice.merchant_id,
            asset: invoice.network.asset(),
            kind: AccountKind::MerchantAvailable,
        };
        let balance = ledger::balance(unit, &self.env, account).await?;
        let pending = balance
            .pending
            .checked_add(plus)
            .and_then(|total| total.checked_sub(minus))
            .ok_or_else(|| StoreError::Corrupt("pending below zero".to_owned()))?;
        ledger::write_balance(unit, &ledger::Balance { pending, ..balance }).await
    }
}

fn find(deposits: &[Deposit], id: Uuid) -> Result<&Deposit> {
    deposits
        .iter()
        .find(|deposit| deposit.id == id)
        .ok_or_else(|| StoreError::Corrupt("evaluated deposit vanished".to_owned()))
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
