//! Reads an EVM chain: where it stands, what a block and the waiting transactions hold for a watch.
//! Remembers nothing but which optional methods its node offers and which blocks it failed to trace. Not
//! here: what is a payment (`matching`, `traces`), what was called (`calls`), what waits (`waiting`),
//! what is owned (`balances`), HTTP, and what follows from what was read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy::primitives::{Address, U256};
use async_trait::async_trait;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::calls::{CallsAsked, Failures};
use super::matching::{
    Payment, carried, check_receipt, check_receipts, check_transactions, consumptions, succeeded,
    told_transfers,
};
use super::rpc::{Answer, EvmRpc, is_not_offered, is_unknown_block, meaning, read, refusal};
use super::wire::{Block, Receipt, Transaction, hash_text, number};
use super::{EvmSettings, Parameters, SetupError};
use crate::chain::bitcoin::rpc::CallError;
use crate::chain::version::VersionCheck;
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

/// Reads one EVM chain.
pub struct EvmReader {
    pub(super) parameters: Parameters,
    pub(super) rpc: EvmRpc,
    pub(super) calls: CallsAsked,
    pub(super) version: VersionCheck,
    lacks_block_receipts: AtomicBool,
    /// Blocks whose receipts were not given where payments do not need them.
    pub(super) unread_receipts: Failures,
    pub(super) lacks_pool: AtomicBool,
    pub(super) lacks_state_by_hash: AtomicBool,
}

pub(super) type Transactions<'a> = Block<Transaction<'a>>;
type Header = Block<IgnoredAny>;

impl EvmReader {
    /// A reader; nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] when there is no such chain or the settings cannot be used.
    pub fn new(settings: &EvmSettings) -> Result<Self, SetupError> {
        Ok(Self {
            parameters: Parameters::of(settings)?,
            rpc: EvmRpc::new(&settings.rpc)?,
            calls: CallsAsked::default(),
            version: VersionCheck::new(settings.network),
            lacks_block_receipts: AtomicBool::default(),
            unread_receipts: Failures::default(),
            lacks_pool: AtomicBool::default(),
            lacks_state_by_hash: AtomicBool::default(),
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
            Err(CallError::Node(error)) if is_unknown_block(&error) => None,
            Err(error) => return Err(meaning(error)),
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
                // Anybody can pay for logs enough.
                Err(CallError::Chain(ChainError::TooLarge(error))) => {
                    tracing::warn!(block = hash, error, "receipts are asked for one by one");
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
        self.token_transfers_in(block, token, &answer, watch)
    }

    /// The same from receipts that are here.
    fn token_transfers_in(
        &self,
        block: &Transactions<'_>,
        token: Address,
        receipts: &RawValue,
        watch: Watch<'_>,
    ) -> Result<(Vec<Transfer>, Vec<UnexpectedTransfer>), ChainError> {
        let receipts: Vec<Receipt<'_>> = read("receipts", receipts)?;
        check_receipts(block, &receipts)?;
        let (asset, known) = (self.parameters.asset(), &self.parameters.known);
        let mut found = Vec::new();
        let mut others: Vec<UnexpectedTransfer> = succeeded(block, &receipts)
            .filter_map(|(transaction, _)| known.carried(transaction, watch.addresses))
            .collect();
        for told in told_transfers(block, &receipts, watch.addresses) {
            if told.contract == token {
                let payment = told.payment();
                found.extend(
                    payment.and_then(|p| p.for_us(told.transaction, asset, watch.addresses)),
                );
            } else {
                others.extend(known.told(&told, watch.addresses));
            }
        }
        Ok((found, others))
    }

    /// The token's payments in the JSON of a block and its receipts: what reading a block costs beside
    /// asking for it.
    ///
    /// # Errors
    /// [`ChainError::Invalid`] for what no block can be; [`ChainError::Unsupported`] where no token is
    /// paid with.
    pub fn token_transfers_of(
        &self,
        block: &RawValue,
        receipts: &RawValue,
        watch: Watch<'_>,
    ) -> Result<Vec<Transfer>, ChainError> {
        let no_token = || ChainError::Unsupported("the network has no token".to_owned());
        let token = self.parameters.token.ok_or_else(no_token)?;
        let block: Transactions<'_> = read("block", block)?;
        check_transactions(&block)?;
        Ok(self.token_transfers_in(&block, token, receipts, watch)?.0)
    }

    /// Value that transactions of a block carry and that was moved inside their calls, in the block's
    /// order, and whether more may have been moved. Receipts are asked for where there is a hit: each
    /// must say success.
    async fn native_transfers(
        &self,
        block: &Transactions<'_>,
        watch: Watch<'_>,
    ) -> Result<(Vec<Transfer>, bool), ChainError> {
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
        let told = inner.payments.iter();
        hits.extend(told.filter_map(|(place, payment)| for_us(*place, payment)));
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
        let transfers = hits.into_iter().map(|(_, transfer)| transfer).collect();
        Ok((transfers, !inner.is_whole))
    }
}

#[async_trait]
impl ChainReader for EvmReader {
    fn network(&self) -> Network {
        self.parameters.network
    }

    /// [`ChainError::Invalid`] when the node is on another chain than the reader was made for, and
    /// when the token's contract is not what it should be; [`ChainError::Unsupported`] when it is too old.
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
        self.check_version().await?;
        if let Some(token) = self.parameters.token {
            self.check_decimals(token).await?;
        }
        Ok(hash)
    }

    /// On public chains a node that is still downloading what others have is
    /// [`ChainError::Transient`]. What it calls finalized is asked first, so that it is never above
    /// the tip; a node that knows no such block states no finality. A node that is too old is
    /// [`ChainError::Unsupported`]: it may have been exchanged since the start.
    async fn head(&self) -> Result<Head, ChainError> {
        if self.version.is_due() {
            self.check_version().await?;
        }
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
        let (transfers, unexpected, may_hide_payments) = match self.parameters.token {
            _ if block.transactions.is_empty() => (Vec::new(), Vec::new(), false),
            Some(token) => {
                let (transfers, unexpected) = self.token_transfers(&block, token, watch).await?;
                (transfers, unexpected, false)
            }
            None => {
                let (transfers, may_hide) = self.native_transfers(&block, watch).await?;
                (transfers, self.known_tokens(&block, watch).await?, may_hide)
            }
        };
        self.calls.failed.forget(block.hash);
        self.unread_receipts.forget(block.hash);
        let consumptions = consumptions(&block.transactions, watch.consumed);
        Ok(Some(FoundBlock { reference, transfers, unexpected, consumptions, may_hide_payments }))
    }

    /// See `waiting`: `None` where the node does not show all that it holds.
    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        self.waiting(watch).await
    }

    async fn balances(&self, at: &BlockRef, keys: &[Vec<u8>]) -> Result<Vec<u128>, ChainError> {
        self.balances_at(at, keys).await
    }
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
