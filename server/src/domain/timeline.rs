//! An invoice's history as lines in the order of their moments, from what is kept anyway: its creation,
//! its deposits, its events. Not here: reading them.

use super::deposit::{Deposit, DepositState};
use super::event::EventKind;
use super::time::Micros;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// The invoice was created.
    Created,
    /// A payment was seen for the first time.
    PaymentSeen,
    /// What an event told.
    Told(EventKind),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub happened: Happened,
    /// When, business time.
    pub at: Micros,
    /// The transaction that it was about.
    pub txid: Option<String>,
}

/// The lines, oldest first. `told` are the invoice's events in their order.
pub fn timeline(created_at: Micros, deposits: &[Deposit], told: &[Entry]) -> Vec<Entry> {
    let mut lines = vec![Entry { happened: Happened::Created, at: created_at, txid: None }];
    let mut seen: Vec<&Deposit> =
        deposits.iter().filter(|deposit| deposit.state != DepositState::Orphaned).collect();
    seen.sort_by(|a, b| (a.first_seen_at, &a.txid).cmp(&(b.first_seen_at, &b.txid)));
    lines.extend(seen.into_iter().map(|deposit| Entry {
        happened: Happened::PaymentSeen,
        at: deposit.first_seen_at,
        txid: Some(deposit.txid.clone()),
    }));
    lines.extend_from_slice(told);
    // Stable: what has one moment stays in the order above.
    lines.sort_by_key(|line| line.at);
    lines
}
