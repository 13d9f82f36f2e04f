//! Finds, in transactions already read, payments to watched addresses and transactions that consume
//! watched outpoints. Pure. Not here: where the transactions come from.

use std::collections::HashSet;

use bitcoin::{OutPoint, Txid};

use super::block::{Output, Transaction, TransactionKind};
use crate::chain::{Consumption, Transfer, Watch};
use crate::domain::asset::Network;

/// How many [`Transfer::consumes`] entries one transaction may cause over all its transfers. A
/// transaction of ten thousand inputs that pays us ten thousand times would otherwise cost
/// gigabytes, and millions of rows. Beyond it each transfer names only its first inputs: a
/// replacement that shares none of those is not noticed in the mempool, which never decides about
/// money.
const MAX_CONSUMED_KEYS_PER_TRANSACTION: usize = 10_000;

const OUTPOINT_PREFIX: &str = "u:";
/// Marks what a HogEx pays (see [`Transfer::consumes`]). In a fork that begins further down the same
/// coins leave MWEB by another HogEx, which consumes nothing that this one consumes.
const HOGEX_PREFIX: &str = "h:";

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It waits.
    Mempool,
    /// In the block of this height.
    Block(u64),
}

/// What a watch found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Payments to watched addresses.
    pub transfers: Vec<Transfer>,
    /// Transactions that consume a watched outpoint.
    pub consumptions: Vec<Consumption>,
}

/// Looks through the transactions of the block at `height`.
pub fn look_through(
    network: Network,
    height: u64,
    transactions: &[Transaction],
    watch: Watch<'_>,
) -> Found {
    let mut matcher = Matcher::new(network, watch);
    let keys: Vec<&[u8]> = transactions.iter().flat_map(keys_paid).collect();
    let watched = watch.addresses.may_watch_each(&keys);
    let mut rest = watched.as_slice();
    for transaction in transactions {
        let (own, later) = rest.split_at(keys_paid(transaction).len());
        matcher.look_at(transaction, own, Place::Block(height));
        rest = later;
    }
    matcher.finish()
}

/// Looks through transactions of one network.
pub(super) struct Matcher<'a> {
    network: Network,
    watch: Watch<'a>,
    outpoints: HashSet<OutPoint>,
    found: Found,
}

impl<'a> Matcher<'a> {
    /// Watched keys of another form than `u:txid:vout` belong to other chains and match nothing.
    pub fn new(network: Network, watch: Watch<'a>) -> Self {
        let outpoints = watch.consumed.iter().filter_map(|key| outpoint_of(key)).collect();
        Self { network, watch, outpoints, found: Found::default() }
    }

    /// Looks through one transaction. Coinbase outputs are left out: a payer is no miner, and they
    /// cannot be spent for 100 blocks. Outputs of Litecoin's HogEx are payments like others: that
    /// is how a payer's coins leave MWEB. Outputs of zero are no payments.
    pub fn look(&mut self, transaction: &Transaction, place: Place) {
        let keys: Vec<&[u8]> = keys_paid(transaction).collect();
        let watched = self.watch.addresses.may_watch_each(&keys);
        self.look_at(transaction, &watched, place);
    }

    /// Looks through one whose outputs' addresses may be watched or not as said.
    fn look_at(&mut self, transaction: &Transaction, watched: &[bool], place: Place) {
        for input in &transaction.inputs {
            if self.outpoints.contains(input) {
                let txid = transaction.txid.to_string();
                self.found.consumptions.push(Consumption { key: key_of(input), txid });
            }
        }
        if transaction.kind == TransactionKind::Coinbase {
            return;
        }
        let ours: Vec<(usize, &Output)> = transaction
            .outputs
            .iter()
            .enumerate()
            .zip(watched)
            .filter(|((_, output), watched)| **watched && output.units > 0)
            .map(|(output, _)| output)
            .collect();
        if ours.is_empty() {
            return;
        }
        let per_transfer = (MAX_CONSUMED_KEYS_PER_TRANSACTION / ours.len()).max(1);
        if transaction.inputs.len() > per_transfer {
            tracing::warn!(txid = %transaction.txid, inputs = transaction.inputs.len(),
                transfers = ours.len(), per_transfer, "more inputs than are kept per transfer");
        }
        let made_by_block = match (transaction.kind, place) {
            (TransactionKind::HogEx, Place::Block(height)) => {
                Some(format!("{HOGEX_PREFIX}{height}"))
            }
            _ => None,
        };
        let inputs = transaction.inputs.iter().take(per_transfer).map(key_of);
        let consumes: Vec<String> = inputs.chain(made_by_block).collect();
        for (vout, output) in ours {
            self.found.transfers.push(self.transfer(&transaction.txid, vout, output, &consumes));
        }
    }

    /// Everything found so far.
    pub fn finish(self) -> Found {
        self.found
    }

    fn transfer(&self, txid: &Txid, vout: usize, output: &Output, consumes: &[String]) -> Transfer {
        Transfer {
            txid: txid.to_string(),
            ordinal: format!("o:{vout}"),
            address_key: output.script.to_vec(),
            asset: self.network.asset(),
            units: u128::from(output.units),
            consumes: consumes.to_vec(),
        }
    }
}

/// What a transaction's outputs pay to, in their order.
fn keys_paid(transaction: &Transaction) -> impl ExactSizeIterator<Item = &[u8]> {
    transaction.outputs.iter().map(|output| output.script.as_ref())
}

fn key_of(outpoint: &OutPoint) -> String {
    format!("{OUTPOINT_PREFIX}{outpoint}")
}

fn outpoint_of(key: &str) -> Option<OutPoint> {
    key.strip_prefix(OUTPOINT_PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::AddressFilter;
    use bitcoin::hashes::Hash;

    struct Starts(u8);

    impl AddressFilter for Starts {
        fn may_watch(&self, key: &[u8]) -> bool {
            key.first() == Some(&self.0)
        }
    }

    fn outpoint(byte: u8, vout: u32) -> OutPoint {
        OutPoint { txid: Txid::from_byte_array([byte; 32]), vout }
    }

    fn output(units: u64, script: &[u8]) -> Output {
        Output { units, script: script.into() }
    }

    fn transaction(kind: TransactionKind, outputs: Vec<Output>) -> Transaction {
        let inputs = vec![outpoint(1, 0), outpoint(2, 7)];
        Transaction { txid: Txid::from_byte_array([9; 32]), kind, inputs, outputs }
    }

    fn look(transaction: &Transaction, consumed: &HashSet<String>) -> Found {
        let watch = Watch { addresses: &Starts(5), consumed };
        let mut matcher = Matcher::new(Network::Ltc, watch);
        matcher.look(transaction, Place::Block(7));
        matcher.finish()
    }

    #[test]
    fn each_paid_output_is_a_transfer_of_its_own() {
        let outputs =
            vec![output(10, &[4]), output(11, &[5]), output(0, &[5]), output(12, &[5, 1])];
        let found = look(&transaction(TransactionKind::Ordinary, outputs), &HashSet::new());
        let seen: Vec<_> = found.transfers.iter().map(|t| (t.ordinal.as_str(), t.units)).collect();
        assert_eq!(seen, [("o:1", 11), ("o:3", 12)], "zero and strangers are left out");
        let keys = [format!("u:{}:0", "01".repeat(32)), format!("u:{}:7", "02".repeat(32))];
        assert!(found.transfers.iter().all(|transfer| transfer.consumes == keys));
    }

    #[test]
    fn a_whole_block_is_looked_through_as_its_transactions_are() {
        let paying = |kind, scripts: &[u8]| {
            transaction(kind, scripts.iter().map(|first| output(1, &[*first])).collect())
        };
        let block = [
            paying(TransactionKind::Coinbase, &[5, 5]),
            paying(TransactionKind::Ordinary, &[4, 5, 6]),
            paying(TransactionKind::Ordinary, &[]),
            paying(TransactionKind::Ordinary, &[6]),
            paying(TransactionKind::HogEx, &[5, 4, 5]),
        ];
        let consumed = HashSet::new();
        let watch = Watch { addresses: &Starts(5), consumed: &consumed };
        let mut one_by_one = Matcher::new(Network::Ltc, watch);
        block.iter().for_each(|transaction| one_by_one.look(transaction, Place::Block(7)));
        let found = look_through(Network::Ltc, 7, &block, watch);
        let places: Vec<_> = found.transfers.iter().map(|found| found.ordinal.as_str()).collect();
        assert_eq!(places, ["o:1", "o:0", "o:2"]);
        assert_eq!(found, one_by_one.finish());
    }

    #[test]
    fn what_a_hogex_pays_is_marked_as_made_by_its_block() {
        let outputs = vec![output(9, &[4]), output(10, &[5])];
        let marks = |kind| {
            let found = look(&transaction(kind, outputs.clone()), &HashSet::new());
            let last = found.transfers[0].consumes.last().cloned();
            (found.transfers.len(), last.filter(|key| key.starts_with("h:")))
        };
        assert_eq!(marks(TransactionKind::HogEx), (1, Some("h:7".to_owned())));
        assert_eq!(marks(TransactionKind::Ordinary), (1, None));
    }

    #[test]
    fn a_miner_is_no_payer() {
        let coinbase = transaction(TransactionKind::Coinbase, vec![output(50, &[5])]);
        assert_eq!(look(&coinbase, &HashSet::new()), Found::default());
    }

    #[test]
    fn watched_outpoints_are_found_whoever_is_paid() {
        let consumed: HashSet<String> =
            [key_of(&outpoint(2, 7)), key_of(&outpoint(2, 8)), "n:abc:1".to_owned()].into();
        let found = look(&transaction(TransactionKind::Ordinary, vec![]), &consumed);
        let txid = "09".repeat(32);
        assert_eq!(found.consumptions, [Consumption { key: key_of(&outpoint(2, 7)), txid }]);
    }

    #[test]
    fn a_transaction_of_many_inputs_and_outputs_stays_small() {
        let mut big = transaction(TransactionKind::Ordinary, vec![output(1, &[5]); 5_000]);
        big.inputs = (0..5_000).map(|vout| outpoint(3, vout)).collect();
        let found = look(&big, &HashSet::new());
        assert_eq!(found.transfers.len(), 5_000, "no payment is lost");
        let keys: usize = found.transfers.iter().map(|transfer| transfer.consumes.len()).sum();
        assert_eq!(keys, MAX_CONSUMED_KEYS_PER_TRANSACTION);
    }
}
