//! Hands signed transactions to a TRON node. Not here: making, signing, storing or repeating them.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::http::{Api, Client, message};
use super::transaction::Transaction;
use super::{ChainParameters, NodeSettings, SetupError};
use crate::chain::{Broadcast, ChainError, ChainWriter};
use crate::domain::address::ChainKind;
use crate::env::Env;

/// Writes to one TRON chain.
pub struct TronWriter {
    client: Client,
}

/// `broadcasthex`: success states `SUCCESS` or no code at all, a failure may leave `result` out.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: bool,
    code: Option<String>,
    message: Option<String>,
    txid: Option<String>,
}

impl TronWriter {
    /// A writer; nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] when there is no such chain or the settings cannot be used.
    pub fn new(chain: ChainKind, settings: &NodeSettings, env: Env) -> Result<Self, SetupError> {
        ChainParameters::of(chain, &settings.contract)?;
        Ok(Self { client: Client::new(settings, env)? })
    }
}

#[async_trait]
impl ChainWriter for TronWriter {
    /// That a node accepts says nothing about what the transaction will come to: its receipt does.
    async fn broadcast(&self, raw: &[u8]) -> Result<Broadcast, ChainError> {
        let (transaction, _) = Transaction::read_signed(raw)
            .map_err(|error| ChainError::Invalid(error.to_string()))?;
        let txid = hex::encode(transaction.id());
        let body = json!({ "transaction": hex::encode(raw) });
        let answer: Answer = self.client.call_known(Api::Full, "broadcasthex", &body).await?;
        if answer.txid.as_ref().is_some_and(|other| *other != txid) {
            let other = answer.txid.unwrap_or_default();
            return Err(ChainError::Invalid(format!("node took {other:.64} for {txid}")));
        }
        outcome(&answer)
    }
}

fn outcome(answer: &Answer) -> Result<Broadcast, ChainError> {
    let said = message(answer.message.as_deref().unwrap_or_default());
    let code = answer.code.as_deref().unwrap_or("SUCCESS");
    let text = format!("{code:.64}: {said}");
    match code {
        "SUCCESS" if answer.result => Ok(Broadcast::Accepted),
        "SUCCESS" => Err(ChainError::Invalid(format!("neither taken nor refused: {said}"))),
        "DUP_TRANSACTION_ERROR" => Ok(Broadcast::AlreadyKnown),
        // The node's own trouble, whatever the transaction.
        "SERVER_BUSY"
        | "NO_CONNECTION"
        | "NOT_ENOUGH_EFFECTIVE_CONNECTION"
        | "BLOCK_UNSOLIDIFIED"
        | "OTHER_ERROR" => Err(ChainError::Transient(text)),
        _ => Ok(Broadcast::Rejected(text)),
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
