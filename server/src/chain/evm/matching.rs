//! Finds payments and consumed nonces in what was read of a block: native value that a transaction
//! carries itself, logs of the pinned token. Pure; amounts beyond `u128` are no payments. Not here:
//! value moved inside contract calls (`traces`), where anything comes from (`reader`).

use std::collections::{HashMap, HashSet};

use alloy::primitives::{Address, B256, U256, hex};

use super::wire::{Block, Log, Receipt, Transaction, fixed, hash_text, number, read_address};
use crate::chain::{AddressFilter, ChainError, Consumption, Transfer};
use crate::domain::asset::Asset;

/// `Transfer(address,address,uint256)` of ERC-20.
pub(super) const TRANSFER_TOPIC: &str =
    "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// `transfer(address,uint256)` of ERC-20.
const TRANSFER_SELECTOR: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
/// Selector, recipient, amount.
const TRANSFER_CALL_BYTES: usize = 4 + 32 + 32;
/// The ordinal of value that a transaction carries itself: the empty trace path.
pub(super) const TOP_LEVEL: &str = "t:";

const NONCE_PREFIX: &str = "n:";

/// Value that reached somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payment {
    pub ordinal: String,
    pub from: Address,
    pub to: Address,
    pub value: U256,
}

impl Payment {
    /// Base units, if it is a payment to somebody of interest: not to oneself, above zero, and no
    /// more than any asset has.
    pub fn units(&self, filter: &dyn AddressFilter) -> Option<u128> {
        let counts = self.from != self.to && !self.value.is_zero();
        if !counts || !filter.may_watch(self.to.as_slice()) {
            return None;
        }
        let units = u128::try_from(self.value).ok();
        if units.is_none() {
            tracing::warn!(to = %self.to, value = %self.value, "refused: no asset has so much");
        }
        units
    }

    /// The transfer, if it is one for us.
    pub fn for_us(
        &self,
        transaction: &Transaction<'_>,
        asset: Asset,
        filter: &dyn AddressFilter,
    ) -> Option<Transfer> {
        let units = self.units(filter)?;
        Some(Transfer {
            txid: hash_text(&transaction.hash),
            ordinal: self.ordinal.clone(),
            address_key: self.to.to_vec(),
            asset,
            units,
            consumes: vec![nonce_key(transaction.from, transaction.nonce)],
        })
    }
}

/// The value that a transaction carries itself. One that creates a contract pays nobody.
pub(super) fn carried(transaction: &Transaction<'_>) -> Option<Payment> {
    let Transaction { from, to, value, .. } = *transaction;
    Some(Payment { ordinal: TOP_LEVEL.to_owned(), from, to: to?, value })
}

/// What a waiting transaction asks of the token, if it is a plain transfer. Whether it will happen is
/// for the contract to say. The one log of such a call is its receipt's first.
pub(super) fn asked_transfer(transaction: &Transaction<'_>, token: Address) -> Option<Payment> {
    if transaction.to != Some(token) || !transaction.value.is_zero() {
        return None;
    }
    let call: [u8; TRANSFER_CALL_BYTES] = fixed(transaction.input)?;
    let (selector, words) = call.split_first_chunk::<4>()?;
    let (to, amount) = words.split_first_chunk::<32>()?;
    (selector == &TRANSFER_SELECTOR).then_some(())?;
    Some(Payment {
        ordinal: log_ordinal(0),
        from: transaction.from,
        to: account_in(to)?,
        value: U256::try_from_be_slice(amount)?,
    })
}

/// Whom a log of a token's transfer pays; `None` for every other log. Asked before anything else of a log is
/// read: mostly it is a stranger.
pub(super) fn paid_account(log: &Log<'_>) -> Option<Address> {
    let [topic, _, to] = log.topics.three()?;
    // The spelling of every node there is, then any other.
    let is_transfer = topic == TRANSFER_TOPIC || topic.eq_ignore_ascii_case(TRANSFER_TOPIC);
    if log.removed || !is_transfer { None } else { account_in(&fixed(to)?) }
}

/// A log of a token's transfer to somebody of interest.
pub(super) struct ToldTransfer<'a> {
    pub transaction: &'a Transaction<'a>,
    /// The token.
    pub contract: Address,
    log: &'a Log<'a>,
    /// The log's place in its receipt.
    position: usize,
}

impl ToldTransfer<'_> {
    /// What it says was moved.
    pub fn payment(&self) -> Option<Payment> {
        logged_payment(self.log, self.position)
    }
}

/// The transactions of a block that succeeded, each with its receipt.
pub(super) fn succeeded<'a>(
    block: &'a Block<Transaction<'a>>,
    receipts: &'a [Receipt<'a>],
) -> impl Iterator<Item = (&'a Transaction<'a>, &'a Receipt<'a>)> {
    block.transactions.iter().zip(receipts).filter(|(_, receipt)| receipt.succeeded())
}

/// The transfers to somebody of interest that a block's successful transactions logged, in their order.
pub(super) fn told_transfers<'a>(
    block: &'a Block<Transaction<'a>>,
    receipts: &'a [Receipt<'a>],
    filter: &dyn AddressFilter,
) -> Vec<ToldTransfer<'a>> {
    let logs = succeeded(block, receipts).flat_map(|(transaction, receipt)| {
        receipt.logs.iter().enumerate().map(move |(position, log)| (transaction, position, log))
    });
    let (paid, logs): (Vec<Address>, Vec<_>) =
        logs.filter_map(|found| Some((paid_account(found.2)?, found))).unzip();
    let keys: Vec<&[u8]> = paid.iter().map(|account| account.as_slice()).collect();
    let watched = filter.may_watch_each(&keys);
    let ours = logs.into_iter().zip(watched).filter(|(_, watched)| *watched);
    ours.filter_map(|((transaction, position, log), _)| {
        let contract = read_address(log.address)?;
        Some(ToldTransfer { transaction, contract, log, position })
    })
    .collect()
}

/// What such a log says was moved.
pub(super) fn logged_payment(log: &Log<'_>, position: usize) -> Option<Payment> {
    let [_, from, to] = log.topics.three()?;
    fixed::<32>(log.data)?;
    Some(Payment {
        ordinal: log_ordinal(position),
        from: account_in(&fixed(from)?)?,
        to: account_in(&fixed(to)?)?,
        value: number(log.data)?,
    })
}

fn log_ordinal(position: usize) -> String {
    format!("l:{position}")
}

/// The account in a word of the ABI: the upper twelve bytes are zero.
fn account_in(word: &[u8; 32]) -> Option<Address> {
    let (padding, account) = word.split_first_chunk::<12>()?;
    (padding == &[0; 12]).then(|| Address::from_slice(account))
}

/// That a block's transactions are its own, each in its place and none twice.
///
/// # Errors
/// [`ChainError::Invalid`] naming the first that is not.
pub(super) fn check_transactions(block: &Block<Transaction<'_>>) -> Result<(), ChainError> {
    let mut seen = HashSet::with_capacity(block.transactions.len());
    for (position, transaction) in (0..).zip(&block.transactions) {
        let is_here = transaction.block_hash == Some(block.hash)
            && transaction.transaction_index == Some(position);
        if !is_here || !seen.insert(transaction.hash) {
            let (txid, hash) = (transaction.hash, block.hash);
            return Err(ChainError::Invalid(format!("block {hash}: {txid} is out of place")));
        }
    }
    Ok(())
}

/// That there is one receipt for each transaction of the block, in its order, and that no log is
/// missing between two others.
///
/// # Errors
/// [`ChainError::Transient`] for receipts of another block or too few of them: the chain moved, or
/// the node is not done. [`ChainError::Invalid`] for what no block can have.
pub(super) fn check_receipts(
    block: &Block<Transaction<'_>>,
    receipts: &[Receipt<'_>],
) -> Result<(), ChainError> {
    if receipts.len() != block.transactions.len() {
        let (hash, count, all) = (block.hash, receipts.len(), block.transactions.len());
        return Err(ChainError::Transient(format!("block {hash}: {count} receipts of {all}")));
    }
    let mut next_log = 0;
    let block_hash = Spelt::of(block.hash);
    for (transaction, receipt) in block.transactions.iter().zip(receipts) {
        check_receipt(block.hash, transaction, receipt)?;
        let txid = Spelt::of(transaction.hash);
        for log in &receipt.logs {
            let is_next = log.log_index == next_log
                && txid.is(log.transaction_hash)
                && block_hash.is(log.block_hash);
            if !is_next {
                let (hash, txid) = (block.hash, transaction.hash);
                let text = format!("block {hash}: log {next_log} of {txid} is missing or foreign");
                return Err(ChainError::Invalid(text));
            }
            next_log += 1;
        }
    }
    Ok(())
}

/// A hash beside its spelling by every node there is: a block's logs repeat two hashes thousands of times.
struct Spelt {
    hash: B256,
    text: String,
}

impl Spelt {
    fn of(hash: B256) -> Self {
        Self { hash, text: hash_text(&hash) }
    }

    fn is(&self, text: &str) -> bool {
        self.text == text || fixed(text).map(B256::new) == Some(self.hash)
    }
}

/// That a receipt is the transaction's, in this block.
///
/// # Errors
/// As [`check_receipts`].
pub(super) fn check_receipt(
    block_hash: B256,
    transaction: &Transaction<'_>,
    receipt: &Receipt<'_>,
) -> Result<(), ChainError> {
    if receipt.block_hash != block_hash {
        let (txid, theirs) = (transaction.hash, receipt.block_hash);
        let text = format!("{txid} is in block {theirs}, not in {block_hash}: the chain moved");
        return Err(ChainError::Transient(text));
    }
    let is_its = receipt.transaction_hash == transaction.hash
        && Some(receipt.transaction_index) == transaction.transaction_index;
    if is_its {
        return Ok(());
    }
    let (txid, theirs) = (transaction.hash, receipt.transaction_hash);
    Err(ChainError::Invalid(format!("receipt of {theirs} for {txid}")))
}

/// Transactions that consume a watched nonce, failed ones too.
pub(super) fn consumptions<'a, 'b: 'a>(
    transactions: impl IntoIterator<Item = &'a Transaction<'b>>,
    watched: &HashSet<String>,
) -> Vec<Consumption> {
    let nonces: HashMap<(Address, u64), &str> =
        watched.iter().filter_map(|key| Some((nonce_of(key)?, key.as_str()))).collect();
    if nonces.is_empty() {
        return Vec::new();
    }
    let consumes = |transaction: &Transaction<'_>| {
        let key = nonces.get(&(transaction.from, transaction.nonce))?;
        Some(Consumption { key: (*key).to_owned(), txid: hash_text(&transaction.hash) })
    };
    transactions.into_iter().filter_map(consumes).collect()
}

fn nonce_key(account: Address, nonce: u64) -> String {
    format!("{NONCE_PREFIX}{}:{nonce}", hex::encode_prefixed(account))
}

/// Keys of another form belong to other chains and match nothing.
fn nonce_of(key: &str) -> Option<(Address, u64)> {
    let (account, nonce) = key.strip_prefix(NONCE_PREFIX)?.split_once(':')?;
    Some((read_address(account)?, nonce.parse().ok()?))
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
