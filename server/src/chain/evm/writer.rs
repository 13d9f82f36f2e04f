//! Hands signed transactions to an EVM node. Not here: making, signing, storing or repeating them.

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::Decodable2718;
use alloy::primitives::{B256, hex};
use async_trait::async_trait;
use serde_json::json;

use super::rpc::{Answer, EvmRpc, is_not_offered, meaning, refusal};
use super::wire::{fixed, hash_text};
use super::{EvmSettings, Parameters, SetupError};
use crate::chain::bitcoin::rpc::{CallError, NodeError};
use crate::chain::{Broadcast, ChainError, ChainWriter};

/// Nodes relay no more (geth's `txMaxSize`), but for blobs, which nobody is paid by.
const MAX_TRANSACTION_BYTES: usize = 128 * 1024;

/// How nodes say that a transaction waits already: geth and reth, Nethermind, OpenEthereum's heirs
/// and anvil, Besu.
const KNOWN: [&str; 4] = ["already known", "alreadyknown", "already imported", "known transaction"];

/// Codes of errors that say nothing about the transaction (EIP-1474): too many requests.
const LIMIT_EXCEEDED: i64 = -32_005;

/// Writes to one EVM chain.
pub struct EvmWriter {
    rpc: EvmRpc,
    chain_id: u64,
}

impl EvmWriter {
    /// A writer; nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] when there is no such chain or the settings cannot be used.
    pub fn new(settings: &EvmSettings) -> Result<Self, SetupError> {
        let chain_id = Parameters::of(settings)?.chain_id;
        Ok(Self { rpc: EvmRpc::new(&settings.rpc)?, chain_id })
    }

    /// What a refusal comes to. "Nonce too low" is said of a transaction that is in the chain, too:
    /// whether the node knows it decides.
    async fn refused(&self, hash: &B256, error: NodeError) -> Result<Broadcast, ChainError> {
        let words = error.message.to_ascii_lowercase();
        if KNOWN.iter().any(|known| words.contains(known)) {
            return Ok(Broadcast::AlreadyKnown);
        }
        if is_not_offered(&error) || error.code == LIMIT_EXCEEDED {
            return Err(refusal(&error));
        }
        let params = json!([hash_text(hash)]);
        let known: Answer = self.rpc.call("eth_getTransactionByHash", params).await?;
        if known.get() == "null" {
            Ok(Broadcast::Rejected(error.message))
        } else {
            Ok(Broadcast::AlreadyKnown)
        }
    }
}

#[async_trait]
impl ChainWriter for EvmWriter {
    /// Bytes that are no transaction of this very chain are not sent: without a chain id, anybody
    /// could send them on another chain too.
    async fn broadcast(&self, raw: &[u8]) -> Result<Broadcast, ChainError> {
        if raw.len() > MAX_TRANSACTION_BYTES {
            let text = format!("a transaction of {} bytes is not relayed", raw.len());
            return Err(ChainError::Invalid(text));
        }
        let mut rest = raw;
        let transaction = TxEnvelope::decode_2718(&mut rest)
            .map_err(|_| ChainError::Invalid("not a transaction".to_owned()))?;
        if !rest.is_empty() {
            return Err(ChainError::Invalid(format!("{} bytes left over", rest.len())));
        }
        if transaction.chain_id() != Some(self.chain_id) {
            let text = format!("not a transaction of chain {}", self.chain_id);
            return Err(ChainError::Invalid(text));
        }
        let hash = *transaction.tx_hash();
        let params = json!([hex::encode_prefixed(raw)]);
        match self.rpc.ask::<String>("eth_sendRawTransaction", params).await {
            Ok(text) if fixed(&text).map(B256::new) == Some(hash) => Ok(Broadcast::Accepted),
            Ok(text) => Err(ChainError::Invalid(format!("node took {hash} for {text:.66}"))),
            Err(CallError::Node(error)) => self.refused(&hash, error).await,
            Err(error) => Err(meaning(error)),
        }
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
