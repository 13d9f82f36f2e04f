//! Reads an EVM chain: where it stands, what a block and the waiting transactions hold for a watch.
//! Remembers nothing but which optional methods its node offers. Not here: what is a payment
//! (`matching`, `traces`), what waits (`waiting`), HTTP, and what follows from what was read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use alloy::primitives::{Address, B256, U256};
use async_trait::async_trait;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::matching::{
    Payment, carried, check_receipt, check_receipts, check_transactions, consumptions,
    logged_payment, transfer_contract,
};
use super::rpc::{Answer, EvmRpc, is_not_offered, meaning, read, refusal};
use super::traces::{FlatTrace, flat, nested};
use super::unexpected::known_payment;
use super::wire::{Block, Receipt, Transaction, hash_text, maybe_hash, number};
use super::{EvmSettings, Parameters, SetupError};
use crate::chain::bitcoin::rpc::CallError;
use crate::chain::{
    Block as FoundBlock, BlockRef, ChainError, ChainReader, Head, Mempool, Transfer,
    UnexpectedTransfer, Watch,
};
use crate::domain::asset::Network;
use crate::domain::time::Micros;

/// `decimals()` of ERC-20.
const DECIMALS_SELECTOR: &str = "0x313ce567";
/// A word of the ABI as hex with its prefix.
const WORD_CHARS: usize = 2 + 64;
/// What a transfer of value costs, so that a transaction allowed no more runs nobody's code.
const PLAIN_TRANSFER_GAS: u64 = 21_000;

/// Reads one EVM chain.
pub struct EvmReader {
    pub(super) parameters: Parameters,
    pub(super) rpc: EvmRpc,
    /// How the node tells what was called; `None` until it was asked.
    tracing: Mutex<Option<Tracing>>,
    lacks_block_receipts: AtomicBool,
    pub(super) lacks_pool: AtomicBool,
}

/// How a node tells what was called in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracing {
    /// `debug_traceBlockByHash` with `callTracer` (geth, reth, Erigon, anvil).
    Nested,
    /// `trace_block` (Erigon, Nethermind, reth).
    Flat,
    /// Not at all.
    None,
}

pub(super) type Transactions<'a> = Block<Transaction<'a>>;
type Header = Block<IgnoredAny>;

/// Payments inside calls, beside the transaction's place in its block.
type InnerPayments = Vec<(usize, Payment)>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TracedTransaction<'a> {
    #[serde(default, deserialize_with = "maybe_hash")]
    tx_hash: Option<B256>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
}

impl EvmReader {
    /// A reader; nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] when there is no such chain or the settings cannot be used.
    pub fn new(settings: &EvmSettings) -> Result<Self, SetupError> {
        Ok(Self {
            parameters: Parameters::of(settings)?,
            rpc: EvmRpc::new(&settings.rpc)?,
            tracing: Mutex::default(),
            lacks_block_receipts: AtomicBool::default(),
            lacks_pool: AtomicBool::default(),
        })
    }

    /// The header of a block by number or tag.
    async fn header(&self, which: &str) -> Result<Option<Header>, CallError> {
        let answer: Answer = self.rpc.ask("eth_getBlockByNumber", json!([which, false])).await?;
        Ok(read("block", &answer)?)
    }

    /// The id that the node's chain has (EIP-155) must be the one that is configured.
    async fn check_chain_id(&self) -> Result<(), ChainError> {
        let text: String = self.rpc.call("eth_chainId", json!([])).await?;
        let wanted = self.parameters.chain_id;
        if number(&text) == Some(U256::from(wanted)) {
            return Ok(());
        }
        let (network, chain) = (self.parameters.network, self.parameters.chain.as_str());
        Err(ChainError::Invalid(format!(
            "chain id {text:.20} is not {wanted} of {network} {chain}"
        )))
    }

    /// The token must count as we do: six decimals taken for eighteen would be a millionth of a
    /// millionth of the money, or the other way round.
    async fn check_decimals(&self, token: Address) -> Result<(), ChainError> {
        let answer = self.rpc.view(&token.to_string(), DECIMALS_SELECTOR).await?;
        let wanted = self.parameters.asset().decimals();
        // A contract that is not there answers nothing at all.
        if answer.len() == WORD_CHARS && number(&answer) == Some(U256::from(wanted)) {
            return Ok(());
        }
        let text = format!("contract {token} does not say that it has {wanted} decimals");
        Err(ChainError::Invalid(text))
    }

    /// A public chain's node that is still fetching what others have says nothing about now.
    async fn check_synced(&self) -> Result<(), ChainError> {
        if !self.parameters.has_peers() {
            return Ok(());
        }
        match self.rpc.call::<Value>("eth_syncing", json!([])).await? {
            Value::Bool(false) => Ok(()),
            _ => Err(ChainError::Transient("node is catching up".to_owned())),
        }
    }

    /// The newest block and what the chain calls final, whether or not the node is catching up.
    pub(super) async fn newest(&self) -> Result<Head, ChainError> {
        let finalized = match self.header("finalized").await {
            Ok(block) => block.map(|block| block.number),
            Err(CallError::Node(_)) => None,
            Err(CallError::Chain(error)) => return Err(error),
        };
        let tip = self.header("latest").await.map_err(meaning)?;
        let tip = tip.ok_or_else(|| ChainError::Transient("node has no block".to_owned()))?;
        let finalized_height = finalized.filter(|height| *height <= tip.number);
        Ok(Head { tip: reference(&tip), finalized_height })
    }

    /// Every receipt of a block, in its order.
    pub(super) async fn receipts(&self, block: &Transactions<'_>) -> Result<Answer, ChainError> {
        if !self.lacks_block_receipts.load(Ordering::Relaxed) {
            let hash = hash_text(&block.hash);
            match self.rpc.ask::<Answer>("eth_getBlockReceipts", json!([hash])).await {
                Ok(answer) if answer.get() != "null" => return Ok(answer),
                Ok(_) => {
                    let text = format!("no receipts of block {hash}: the chain moved");
                    return Err(ChainError::Transient(text));
                }
                Err(CallError::Node(error)) if is_not_offered(&error) => {
                    self.lacks_block_receipts.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(meaning(error)),
            }
        }
        let all: Vec<usize> = (0..block.transactions.len()).collect();
        let receipts = self.receipts_of(block, &all).await?;
        let texts: Vec<&RawValue> = receipts.iter().map(AsRef::as_ref).collect();
        serde_json::value::to_raw_value(&texts)
            .map_err(|error| ChainError::Invalid(format!("receipts: {error}")))
    }

    /// The receipts of some of a block's transactions, one by one.
    async fn receipts_of(
        &self,
        block: &Transactions<'_>,
        places: &[usize],
    ) -> Result<Vec<Answer>, ChainError> {
        let transactions = places.iter().filter_map(|place| block.transactions.get(*place));
        let params: Vec<Value> =
            transactions.map(|transaction| json!([hash_text(&transaction.hash)])).collect();
        let answers = self.rpc.each("eth_getTransactionReceipt", &params).await?;
        let mut receipts = Vec::with_capacity(answers.len());
        for answer in answers {
            let answer = answer.map_err(|error| refusal(&error))?;
            if answer.get() == "null" {
                let text = format!("a receipt of block {} is gone: the chain moved", block.hash);
                return Err(ChainError::Transient(text));
            }
            receipts.push(answer);
        }
        Ok(receipts)
    }

    /// Logs of the pinned contract in receipts that say success, and what else is known and reached
    /// somebody watched.
    async fn token_transfers(
        &self,
        block: &Transactions<'_>,
        token: Address,
        watch: Watch<'_>,
    ) -> Result<(Vec<Transfer>, Vec<UnexpectedTransfer>), ChainError> {
        let answer = self.receipts(block).await?;
        let receipts: Vec<Receipt<'_>> = read("receipts", &answer)?;
        check_receipts(block, &receipts)?;
        let (asset, known) = (self.parameters.asset(), &self.parameters.known);
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for (transaction, receipt) in block.transactions.iter().zip(&receipts) {
            if !receipt.succeeded() {
                continue;
            }
            others.extend(known.carried(transaction, watch.addresses));
            for (position, log) in receipt.logs.iter().enumerate() {
                let Some(contract) = transfer_contract(log) else { continue };
                if contract == token {
                    let payment = logged_payment(log, position);
                    found.extend(
                        payment.and_then(|p| p.for_us(transaction, asset, watch.addresses)),
                    );
                } else if let Some(coin) = known.token(contract) {
                    let payment = logged_payment(log, position);
                    others.extend(
                        payment.and_then(|p| known_payment(&p, coin, transaction, watch.addresses)),
                    );
                }
            }
        }
        Ok((found, others))
    }

    /// Value that transactions of a block carry and that was moved inside their calls, in the block's
    /// order. Receipts are asked for where there is a hit: each must say success.
    async fn native_transfers(
        &self,
        block: &Transactions<'_>,
        watch: Watch<'_>,
    ) -> Result<Vec<Transfer>, ChainError> {
        let asset = self.parameters.asset();
        let for_us = |place: usize, payment: &Payment| {
            let transaction = block.transactions.get(place)?;
            Some((place, payment.for_us(transaction, asset, watch.addresses)?))
        };
        let outer = block.transactions.iter().enumerate();
        let mut hits: Vec<(usize, Transfer)> = outer
            .filter_map(|(place, transaction)| for_us(place, &carried(transaction)?))
            .collect();
        let inner = self.inner_payments(block).await?;
        hits.extend(inner.iter().filter_map(|(place, payment)| for_us(*place, payment)));
        hits.sort_by_key(|(place, _)| *place);
        let mut places: Vec<usize> = hits.iter().map(|(place, _)| *place).collect();
        places.dedup();
        let answers = self.receipts_of(block, &places).await?;
        let mut succeeded = HashMap::with_capacity(places.len());
        for (place, answer) in places.iter().zip(&answers) {
            let receipt: Receipt<'_> = read("receipt", answer)?;
            if let Some(transaction) = block.transactions.get(*place) {
                check_receipt(block.hash, transaction, &receipt)?;
            }
            succeeded.insert(*place, receipt.succeeded());
        }
        hits.retain(|(place, _)| succeeded.get(place) == Some(&true));
        Ok(hits.into_iter().map(|(_, transfer)| transfer).collect())
    }

    /// What was moved inside the calls of a block, as far as the node tells.
    ///
    /// A block whose calls it does not tell (its state is pruned, a transaction was made to be too
    /// much for any tracer) is no reason to stop reading the chain, or anybody could stop it for the
    /// price of one transaction: it is logged, and what was moved there is left to the
    /// reconciliation of balances.
    async fn inner_payments(&self, block: &Transactions<'_>) -> Result<InnerPayments, ChainError> {
        if !block.transactions.iter().any(runs_code) {
            return Ok(Vec::new());
        }
        let found = match self.tracing().await? {
            Tracing::None => return Ok(Vec::new()),
            Tracing::Nested => self.nested_traces(block).await,
            Tracing::Flat => self.flat_traces(block).await,
        };
        match found {
            Err(CallError::Node(error)) if is_not_offered(&error) => {
                *self.known_tracing() = None;
                Err(refusal(&error))
            }
            Err(CallError::Chain(error @ ChainError::Transient(_))) => Err(error),
            Err(error) => {
                tracing::error!(block = %block.hash, %error, "payments inside calls not read");
                Ok(Vec::new())
            }
            Ok(found) => Ok(found),
        }
    }

    /// How the node tells what was called: asked once, about a block whose state it has.
    pub(super) async fn tracing(&self) -> Result<Tracing, ChainError> {
        let known = *self.known_tracing();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut found = Tracing::None;
        let tracer = json!(["latest", { "tracer": "callTracer" }]);
        for (method, params, tracing) in [
            ("debug_traceBlockByNumber", tracer, Tracing::Nested),
            ("trace_block", json!(["latest"]), Tracing::Flat),
        ] {
            match self.rpc.ask::<Answer>(method, params).await {
                Ok(_) => {
                    found = tracing;
                    break;
                }
                Err(CallError::Chain(error @ ChainError::Transient(_))) => return Err(error),
                Err(_) => {}
            }
        }
        if found == Tracing::None {
            tracing::warn!(network = %self.parameters.network,
                "node tells no calls: payments made inside contract calls are not seen");
        }
        *self.known_tracing() = Some(found);
        Ok(found)
    }

    fn known_tracing(&self) -> std::sync::MutexGuard<'_, Option<Tracing>> {
        self.tracing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By `callTracer`: the block at once; where that is refused or too much, each transaction that
    /// may run code.
    async fn nested_traces(&self, block: &Transactions<'_>) -> Result<InnerPayments, CallError> {
        let tracer = json!({ "tracer": "callTracer" });
        let params = json!([hash_text(&block.hash), tracer]);
        let mut found = Vec::new();
        let together = self.rpc.ask::<Answer>("debug_traceBlockByHash", params).await;
        let answer = match together {
            Ok(answer) => answer,
            Err(CallError::Node(error)) if is_not_offered(&error) => return Err(error.into()),
            Err(CallError::Chain(error @ ChainError::Transient(_))) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(block = %block.hash, %error, "block not traced at once");
                for (place, transaction) in block.transactions.iter().enumerate() {
                    if runs_code(transaction) {
                        found.extend(self.nested_trace(place, transaction).await?);
                    }
                }
                return Ok(found);
            }
        };
        let traced: Vec<TracedTransaction<'_>> = read("traces", &answer)?;
        let fits = |(traced, transaction): (&TracedTransaction<'_>, &Transaction<'_>)| {
            traced.tx_hash.is_none_or(|hash| hash == transaction.hash)
        };
        if traced.len() != block.transactions.len()
            || !traced.iter().zip(&block.transactions).all(fits)
        {
            return Err(ChainError::Invalid("traces of another block".to_owned()).into());
        }
        for (place, (traced, transaction)) in traced.iter().zip(&block.transactions).enumerate() {
            match traced.result.and_then(|frames| nested(frames.get())) {
                Some(payments) => found.extend(payments.into_iter().map(|one| (place, one))),
                None if runs_code(transaction) => {
                    found.extend(self.nested_trace(place, transaction).await?);
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// One transaction's calls; none, and a line in the log, where the node cannot tell them.
    async fn nested_trace(
        &self,
        place: usize,
        transaction: &Transaction<'_>,
    ) -> Result<InnerPayments, ChainError> {
        let tracer = json!({ "tracer": "callTracer" });
        let params = json!([hash_text(&transaction.hash), tracer]);
        let txid = transaction.hash;
        match self.rpc.ask::<Answer>("debug_traceTransaction", params).await {
            Ok(answer) => {
                let payments = nested(answer.get()).unwrap_or_else(|| {
                    tracing::error!(%txid, "calls cannot be read: payments inside are not seen");
                    Vec::new()
                });
                Ok(payments.into_iter().map(|payment| (place, payment)).collect())
            }
            Err(CallError::Chain(error @ ChainError::Transient(_))) => Err(error),
            Err(error) => {
                tracing::error!(%txid, %error, "not traced: payments inside are not seen");
                Ok(Vec::new())
            }
        }
    }

    /// By `trace_block`, which takes a height: each entry says which block it was made from.
    async fn flat_traces(&self, block: &Transactions<'_>) -> Result<InnerPayments, CallError> {
        let params = json!([format!("{:#x}", block.number)]);
        let answer: Answer = self.rpc.ask("trace_block", params).await?;
        let traces: Vec<FlatTrace<'_>> = read("traces", &answer)?;
        if traces.iter().any(|trace| trace.block_hash != Some(block.hash)) {
            let text = format!("traces of another block than {}: the chain moved", block.hash);
            return Err(ChainError::Transient(text).into());
        }
        let mut by_hash =
            flat(traces).ok_or_else(|| ChainError::Invalid("traces are no trees".to_owned()))?;
        let mut found = Vec::new();
        for (place, transaction) in block.transactions.iter().enumerate() {
            let payments = by_hash.remove(&transaction.hash).ok_or_else(|| {
                ChainError::Transient(format!("no traces of {} yet", transaction.hash))
            })?;
            found.extend(payments.into_iter().map(|payment| (place, payment)));
        }
        Ok(found)
    }
}

#[async_trait]
impl ChainReader for EvmReader {
    fn network(&self) -> Network {
        self.parameters.network
    }

    /// [`ChainError::Invalid`] when the node is on another chain than the reader was made for, and
    /// when the token's contract is not what it should be.
    async fn genesis(&self) -> Result<String, ChainError> {
        self.check_chain_id().await?;
        let block = self.header("0x0").await.map_err(meaning)?;
        let block =
            block.ok_or_else(|| ChainError::Unsupported("node lacks block 0".to_owned()))?;
        let hash = hash_text(&block.hash);
        if !self.parameters.may_begin_with(&hash) {
            let (network, chain) = (self.parameters.network, self.parameters.chain.as_str());
            let text = format!("genesis {hash} is not that of {network} {chain}");
            return Err(ChainError::Invalid(text));
        }
        if let Some(token) = self.parameters.token {
            self.check_decimals(token).await?;
        }
        Ok(hash)
    }

    /// On public chains a node that is still downloading what others have is
    /// [`ChainError::Transient`]. What it calls finalized is asked first, so that it is never above
    /// the tip; a node that knows no such block states no finality.
    async fn head(&self) -> Result<Head, ChainError> {
        self.check_synced().await?;
        self.newest().await
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        let block = self.header(&format!("{height:#x}")).await.map_err(meaning)?;
        block.map(|block| at_height(&block, height)).transpose()
    }

    /// Everything else about a block is asked for by its hash, and every answer is held against it: a
    /// block that leaves the best chain meanwhile is [`ChainError::Transient`], never a mixture.
    async fn block_at(
        &self,
        height: u64,
        watch: Watch<'_>,
    ) -> Result<Option<FoundBlock>, ChainError> {
        let params = json!([format!("{height:#x}"), true]);
        let answer: Answer = self.rpc.call("eth_getBlockByNumber", params).await?;
        let block: Option<Transactions<'_>> = read("block", &answer)?;
        let Some(block) = block else { return Ok(None) };
        let reference = at_height(&block, height)?;
        check_transactions(&block)?;
        let (transfers, unexpected) = match self.parameters.token {
            _ if block.transactions.is_empty() => (Vec::new(), Vec::new()),
            Some(token) => self.token_transfers(&block, token, watch).await?,
            None => {
                let transfers = self.native_transfers(&block, watch).await?;
                (transfers, self.known_tokens(&block, watch).await?)
            }
        };
        let consumptions = consumptions(&block.transactions, watch.consumed);
        Ok(Some(FoundBlock { reference, transfers, unexpected, consumptions }))
    }

    /// See `waiting`: `None` where the node does not show all that it holds.
    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        self.waiting(watch).await
    }
}

/// Whether a transaction is allowed enough to run code.
const fn runs_code(transaction: &Transaction<'_>) -> bool {
    transaction.gas > PLAIN_TRANSFER_GAS
}

/// The block's reference, once it is at the height that was asked for.
fn at_height<T>(block: &Block<T>, height: u64) -> Result<BlockRef, ChainError> {
    if block.number == height {
        return Ok(reference(block));
    }
    Err(ChainError::Invalid(format!("block {} for height {height}", block.number)))
}

fn reference<T>(block: &Block<T>) -> BlockRef {
    BlockRef {
        height: block.number,
        hash: hash_text(&block.hash),
        parent: hash_text(&block.parent_hash),
        time: Micros::from_seconds(i64::try_from(block.timestamp).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
