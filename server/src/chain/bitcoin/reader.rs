//! Reads a Bitcoin-like chain: where it stands, what a block and the mempool hold for a watch.
//! Remembers nothing but waiting transactions already read, which never change.
//! Not here: parsing (block), HTTP (rpc), and what follows from what was read (workers).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bitcoin::block::Header;
use bitcoin::{BlockHash, Txid};
use serde::Deserialize;
use serde_json::json;

use super::ChainParameters;
use super::block::{Malformed, Transaction, read_block, read_header, read_transaction};
use super::matching::{Found, Matcher, Place, look_through};
use super::rpc::{CallError, Rpc, RpcSettings, SetupError, code};
use crate::chain::{Block, BlockRef, ChainError, ChainReader, Head, Mempool, Watch};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::domain::time::Micros;

/// How far a node may be behind the headers it knows before it counts as catching up. A new block
/// is known by its header a moment before it is there.
const MAX_BLOCKS_BEHIND_HEADERS: u64 = 3;
/// Waiting transactions that are looked at; a larger mempool is not viewed at all. Nodes keep 300
/// MB by default, which has held some 180,000 transactions in Bitcoin's fullest months.
const MAX_WAITING_TRANSACTIONS: usize = 300_000;
/// Waiting transactions fetched by one request: at 400,000 bytes each, in hex, so many are well
/// below the largest answer.
const TRANSACTIONS_PER_REQUEST: usize = 20;

/// Waiting transactions whose entries are fetched by one request: about a kilobyte each.
const ENTRIES_PER_REQUEST: usize = 500;

/// Reads one Bitcoin-like chain.
pub struct BitcoinReader {
    pub(super) parameters: ChainParameters,
    pub(super) rpc: Rpc,
    /// The transactions of the last mempool read (`None`: wholly inside MWEB).
    waiting: Mutex<HashMap<Txid, Waiting>>,
}

type Waiting = Option<Arc<Transaction>>;

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct ChainInfo {
    blocks: u64,
    headers: u64,
    bestblockhash: String,
    initialblockdownload: bool,
}

#[derive(Deserialize)]
struct MempoolInfo {
    size: usize,
    /// Whether the node has read back the mempool it saved when it was stopped.
    #[serde(default)]
    loaded: Option<bool>,
}

#[derive(Deserialize)]
struct MempoolEntry {
    /// When the node took it up, seconds since 1970; kept when the node is restarted.
    time: i64,
}

impl BitcoinReader {
    /// A reader; nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] when there is no such chain or the settings cannot be used.
    pub fn new(
        network: Network,
        chain: ChainKind,
        settings: &RpcSettings,
    ) -> Result<Self, SetupError> {
        let parameters = ChainParameters::of(network, chain)?;
        Ok(Self { parameters, rpc: Rpc::new(settings)?, waiting: Mutex::default() })
    }

    /// The same reader, which believes nodes from `version` on instead of from the oldest that is
    /// known to be sound. For private chains and for whoever knows better.
    #[must_use]
    pub const fn accepting(mut self, version: u64) -> Self {
        self.parameters.oldest_version = version;
        self
    }

    /// [`ChainError::Unsupported`] for a node that is too old to be believed.
    async fn check_version(&self) -> Result<(), ChainError> {
        let Version { version } = self.rpc.call("getnetworkinfo", json!([])).await?;
        let oldest = self.parameters.oldest_version;
        if version >= oldest {
            return Ok(());
        }
        let network = self.parameters.network;
        Err(ChainError::Unsupported(format!(
            "node version {version} is older than {oldest}: update the node (or lower \
             networks.{network}.node.oldest_version)"
        )))
    }

    /// The hash of the best chain's block at `height`; `None` above its tip.
    async fn hash_at(&self, height: u64) -> Result<Option<String>, ChainError> {
        if i32::try_from(height).is_err() {
            return Ok(None);
        }
        match self.rpc.call::<String>("getblockhash", json!([height])).await {
            Ok(hash) => Ok(Some(hash)),
            Err(CallError::Node(error)) if error.code == code::OUT_OF_RANGE => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn header(&self, hash: &str, height: u64) -> Result<BlockRef, ChainError> {
        let raw = self.hex("getblockheader", hash, json!([hash, false])).await?;
        let header = read_header(&raw).map_err(|error| nonsense("header", hash, &error))?;
        reference(&header, hash, height)
    }

    /// Calls a method that answers hex; `subject` names what it is about in errors.
    async fn hex(
        &self,
        method: &str,
        subject: &str,
        params: serde_json::Value,
    ) -> Result<Vec<u8>, ChainError> {
        let text: String = self.rpc.call(method, params).await?;
        hex::decode(text)
            .map_err(|_| ChainError::Invalid(format!("{method} of {subject:.64}: not hex")))
    }

    /// Every waiting transaction, by asking for those not known yet. One that is gone before it
    /// was asked for is left out.
    async fn waiting(&self, txids: &[Txid]) -> Result<Vec<Arc<Transaction>>, ChainError> {
        let mut view: HashMap<Txid, Waiting> = {
            let known = self.known();
            txids.iter().filter_map(|txid| Some((*txid, known.get(txid)?.clone()))).collect()
        };
        let unknown: Vec<Txid> =
            txids.iter().filter(|txid| !view.contains_key(*txid)).copied().collect();
        for asked in unknown.chunks(TRANSACTIONS_PER_REQUEST) {
            let fetched = self.fetch_together(asked).await?;
            view.extend(fetched.iter().cloned());
            // Kept at once: a read that fails half-way is not begun from nothing.
            let mut known = self.known();
            let room = MAX_WAITING_TRANSACTIONS.saturating_sub(known.len());
            known.extend(fetched.into_iter().take(room));
        }
        let transactions = txids.iter().filter_map(|txid| view.get(txid)?.clone()).collect();
        *self.known() = view;
        Ok(transactions)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Txid, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches by one request; one by one where that gives no sense: the node takes no batches, or
    /// somebody made transactions whose MWEB parts are too much for one answer.
    async fn fetch_together(&self, txids: &[Txid]) -> Result<Vec<(Txid, Waiting)>, ChainError> {
        let together = self.fetch(txids).await;
        if !matches!(together, Err(ChainError::Invalid(_) | ChainError::TooLarge(_))) {
            return together;
        }
        let mut fetched = Vec::with_capacity(txids.len());
        for txid in txids {
            fetched.extend(self.fetch(std::slice::from_ref(txid)).await?);
        }
        Ok(fetched)
    }

    async fn fetch(&self, txids: &[Txid]) -> Result<Vec<(Txid, Waiting)>, ChainError> {
        let params: Vec<_> = txids.iter().map(|txid| json!([txid.to_string(), false])).collect();
        let answers = self.rpc.batch::<String>("getrawtransaction", &params).await?;
        let mut fetched = Vec::with_capacity(txids.len());
        for (txid, answer) in txids.iter().zip(answers) {
            let text = match answer {
                Ok(text) => text,
                Err(error) if error.code == code::NOT_FOUND => continue,
                Err(error) => return Err(error.into()),
            };
            let raw = hex::decode(text)
                .map_err(|_| ChainError::Invalid(format!("transaction {txid}: not hex")))?;
            let transaction = read_transaction(&raw, self.parameters.format)
                .map_err(|error| nonsense("transaction", &txid.to_string(), &error))?;
            if transaction.as_ref().is_some_and(|transaction| transaction.txid != *txid) {
                return Err(ChainError::Invalid(format!("another transaction for {txid}")));
            }
            fetched.push((*txid, transaction.map(Arc::new)));
        }
        Ok(fetched)
    }
}

#[async_trait]
impl ChainReader for BitcoinReader {
    fn network(&self) -> Network {
        self.parameters.network
    }

    /// [`ChainError::Invalid`] when the node is on another chain than the reader was made for,
    /// [`ChainError::Unsupported`] when it is too old.
    async fn genesis(&self) -> Result<String, ChainError> {
        let hash: String = self.rpc.call("getblockhash", json!([0])).await?;
        if self.parameters.genesis.contains(&hash.as_str()) {
            self.check_version().await?;
            return Ok(hash);
        }
        let (network, chain) = (self.parameters.network, self.parameters.chain.as_str());
        Err(ChainError::Invalid(format!("genesis {hash:.64} is not that of {network} {chain}")))
    }

    /// On public chains a node that is still downloading what others have is
    /// [`ChainError::Transient`]: its tip lies in the past, so that having read up to it says
    /// nothing about which payments were made by now. A private chain's node has nobody to be
    /// behind. A node that is too old is [`ChainError::Unsupported`]: it may have been exchanged since
    /// the start. Bitcoin-like chains state no finality.
    async fn head(&self) -> Result<Head, ChainError> {
        self.check_version().await?;
        let info: ChainInfo = self.rpc.call("getblockchaininfo", json!([])).await?;
        let behind = info.headers.saturating_sub(info.blocks);
        if self.parameters.has_peers()
            && (info.initialblockdownload || behind > MAX_BLOCKS_BEHIND_HEADERS)
        {
            let (blocks, headers) = (info.blocks, info.headers);
            let text = format!("node is catching up: block {blocks} of {headers} known");
            return Err(ChainError::Transient(text));
        }
        let tip = self.header(&info.bestblockhash, info.blocks).await?;
        Ok(Head { tip, finalized_height: None })
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        match self.hash_at(height).await? {
            Some(hash) => Ok(Some(self.header(&hash, height).await?)),
            None => Ok(None),
        }
    }

    /// Coinbase outputs are not reported. Litecoin's peg-outs are, as outputs of the HogEx, and
    /// cannot be spent for 6 blocks. A block that leaves the best chain while it is read is still
    /// what was there: the answer carries its own hash.
    async fn block_at(&self, height: u64, watch: Watch<'_>) -> Result<Option<Block>, ChainError> {
        let Some(hash) = self.hash_at(height).await? else { return Ok(None) };
        let raw = self.hex("getblock", &hash, json!([hash, 0])).await?;
        let block = read_block(&raw, self.parameters.format)
            .map_err(|error| nonsense("block", &hash, &error))?;
        let reference = reference(&block.header, &hash, height)?;
        let network = self.parameters.network;
        let Found { transfers, consumptions } =
            look_through(network, height, &block.transactions, watch);
        // A chain of one coin.
        let unexpected = Vec::new();
        Ok(Some(Block { reference, transfers, unexpected, consumptions, may_hide_payments: false }))
    }

    /// [`ChainError::Transient`] while the node reads back its saved mempool: what it had is there again
    /// in a moment. `None` when it holds more than is looked at. A Litecoin payment out of MWEB is not
    /// seen before it is in a block, where it has another txid.
    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        let info: MempoolInfo = self.rpc.call("getmempoolinfo", json!([])).await?;
        if info.loaded == Some(false) {
            return Err(ChainError::Transient("node reads back its mempool".to_owned()));
        }
        if info.size > MAX_WAITING_TRANSACTIONS {
            tracing::warn!(waiting = info.size, "mempool is larger than what is looked at");
            return Ok(None);
        }
        let txids: Vec<Txid> = self.rpc.call("getrawmempool", json!([false])).await?;
        let mut matcher = Matcher::new(self.parameters.network, watch);
        for transaction in self.waiting(&txids).await? {
            matcher.look(&transaction, Place::Mempool);
        }
        let found = matcher.finish();
        let (transfers, consumptions) = (found.transfers, found.consumptions);
        Ok(Some(Mempool { transfers, consumptions }))
    }

    /// A node that takes no batches, or does not allow the method, knows no time.
    async fn waiting_since(&self, txids: &[String]) -> Result<Vec<Option<Micros>>, ChainError> {
        let mut since = Vec::with_capacity(txids.len());
        for asked in txids.chunks(ENTRIES_PER_REQUEST) {
            let params: Vec<_> = asked.iter().map(|txid| json!([txid])).collect();
            let entries = self.rpc.batch::<MempoolEntry>("getmempoolentry", &params).await;
            match entries.map_err(ChainError::from) {
                Ok(entries) => since.extend(
                    entries
                        .into_iter()
                        .map(|entry| entry.ok().map(|entry| Micros::from_seconds(entry.time))),
                ),
                Err(error @ ChainError::Transient(_)) => return Err(error),
                Err(_) => since.extend(asked.iter().map(|_| None)),
            }
        }
        Ok(since)
    }
}

/// The header's reference, once it is the one that was asked for.
fn reference(header: &Header, asked: &str, height: u64) -> Result<BlockRef, ChainError> {
    let hash = header.block_hash();
    if asked.parse::<BlockHash>() != Ok(hash) {
        return Err(ChainError::Invalid(format!("block {hash} instead of {asked:.64}")));
    }
    Ok(BlockRef {
        height,
        hash: hash.to_string(),
        parent: header.prev_blockhash.to_string(),
        time: Micros::from_seconds(header.time.into()),
    })
}

fn nonsense(what: &str, id: &str, error: &Malformed) -> ChainError {
    ChainError::Invalid(format!("{what} {id:.64}: {error}"))
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
