//! Settling an unexpected deposit: a merchant is credited for it, or it is noted how it was settled
//! outside. Once, and for good. Not here: finding them (the scanner), reading them (`list_unexpected`).

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::CONFLICT_RETRIES_MAX;
use super::apply_deposits::ApplyDeposits;
use super::list_unexpected::not_found;
use super::manage_keys::no_merchant;
use crate::domain::amount;
use crate::domain::asset::{Asset, Network};
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::ledger::{AccountKind, TransferKind, deposit_postings};
use crate::domain::policy::Finality;
use crate::domain::time::Micros;
use crate::domain::unexpected::{UnexpectedState, creditable};
use crate::store::journal::{Journal, TransferKey};
use crate::store::unexpected_deposits::{self, Settlement, UnexpectedDeposit};
use crate::store::{StoreError, UnitOfWork, addresses, audit, invoices, merchants};

/// Characters of a note.
const NOTE_CHARS_MAX: usize = 500;

/// The use cases with what they need.
#[derive(Clone)]
pub struct SettleUnexpected {
    /// Database, clock, and who vouches for addresses.
    pub apply: ApplyDeposits,
    /// What each enabled network asks of its largest payments.
    pub finality: BTreeMap<Network, Finality>,
}

/// Whom an unexpected deposit is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The merchant of this invoice.
    Invoice(Uuid),
    /// This merchant.
    Merchant(Uuid),
}

impl SettleUnexpected {
    /// Credits a merchant for one. Doing it again for the same one changes nothing; the first note stays.
    pub async fn assign(
        &self,
        id: Uuid,
        target: Target,
        note: &str,
        actor: &str,
    ) -> Result<UnexpectedDeposit, Failure> {
        let note = checked_note(note, false)?;
        let (merchant_id, invoice_id) = self.resolved(target).await?;
        for _ in 0..CONFLICT_RETRIES_MAX {
            let assigned = self.attempt(id, merchant_id, invoice_id, &note, actor).await;
            match assigned {
                Err(Attempt::Moved) => {}
                Err(Attempt::Failed(failure)) => return Err(failure),
                Ok(()) => return self.get(id).await,
            }
        }
        Err(StoreError::Conflict("balance kept moving".to_owned()).into())
    }

    /// Notes how one was settled outside. Doing it again changes nothing; the first note stays.
    pub async fn dismiss(
        &self,
        id: Uuid,
        note: &str,
        actor: &str,
    ) -> Result<UnexpectedDeposit, Failure> {
        let note = checked_note(note, true)?;
        let unit = self.apply.db.begin("dismiss_unexpected").await?;
        let deposit = unexpected_deposits::lock(&unit, id).await?.ok_or_else(not_found)?;
        if deposit.state != UnexpectedState::Dismissed {
            if deposit.state == UnexpectedState::Assigned {
                return Err(settled_already(&deposit));
            }
            let now = self.apply.env.now();
            unexpected_deposits::settle(&unit, id, Settlement::Dismissed, &note, now).await?;
            let object = id.to_string();
            audit::append(&unit, actor, "unexpected_deposit.dismiss", &object, &note, now).await?;
            unit.commit().await?;
        }
        self.get(id).await
    }

    async fn get(&self, id: Uuid) -> Result<UnexpectedDeposit, Failure> {
        unexpected_deposits::get(&self.apply.db, id).await?.ok_or_else(not_found)
    }

    /// The merchant, and the invoice if it is given to one.
    async fn resolved(&self, target: Target) -> Result<(Uuid, Option<Uuid>), Failure> {
        let db = &self.apply.db;
        match target {
            Target::Merchant(id) => {
                merchants::get(db, id).await?.ok_or_else(no_merchant)?;
                Ok((id, None))
            }
            Target::Invoice(id) => {
                let view = invoices::get_for_payer(db, id).await?;
                let view = view.ok_or_else(super::cancel_invoice::not_found)?;
                Ok((view.invoice.merchant_id, Some(id)))
            }
        }
    }

    async fn attempt(
        &self,
        id: Uuid,
        merchant_id: Uuid,
        invoice_id: Option<Uuid>,
        note: &str,
        actor: &str,
    ) -> Result<(), Attempt> {
        let unit = self.apply.db.begin("assign_unexpected").await?;
        let deposit = unexpected_deposits::lock(&unit, id).await?.ok_or_else(not_found)?;
        let same = (deposit.assigned_merchant_id, deposit.assigned_invoice_id);
        if deposit.state == UnexpectedState::Assigned && same == (Some(merchant_id), invoice_id) {
            return Ok(());
        }
        let asset = self.assignable(&deposit)?;
        self.check_address(&unit, &deposit).await?;
        let now = self.apply.env.now();
        self.credit(&unit, &deposit, merchant_id, asset, now).await?;
        let settlement = Settlement::Assigned(merchant_id, invoice_id);
        unexpected_deposits::settle(&unit, id, settlement, note, now).await?;
        let units = amount::decimal(deposit.units, deposit.decimals);
        let target = invoice_id.map_or_else(String::new, |id| format!(" invoice {id}"));
        let detail = format!("{units} {} merchant {merchant_id}{target}: {note}", deposit.coin);
        let object = id.to_string();
        audit::append(&unit, actor, "unexpected_deposit.assign", &object, &detail, now).await?;
        unit.commit().await?;
        Ok(())
    }

    /// The asset that one can be credited as now.
    fn assignable(&self, deposit: &UnexpectedDeposit) -> Result<Asset, Failure> {
        match deposit.state {
            UnexpectedState::Assigned | UnexpectedState::Dismissed => {
                return Err(settled_already(deposit));
            }
            UnexpectedState::Orphaned => {
                return Err(not_now("the block that held it left the chain"));
            }
            UnexpectedState::Seen => {}
        }
        let asset = creditable(&deposit.coin).ok_or_else(|| {
            let coin = &deposit.coin;
            Failure::new(
                Class::FailedPrecondition,
                Reason::UnexpectedDepositNotCreditable,
                format!(
                    "no balance is kept in {coin}: settle it outside, then dismiss it with a note"
                ),
            )
        })?;
        let network = deposit.network;
        let asked = self.finality.get(&network);
        let asked =
            asked.ok_or_else(|| not_now(format!("the network {network} is not enabled")))?;
        let progress = deposit.progress;
        if !progress.is_some_and(|progress| progress.is_safe(deposit.block_height, *asked)) {
            let reached = progress.map_or(0, |at| at.confirmations(deposit.block_height));
            return Err(not_now(format!(
                "it is {reached} blocks deep; {} are asked for, and that its block is final",
                asked.confirmations
            )));
        }
        Ok(asset)
    }

    /// Money at an address that the signer did not vouch for is nobody's to give.
    async fn check_address(
        &self,
        unit: &UnitOfWork,
        deposit: &UnexpectedDeposit,
    ) -> Result<(), Failure> {
        let ApplyDeposits { verifying_key, environment, .. } = &self.apply;
        let ids = [deposit.address_id];
        let signed = addresses::signed_addresses(unit, deposit.address_network, &ids).await?;
        let is_ours = |id| {
            signed.get(id).is_some_and(|signed| signed.is_authentic(verifying_key, environment))
        };
        if is_ours(&deposit.address_id) {
            return Ok(());
        }
        tracing::error!(
            alarm = "address_signature",
            unexpected_deposit = %deposit.id,
            "the address of an unexpected deposit is not the signer's"
        );
        Err(not_now("its address is not the signer's: the database was changed"))
    }

    async fn credit(
        &self,
        unit: &UnitOfWork,
        deposit: &UnexpectedDeposit,
        merchant_id: Uuid,
        asset: Asset,
        now: Micros,
    ) -> Result<(), StoreError> {
        let (merchants, refs) = (BTreeSet::from([merchant_id]), [deposit.id]);
        let mut journal = Journal::open(unit, asset, &merchants, &refs, now).await?;
        let owed = journal.balance(merchant_id, AccountKind::MerchantReceivable).posted;
        let postings = deposit_postings(merchant_id, asset, deposit.units, owed);
        let (kind, ref_id) = (TransferKind::UnexpectedDeposit, deposit.id);
        let key = TransferKey { kind, ref_id, generation: 0 };
        journal.post(&self.apply.env, key, &postings)?;
        journal.write(unit).await
    }
}

/// Why an attempt did not assign.
enum Attempt {
    /// The merchant's balance moved meanwhile: once more.
    Moved,
    Failed(Failure),
}

impl From<StoreError> for Attempt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) => Self::Moved,
            other => Self::Failed(other.into()),
        }
    }
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn checked_note(note: &str, is_required: bool) -> Result<String, Failure> {
    let note = note.trim();
    if is_required && note.is_empty() {
        let hint = "is required: say how it was settled";
        return Err(Failure::field("note", Reason::FieldRequired, hint));
    }
    if note.chars().count() > NOTE_CHARS_MAX || note.chars().any(char::is_control) {
        let hint = format!("must be at most {NOTE_CHARS_MAX} printable characters");
        return Err(Failure::field("note", Reason::InvalidField, hint));
    }
    Ok(note.to_owned())
}

fn settled_already(deposit: &UnexpectedDeposit) -> Failure {
    not_now(match (deposit.state, deposit.assigned_invoice_id, deposit.assigned_merchant_id) {
        (UnexpectedState::Assigned, Some(id), _) => format!("it is assigned to the invoice {id}"),
        (UnexpectedState::Assigned, None, Some(id)) => {
            format!("it is assigned to the merchant {id}")
        }
        _ => "it is dismissed".to_owned(),
    })
}

fn not_now(why: impl std::fmt::Display) -> Failure {
    let text = format!("the unexpected deposit can not be settled so: {why}");
    Failure::new(Class::FailedPrecondition, Reason::UnexpectedDepositState, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn a_note_is_one_printable_line_of_so_many_characters() {
        assert_eq!(checked_note("  paid back ", true).unwrap(), "paid back");
        assert_eq!(checked_note("", false).unwrap(), "");
        assert_eq!(checked_note(" ", true).unwrap_err().reason, Reason::FieldRequired);
        let longest = "\u{e9}".repeat(NOTE_CHARS_MAX);
        assert_eq!(checked_note(&longest, true).unwrap(), longest);
        for bad in [format!("{longest}x"), "a\nb".to_owned(), "a\0b".to_owned()] {
            assert_eq!(checked_note(&bad, false).unwrap_err().reason, Reason::InvalidField);
        }
    }
}
