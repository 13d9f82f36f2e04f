//! Reads TRON: where it stands, what a block holds for a watch. Remembers nothing but that the node
//! was checked to be the right chain with the right token, and which solid block both APIs agreed on.
//! Not here: HTTP (`http`), reading answers (`block`), and what follows from it (workers).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;

use super::block::{BlockAnswer, Receipt};
use super::http::{Api, Client, message};
use super::transaction::address;
use super::unexpected::KnownCoins;
use super::{ChainParameters, NodeSettings, SetupError, matching};
use crate::chain::version::VersionCheck;
use crate::chain::{Block, BlockRef, ChainError, ChainReader, Head, Mempool, Watch};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::env::Env;

/// How old the newest block of a public chain may be, by our clock, before the node counts as
/// behind: 20 blocks.
const MAX_TIP_AGE: Duration = Duration::from_secs(60);
/// Who asks constant methods: the account that nobody has.
const NOBODY: [u8; 20] = [0; 20];

/// Reads one TRON chain.
pub struct TronReader {
    pub(super) parameters: ChainParameters,
    known: KnownCoins,
    pub(super) client: Client,
    /// Set once the node proved to be the configured chain, and its token the configured one.
    checked: OnceCell<()>,
    pub(super) version: VersionCheck,
    /// The last solid block that the full node has too.
    agreed: Mutex<Option<BlockRef>>,
}

/// `triggerconstantcontract`: the call's outcome is in four places, and `result.result` is true
/// even for a call that failed.
#[derive(Deserialize)]
struct ConstantCall {
    result: CallResult,
    #[serde(default)]
    constant_result: Vec<String>,
    #[serde(default)]
    transaction: CallTransaction,
}

#[derive(Deserialize)]
struct CallResult {
    #[serde(default)]
    result: bool,
    code: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
struct CallTransaction {
    #[serde(default)]
    ret: Vec<CallOutcome>,
}

#[derive(Deserialize)]
struct CallOutcome {
    ret: Option<String>,
}

impl TronReader {
    /// A reader; nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] when there is no such chain or the settings cannot be used.
    pub fn new(chain: ChainKind, settings: &NodeSettings, env: Env) -> Result<Self, SetupError> {
        let parameters = ChainParameters::of(chain, &settings.contract)?;
        let client = Client::new(settings, env)?;
        let known = KnownCoins::of(parameters.known);
        let (checked, agreed) = (OnceCell::new(), Mutex::default());
        let version = VersionCheck::new(Network::Trc20);
        Ok(Self { parameters, known, client, checked, version, agreed })
    }

    /// The same reader, which believes nodes from `version` on instead of from [`OLDEST_VERSION`] on:
    /// major * 10000 + minor * 100 + patch.
    ///
    /// [`OLDEST_VERSION`]: super::OLDEST_VERSION
    #[must_use]
    pub const fn accepting(mut self, version: u64) -> Self {
        self.version.accept(version);
        self
    }

    /// [`ChainError::Unsupported`] for a node that is too old to be believed.
    async fn check_version(&self) -> Result<(), ChainError> {
        self.version.begin();
        match self.outdated().await {
            Some(why) => Err(self.version.refuse(&why)),
            None => Ok(()),
        }
    }

    /// The header of one block; `None` where the node has none.
    async fn header(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        if i64::try_from(height).is_err() {
            return Ok(None);
        }
        let body = json!({ "id_or_num": height.to_string(), "detail": false });
        let answer: Option<BlockAnswer> = self.client.call(Api::Full, "getblock", &body).await?;
        let Some(answer) = answer else { return Ok(None) };
        let reference = answer.reference()?;
        if reference.height != height {
            return Err(other_height(height, reference.height));
        }
        Ok(Some(reference))
    }

    /// The receipts of a block's transactions: all at once, or each by itself where that is more than is
    /// read of one answer. Anybody may pay for contracts that return a lot, which receipts repeat.
    async fn receipts(&self, height: u64, block: &BlockAnswer) -> Result<Vec<Receipt>, ChainError> {
        if block.is_empty() {
            return Ok(Vec::new());
        }
        let (method, body) = ("gettransactioninfobyblocknum", json!({ "num": height }));
        let too_large = match self.client.call_known(Api::Full, method, &body).await {
            Err(ChainError::TooLarge(text)) => text,
            receipts => return receipts,
        };
        tracing::warn!(height, too_large, "receipts are asked for one by one");
        let mut receipts = Vec::new();
        for id in block.transaction_ids() {
            let (method, body) = ("gettransactioninfobyid", json!({ "value": id }));
            receipts.push(self.client.call_known(Api::Full, method, &body).await?);
        }
        Ok(receipts)
    }

    /// The newest block of one API.
    async fn tip(&self, api: Api) -> Result<BlockRef, ChainError> {
        let body = json!({ "detail": false });
        let answer: BlockAnswer = self.client.call_known(api, "getblock", &body).await?;
        answer.reference()
    }

    /// The solidified block, once the full node has the very same: two APIs are two nodes.
    async fn solid(&self, tip: &BlockRef) -> Result<BlockRef, ChainError> {
        let solid = self.tip(Api::Solidity).await?;
        if self.agreed().as_ref() == Some(&solid) {
            return Ok(solid);
        }
        if solid.height > tip.height {
            let text = format!(
                "the full node is at block {} and behind the solidified {}",
                tip.height, solid.height
            );
            return Err(ChainError::Transient(text));
        }
        let ours = self.header(solid.height).await?;
        if ours.as_ref().map(|ours| &ours.hash) != Some(&solid.hash) {
            let text = format!("the full node does not have the solidified block {}", solid.height);
            return Err(ChainError::Transient(text));
        }
        *self.agreed() = Some(solid.clone());
        Ok(solid)
    }

    fn agreed(&self) -> std::sync::MutexGuard<'_, Option<BlockRef>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The full node's newest block, if it is new. On a public chain a node with an old one is
    /// still catching up: having read up to it says nothing about payments made by now.
    async fn fresh_tip(&self) -> Result<BlockRef, ChainError> {
        let tip = self.tip(Api::Full).await?;
        let age = self.client.now().since(tip.time);
        if self.parameters.is_public() && age > MAX_TIP_AGE {
            let text = format!(
                "node is behind, or our clock is off: its block {} is {} s old",
                tip.height,
                age.as_secs()
            );
            return Err(ChainError::Transient(text));
        }
        Ok(tip)
    }

    /// Asks the token for its decimals: a contract of another kind, or of another token, must not be
    /// read as dollars.
    async fn check_token(&self) -> Result<(), ChainError> {
        let contract = self.parameters.contract;
        let body = json!({
            "owner_address": hex::encode(address(NOBODY)),
            "contract_address": hex::encode(address(contract)),
            "function_selector": "decimals()",
            "parameter": "",
        });
        let call: ConstantCall =
            self.client.call_known(Api::Full, "triggerconstantcontract", &body).await?;
        let wrong = |why: String| {
            let text = crate::domain::address_text::tron(contract);
            ChainError::Invalid(format!("the contract {text} is not the token: {why}"))
        };
        let failed = call.transaction.ret.iter().any(|outcome| outcome.ret.is_some());
        if let Some(said) = &call.result.message {
            let said = message(said);
            if said.contains("not support constant") {
                return Err(ChainError::Unsupported(format!("triggerconstantcontract: {said}")));
            }
            return Err(wrong(said));
        }
        if !call.result.result || call.result.code.is_some() || failed {
            return Err(wrong("its decimals() fails".to_owned()));
        }
        let expected = format!("{:064x}", Network::Trc20.asset().decimals());
        match call.constant_result.as_slice() {
            [decimals] if *decimals == expected => Ok(()),
            [decimals] => Err(wrong(format!("its decimals() is {decimals:.64}"))),
            _ => Err(wrong("its decimals() answers nothing".to_owned())),
        }
    }

    async fn check(&self) -> Result<String, ChainError> {
        let genesis = self
            .header(0)
            .await?
            .ok_or_else(|| ChainError::Transient("the node has no genesis block".to_owned()))?
            .hash;
        let known = self.parameters.genesis;
        if !known.is_empty() && !known.contains(&genesis.as_str()) {
            let chain = self.parameters.chain.as_str();
            return Err(ChainError::Invalid(format!("genesis {genesis} is not that of {chain}")));
        }
        // One that is too old may have stopped at a fork.
        self.check_version().await?;
        // A node that is behind may not know the contract yet.
        self.fresh_tip().await?;
        self.check_token().await?;
        Ok(genesis)
    }
}

#[async_trait]
impl ChainReader for TronReader {
    fn network(&self) -> Network {
        Network::Trc20
    }

    /// Checks the token besides: [`ChainError::Invalid`] when the node is on another chain than the
    /// reader was made for, or the contract is not a token with the decimals of USDT;
    /// [`ChainError::Unsupported`] when the node is too old.
    async fn genesis(&self) -> Result<String, ChainError> {
        let genesis = self.check().await?;
        let _ = self.checked.set(());
        Ok(genesis)
    }

    /// What [`Self::genesis`] checks is checked first if it never was: the node may have been down
    /// at the start, and may be exchanged for an older one now. [`ChainError::Transient`] while the two
    /// APIs do not agree.
    async fn head(&self) -> Result<Head, ChainError> {
        self.checked.get_or_try_init(|| async { self.check().await.map(|_| ()) }).await?;
        if self.version.is_due() {
            self.check_version().await?;
        }
        let tip = self.fresh_tip().await?;
        let solid = self.solid(&tip).await?;
        Ok(Head { tip, finalized_height: Some(solid.height) })
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        self.header(height).await
    }

    /// The block and its receipts are two answers; they are taken for one only if every transaction
    /// has its receipt and the block is still on the node's chain when both were read.
    async fn block_at(&self, height: u64, watch: Watch<'_>) -> Result<Option<Block>, ChainError> {
        let body = json!({ "num": height });
        let answer: Option<BlockAnswer> =
            self.client.call(Api::Full, "getblockbynum", &body).await?;
        let Some(answer) = answer else { return Ok(None) };
        let stated = answer.reference()?.height;
        if stated != height {
            return Err(other_height(height, stated));
        }
        let receipts = self.receipts(height, &answer).await?;
        let block = answer.with_receipts(receipts)?;
        if !block.transactions.is_empty() {
            let now = self.header(height).await?;
            if now.is_none_or(|now| now.hash != block.reference.hash) {
                let text = format!("block {height} was reorganised while it was read");
                return Err(ChainError::Transient(text));
            }
        }
        let matching::Found { transfers, unexpected, consumptions } =
            matching::look(&block, self.parameters.contract, &self.known, watch)?;
        let reference = block.reference;
        Ok(Some(Block { reference, transfers, unexpected, consumptions, may_hide_payments: false }))
    }

    /// Never a view. A node lists what it holds itself, which is not what the network's witnesses
    /// hold; its answers about a waiting transaction say SUCCESS whatever will become of it; and a
    /// call that waits pays nobody until it was executed. Blocks come every 3 seconds, so what was
    /// read of the chain is known from them alone.
    async fn mempool(&self, _: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        Ok(None)
    }
}

fn other_height(asked: u64, got: u64) -> ChainError {
    ChainError::Invalid(format!("block {got} instead of {asked}"))
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
