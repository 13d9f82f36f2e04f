//! Transactions as TRON writes them down (protobuf, `core/Tron.proto` of java-tron): their bytes,
//! their ids, and the two contracts that move TRX and TRC-20 tokens. Pure.
//! Not here: signing (signer), which block a transaction names and what it may cost (its maker).

use prost::Message;
use sha2::{Digest as _, Sha256};

/// The byte before every account.
pub const ADDRESS_PREFIX: u8 = 0x41;
/// The largest transaction that nodes take (`TRANSACTION_MAX_BYTE_SIZE`), bytes.
pub const TRANSACTION_BYTES_MAX: usize = 500 * 1024;
/// How long after the block it is built upon a transaction may say that it expires, milliseconds
/// (`MAXIMUM_TIME_UNTIL_EXPIRATION`).
pub const EXPIRATION_MILLIS_MAX: i64 = 24 * 60 * 60 * 1_000;
/// The first four bytes of `transfer(address,uint256)`.
pub const TRANSFER_SELECTOR: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];

const TYPE_URL_PREFIX: &str = "type.googleapis.com/protocol.";

/// `protocol.Transaction`. The signed part is kept as its bytes: what was signed is what is sent,
/// and its hash is the id.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Transaction {
    /// The encoded [`Raw`].
    #[prost(bytes = "vec", tag = "1")]
    pub raw_data: Vec<u8>,
    /// 65 bytes each: r, s, and 27 or 28 (nodes take 0 and 1 too).
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub signature: Vec<Vec<u8>>,
}

/// `protocol.Transaction.raw`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Raw {
    /// The last two bytes of the height of the block that is built upon.
    #[prost(bytes = "vec", tag = "1")]
    pub ref_block_bytes: Vec<u8>,
    /// Bytes 8 to 16 of that block's id.
    #[prost(bytes = "vec", tag = "4")]
    pub ref_block_hash: Vec<u8>,
    /// When it cannot be included any more, milliseconds since 1970; at most a day ahead.
    #[prost(int64, tag = "8")]
    pub expiration: i64,
    /// Free text.
    #[prost(bytes = "vec", tag = "10")]
    pub data: Vec<u8>,
    /// What it does; exactly one.
    #[prost(message, repeated, tag = "11")]
    pub contract: Vec<Contract>,
    /// When it was made, milliseconds since 1970. Nobody checks it; it makes ids differ.
    #[prost(int64, tag = "14")]
    pub timestamp: i64,
    /// The most that its energy may cost, sun. Zero pays for nothing.
    #[prost(int64, tag = "18")]
    pub fee_limit: i64,
}

/// Of [`Raw`] nothing but the time: whatever else stands there, of whatever wire type, is passed over.
#[derive(Clone, PartialEq, Eq, Message)]
struct Expiring {
    #[prost(int64, tag = "8")]
    expiration: i64,
}

/// `protocol.Transaction.Contract`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Contract {
    /// `ContractType`: see [`Kind`].
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// What it says.
    #[prost(message, optional, tag = "2")]
    pub parameter: Option<prost_types::Any>,
    /// Which of the owner's permissions signs.
    #[prost(int32, tag = "5")]
    pub permission_id: i32,
}

/// The kinds of contract that are read and written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`TransferContract`].
    Transfer,
    /// [`TriggerSmartContract`].
    Trigger,
}

impl Kind {
    /// `ContractType` of `core/Tron.proto`.
    pub const fn number(self) -> i32 {
        match self {
            Self::Transfer => 1,
            Self::Trigger => 31,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Transfer => "TransferContract",
            Self::Trigger => "TriggerSmartContract",
        }
    }
}

/// `protocol.TransferContract`: moves TRX. An account that does not exist yet is made by it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TransferContract {
    /// Who pays: 0x41 and the account.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Who is paid.
    #[prost(bytes = "vec", tag = "2")]
    pub to_address: Vec<u8>,
    /// Sun.
    #[prost(int64, tag = "3")]
    pub amount: i64,
}

/// `protocol.TriggerSmartContract`: calls a contract.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TriggerSmartContract {
    /// Who calls.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// What is called.
    #[prost(bytes = "vec", tag = "2")]
    pub contract_address: Vec<u8>,
    /// TRX that come with the call, sun.
    #[prost(int64, tag = "3")]
    pub call_value: i64,
    /// The call, as the contract's ABI writes it.
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
}

/// Why bytes are no transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than nodes take.
    #[error("{0} bytes are more than nodes take")]
    TooLong(usize),
    /// Not protobuf, or another message.
    #[error("not a transaction: {0}")]
    Protobuf(String),
    /// It does nothing, or more than one thing.
    #[error("{0} contracts instead of one")]
    Contracts(usize),
    /// Nobody signed it.
    #[error("it is not signed")]
    Unsigned,
}

/// What every transaction says besides what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The height of the block that is built upon: on a branch without that block it is nothing.
    pub block_height: u64,
    /// That block's id.
    pub block_id: [u8; 32],
    /// Milliseconds since 1970; see [`Raw::expiration`].
    pub expiration: i64,
    /// Milliseconds since 1970; see [`Raw::timestamp`].
    pub timestamp: i64,
    /// Sun; see [`Raw::fee_limit`].
    pub fee_limit: i64,
}

impl Raw {
    /// A transfer of TRX, in sun.
    pub fn transfer(frame: &Frame, from: [u8; 20], to: [u8; 20], sun: i64) -> Self {
        let owner_address = address(from);
        let body = TransferContract { owner_address, to_address: address(to), amount: sun };
        Self::new(frame, Kind::Transfer, &body)
    }

    /// A call of a contract.
    pub fn trigger(frame: &Frame, from: [u8; 20], contract: [u8; 20], data: Vec<u8>) -> Self {
        let (owner_address, contract_address) = (address(from), address(contract));
        let body = TriggerSmartContract { owner_address, contract_address, call_value: 0, data };
        Self::new(frame, Kind::Trigger, &body)
    }

    fn new(frame: &Frame, kind: Kind, body: &impl Message) -> Self {
        let type_url = format!("{TYPE_URL_PREFIX}{}", kind.name());
        let parameter = prost_types::Any { type_url, value: body.encode_to_vec() };
        let contract =
            Contract { kind: kind.number(), parameter: Some(parameter), permission_id: 0 };
        let [.., high, low] = frame.block_height.to_be_bytes();
        Self {
            ref_block_bytes: vec![high, low],
            ref_block_hash: frame.block_id[8..16].to_vec(),
            expiration: frame.expiration,
            data: Vec::new(),
            contract: vec![contract],
            timestamp: frame.timestamp,
            fee_limit: frame.fee_limit,
        }
    }

    /// The bytes that are signed (their SHA-256 is) and sent.
    pub fn bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl Transaction {
    /// The id: what is signed, and what explorers print in lower-case hex.
    pub fn id(&self) -> [u8; 32] {
        id_of(&self.raw_data)
    }

    /// Reads a signed transaction that does one thing.
    ///
    /// # Errors
    /// See [`Malformed`]. Signatures are not checked: nodes do, by permissions that they alone know.
    pub fn read_signed(bytes: &[u8]) -> Result<(Self, Raw), Malformed> {
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(Malformed::TooLong(bytes.len()));
        }
        let transaction = Self::decode(bytes).map_err(|e| Malformed::Protobuf(e.to_string()))?;
        let raw = read_raw(&transaction.raw_data)?;
        if raw.contract.len() != 1 {
            return Err(Malformed::Contracts(raw.contract.len()));
        }
        if transaction.signature.is_empty() {
            return Err(Malformed::Unsigned);
        }
        Ok((transaction, raw))
    }
}

/// Reads the part that is signed.
///
/// # Errors
/// [`Malformed::Protobuf`].
pub fn read_raw(raw_data: &[u8]) -> Result<Raw, Malformed> {
    Raw::decode(raw_data).map_err(|e| Malformed::Protobuf(e.to_string()))
}

/// [`Raw::expiration`] of bytes that a node took. Nodes keep fields that they do not know, a known
/// number with another wire type among them, so a payer can add what [`read_raw`] refuses. `None` where
/// not even the time can be read.
pub fn expiration_in(raw_data: &[u8]) -> Option<i64> {
    Expiring::decode(raw_data).ok().map(|read| read.expiration)
}

/// The id of a transaction whose signed part these bytes are.
pub fn id_of(raw_data: &[u8]) -> [u8; 32] {
    Sha256::digest(raw_data).into()
}

/// An account as protobuf and hex write it: 21 bytes.
pub fn address(account: [u8; 20]) -> Vec<u8> {
    [&[ADDRESS_PREFIX], account.as_slice()].concat()
}

/// The call `transfer(address,uint256)` of a token.
pub fn token_transfer(to: [u8; 20], units: u128) -> Vec<u8> {
    let mut call = TRANSFER_SELECTOR.to_vec();
    call.extend_from_slice(&[0; 12]);
    call.extend_from_slice(&to);
    call.extend_from_slice(&[0; 16]);
    call.extend_from_slice(&units.to_be_bytes());
    call
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
