//! What accounts own after a block, asked in batches and anchored to that block's hash. Not here: what
//! follows from it (`worker::reconcile`), tokens, whose logs tell everything.

use std::sync::atomic::Ordering;

use alloy::primitives::{U256, hex};
use serde_json::{Value, json};

use super::reader::EvmReader;
use super::rpc::{Answer, read, refusal};
use super::wire::number;
use crate::chain::bitcoin::rpc::NodeError;
use crate::chain::{BlockRef, ChainError, ChainReader as _};

impl EvmReader {
    /// See [`crate::chain::ChainReader::balances`].
    pub(super) async fn balances_at(
        &self,
        at: &BlockRef,
        keys: &[Vec<u8>],
    ) -> Result<Vec<u128>, ChainError> {
        if self.parameters.token.is_some() {
            let text = "a token's logs tell all that it moves".to_owned();
            return Err(ChainError::Unsupported(text));
        }
        if !self.lacks_state_by_hash.load(Ordering::Relaxed) {
            // EIP-1898: no other block can answer, and a block that left the chain answers nothing.
            let which = json!({ "blockHash": at.hash, "requireCanonical": true });
            let answers = self.each_balance(&which, keys).await?;
            let is_refused = |answer: &Result<Answer, NodeError>| {
                let error = answer.as_ref().err().map(refusal);
                matches!(error, Some(ChainError::Invalid(_)))
            };
            if !answers.iter().any(is_refused) {
                return answers.into_iter().map(balance).collect();
            }
            self.lacks_state_by_hash.store(true, Ordering::Relaxed);
        }
        self.check_is_at(at).await?;
        let answers = self.each_balance(&json!(format!("{:#x}", at.height)), keys).await?;
        self.check_is_at(at).await?;
        answers.into_iter().map(balance).collect()
    }

    async fn each_balance(
        &self,
        which: &Value,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Result<Answer, NodeError>>, ChainError> {
        let params: Vec<Value> =
            keys.iter().map(|key| json!([hex::encode_prefixed(key), which])).collect();
        self.rpc.each("eth_getBalance", &params).await
    }

    /// That a block is the best chain's at its height.
    async fn check_is_at(&self, at: &BlockRef) -> Result<(), ChainError> {
        match self.header_at(at.height).await? {
            Some(block) if block.hash == at.hash => Ok(()),
            _ => Err(ChainError::Transient(format!("block {} left the chain", at.hash))),
        }
    }
}

fn balance(answer: Result<Answer, NodeError>) -> Result<u128, ChainError> {
    let answer = answer.map_err(|error| refusal(&error))?;
    let text: &str = read("balance", &answer)?;
    let units: Option<U256> = number(text);
    let units = units.and_then(|units| u128::try_from(units).ok());
    units.ok_or_else(|| ChainError::Invalid(format!("no balance: {text:.80}")))
}
