//! From the domain's types to the contract's messages, and the few parses that go the other way.
//! No rule is decided here.

use std::collections::BTreeMap;

use cryptopayment_proto::v1;
use prost_types::Timestamp;
use uuid::Uuid;

use crate::domain::address::ChainKind;
use crate::domain::amount::decimal;
use crate::domain::asset::Network;
use crate::domain::deposit::{Deposit, DepositState};
use crate::domain::endpoint::NetworkState;
use crate::domain::event::EventKind;
use crate::domain::failure::{Failure, Reason};
use crate::domain::invoice::{Exception, Status, Summary, is_on_time, summarize};
use crate::domain::ledger::{AccountKind, TransferKind};
use crate::domain::time::Micros;
use crate::domain::timeline::{self, Entry, Happened};
use crate::domain::{payment_request, price};
use crate::store::events::Event;
use crate::store::invoices::{Invoice, InvoiceView};
use crate::store::ledger_entries;
use crate::webhook;

/// A moment as protobuf has it.
pub fn timestamp(at: Micros) -> Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    Timestamp { seconds: at.seconds(), nanos }
}

/// A moment that a caller gave, cut to microseconds.
pub fn micros(at: &Timestamp) -> Micros {
    Micros(at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos) / 1_000))
}

/// An id that a caller gave; text that is no UUID names nothing.
pub fn id(text: &str, missing: fn() -> Failure) -> Result<Uuid, Failure> {
    id_in("id", text, missing)
}

/// The same for a field of another name.
pub fn id_in(field: &str, text: &str, missing: fn() -> Failure) -> Result<Uuid, Failure> {
    if text.is_empty() {
        return Err(Failure::field(field, Reason::FieldRequired, "is required"));
    }
    Uuid::try_parse(text).map_err(|_| missing())
}

/// What an invoice's deposits add up to at `now`.
pub fn summary(view: &InvoiceView, now: Micros) -> Summary {
    let invoice = &view.invoice;
    summarize(&invoice.terms, invoice.standing, view.moment(now), &view.deposits)
}

/// Which instance of each enabled network is used.
pub type Chains = BTreeMap<Network, ChainKind>;

/// What asks a wallet for what is missing, while it can be paid in time and where a form is safe.
pub fn payment_uri(
    invoice: &Invoice,
    paid_units: u128,
    chains: &Chains,
    now: Micros,
) -> Option<String> {
    let is_payable = invoice.standing.status == Status::Pending && now <= invoice.terms.expires_at;
    let chain = chains.get(&invoice.network).filter(|_| is_payable)?;
    let missing = invoice.terms.missing_units(paid_units);
    payment_request::uri(invoice.network, *chain, &invoice.address_text, missing)
}

/// How an invoice is shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// When.
    pub now: Micros,
    /// On which chains.
    pub chains: &'a Chains,
    /// To somebody who sees all of it.
    pub sees_all: bool,
}

/// The invoice as the contract shows it: for whoever sees all with its timeline, made with what events
/// `told`; for others what a basic answer has, and whether it is final.
pub fn invoice(view: &InvoiceView, told: &[Entry], shown: Shown<'_>) -> v1::Invoice {
    let summary = summary(view, shown.now);
    let basic = basic_invoice(&view.invoice, &summary);
    if !shown.sees_all {
        return basic;
    }
    let invoice = &view.invoice;
    let lines = timeline::timeline(invoice.created_at, &view.deposits, told);
    v1::Invoice {
        payment_uri: payment_uri(invoice, summary.paid_units, shown.chains, shown.now),
        requires_finality: invoice.terms.requires_finality,
        exception: exception(invoice.standing.exception).into(),
        metadata: invoice.metadata.clone(),
        amount_units: invoice.terms.amount_units.to_string(),
        paid_units: summary.paid_units.to_string(),
        rate: invoice.rate.clone(),
        rate_source: invoice.rate_source.clone(),
        rate_at: Some(timestamp(invoice.rate_at)),
        payments: payments(view, shown.now),
        timeline: lines.into_iter().map(timeline_entry).collect(),
        ..basic
    }
}

/// What a basic answer has of an invoice, and whether it is final.
fn basic_invoice(invoice: &Invoice, summary: &Summary) -> v1::Invoice {
    let decimals = invoice.network.asset().decimals();
    let standing = invoice.standing;
    v1::Invoice {
        id: invoice.id.to_string(),
        order_id: invoice.order_id.clone(),
        status: status(standing.status).into(),
        network: invoice.network.as_str().to_owned(),
        network_label: invoice.network.label().to_owned(),
        coin: invoice.network.invoice_coin().to_owned(),
        amount_usd: price::usd(invoice.amount_cents),
        amount_crypto: decimal(invoice.terms.amount_units, decimals),
        address: invoice.address_text.clone(),
        paid_amount: decimal(summary.paid_units, decimals),
        txid: summary.txid.clone(),
        confirmations: Some(v1::Confirmations {
            received: summary.received,
            required: invoice.terms.confirmations_required,
        }),
        expires_at: Some(timestamp(invoice.terms.expires_at)),
        created_at: Some(timestamp(invoice.created_at)),
        is_final: standing.status.is_final(),
        ..v1::Invoice::default()
    }
}

/// Its deposits that are on a chain or on their way to one, in the order in which they were seen.
fn payments(view: &InvoiceView, now: Micros) -> Vec<v1::InvoicePayment> {
    let mut deposits: Vec<&Deposit> =
        view.deposits.iter().filter(|d| d.state != DepositState::Orphaned).collect();
    deposits.sort_by_key(|d| (d.first_seen_at, d.txid.clone(), d.ordinal.clone()));
    let decimals = view.invoice.network.asset().decimals();
    let shown = deposits.into_iter().map(|deposit| v1::InvoicePayment {
        txid: deposit.txid.clone(),
        ordinal: deposit.ordinal.clone(),
        amount: decimal(deposit.units, decimals),
        state: payment_state(deposit).into(),
        confirmations: u32::try_from(deposit.confirmations(view.head)).unwrap_or(u32::MAX),
        first_seen_at: Some(timestamp(deposit.first_seen_at)),
        on_time: is_on_time(&view.invoice.terms, view.moment(now), deposit),
    });
    shown.collect()
}

fn timeline_entry(entry: Entry) -> v1::InvoiceTimelineEntry {
    use v1::InvoiceTimelineKind as Kind;
    let kind = match entry.happened {
        Happened::Created => Kind::Created,
        Happened::PaymentSeen => Kind::PaymentSeen,
        Happened::Told(EventKind::PartiallyPaid) => Kind::PartiallyPaid,
        Happened::Told(EventKind::PaymentDetected) => Kind::Detected,
        Happened::Told(EventKind::PaymentConfirmed) => Kind::Confirmed,
        Happened::Told(EventKind::Expired) => Kind::Expired,
        Happened::Told(EventKind::LatePayment) => Kind::LatePayment,
        Happened::Told(EventKind::Canceled) => Kind::Canceled,
        Happened::Told(EventKind::Reorged) => Kind::Reorged,
        Happened::Told(EventKind::Reconfirmed) => Kind::Reconfirmed,
    };
    v1::InvoiceTimelineEntry { kind: kind.into(), at: Some(timestamp(entry.at)), txid: entry.txid }
}

/// A ledger entry as the contract shows it.
pub fn ledger_entry(entry: &ledger_entries::Entry) -> v1::LedgerEntry {
    let decimals = entry.account.asset.decimals();
    let account = match entry.account.kind {
        AccountKind::MerchantAvailable => v1::LedgerAccount::Available,
        AccountKind::MerchantReceivable => v1::LedgerAccount::Receivable,
        AccountKind::DepositCustody | AccountKind::Suspense => v1::LedgerAccount::Unspecified,
    };
    let kind = match entry.why {
        TransferKind::Deposit => v1::LedgerEntryKind::Deposit,
        TransferKind::DepositReversal => v1::LedgerEntryKind::DepositReversal,
        TransferKind::UnexpectedDeposit => v1::LedgerEntryKind::UnexpectedDeposit,
    };
    let direction =
        if entry.grows { v1::LedgerDirection::Increase } else { v1::LedgerDirection::Decrease };
    v1::LedgerEntry {
        id: format!("{}.{}", entry.transfer_id, entry.line),
        coin: entry.account.asset.as_str().to_owned(),
        account: account.into(),
        kind: kind.into(),
        direction: direction.into(),
        amount: decimal(entry.units, decimals),
        balance_after: decimal(entry.balance_after, decimals),
        invoice_id: entry.invoice_id.map(|id| id.to_string()),
        txid: entry.txid.clone(),
        created_at: Some(timestamp(entry.at)),
        amount_units: entry.units.to_string(),
        balance_after_units: entry.balance_after.to_string(),
    }
}

fn payment_state(deposit: &Deposit) -> v1::PaymentState {
    match deposit.state {
        DepositState::Included if deposit.credited => v1::PaymentState::Credited,
        DepositState::Included => v1::PaymentState::Included,
        DepositState::Seen => v1::PaymentState::Seen,
        DepositState::Replaced | DepositState::Orphaned => v1::PaymentState::Replaced,
    }
}

/// A status as the contract names it.
pub fn status(status: Status) -> v1::InvoiceStatus {
    match status {
        Status::Pending => v1::InvoiceStatus::Pending,
        Status::Confirming => v1::InvoiceStatus::Confirming,
        Status::Confirmed => v1::InvoiceStatus::Confirmed,
        Status::Expired => v1::InvoiceStatus::Expired,
    }
}

/// The status that a filter names; UNSPECIFIED filters nothing.
pub fn status_filter(number: i32) -> Result<Option<Status>, Failure> {
    match v1::InvoiceStatus::try_from(number) {
        Ok(v1::InvoiceStatus::Unspecified) => Ok(None),
        Ok(v1::InvoiceStatus::Pending) => Ok(Some(Status::Pending)),
        Ok(v1::InvoiceStatus::Confirming) => Ok(Some(Status::Confirming)),
        Ok(v1::InvoiceStatus::Confirmed) => Ok(Some(Status::Confirmed)),
        Ok(v1::InvoiceStatus::Expired) => Ok(Some(Status::Expired)),
        Err(_) => Err(Failure::field("status", Reason::InvalidField, "is no status")),
    }
}

/// A network's state as the contract names it.
pub fn network_state(state: NetworkState) -> v1::NetworkState {
    match state {
        NetworkState::Reading => v1::NetworkState::Reading,
        NetworkState::CatchingUp => v1::NetworkState::CatchingUp,
        NetworkState::Waiting => v1::NetworkState::Waiting,
        NetworkState::Held => v1::NetworkState::Held,
    }
}

/// An exception as the contract names it.
pub fn exception(exception: Exception) -> v1::InvoiceException {
    match exception {
        Exception::None => v1::InvoiceException::None,
        Exception::Underpaid => v1::InvoiceException::Underpaid,
        Exception::Overpaid => v1::InvoiceException::Overpaid,
        Exception::Late => v1::InvoiceException::Late,
        Exception::Reorged => v1::InvoiceException::Reorged,
        Exception::Canceled => v1::InvoiceException::Canceled,
    }
}

/// An event as the log shows it.
pub fn event(event: &Event) -> v1::Event {
    v1::Event {
        sequence: event.seq,
        r#type: event.kind.as_str().to_owned(),
        invoice_id: event.aggregate_id.to_string(),
        version: event.aggregate_version,
        created_at: Some(timestamp(event.created_at)),
        data: Some(webhook::body::message(&event.body)),
    }
}
