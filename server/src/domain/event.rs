//! What can happen to an invoice, and how it is told: event names, which of them a key gets without
//! asking, and the body that the log keeps. Not here: sending (`webhook`), signing.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The full amount was seen in time.
    PaymentDetected,
    /// The full amount is deep enough; once per invoice for ever.
    PaymentConfirmed,
    /// Less than the full amount was seen.
    PartiallyPaid,
    /// Short at expiry.
    Expired,
    /// Full only after expiry.
    LatePayment,
    /// Canceled by the merchant.
    Canceled,
    /// A counted payment was reorganised away or replaced.
    Reorged,
    /// Deep enough again after a reorganisation.
    Reconfirmed,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::PaymentDetected,
        Self::PaymentConfirmed,
        Self::PartiallyPaid,
        Self::Expired,
        Self::LatePayment,
        Self::Canceled,
        Self::Reorged,
        Self::Reconfirmed,
    ];

    /// The documented two, which a key gets without asking.
    pub const DEFAULT: [Self; 2] = [Self::PaymentDetected, Self::PaymentConfirmed];

    /// The name in webhooks and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentDetected => "payment.detected",
            Self::PaymentConfirmed => "payment.confirmed",
            Self::PartiallyPaid => "invoice.partially_paid",
            Self::Expired => "invoice.expired",
            Self::LatePayment => "invoice.late_payment",
            Self::Canceled => "invoice.canceled",
            Self::Reorged => "invoice.reorged",
            Self::Reconfirmed => "invoice.reconfirmed",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The invoice at the moment of an event, as every transport tells it. Money is decimal text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBody {
    /// The event's name.
    pub event: String,
    /// The invoice.
    pub invoice_id: Uuid,
    /// The merchant's own reference.
    pub order_id: Option<String>,
    /// The status at that moment.
    pub status: String,
    /// The network.
    pub network: String,
    /// The coin.
    pub coin: String,
    /// US dollars asked.
    pub amount_usd: String,
    /// Coins asked.
    pub amount_crypto: String,
    /// Coins seen, exact.
    pub paid_amount: String,
    /// The transaction that completes the amount.
    pub txid: Option<String>,
    /// Confirmations at that moment.
    pub confirmations: u32,
    /// The invoice's address.
    pub address: String,
    /// The event's business time, microseconds since 1970.
    pub timestamp: i64,
}

impl EventBody {
    /// The id by which receivers know a repeat: an invoice and its merchant's sequence name one event
    /// for ever, whichever endpoint is told and however often.
    pub fn event_id(&self, sequence: u64) -> String {
        event_id(self.invoice_id, sequence)
    }
}

/// The id of the event at `sequence` of its merchant's log, about `invoice_id`.
pub fn event_id(invoice_id: Uuid, sequence: u64) -> String {
    format!("{invoice_id}-{sequence}")
}
