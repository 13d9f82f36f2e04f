//! Asks the node what was called in a block, in whichever way it offers, and how long to go on asking
//! when it fails. A block that it does not tell whole is said to be so, and read all the same. Not here:
//! what in the answers is a payment (`traces`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy::primitives::B256;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::matching::Payment;
use super::reader::{EvmReader, Transactions};
use super::rpc::{Answer, is_not_offered, meaning, read};
use super::traces::{FlatTrace, flat, nested};
use super::wire::{Transaction, hash_text, maybe_hash};
use crate::chain::ChainError;
use crate::chain::bitcoin::rpc::CallError;

/// What a transfer of value costs, so that a transaction allowed no more runs nobody's code.
const PLAIN_TRANSFER_GAS: u64 = 21_000;
/// How often a block's calls are asked for while the node does not answer in time, or not at all. A
/// transaction can be made to be too much for any tracer, and must not stop the reading of the chain.
pub(super) const TRACE_TRIES_MAX: u32 = 5;
/// Blocks whose failures are remembered: more than are asked for before the first failure is heard of.
const FAILED_BLOCKS_MAX: usize = 128;
/// A node that told no calls is asked again at each block that is a multiple of this, about hourly.
const ASKED_AGAIN_BLOCKS: u64 = 300;

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

/// What is known of the node from earlier questions.
#[derive(Default)]
pub(super) struct CallsAsked {
    /// How the node tells what was called; `None` until it was asked.
    tracing: Mutex<Option<Tracing>>,
    /// Blocks about which it did not answer.
    pub(super) failed: Failures,
}

/// How often something about a block was not answered, the newest failure last.
#[derive(Default)]
pub(super) struct Failures(Mutex<Vec<(B256, u32)>>);

/// What was moved inside the calls of a block.
pub(super) struct InnerPayments {
    /// Each beside its transaction's place in the block.
    pub payments: Vec<(usize, Payment)>,
    /// Whether that is all.
    pub is_whole: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TracedTransaction<'a> {
    #[serde(default, deserialize_with = "maybe_hash")]
    tx_hash: Option<B256>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
}

impl InnerPayments {
    const fn new(is_whole: bool) -> Self {
        Self { payments: Vec::new(), is_whole }
    }

    /// Adds what one transaction's calls moved; `None` where that could not be told.
    fn add(&mut self, place: usize, told: Option<Vec<Payment>>) {
        self.is_whole &= told.is_some();
        self.payments.extend(told.into_iter().flatten().map(|payment| (place, payment)));
    }
}

impl CallsAsked {
    fn known(&self) -> MutexGuard<'_, Option<Tracing>> {
        self.tracing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    /// Counts one more failure of a block; whether it was the last of `tries`.
    pub fn is_given_up(&self, block: B256, tries_max: u32) -> bool {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = failed.iter().position(|(hash, _)| *hash == block);
        let tries = at.map_or(1, |at| failed.remove(at).1.saturating_add(1));
        if failed.len() == FAILED_BLOCKS_MAX {
            failed.remove(0);
        }
        failed.push((block, tries));
        tries >= tries_max
    }

    /// Forgets a block that was read: whoever reads it again begins anew.
    pub fn forget(&self, block: B256) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(hash, _)| *hash != block);
    }
}

impl EvmReader {
    /// What was moved inside the calls of a block, as far as the node tells.
    ///
    /// A block whose calls it does not tell (it tells none, its state is pruned, a transaction was made
    /// to be too much for any tracer) is no reason to stop reading the chain, or anybody could stop it
    /// for the price of one transaction: what was moved there is left to the reconciliation of balances.
    pub(super) async fn inner_payments(
        &self,
        block: &Transactions<'_>,
    ) -> Result<InnerPayments, ChainError> {
        if !block.transactions.iter().any(runs_code) {
            return Ok(InnerPayments::new(true));
        }
        if block.number.is_multiple_of(ASKED_AGAIN_BLOCKS) {
            self.calls.known().take_if(|known| *known == Tracing::None);
        }
        let found = match self.tracing().await {
            Ok(Tracing::None) => return Ok(InnerPayments::new(false)),
            Ok(Tracing::Nested) => self.nested_traces(block).await,
            Ok(Tracing::Flat) => self.flat_traces(block).await,
            Err(error) => Err(error.into()),
        };
        let is_passing = match &found {
            Err(CallError::Node(error)) if is_not_offered(error) => {
                *self.calls.known() = None;
                true
            }
            Err(CallError::Chain(ChainError::Transient(_))) => true,
            _ => false,
        };
        match found {
            Err(error)
                if is_passing && !self.calls.failed.is_given_up(block.hash, TRACE_TRIES_MAX) =>
            {
                Err(meaning(error))
            }
            Err(error) => {
                tracing::error!(block = %block.hash, %error,
                    "payments inside calls not read: left to the reconciliation of balances");
                Ok(InnerPayments::new(false))
            }
            Ok(found) => Ok(found),
        }
    }

    /// How the node tells what was called: asked once, about a block whose state it has.
    pub(super) async fn tracing(&self) -> Result<Tracing, ChainError> {
        let known = *self.calls.known();
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
                "node tells no calls: payments inside them are seen when balances are reconciled");
        }
        *self.calls.known() = Some(found);
        Ok(found)
    }

    /// By `callTracer`: the block at once; where that is refused or too much, each transaction that
    /// may run code.
    async fn nested_traces(&self, block: &Transactions<'_>) -> Result<InnerPayments, CallError> {
        let tracer = json!({ "tracer": "callTracer" });
        let params = json!([hash_text(&block.hash), tracer]);
        let mut found = InnerPayments::new(true);
        let together = self.rpc.ask::<Answer>("debug_traceBlockByHash", params).await;
        let answer = match together {
            Ok(answer) => answer,
            Err(CallError::Node(error)) if is_not_offered(&error) => return Err(error.into()),
            Err(CallError::Chain(error @ ChainError::Transient(_))) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(block = %block.hash, %error, "block not traced at once");
                for (place, transaction) in block.transactions.iter().enumerate() {
                    if runs_code(transaction) {
                        found.add(place, self.nested_trace(transaction).await?);
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
                Some(payments) => found.add(place, Some(payments)),
                None if runs_code(transaction) => {
                    found.add(place, self.nested_trace(transaction).await?);
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// One transaction's calls; `None`, and a line in the log, where the node cannot tell them.
    async fn nested_trace(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<Vec<Payment>>, ChainError> {
        let tracer = json!({ "tracer": "callTracer" });
        let params = json!([hash_text(&transaction.hash), tracer]);
        let txid = transaction.hash;
        match self.rpc.ask::<Answer>("debug_traceTransaction", params).await {
            Ok(answer) => {
                let payments = nested(answer.get());
                if payments.is_none() {
                    tracing::error!(%txid, "calls cannot be read: payments inside are not seen");
                }
                Ok(payments)
            }
            Err(CallError::Chain(error @ ChainError::Transient(_))) => Err(error),
            Err(error) => {
                tracing::error!(%txid, %error, "not traced: payments inside are not seen");
                Ok(None)
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
        let mut found = InnerPayments::new(true);
        for (place, transaction) in block.transactions.iter().enumerate() {
            let payments = by_hash.remove(&transaction.hash).ok_or_else(|| {
                ChainError::Transient(format!("no traces of {} yet", transaction.hash))
            })?;
            found.add(place, Some(payments));
        }
        Ok(found)
    }
}

/// Whether a transaction is allowed enough to run code.
const fn runs_code(transaction: &Transaction<'_>) -> bool {
    transaction.gas > PLAIN_TRANSFER_GAS
}
