//! What java-tron answers about blocks and receipts, read strictly: identities are checked, numbers
//! are integers, and what is not needed is not looked at.
//! Not here: HTTP, and which transfers are ours.

use std::collections::HashMap;

use prost::Message as _;
use serde::Deserialize;

use super::transaction::{
    EXPIRATION_MILLIS_MAX, Kind, TransferContract, expiration_in, id_of, read_raw,
};
use crate::chain::{BlockRef, ChainError};
use crate::domain::time::Micros;

/// Hex digits of an id.
const ID_DIGITS: usize = 64;
/// Hex digits at the beginning of a block's id that are its height.
const HEIGHT_DIGITS: usize = 16;

/// A block as `getblock` and `getblockbynum` answer it.
#[derive(Debug, Clone, Deserialize)]
pub struct BlockAnswer {
    #[serde(rename = "blockID")]
    id: String,
    block_header: Header,
    #[serde(default)]
    transactions: Vec<TransactionAnswer>,
}

#[derive(Debug, Clone, Deserialize)]
struct Header {
    raw_data: HeaderData,
}

/// Protobuf's zeros are left out: the genesis block states neither number nor time.
#[derive(Debug, Clone, Deserialize)]
struct HeaderData {
    #[serde(default)]
    number: u64,
    #[serde(rename = "parentHash")]
    parent_hash: String,
    #[serde(default)]
    timestamp: i64,
}

/// A transaction of a block. Of `ret` only what is said first counts.
#[derive(Debug, Clone, Deserialize)]
pub struct TransactionAnswer {
    /// Its id.
    #[serde(rename = "txID")]
    pub id: String,
    #[serde(default)]
    raw_data_hex: String,
    #[serde(default)]
    ret: Vec<Outcome>,
}

#[derive(Debug, Clone, Deserialize)]
struct Outcome {
    #[serde(rename = "contractRet")]
    contract_ret: Option<String>,
}

/// A receipt as `gettransactioninfobyblocknum` answers it.
#[derive(Debug, Clone, Deserialize)]
pub struct Receipt {
    /// The transaction's id.
    pub id: String,
    #[serde(rename = "blockNumber", default)]
    block_number: u64,
    /// Left out for success.
    result: Option<String>,
    #[serde(default)]
    receipt: Resources,
    /// What its contracts logged, in order.
    #[serde(default)]
    pub log: Vec<Log>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Resources {
    /// How the contract ended; left out where there was none.
    result: Option<String>,
}

/// One log.
#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    /// The contract: 20 bytes in hex without TRON's prefix; base58 where `visible` was asked for.
    pub address: String,
    /// 32 bytes each, in hex.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Hex.
    #[serde(default)]
    pub data: String,
}

/// A block with its receipts, known to belong together.
#[derive(Debug, Clone)]
pub struct ReadBlock {
    /// The block.
    pub reference: BlockRef,
    /// Its transactions in order, each with its receipt.
    pub transactions: Vec<(TransactionAnswer, Receipt)>,
}

impl BlockAnswer {
    /// The block's identity and place, once they agree with each other.
    ///
    /// # Errors
    /// [`ChainError::Invalid`] when an id is none, or says another height than the header.
    pub fn reference(&self) -> Result<BlockRef, ChainError> {
        let HeaderData { number, parent_hash, timestamp } = &self.block_header.raw_data;
        let wrong = |why: &str| ChainError::Invalid(format!("block {:.64}: {why}", self.id));
        if !is_id(&self.id) || !is_id(parent_hash) {
            return Err(wrong("its id or its parent's is none"));
        }
        let stated = self.id.get(..HEIGHT_DIGITS).map(|digits| u64::from_str_radix(digits, 16));
        if stated != Some(Ok(*number)) {
            return Err(wrong(&format!("its header says height {number}")));
        }
        let micros = timestamp.checked_mul(1_000).ok_or_else(|| wrong("its time is none"))?;
        Ok(BlockRef {
            height: *number,
            hash: self.id.clone(),
            parent: parent_hash.clone(),
            time: Micros(micros),
        })
    }

    /// Whether anything is in it.
    pub const fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// The ids of its transactions, in order.
    pub fn transaction_ids(&self) -> impl Iterator<Item = &str> {
        self.transactions.iter().map(|transaction| transaction.id.as_str())
    }

    /// Puts each transaction beside its receipt.
    ///
    /// # Errors
    /// [`ChainError::Transient`] unless there is exactly one receipt for each transaction: receipts
    /// name a height and no block, so a node that was asked a moment too early, or one of several
    /// behind a load balancer, may know the block without them. None missing is ever overlooked.
    pub fn with_receipts(self, receipts: Vec<Receipt>) -> Result<ReadBlock, ChainError> {
        let reference = self.reference()?;
        let height = reference.height;
        let (expected, got) = (self.transactions.len(), receipts.len());
        let odd = |what: &str| {
            ChainError::Transient(format!(
                "block {height}: {what} ({expected} transactions, {got} receipts)"
            ))
        };
        if expected != got {
            return Err(odd("receipts do not match"));
        }
        let mut by_id: HashMap<String, Receipt> =
            receipts.into_iter().map(|receipt| (receipt.id.clone(), receipt)).collect();
        let mut transactions = Vec::with_capacity(expected);
        for transaction in self.transactions {
            let receipt = by_id.remove(&transaction.id).filter(|_| is_id(&transaction.id));
            let receipt = receipt.ok_or_else(|| odd("receipts are of other transactions"))?;
            if receipt.block_number != height {
                return Err(odd("receipts are of another block"));
            }
            transactions.push((transaction, receipt));
        }
        Ok(ReadBlock { reference, transactions })
    }
}

impl TransactionAnswer {
    /// Until when it may be included, milliseconds since 1970, from the bytes that its id commits
    /// to. A payer may add what our reader refuses and nodes take: then as late as any that a block of
    /// `included_at` may hold.
    ///
    /// # Errors
    /// [`ChainError::Invalid`] when the bytes are not those of the id.
    pub fn expiration(&self, included_at: Micros) -> Result<i64, ChainError> {
        let latest = || (included_at.0 / 1_000).saturating_add(EXPIRATION_MILLIS_MAX);
        Ok(expiration_in(&self.committed_bytes()?).unwrap_or_else(latest))
    }

    /// The transfer of TRX that its bytes say it is, if they say so. Whether the id commits to the
    /// bytes is still to be asked, by [`Self::check_id`].
    pub fn trx_transfer(&self) -> Option<TransferContract> {
        let raw_data = hex::decode(&self.raw_data_hex).ok()?;
        let raw = read_raw(&raw_data).ok()?;
        let [contract] = raw.contract.as_slice() else { return None };
        (contract.kind == Kind::Transfer.number()).then_some(())?;
        TransferContract::decode(contract.parameter.as_ref()?.value.as_slice()).ok()
    }

    /// That the id commits to the bytes.
    ///
    /// # Errors
    /// [`ChainError::Invalid`] when it does not.
    pub fn check_id(&self) -> Result<(), ChainError> {
        self.committed_bytes().map(|_| ())
    }

    fn committed_bytes(&self) -> Result<Vec<u8>, ChainError> {
        let bytes = hex::decode(&self.raw_data_hex).ok();
        bytes
            .filter(|bytes| hex::encode(id_of(bytes)) == self.id)
            .ok_or_else(|| ChainError::Invalid(format!("transaction {:.64}: other bytes", self.id)))
    }
}

/// Whether a transaction that calls no contract did what it says: two places state it. No money is credited
/// for one that is told and denied at once.
pub fn moved_trx(transaction: &TransactionAnswer, receipt: &Receipt) -> bool {
    let contract = matches!(receipt.receipt.result.as_deref(), None | Some("SUCCESS"));
    is_overall_success(receipt) && contract && is_success_in_block(transaction)
}

fn is_overall_success(receipt: &Receipt) -> bool {
    // java-tron's own spelling; a default is left out.
    matches!(receipt.result.as_deref(), None | Some("SUCESS"))
}

/// By the one place that every node checks when it executes the block, `ret[0].contractRet`. What else
/// stands in `ret` is what the payer wrote there before he sent it: no signature covers it.
fn is_success_in_block(transaction: &TransactionAnswer) -> bool {
    let outcome = transaction.ret.first().and_then(|outcome| outcome.contract_ret.as_deref());
    matches!(outcome, None | Some("SUCCESS"))
}

/// Whether a transaction did what it says: three places state it, and all must.
///
/// # Errors
/// [`ChainError::Transient`] when they contradict each other: a payment is at stake either way.
pub fn succeeded(transaction: &TransactionAnswer, receipt: &Receipt) -> Result<bool, ChainError> {
    let overall = is_overall_success(receipt);
    let contract = receipt.receipt.result.as_deref() == Some("SUCCESS");
    let in_block = is_success_in_block(transaction);
    match (overall, contract, in_block) {
        (true, true, true) => Ok(true),
        (false, false, false) => Ok(false),
        // Older nodes leave the outcome out of the block or the receipt's head.
        (_, false, _) if receipt.log.is_empty() => Ok(false),
        _ => {
            let id = &transaction.id;
            let text = format!("transaction {id:.64}: its success is told and denied at once");
            Err(ChainError::Transient(text))
        }
    }
}

/// 32 bytes in lower-case hex.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
