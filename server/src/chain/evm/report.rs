//! What a node says of itself, for whoever looks after a deployment. Not here: anything that money
//! depends on.

use serde_json::{Value, json};

use super::calls::Tracing;
use super::reader::EvmReader;
use super::rpc::Answer;
use super::wire::number;
use crate::chain::bitcoin::rpc::CallError;
use crate::chain::{ChainError, Head};

/// A node's own words about its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvmNodeReport {
    /// Its name and version, e.g. `Geth/v1.16.4-stable/linux-amd64/go1.25.1`.
    pub version: String,
    /// Peers it is connected to, where it says so.
    pub peers: Option<u64>,
    /// Whether it fetches what others have.
    pub is_syncing: bool,
    /// Its newest block, and the newest that the chain calls final.
    pub head: Head,
    /// Whether it tells what was called in a block, so that payments made inside contract calls are
    /// seen at once.
    pub tells_calls: bool,
    /// Whether it shows what waits.
    pub shows_pool: bool,
}

impl EvmReader {
    /// Asks the node how it is.
    ///
    /// # Errors
    /// As any call: see [`ChainError`].
    pub async fn report(&self) -> Result<EvmNodeReport, ChainError> {
        let version: String = self.rpc.call("web3_clientVersion", json!([])).await?;
        let peers: Option<String> = self.optional("net_peerCount").await?;
        let syncing: Value = self.rpc.call("eth_syncing", json!([])).await?;
        let is_syncing = syncing != Value::Bool(false);
        let pool: Option<Answer> = self.optional("txpool_status").await?;
        Ok(EvmNodeReport {
            version,
            peers: peers.and_then(|text| number(&text)?.try_into().ok()),
            is_syncing,
            head: self.newest().await?,
            tells_calls: self.tracing().await? != Tracing::None,
            shows_pool: pool.is_some(),
        })
    }

    /// What a method answers that not every node has.
    async fn optional<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
    ) -> Result<Option<T>, ChainError> {
        match self.rpc.ask(method, json!([])).await {
            Ok(answer) => Ok(Some(answer)),
            Err(CallError::Node(_) | CallError::Chain(ChainError::Unsupported(_))) => Ok(None),
            Err(CallError::Chain(error)) => Err(error),
        }
    }
}
