//! What waits to be included, from the pool of a node of one's own (`txpool_content`). Hosted nodes
//! do not show theirs: then there is no view, payments are first seen in their block, and the
//! network's watermark comes from blocks alone. Payments inside contract calls are never seen here.
//!
//! A pool is seen as little as a Bitcoin mempool is: it is one node's, and nothing in it is money. It
//! is complete in the sense that counts: what this node would include next.

use std::sync::atomic::Ordering;

use alloy::primitives::U256;
use serde_json::json;

use super::matching::{Payment, asked_transfer, carried, consumptions};
use super::reader::EvmReader;
use super::rpc::{Answer, is_not_offered, read, refusal};
use super::wire::{Pool, PoolStatus, Transaction, hash_text, number};
use crate::chain::bitcoin::rpc::{CallError, NodeError};
use crate::chain::{ChainError, Mempool, Transfer, Watch};

/// Waiting transactions that are looked at; a larger pool is not viewed at all. geth keeps 6,144 by
/// default, bsc 15,360.
const MAX_WAITING_TRANSACTIONS: u64 = 30_000;
/// Token transfers to us that are tried out in one read. More are seen in a later read, or in their
/// block.
const MAX_TRIED_TRANSFERS: usize = 500;

impl EvmReader {
    /// The node's pool; `None` when it shows none, or more than is looked at.
    pub(super) async fn waiting(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        let Some(answer) = self.pool().await? else { return Ok(None) };
        let pool: Pool<'_> = read("pool", &answer)?;
        let next: Vec<&Transaction<'_>> =
            pool.pending.values().flat_map(|of| of.values()).collect();
        let later = pool.queued.values().flat_map(|of| of.values());
        let consumptions = consumptions(next.iter().copied().chain(later), watch.consumed);
        let asset = self.parameters.asset();
        let transfer = |payment: &Payment, transaction: &Transaction<'_>| {
            payment.for_us(transaction, asset, watch.addresses)
        };
        let Some(token) = self.parameters.token else {
            let hits = next.iter().filter_map(|one| transfer(&carried(one)?, one));
            return Ok(Some(Mempool { transfers: hits.collect(), consumptions }));
        };
        let asked = next
            .iter()
            .filter_map(|one| Some((*one, transfer(&asked_transfer(one, token)?, one)?)));
        let mut asked: Vec<(&Transaction<'_>, Transfer)> = asked.collect();
        if asked.len() > MAX_TRIED_TRANSFERS {
            tracing::warn!(waiting = asked.len(), MAX_TRIED_TRANSFERS, "too many to try out");
            asked.truncate(MAX_TRIED_TRANSFERS);
        }
        let transfers = self.would_succeed(asked).await?;
        Ok(Some(Mempool { transfers, consumptions }))
    }

    /// The pool as the node tells it.
    async fn pool(&self) -> Result<Option<Answer>, ChainError> {
        if self.lacks_pool.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let status: PoolStatus = match self.rpc.ask("txpool_status", json!([])).await {
            Ok(status) => status,
            Err(CallError::Node(error)) => return self.pool_refused(&error),
            Err(CallError::Chain(ChainError::Unsupported(error))) => {
                return self.shows_no_pool(&error);
            }
            Err(CallError::Chain(error)) => return Err(error),
        };
        let waiting = status.pending.saturating_add(status.queued);
        if waiting > MAX_WAITING_TRANSACTIONS {
            tracing::warn!(waiting, "pool is larger than what is looked at");
            return Ok(None);
        }
        match self.rpc.ask("txpool_content", json!([])).await {
            Ok(answer) => Ok(Some(answer)),
            Err(CallError::Node(error)) => self.pool_refused(&error),
            // A few hundred large transactions that nobody includes are enough.
            Err(CallError::Chain(ChainError::TooLarge(error))) => {
                tracing::warn!(network = %self.parameters.network, error, "pool is not viewed");
                Ok(None)
            }
            Err(CallError::Chain(error)) => Err(error),
        }
    }

    /// A node that does not offer its pool is not asked again; what else keeps it from answering passes.
    fn pool_refused(&self, error: &NodeError) -> Result<Option<Answer>, ChainError> {
        if is_not_offered(error) {
            return self.shows_no_pool(&error.to_string());
        }
        tracing::debug!(network = %self.parameters.network, %error, "node does not show its pool now");
        Ok(None)
    }

    fn shows_no_pool(&self, error: &str) -> Result<Option<Answer>, ChainError> {
        self.lacks_pool.store(true, Ordering::Relaxed);
        let network = self.parameters.network;
        tracing::info!(%network, error, "node shows no pool: payments are first seen in blocks");
        Ok(None)
    }

    /// Those token transfers that the contract would carry out now and say so. Otherwise anybody could
    /// have an invoice shown as paid and waiting, with a transfer of what he does not own.
    async fn would_succeed(
        &self,
        asked: Vec<(&Transaction<'_>, Transfer)>,
    ) -> Result<Vec<Transfer>, ChainError> {
        let trial = |transaction: &Transaction<'_>| {
            let Transaction { from, to, input, gas, .. } = transaction;
            let (from, to, gas) =
                (from.to_string(), to.map(|to| to.to_string()), format!("{gas:#x}"));
            json!([{ "from": from, "to": to, "data": input, "gas": gas }, "latest"])
        };
        let trials: Vec<_> = asked.iter().map(|(transaction, _)| trial(transaction)).collect();
        let answers = self.rpc.each("eth_call", &trials).await?;
        let mut transfers = Vec::new();
        for ((transaction, transfer), answer) in asked.into_iter().zip(answers) {
            let said = match &answer {
                Ok(answer) => read::<&str>("answer of the token", answer).ok(),
                Err(_) => None,
            };
            if said.and_then(number) == Some(U256::ONE) {
                transfers.push(transfer);
            } else {
                let why = answer.err().map(|error| refusal(&error).to_string());
                tracing::debug!(
                    txid = hash_text(&transaction.hash),
                    why,
                    "would not be carried out"
                );
            }
        }
        Ok(transfers)
    }
}
