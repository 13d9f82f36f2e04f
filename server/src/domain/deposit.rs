//! A payment that reached one of our addresses, as the ledger's side of the house sees it. Not here:
//! what it means for its invoice (`invoice`), how it was found (`chain`, `worker::scan`).

use std::time::Duration;

use uuid::Uuid;

use super::time::Micros;

/// What the ordinal of a balance's delta begins with; the address's key in hex follows.
pub const DELTA_PREFIX: &str = "d:";

/// Whether a deposit of this ordinal is a balance's delta: money that arrived in a way that nobody told.
pub fn is_delta(ordinal: &str) -> bool {
    ordinal.starts_with(DELTA_PREFIX)
}

/// What the balance of an address says about what is recorded of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// All of it, and no more.
    Even,
    /// So many base units arrived that are not recorded.
    Arrived(u128),
    /// So many base units left that we did not send, or never arrived.
    Gone(u128),
}

/// Holds what an address owns after a block, and what we sent from it up to there, against what is
/// recorded as arrived.
pub fn delta(balance: u128, outflows: u128, recorded: u128) -> Delta {
    let arrived = balance.saturating_add(outflows);
    match arrived.checked_sub(recorded) {
        Some(0) => Delta::Even,
        Some(more) => Delta::Arrived(more),
        None => Delta::Gone(recorded - arrived),
    }
}

/// Where a deposit stands on its chain. Written by the scanner alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepositState {
    /// Seen, in no block of the best chain.
    Seen,
    /// In a block of the best chain.
    Included,
    /// Another transaction consumed what it consumes.
    Replaced,
    /// The same transaction and ordinal came to mean something else.
    Orphaned,
}

impl DepositState {
    /// The database's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Included => "included",
            Self::Replaced => "replaced",
            Self::Orphaned => "orphaned",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Seen, Self::Included, Self::Replaced, Self::Orphaned]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// One deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// Our id of it.
    pub id: Uuid,
    /// The transaction.
    pub txid: String,
    /// Which transfer of the transaction.
    pub ordinal: String,
    /// Base units of the network's asset.
    pub units: u128,
    /// The block's height, while included.
    pub block_height: Option<u64>,
    /// When it was included, in business time.
    pub included_at: Option<Micros>,
    /// When it was first seen, in business time; never changes.
    pub first_seen_at: Micros,
    /// Where it stands.
    pub state: DepositState,
    /// Grows with every change of the scanner's.
    pub version: i64,
    /// Whether the ledger holds it.
    pub credited: bool,
    /// How often a credit of it was taken back.
    pub credit_generation: i64,
    /// Whether it is part of the balance's `pending`.
    pub counted_pending: bool,
}

impl Deposit {
    /// Whether it is money that is on its way or here.
    pub const fn counts(&self) -> bool {
        matches!(self.state, DepositState::Seen | DepositState::Included)
    }

    /// Blocks from its own to `head`, both counted; 0 in no block.
    pub fn confirmations(&self, head: u64) -> u64 {
        match (self.state, self.block_height) {
            (DepositState::Included, Some(height)) if height <= head => head - height + 1,
            _ => 0,
        }
    }

    /// Whether it was, or still can be, included within `window` of its first sight. What was included is
    /// known up to `known`.
    pub fn included_within(&self, window: Duration, known: Micros) -> bool {
        let last = self.first_seen_at.plus(window);
        match self.state {
            DepositState::Included => self.included_at.is_none_or(|at| at <= last),
            _ => known <= last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_says_what_arrived_beyond_what_is_recorded() {
        for (balance, outflows, recorded, says) in [
            (0, 0, 0, Delta::Even),
            (7, 0, 7, Delta::Even),
            (7, 0, 3, Delta::Arrived(4)),
            (0, 7, 3, Delta::Arrived(4)),
            (1, 2, 3, Delta::Even),
            (3, 0, 7, Delta::Gone(4)),
            (u128::MAX, 1, u128::MAX, Delta::Even),
        ] {
            assert_eq!(delta(balance, outflows, recorded), says, "{balance} {outflows} {recorded}");
        }
    }
}
