//! Hands signed transactions to a Bitcoin-like node. Not here: making, signing, storing or
//! repeating them.

use async_trait::async_trait;
use serde_json::json;

use super::ChainParameters;
use super::block::{Format, read_transaction};
use super::rpc::{CallError, NodeError, Rpc, RpcSettings, SetupError, code};
use crate::chain::{Broadcast, ChainError, ChainWriter};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;

/// Nodes relay transactions up to 400,000 weight units, so no more bytes than that.
const MAX_TRANSACTION_BYTES: usize = 400_000;

/// Writes to one Bitcoin-like chain.
pub struct BitcoinWriter {
    rpc: Rpc,
    format: Format,
}

impl BitcoinWriter {
    /// A writer; nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] when there is no such chain or the settings cannot be used.
    pub fn new(
        network: Network,
        chain: ChainKind,
        settings: &RpcSettings,
    ) -> Result<Self, SetupError> {
        let format = ChainParameters::of(network, chain)?.format;
        Ok(Self { rpc: Rpc::new(settings)?, format })
    }
}

#[async_trait]
impl ChainWriter for BitcoinWriter {
    /// A node that holds the transaction in its mempool answers [`Broadcast::Accepted`] again. A
    /// node that has it in a block may answer [`Broadcast::Rejected`] once all its outputs are
    /// spent: only the chain itself tells what became of a transaction.
    async fn broadcast(&self, raw: &[u8]) -> Result<Broadcast, ChainError> {
        if raw.len() > MAX_TRANSACTION_BYTES {
            let text = format!("a transaction of {} bytes is not relayed", raw.len());
            return Err(ChainError::Invalid(text));
        }
        let transaction = read_transaction(raw, self.format)
            .map_err(|error| ChainError::Invalid(format!("not a transaction: {error}")))?
            .ok_or_else(|| ChainError::Invalid("not on the main chain".to_owned()))?;
        match self.rpc.call::<String>("sendrawtransaction", json!([hex::encode(raw)])).await {
            Ok(txid) if txid == transaction.txid.to_string() => Ok(Broadcast::Accepted),
            Ok(txid) => {
                Err(ChainError::Invalid(format!("node took {} for {txid:.64}", transaction.txid)))
            }
            Err(CallError::Node(error)) => refusal(error),
            Err(CallError::Chain(error)) => Err(error),
        }
    }
}

fn refusal(error: NodeError) -> Result<Broadcast, ChainError> {
    match error.code {
        code::IN_CHAIN => Ok(Broadcast::AlreadyKnown),
        // `validation.cpp`: the same txid waits, or its outputs are in the chain.
        code::VERIFY | code::REFUSED
            if ["txn-already-in-mempool", "txn-already-known", "txn-same-nonwitness-data"]
                .iter()
                .any(|reason| error.message.starts_with(reason)) =>
        {
            Ok(Broadcast::AlreadyKnown)
        }
        code::VERIFY | code::REFUSED => Ok(Broadcast::Rejected(error.message)),
        _ => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
