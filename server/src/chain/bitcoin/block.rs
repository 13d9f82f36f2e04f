//! Reads raw blocks and transactions of Bitcoin and Litecoin: ids, consumed outpoints, outputs.
//! Works on bytes alone, never panics, allocates no more than a small multiple of its input.
//! Not here: which outputs are ours, scripts' meaning, validation (the node's job) beyond the
//! merkle root, which proves that the bytes were understood.

use bitcoin::block::Header;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{OutPoint, Txid, merkle_tree};

/// Bytes of a block header.
pub const HEADER_BYTES: usize = 80;

/// Smallest encodings; a stated count that cannot fit the bytes left is refused before allocating.
const MIN_INPUT_BYTES: usize = 41;
const MIN_OUTPUT_BYTES: usize = 9;
const MIN_TRANSACTION_BYTES: usize = 51;
const MIN_WITNESS_ITEM_BYTES: usize = 1;

/// Flag of BIP 144: witnesses follow.
const FLAG_WITNESS: u8 = 0x01;
/// Flag of LIP 3 (Litecoin's MWEB): an optional MWEB part follows the witnesses.
const FLAG_MWEB: u8 = 0x08;

/// How a chain writes down its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// BIP 144.
    Bitcoin,
    /// BIP 144 with Litecoin's extension block and its transaction flag 0x08 (LIP 3).
    Litecoin,
}

/// What a transaction is to a payee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionKind {
    /// An ordinary transaction.
    Ordinary,
    /// Pays the miner; unspendable for 100 blocks.
    Coinbase,
    /// Litecoin's last transaction of a block, made by the miner: moves coins between the main
    /// chain and MWEB. Its outputs after the first are peg-outs, unspendable for 6 blocks.
    HogEx,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Base units.
    pub units: u64,
    /// The scriptPubKey.
    pub script: Box<[u8]>,
}

/// One transaction, without its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its id: the hash without witnesses and MWEB data.
    pub txid: Txid,
    /// What it is to a payee.
    pub kind: TransactionKind,
    /// The outpoints it consumes (a coinbase: none).
    pub inputs: Vec<OutPoint>,
    /// The outputs, at the index that is their `vout`.
    pub outputs: Vec<Output>,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBlock {
    /// The header; its hash is the block's.
    pub header: Header,
    /// The transactions in order, the coinbase first.
    pub transactions: Vec<Transaction>,
}

/// Why bytes are no block or transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end too early, or a count says more than they can hold.
    #[error("ends too early")]
    Truncated,
    /// Bytes are left over.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// A count or length is not in its shortest form.
    #[error("a length is not in its shortest form")]
    LongForm,
    /// A transaction carries optional data of an unknown kind.
    #[error("unknown transaction flag {0:#04x}")]
    UnknownFlag(u8),
    /// A transaction consumes nothing.
    #[error("a transaction has no input")]
    NoInput,
    /// A coinbase or HogEx transaction where none may be, or none where one must be.
    #[error("a {0:?} transaction is out of place")]
    OutOfPlace(TransactionKind),
    /// MWEB data inside a block's transaction; in blocks it lives in the extension block.
    #[error("MWEB data inside a block's transaction")]
    MwebInBlock,
    /// The transactions are not those the header commits to.
    #[error("the transactions do not hash to the header's merkle root")]
    MerkleRoot,
}

/// Reads one block header.
///
/// # Errors
/// [`Malformed`] unless it is exactly [`HEADER_BYTES`] long.
pub fn read_header(raw: &[u8]) -> Result<Header, Malformed> {
    if raw.len() > HEADER_BYTES {
        return Err(Malformed::Trailing(raw.len() - HEADER_BYTES));
    }
    deserialize(raw).map_err(|_| Malformed::Truncated)
}

/// Reads one block. What follows the transactions of a Litecoin block (the extension block) is
/// left alone: it holds nothing that an ordinary address could be paid by.
///
/// # Errors
/// [`Malformed`] for anything but one well-formed block whose merkle root fits.
pub fn read_block(raw: &[u8], format: Format) -> Result<RawBlock, Malformed> {
    let mut cursor = Cursor { rest: raw };
    let header = read_header(cursor.take(HEADER_BYTES)?)?;
    let count = cursor.count(MIN_TRANSACTION_BYTES)?;
    let mut transactions: Vec<Transaction> = Vec::new();
    for index in 0..count {
        let transaction = read_included(&mut cursor, format)?;
        let allowed = match transaction.kind {
            TransactionKind::Coinbase => index == 0,
            TransactionKind::Ordinary => index > 0,
            TransactionKind::HogEx => index > 0 && index + 1 == count,
        };
        if !allowed {
            return Err(Malformed::OutOfPlace(transaction.kind));
        }
        transactions.push(transaction);
    }
    let extended = transactions.last().is_some_and(|last| last.kind == TransactionKind::HogEx);
    if !extended && !cursor.rest.is_empty() {
        return Err(Malformed::Trailing(cursor.rest.len()));
    }
    let ids = transactions.iter().map(|transaction| transaction.txid.to_raw_hash());
    if merkle_tree::calculate_root(ids) != Some(header.merkle_root.to_raw_hash()) {
        return Err(Malformed::MerkleRoot);
    }
    Ok(RawBlock { header, transactions })
}

/// Reads one transaction that waits in a mempool or is about to be sent. `None` for a Litecoin
/// transaction that happens wholly inside MWEB: it consumes and pays nothing on the main chain, and
/// its id is not a hash of what is there.
///
/// # Errors
/// [`Malformed`] for anything but exactly one well-formed transaction of an ordinary kind.
pub fn read_transaction(raw: &[u8], format: Format) -> Result<Option<Transaction>, Malformed> {
    let mut cursor = Cursor { rest: raw };
    let body = Body::read(&mut cursor, format)?;
    if body.has_mweb && cursor.byte()? != 0 {
        // The MWEB part is opaque here; the lock time is always the last four bytes.
        let opaque = cursor.rest.len().checked_sub(4).ok_or(Malformed::Truncated)?;
        cursor.take(opaque)?;
    } else if body.has_mweb {
        return Err(Malformed::OutOfPlace(TransactionKind::HogEx));
    }
    let lock_time = cursor.take(4)?;
    if !cursor.rest.is_empty() {
        return Err(Malformed::Trailing(cursor.rest.len()));
    }
    if body.inputs.is_empty() {
        // Any outputs are worth nothing: nothing on the main chain pays for them.
        return if body.has_mweb { Ok(None) } else { Err(Malformed::NoInput) };
    }
    let transaction = body.finish(lock_time, TransactionKind::Ordinary);
    match transaction.kind {
        TransactionKind::Ordinary => Ok(Some(transaction)),
        kind => Err(Malformed::OutOfPlace(kind)),
    }
}

/// Reads one transaction of a block, where flag 0x08 can only mean the HogEx.
fn read_included(cursor: &mut Cursor<'_>, format: Format) -> Result<Transaction, Malformed> {
    let body = Body::read(cursor, format)?;
    if body.has_mweb && cursor.byte()? != 0 {
        return Err(Malformed::MwebInBlock);
    }
    let lock_time = cursor.take(4)?;
    if body.inputs.is_empty() {
        return Err(Malformed::NoInput);
    }
    let kind = if body.has_mweb { TransactionKind::HogEx } else { TransactionKind::Ordinary };
    Ok(body.finish(lock_time, kind))
}

/// A transaction up to and including its witnesses.
struct Body<'a> {
    version: &'a [u8],
    /// Inputs and outputs as they are hashed.
    hashed: &'a [u8],
    inputs: Vec<OutPoint>,
    outputs: Vec<Output>,
    has_mweb: bool,
}

impl<'a> Body<'a> {
    fn read(cursor: &mut Cursor<'a>, format: Format) -> Result<Self, Malformed> {
        let version = cursor.take(4)?;
        // BIP 144: an empty input list is the marker of the extended form; the flag follows.
        let flags = match cursor.rest {
            [0, flags, rest @ ..] => {
                cursor.rest = rest;
                Some(*flags)
            }
            _ => None,
        };
        let known = match format {
            Format::Bitcoin => FLAG_WITNESS,
            Format::Litecoin => FLAG_WITNESS | FLAG_MWEB,
        };
        if let Some(flags) = flags
            && (flags == 0 || flags & !known != 0)
        {
            return Err(Malformed::UnknownFlag(flags));
        }
        let flags = flags.unwrap_or(0);
        let start = cursor.rest;
        let inputs = read_inputs(cursor)?;
        let outputs = read_outputs(cursor)?;
        let hashed = start.get(..start.len() - cursor.rest.len()).ok_or(Malformed::Truncated)?;
        if flags & FLAG_WITNESS != 0 {
            skip_witnesses(cursor, inputs.len())?;
        }
        Ok(Self { version, hashed, inputs, outputs, has_mweb: flags & FLAG_MWEB != 0 })
    }

    /// The transaction; `kind` unless its only input is the coinbase's null outpoint.
    fn finish(self, lock_time: &[u8], kind: TransactionKind) -> Transaction {
        let mut engine = sha256d::Hash::engine();
        engine.input(self.version);
        engine.input(self.hashed);
        engine.input(lock_time);
        let txid = Txid::from_raw_hash(sha256d::Hash::from_engine(engine));
        let is_coinbase = matches!(self.inputs.as_slice(), [only] if only.is_null());
        let (kind, inputs) =
            if is_coinbase { (TransactionKind::Coinbase, Vec::new()) } else { (kind, self.inputs) };
        Transaction { txid, kind, inputs, outputs: self.outputs }
    }
}

fn read_inputs(cursor: &mut Cursor<'_>) -> Result<Vec<OutPoint>, Malformed> {
    let count = cursor.count(MIN_INPUT_BYTES)?;
    let mut inputs = Vec::with_capacity(count);
    for _ in 0..count {
        let txid = Txid::from_byte_array(cursor.array()?);
        let vout = u32::from_le_bytes(cursor.array()?);
        cursor.bytes()?;
        cursor.take(4)?;
        inputs.push(OutPoint { txid, vout });
    }
    Ok(inputs)
}

fn read_outputs(cursor: &mut Cursor<'_>) -> Result<Vec<Output>, Malformed> {
    let count = cursor.count(MIN_OUTPUT_BYTES)?;
    let mut outputs = Vec::with_capacity(count);
    for _ in 0..count {
        let units = u64::from_le_bytes(cursor.array()?);
        outputs.push(Output { units, script: cursor.bytes()?.into() });
    }
    Ok(outputs)
}

fn skip_witnesses(cursor: &mut Cursor<'_>, inputs: usize) -> Result<(), Malformed> {
    for _ in 0..inputs {
        for _ in 0..cursor.count(MIN_WITNESS_ITEM_BYTES)? {
            cursor.bytes()?;
        }
    }
    Ok(())
}

/// The bytes not read yet.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Bitcoin's CompactSize, refused unless in its shortest form.
    fn compact_size(&mut self) -> Result<u64, Malformed> {
        let (value, smallest) = match self.byte()? {
            0xfd => (u64::from(u16::from_le_bytes(self.array()?)), 0xfd),
            0xfe => (u64::from(u32::from_le_bytes(self.array()?)), 0x1_0000),
            0xff => (u64::from_le_bytes(self.array()?), 0x1_0000_0000),
            byte => (u64::from(byte), 0),
        };
        if value < smallest { Err(Malformed::LongForm) } else { Ok(value) }
    }

    /// A count of items that take at least `smallest` bytes each.
    fn count(&mut self, smallest: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.compact_size()?).map_err(|_| Malformed::Truncated)?;
        if count > self.rest.len() / smallest { Err(Malformed::Truncated) } else { Ok(count) }
    }

    /// A byte string with its length before it.
    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.count(1)?;
        self.take(length)
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
