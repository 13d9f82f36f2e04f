//! Finds, in a block that was read, token transfers to watched addresses, and which transactions
//! that were watched can not come any more. Pure. Not here: where the block comes from.

use super::block::{Log, ReadBlock, Receipt, TransactionAnswer, is_id, succeeded};
use super::transaction::ADDRESS_PREFIX;
use super::unexpected::KnownCoins;
use crate::chain::{ChainError, Consumption, Transfer, UnexpectedTransfer, Watch};
use crate::domain::address::ChainKind;
use crate::domain::address_text;
use crate::domain::asset::Network;
use crate::domain::time::Micros;

/// `Transfer(address,address,uint256)`.
const TRANSFER_TOPIC: &str = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// Begins what a TRON transaction consumes; see [`consumed_key`].
const KEY_PREFIX: &str = "x:";

/// What a watch found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Payments to watched addresses.
    pub transfers: Vec<Transfer>,
    /// Other coins that are known, at watched addresses.
    pub unexpected: Vec<UnexpectedTransfer>,
    /// Watched transactions that this block ended.
    pub consumptions: Vec<Consumption>,
}

/// What a transaction consumes. TRON's accounts have no nonce: two transactions never exclude each
/// other by what they say. What each has is one right: to be included once, until its expiration
/// (`x:txid:milliseconds`). It loses it to nobody but the chain, by a block that includes it as
/// failed or that is later than the expiration.
pub fn consumed_key(txid: &str, expiration: i64) -> String {
    format!("{KEY_PREFIX}{txid}:{expiration}")
}

fn read_key(key: &str) -> Option<(&str, i64)> {
    let (txid, expiration) = key.strip_prefix(KEY_PREFIX)?.split_once(':')?;
    is_id(txid).then_some(())?;
    Some((txid, expiration.parse().ok()?))
}

/// Looks through one block for transfers of the token `contract`, and of what else is known.
///
/// # Errors
/// [`ChainError`] when what the node tells of a payment to us contradicts itself.
pub fn look(
    block: &ReadBlock,
    contract: [u8; 20],
    known: &KnownCoins,
    watch: Watch<'_>,
) -> Result<Found, ChainError> {
    let mut found = Found::default();
    for (transaction, receipt) in &block.transactions {
        found.unexpected.extend(known.found(transaction, receipt, watch)?);
        let at = block.reference.time;
        found.transfers.extend(transfers(transaction, receipt, at, contract, watch)?);
    }
    for key in watch.consumed {
        let Some((txid, expiration)) = read_key(key) else { continue };
        if is_over(block, txid, expiration)? {
            // No transaction took its place; the block that ended it stands for one.
            let by = block.reference.hash.clone();
            found.consumptions.push(Consumption { key: key.clone(), txid: by });
        }
    }
    Ok(found)
}

/// Whether a transaction that waits can not be included on this branch any more. A block takes
/// transactions that expire after its parent, so this one may hold what expired by its own time,
/// and no later one may.
fn is_over(block: &ReadBlock, txid: &str, expiration: i64) -> Result<bool, ChainError> {
    match block.transactions.iter().find(|(transaction, _)| transaction.id == txid) {
        Some((transaction, receipt)) => Ok(!succeeded(transaction, receipt)?),
        None => Ok(block.reference.time.0 >= expiration.saturating_mul(1_000)),
    }
}

fn transfers(
    transaction: &TransactionAnswer,
    receipt: &Receipt,
    included_at: Micros,
    contract: [u8; 20],
    watch: Watch<'_>,
) -> Result<Vec<Transfer>, ChainError> {
    let mut transfers = Vec::new();
    for (position, log) in receipt.log.iter().enumerate() {
        let Some((to, units)) = payment(log, contract) else { continue };
        if !watch.addresses.may_watch(&to) {
            continue;
        }
        if !succeeded(transaction, receipt)? {
            return Ok(Vec::new());
        }
        transfers.push(Transfer {
            txid: transaction.id.clone(),
            ordinal: format!("l:{position}"),
            address_key: to.to_vec(),
            asset: Network::Trc20.asset(),
            units,
            consumes: vec![consumed_key(&transaction.id, transaction.expiration(included_at)?)],
        });
    }
    Ok(transfers)
}

/// Whom a log of the pinned contract says is paid, and how much. Nothing for other contracts, other
/// events, other shapes, nothing, transfers to oneself, and amounts above 128 bits: no token has so
/// many units, whatever a contract says.
pub(super) fn payment(log: &Log, contract: [u8; 20]) -> Option<([u8; 20], u128)> {
    if account_of(&log.address)? != contract {
        return None;
    }
    payment_in(log)
}

/// The same of a log whose contract is known.
pub(super) fn payment_in(log: &Log) -> Option<([u8; 20], u128)> {
    let [event, from, to] = log.topics.as_slice() else { return None };
    if !event.eq_ignore_ascii_case(TRANSFER_TOPIC) {
        return None;
    }
    let (from, to) = (account_in(&word(from)?)?, account_in(&word(to)?)?);
    let amount = word(&log.data)?;
    let (high, low) = amount.split_first_chunk::<16>()?;
    let units = u128::from_be_bytes(low.try_into().ok()?);
    (*high == [0; 16] && units > 0 && from != to).then_some((to, units))
}

/// Exactly 32 bytes of hex.
fn word(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// An account in a word of the ABI: 12 zeros and 20 bytes.
fn account_in(word: &[u8; 32]) -> Option<[u8; 20]> {
    let (zeros, account) = word.split_first_chunk::<12>()?;
    if *zeros == [0; 12] { account.try_into().ok() } else { None }
}

/// A contract as logs name it: 20 bytes of hex, 21 with the prefix, or base58.
pub(super) fn account_of(text: &str) -> Option<[u8; 20]> {
    match text.len() {
        40 => {
            let mut account = [0; 20];
            hex::decode_to_slice(text, &mut account).ok()?;
            Some(account)
        }
        42 => match hex::decode(text).ok()?.split_first() {
            Some((&ADDRESS_PREFIX, account)) => account.try_into().ok(),
            _ => None,
        },
        _ => {
            let key = address_text::parse(Network::Trc20, ChainKind::Mainnet, text).ok()?;
            key.try_into().ok()
        }
    }
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
