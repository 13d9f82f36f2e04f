//! How a chain is read and written. Backends are stateless: they return facts anchored to block
//! hashes and may be asked again at any time. Scanning, reorgs, confirmations and retries are
//! written once, in `worker`; nothing here knows an invoice or a database row.

mod answer;
pub mod bitcoin;
pub mod endpoints;
pub mod evm;
pub mod sandbox;
pub mod tron;
mod version;

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::asset::{Asset, Network};
use crate::domain::scenario::Scenario;
use crate::domain::time::Micros;
use crate::domain::unexpected::KnownCoin;

/// A block's identity and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRef {
    /// Distance from the genesis block.
    pub height: u64,
    /// The block's hash, lower-case hex as the chain's own tools print it.
    pub hash: String,
    /// The hash of the block before it.
    pub parent: String,
    /// The time the block states.
    pub time: Micros,
}

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The newest block of the best chain.
    pub tip: BlockRef,
    /// The highest block the chain itself calls irreversible, where it has such a notion.
    pub finalized_height: Option<u64>,
}

/// A payment to a watched address: one output, log or native transfer. Only transfers that
/// succeeded and that match the network's asset exactly are reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The transaction, lower-case hex as explorers print it.
    pub txid: String,
    /// Which transfer of the transaction, with its kind: `o:1` output, `l:0` position of the log in
    /// its receipt, `t:0.1` trace path, `d:` and the address's key in hex a balance delta, whose block
    /// stands as transaction.
    pub ordinal: String,
    /// The key of the receiving address (see `DerivedAddress::key`).
    pub address_key: Vec<u8>,
    /// What was paid.
    pub asset: Asset,
    /// How much, in base units; above zero.
    pub units: u128,
    /// What the transaction consumes and no other transaction may consume too: `u:txid:vout` of
    /// each input, or `n:account:nonce`. Two transactions that share one conflict. Where accounts
    /// have no nonce (TRON), its own right to be included: `x:txid:expiration`, milliseconds.
    /// `h:height` says that the block of that height itself made the transaction: it never waits, and
    /// is nothing once that block has left the chain.
    pub consumes: Vec<String>,
}

/// A known coin other than the network's asset that reached a watched address in a block, as exactly as a
/// [`Transfer`]: above zero, from somebody else, by a transaction that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnexpectedTransfer {
    /// See [`Transfer::txid`].
    pub txid: String,
    /// See [`Transfer::ordinal`].
    pub ordinal: String,
    /// See [`Transfer::address_key`].
    pub address_key: Vec<u8>,
    /// What was paid.
    pub coin: KnownCoin,
    /// How much, in base units of the coin.
    pub units: u128,
}

/// A transaction that consumes something that was asked about. One that failed, or pays nobody,
/// consumes too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Consumption {
    /// The watched key, in the form of [`Transfer::consumes`].
    pub key: String,
    /// The transaction that consumes it; for an `x:` key the block that ended its right.
    pub txid: String,
}

/// What one block holds for the watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The block.
    pub reference: BlockRef,
    /// Payments to watched addresses, in the block's order.
    pub transfers: Vec<Transfer>,
    /// Known coins that the network is not for, at watched addresses, in the block's order.
    pub unexpected: Vec<UnexpectedTransfer>,
    /// Transactions of this block that consume a watched key.
    pub consumptions: Vec<Consumption>,
    /// Whether payments may have been made in it that the node did not tell: balances alone show them
    /// (see [`ChainReader::balances`]).
    pub may_hide_payments: bool,
}

/// What waits to be included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mempool {
    /// Payments to watched addresses.
    pub transfers: Vec<Transfer>,
    /// Waiting transactions that consume a watched key.
    pub consumptions: Vec<Consumption>,
}

/// Decides which addresses are of interest. A filter: it may say yes to a stranger, never no to a
/// watched address.
pub trait AddressFilter: Send + Sync {
    /// Whether an output to this key may be ours.
    fn may_watch(&self, address_key: &[u8]) -> bool;

    /// The same of each of many keys, in their order: a whole block's at once, so that a large filter
    /// can wait for memory once and not for each.
    fn may_watch_each(&self, address_keys: &[&[u8]]) -> Vec<bool> {
        address_keys.iter().map(|key| self.may_watch(key)).collect()
    }
}

/// What a read looks for.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Addresses.
    pub addresses: &'a dyn AddressFilter,
    /// Keys (see [`Transfer::consumes`]) of transactions seen and not yet included.
    pub consumed: &'a HashSet<String>,
}

/// Why a chain could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Asking again later may help: the node is down, slow, starting or limiting us.
    #[error("chain unavailable: {0}")]
    Transient(String),
    /// The answer makes no sense; asking again gives the same.
    #[error("chain answered nonsense: {0}")]
    Invalid(String),
    /// The answer is longer than what is read of one: what can be asked for in parts is.
    #[error("chain answers too much: {0}")]
    TooLarge(String),
    /// The node cannot do what was asked (a pruned block, a missing index).
    #[error("chain cannot answer: {0}")]
    Unsupported(String),
}

/// Reads one chain.
#[async_trait]
pub trait ChainReader: Send + Sync {
    /// The network it reads.
    fn network(&self) -> Network;

    /// The hash of the genesis block: which chain this is.
    async fn genesis(&self) -> Result<String, ChainError>;

    /// The newest block and the finality the chain states. Where several nodes are read, this is where
    /// one is chosen: everything until the next call but old blocks is answered by that one.
    async fn head(&self) -> Result<Head, ChainError>;

    /// The block of the best chain at `height`; `None` above its tip.
    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError>;

    /// The block of the best chain at `height` with what the watch finds in it; `None` above its
    /// tip.
    async fn block_at(&self, height: u64, watch: Watch<'_>) -> Result<Option<Block>, ChainError>;

    /// The same of a block that was read before, for whoever reads it again. Where several nodes are read,
    /// each that is believed and answers is asked until one gives it: the one that reads new blocks may have
    /// pruned it, which is not held against it.
    async fn old_block_at(
        &self,
        height: u64,
        watch: Watch<'_>,
    ) -> Result<Option<Block>, ChainError> {
        self.block_at(height, watch).await
    }

    /// What waits to be included; `None` when the node gives no complete view (which says nothing
    /// about what waits).
    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError>;

    /// Whether what is read is the chain as it is by now. False where no new block came for far longer
    /// than the chain takes, and where others have blocks that are not given: payments may have been
    /// made that can not be seen here.
    fn is_current(&self) -> bool {
        true
    }

    /// How long this chain may take at the most for its next block. After a silence, that long without one
    /// says that none was missed. `None` where blocks come on demand.
    fn settles_after(&self) -> Option<Duration> {
        None
    }

    /// When the node saw each of these waiting transactions for the first time, in their order and by its
    /// own clock; `None` for one that it does not have, and where nodes do not keep such a time.
    async fn waiting_since(&self, txids: &[String]) -> Result<Vec<Option<Micros>>, ChainError> {
        Ok(vec![None; txids.len()])
    }

    /// Asks whether `depth` blocks above `root` may be given up because this chain has others. Where
    /// several nodes are read, another must confirm what is no everyday fork; the error says why not.
    async fn confirm_fork(&self, _root: u64, _depth: u64) -> Result<(), ChainError> {
        Ok(())
    }

    /// Told what is wrong with answers that make no sense together, though each of them does. Where several
    /// nodes are read, it counts as a failure of the one that answered.
    fn note_contradiction(&self, _error: &str) {}

    /// What addresses hold of the network's asset after a block of the best chain, base units in the
    /// order of `keys`. Asked for where [`Block::may_hide_payments`]; a chain whose blocks hide nothing
    /// has no need of it.
    ///
    /// # Errors
    /// [`ChainError::Transient`] when the block is not on the best chain; [`ChainError::Unsupported`]
    /// when the node has forgotten how things stood there, or the chain has no balances.
    async fn balances(&self, at: &BlockRef, keys: &[Vec<u8>]) -> Result<Vec<u128>, ChainError> {
        let text = format!("balances of {} keys at {}: not of this chain", keys.len(), at.height);
        Err(ChainError::Unsupported(text))
    }
}

/// What became of a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broadcast {
    /// The node took it.
    Accepted,
    /// The node knew it already, waiting or included.
    AlreadyKnown,
    /// The node will not relay it, for this reason. Not final: it may be included elsewhere.
    Rejected(String),
}

/// Writes to one chain.
#[async_trait]
pub trait ChainWriter: Send + Sync {
    /// Hands signed bytes to the network. May be repeated with the same bytes without effect.
    async fn broadcast(&self, raw: &[u8]) -> Result<Broadcast, ChainError>;
}

/// How a fork treats one transaction of the blocks it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForkFate {
    /// Included again in the new blocks (the default for what is not named).
    Keep,
    /// Back in the mempool, in no block.
    Unconfirm,
    /// Replaced in the new blocks by a transaction that consumes the same and pays elsewhere.
    DoubleSpend,
}

/// What a test chain lets its owner do; the simulated chains implement it, and test drivers of real
/// nodes in regtest do.
#[async_trait]
pub trait SandboxControl: Send + Sync {
    /// Sends one transaction that pays every `(address text, base units)`; it waits in the mempool.
    /// Returns its txid.
    async fn pay(&self, outputs: &[(String, u128)]) -> Result<String, ChainError>;

    /// Replaces a waiting transaction by one that consumes the same and pays `outputs` instead (an
    /// empty list pays a stranger). Returns the new txid.
    async fn replace(&self, txid: &str, outputs: &[(String, u128)]) -> Result<String, ChainError>;

    /// Forgets a waiting transaction without any conflict, as a full mempool does.
    async fn evict(&self, txid: &str) -> Result<(), ChainError>;

    /// Mines blocks that include everything waiting (in the first). Returns the new tip.
    async fn mine(&self, blocks: u32) -> Result<BlockRef, ChainError>;

    /// Replaces the newest `depth` blocks by `depth + 1` others; transactions not named keep their
    /// place. Returns the new tip.
    async fn fork(&self, depth: u32, fates: &[(String, ForkFate)]) -> Result<BlockRef, ChainError>;
}

/// That the invoice at an address is to play a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioNote {
    /// The address's row; each address is one invoice's.
    pub address_id: Uuid,
    /// Its text: whom the scenario pays.
    pub address: String,
    /// What is played.
    pub scenario: Scenario,
    /// Noted before the invoice was written, because its metadata says so: whoever plays it must see
    /// that the invoice is there and says so.
    pub from_metadata: bool,
}

/// How far a scenario is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScenarioState {
    /// It goes on, or waits for the invoice.
    Playing,
    /// Every step was taken.
    Done,
    /// It could not go on: the invoice was canceled, or went another way.
    Abandoned,
}

/// A scenario that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedScenario {
    /// Which.
    pub scenario: Scenario,
    /// How far.
    pub state: ScenarioState,
    /// The payments it sent, in order.
    pub txids: Vec<String>,
    /// See [`ScenarioNote::from_metadata`].
    pub from_metadata: bool,
}

/// Notes the scenarios of one simulated chain, beside the chain itself and durably.
#[async_trait]
pub trait ScenarioBook: Send + Sync {
    /// Notes a scenario and returns what is noted for the address now: that one, or the one that is
    /// being played already. Noting again changes nothing.
    async fn note(&self, note: &ScenarioNote) -> Result<NotedScenario, ChainError>;

    /// What is noted for an address.
    async fn noted(&self, address_id: Uuid) -> Result<Option<NotedScenario>, ChainError>;
}
