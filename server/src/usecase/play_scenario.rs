//! Playing a sandbox scenario on an invoice: which one its metadata names, whether it can be played,
//! and the note that lets a worker play it. Not here: the steps (`domain::scenario`), playing them
//! (`worker::scenarios`).

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::cancel_invoice::not_found;
use crate::chain::{ChainError, NotedScenario, ScenarioBook, ScenarioNote};
use crate::domain::asset::Network;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::invoice::{Exception, Status};
use crate::domain::scenario::Scenario;
use crate::store::invoices::{self, InvoiceView};
use crate::store::{Db, addresses::LeasedAddress};

/// Where an invoice's metadata names its scenario.
const METADATA_FIELD: &str = "metadata.sandbox";

/// The scenario books of the simulated chains.
#[derive(Clone, Default)]
pub struct ScenarioBooks(pub BTreeMap<Network, Arc<dyn ScenarioBook>>);

impl ScenarioBooks {
    /// The scenario that the metadata of a new invoice names, checked to be playable.
    pub fn named_in(&self, network: Network, metadata: &str) -> Result<Option<Scenario>, Failure> {
        let refuse = |why: String| Failure::field(METADATA_FIELD, Reason::UnknownScenario, why);
        let named = Scenario::of_metadata(metadata).map_err(|error| refuse(error.to_string()))?;
        if named.is_some() && !self.0.contains_key(&network) {
            let why = format!("needs a simulated chain, and {network} is a node here");
            return Err(refuse(why));
        }
        Ok(named)
    }

    /// Notes the scenario of an invoice that is about to be written to this address. Noted first: a
    /// crash in between leaves a note without an invoice, which is dropped, and never an invoice
    /// that waits for its scenario in vain.
    pub async fn note_new(
        &self,
        network: Network,
        address: &LeasedAddress,
        scenario: Scenario,
    ) -> Result<(), Failure> {
        let note = ScenarioNote {
            address_id: address.id,
            address: address.signed.address.text.clone(),
            scenario,
            from_metadata: true,
        };
        self.book(network)?.note(&note).await.map_err(chain_failure)?;
        Ok(())
    }

    fn book(&self, network: Network) -> Result<&Arc<dyn ScenarioBook>, Failure> {
        self.0.get(&network).ok_or_else(|| {
            let text = format!("{network} is a node here and no simulated chain");
            Failure::new(Class::FailedPrecondition, Reason::SandboxRefused, text)
        })
    }
}

/// The use case with what it needs.
#[derive(Clone)]
pub struct PlayScenario {
    /// The ledger's database; only read.
    pub db: Db,
    /// The books of the simulated chains.
    pub books: ScenarioBooks,
}

impl PlayScenario {
    /// Lets the merchant's invoice play a scenario. Asked again it says how far the scenario is; an
    /// invoice plays one scenario in its life.
    pub async fn run(
        &self,
        merchant_id: Uuid,
        invoice_id: Uuid,
        scenario: Scenario,
    ) -> Result<NotedScenario, Failure> {
        let view = invoices::get(&self.db, merchant_id, invoice_id).await?;
        let view = view.ok_or_else(not_found)?;
        let invoice = &view.invoice;
        let book = self.books.book(invoice.network)?;
        let own = Scenario::of_metadata(&invoice.metadata).ok().flatten();
        let noted = book.noted(invoice.address_id).await.map_err(chain_failure)?;
        // A note from metadata that are not this invoice's is of an earlier try to create one.
        let playing = noted.filter(|noted| !noted.from_metadata || own == Some(noted.scenario));
        if let Some(playing) = playing {
            return same(playing, scenario);
        }
        if own.is_some_and(|own| own != scenario) {
            return Err(refused("its metadata names another scenario"));
        }
        if !is_untouched(&view) {
            return Err(refused("it was paid, canceled or is over; a scenario begins unpaid"));
        }
        let note = ScenarioNote {
            address_id: invoice.address_id,
            address: invoice.address_text.clone(),
            scenario,
            from_metadata: false,
        };
        same(book.note(&note).await.map_err(chain_failure)?, scenario)
    }
}

fn same(noted: NotedScenario, asked: Scenario) -> Result<NotedScenario, Failure> {
    if noted.scenario == asked {
        return Ok(noted);
    }
    Err(refused(&format!("it plays `{}` already", noted.scenario.as_str())))
}

/// Whether nothing has happened to the invoice yet.
fn is_untouched(view: &InvoiceView) -> bool {
    let standing = view.invoice.standing;
    let is_new = (standing.status, standing.exception) == (Status::Pending, Exception::None);
    is_new && view.deposits.is_empty() && !standing.canceled
}

fn refused(why: &str) -> Failure {
    let text = format!("the invoice can not play this scenario: {why}");
    Failure::new(Class::FailedPrecondition, Reason::SandboxRefused, text)
}

/// What a failed chain is to whoever asked it for something.
pub fn chain_failure(error: ChainError) -> Failure {
    match error {
        ChainError::Transient(text) => {
            Failure::new(Class::Unavailable, Reason::ServerUnavailable, text)
        }
        ChainError::Invalid(text) | ChainError::TooLarge(text) | ChainError::Unsupported(text) => {
            Failure::new(Class::FailedPrecondition, Reason::SandboxRefused, text)
        }
    }
}
