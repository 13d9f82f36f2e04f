//! The protobuf messages of java-tron that the program itself never writes: block headers, and the
//! contracts that deploy, stake and delegate. Not here: transactions and transfers, which are the
//! program's own (`chain::tron::transaction`).

use cryptopayment::chain::tron::transaction::{
    Contract, Frame, Kind, Raw, Transaction, TransferContract, TriggerSmartContract, address,
    read_raw,
};
use prost::Message;
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;

/// An account without TRON's prefix.
pub type Account = [u8; 20];

/// `protocol.BlockHeader.raw`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Header {
    #[prost(int64, tag = "1")]
    pub timestamp: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub tx_trie_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub parent_hash: Vec<u8>,
    #[prost(int64, tag = "7")]
    pub number: i64,
    #[prost(bytes = "vec", tag = "9")]
    pub witness_address: Vec<u8>,
    #[prost(int32, tag = "10")]
    pub version: i32,
}

impl Header {
    /// The block's id: its height, then its hash from the ninth byte on.
    pub fn id(&self) -> [u8; 32] {
        let mut id: [u8; 32] = Sha256::digest(self.encode_to_vec()).into();
        id[..8].copy_from_slice(&self.number.to_be_bytes());
        id
    }
}

/// `protocol.CreateSmartContract`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CreateSmartContract {
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub new_contract: Option<SmartContract>,
}

/// `protocol.SmartContract`; the ABI is kept as its bytes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SmartContract {
    #[prost(bytes = "vec", tag = "1")]
    pub origin_address: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub abi: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub bytecode: Vec<u8>,
    #[prost(int64, tag = "6")]
    pub consume_user_resource_percent: i64,
    #[prost(string, tag = "7")]
    pub name: String,
    #[prost(int64, tag = "8")]
    pub origin_energy_limit: i64,
}

/// `protocol.FreezeBalanceV2Contract`; resource 1 is energy.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FreezeBalanceV2Contract {
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub frozen_balance: i64,
    #[prost(int32, tag = "3")]
    pub resource: i32,
}

/// `protocol.DelegateResourceContract`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DelegateResourceContract {
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub resource: i32,
    #[prost(int64, tag = "3")]
    pub balance: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub receiver_address: Vec<u8>,
    #[prost(bool, tag = "5")]
    pub lock: bool,
}

/// What a transaction does.
#[derive(Debug, Clone)]
pub enum Action {
    Transfer(TransferContract),
    Trigger(TriggerSmartContract),
    Create(CreateSmartContract),
    Freeze(FreezeBalanceV2Contract),
    Delegate(DelegateResourceContract),
}

pub const CREATE: i32 = 30;
pub const FREEZE: i32 = 54;
pub const DELEGATE: i32 = 57;

impl Action {
    /// Reads the one contract of a transaction.
    pub fn of(contract: &Contract) -> Option<Self> {
        let value = contract.parameter.as_ref()?.value.as_slice();
        Some(match contract.kind {
            kind if kind == Kind::Transfer.number() => Self::Transfer(Message::decode(value).ok()?),
            kind if kind == Kind::Trigger.number() => Self::Trigger(Message::decode(value).ok()?),
            CREATE => Self::Create(Message::decode(value).ok()?),
            FREEZE => Self::Freeze(Message::decode(value).ok()?),
            DELEGATE => Self::Delegate(Message::decode(value).ok()?),
            _ => return None,
        })
    }

    /// Who must have signed.
    pub fn owner(&self) -> Option<Account> {
        let owner = match self {
            Self::Transfer(body) => &body.owner_address,
            Self::Trigger(body) => &body.owner_address,
            Self::Create(body) => &body.owner_address,
            Self::Freeze(body) => &body.owner_address,
            Self::Delegate(body) => &body.owner_address,
        };
        account(owner)
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Transfer(_) => "TransferContract",
            Self::Trigger(_) => "TriggerSmartContract",
            Self::Create(_) => "CreateSmartContract",
            Self::Freeze(_) => "FreezeBalanceV2Contract",
            Self::Delegate(_) => "DelegateResourceContract",
        }
    }

    fn kind(&self) -> i32 {
        match self {
            Self::Transfer(_) => Kind::Transfer.number(),
            Self::Trigger(_) => Kind::Trigger.number(),
            Self::Create(_) => CREATE,
            Self::Freeze(_) => FREEZE,
            Self::Delegate(_) => DELEGATE,
        }
    }

    fn value(&self) -> Vec<u8> {
        match self {
            Self::Transfer(body) => body.encode_to_vec(),
            Self::Trigger(body) => body.encode_to_vec(),
            Self::Create(body) => body.encode_to_vec(),
            Self::Freeze(body) => body.encode_to_vec(),
            Self::Delegate(body) => body.encode_to_vec(),
        }
    }

    /// The part that is signed of a transaction that does this.
    pub fn raw(&self, frame: &Frame) -> Raw {
        // The frame is the program's; only what it does is ours.
        let frame = Raw::transfer(frame, [0; 20], [0; 20], 0);
        let type_url = format!("type.googleapis.com/protocol.{}", self.name());
        let parameter = Some(prost_types::Any { type_url, value: self.value() });
        Raw { contract: vec![Contract { kind: self.kind(), parameter, permission_id: 0 }], ..frame }
    }
}

/// A transaction with what was read from it.
#[derive(Debug, Clone)]
pub struct Tx {
    pub id: [u8; 32],
    pub signed: Transaction,
    pub raw: Raw,
    pub action: Action,
}

impl Tx {
    /// Reads any bytes; `None` for what is no transaction that does one known thing.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let signed = Transaction::decode(bytes).ok()?;
        let raw = read_raw(&signed.raw_data).ok()?;
        let action = Action::of(raw.contract.first()?)?;
        Some(Self { id: signed.id(), signed, raw, action })
    }

    pub fn txid(&self) -> String {
        hex::encode(self.id)
    }

    /// What bandwidth is paid for: the transaction and room for its outcome.
    pub fn net_bytes(&self) -> i64 {
        i64::try_from(self.signed.encoded_len()).unwrap() + 64
    }
}

/// The account of 21 bytes.
pub fn account(bytes: &[u8]) -> Option<Account> {
    match bytes.split_first() {
        Some((0x41, account)) => account.try_into().ok(),
        _ => None,
    }
}

/// 21 bytes in hex.
pub fn hex41(account: Account) -> String {
    hex::encode(address(account))
}

/// The account that a deployment makes.
pub fn contract_made_by(txid: [u8; 32], owner: Account) -> Account {
    let digest = Keccak256::digest([txid.as_slice(), &address(owner)].concat());
    digest[12..].try_into().unwrap()
}

/// The first four bytes of a function's name and types.
pub fn selector(function: &str) -> [u8; 4] {
    Keccak256::digest(function.as_bytes())[..4].try_into().unwrap()
}
