//! Value moved inside contract calls, out of the two forms in which nodes tell what was called: the
//! nested frames of geth's `callTracer` and the flat list of `trace_block`. Pure. Not here: asking
//! for either (`reader`), value that a transaction carries itself (`matching`).

use std::collections::HashMap;

use alloy::primitives::{Address, B256, U256};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::matching::{Payment, TOP_LEVEL};
use super::wire::{address, maybe_address, maybe_hash, maybe_quantity};

/// The deepest call there is (the EVM's own limit).
const CALL_DEPTH_MAX: usize = 1_024;
/// Accounts below are the EVM's own functions (precompiles; BSC's reach to 0x69, RIP-7212's is 0x100).
const PRECOMPILE_BYTES: usize = 2;

/// One call, as both forms have it.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    /// Its number among its siblings as the node counts, which may have gaps.
    place: usize,
    kind: Kind,
    failed: bool,
    from: Address,
    to: Option<Address>,
    value: U256,
    calls: Vec<Frame>,
}

/// What a frame does with value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// CALL moves it to the called account.
    Call,
    /// Runs code and moves nothing to an account of ours: DELEGATECALL and CALLCODE repeat their
    /// caller's value, a new contract's account is nobody's address.
    Other,
    /// Moves a contract's whole balance without calling: no payment of its transaction. It is left to
    /// the reconciliation of balances.
    SelfDestruct,
}

impl Frame {
    /// Whether it counts in the paths of its siblings. What counts is what every node tells alike:
    /// some leave out precompiles, calls that could not begin, or self-destructions, and a payment
    /// must have the same path whoever tells of it, or it would be credited again.
    fn counts(&self) -> bool {
        let is_precompile = self.to.is_some_and(|to| {
            let (zeros, _) = to.split_at(Address::len_bytes() - PRECOMPILE_BYTES);
            zeros.iter().all(|byte| *byte == 0)
        });
        !self.failed && self.kind != Kind::SelfDestruct && !is_precompile
    }
}

/// Payments made inside one transaction: of calls that succeeded, as did every call around them. The
/// outermost is left out: it is the transaction itself.
fn inner_payments(top: &Frame) -> Vec<Payment> {
    let mut found = Vec::new();
    if !top.failed {
        walk(top, TOP_LEVEL, &mut found);
    }
    found
}

fn walk(frame: &Frame, path: &str, found: &mut Vec<Payment>) {
    let counted = frame.calls.iter().filter(|call| call.counts());
    for (place, call) in counted.enumerate() {
        let separator = if path == TOP_LEVEL { "" } else { "." };
        let path = format!("{path}{separator}{place}");
        if let (Kind::Call, Some(to), false) = (call.kind, call.to, call.value.is_zero()) {
            let ordinal = path.clone();
            found.push(Payment { ordinal, from: call.from, to, value: call.value });
        }
        walk(call, &path, found);
    }
}

/// A frame of `callTracer`.
#[derive(Deserialize)]
struct NestedFrame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(deserialize_with = "address")]
    from: Address,
    #[serde(default, deserialize_with = "maybe_address")]
    to: Option<Address>,
    #[serde(default, deserialize_with = "maybe_quantity")]
    value: Option<U256>,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default, borrow)]
    calls: Vec<NestedFrame<'a>>,
}

impl NestedFrame<'_> {
    fn frame(self, place: usize) -> Frame {
        let calls = self.calls.into_iter().enumerate();
        Frame {
            place,
            kind: match self.kind {
                "CALL" => Kind::Call,
                "SELFDESTRUCT" => Kind::SelfDestruct,
                _ => Kind::Other,
            },
            failed: self.error.is_some(),
            from: self.from,
            to: self.to,
            value: self.value.unwrap_or_default(),
            calls: calls.map(|(place, call)| call.frame(place)).collect(),
        }
    }
}

/// Payments made inside the transaction whose `callTracer` frames these are. `None` when they cannot
/// be read, which is so too for calls nested some sixty deep: serde_json stops there.
pub(super) fn nested(json: &str) -> Option<Vec<Payment>> {
    let top: NestedFrame<'_> = serde_json::from_str(json).ok()?;
    Some(inner_payments(&top.frame(0)))
}

/// One entry of `trace_block`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FlatTrace<'a> {
    #[serde(borrow)]
    action: Action<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    error: Option<IgnoredAny>,
    trace_address: Vec<usize>,
    /// The block it was made from.
    #[serde(default, deserialize_with = "maybe_hash")]
    pub block_hash: Option<B256>,
    /// Nobody's, for a block's rewards.
    #[serde(default, deserialize_with = "maybe_hash")]
    pub transaction_hash: Option<B256>,
}

/// What an entry did; each kind has other fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action<'a> {
    call_type: Option<&'a str>,
    #[serde(default, deserialize_with = "maybe_address")]
    from: Option<Address>,
    #[serde(default, deserialize_with = "maybe_address")]
    to: Option<Address>,
    #[serde(default, deserialize_with = "maybe_quantity")]
    value: Option<U256>,
}

impl FlatTrace<'_> {
    fn frame(&self) -> Frame {
        Frame {
            place: self.trace_address.last().copied().unwrap_or_default(),
            kind: match (self.kind, self.action.call_type) {
                ("call", Some("call")) => Kind::Call,
                ("suicide" | "selfdestruct", _) => Kind::SelfDestruct,
                _ => Kind::Other,
            },
            failed: self.error.is_some(),
            from: self.action.from.unwrap_or_default(),
            to: self.action.to,
            value: self.action.value.unwrap_or_default(),
            calls: Vec::new(),
        }
    }
}

/// Payments made inside each transaction of a block, by its hash. `None` when the entries are no
/// trees: a call without the call around it.
pub(super) fn flat(mut traces: Vec<FlatTrace<'_>>) -> Option<HashMap<B256, Vec<Payment>>> {
    // Outer calls before inner ones, each in its place.
    traces.sort_by(|a, b| a.trace_address.cmp(&b.trace_address));
    let mut tops: HashMap<B256, Frame> = HashMap::new();
    for trace in &traces {
        let Some(hash) = trace.transaction_hash else { continue };
        let Some((_, around)) = trace.trace_address.split_last() else {
            if tops.insert(hash, trace.frame()).is_some() {
                return None;
            }
            continue;
        };
        if around.len() >= CALL_DEPTH_MAX {
            return None;
        }
        let mut frame = tops.get_mut(&hash)?;
        for step in around {
            let at = frame.calls.binary_search_by_key(step, |call| call.place).ok()?;
            frame = frame.calls.get_mut(at)?;
        }
        frame.calls.push(trace.frame());
    }
    Some(tops.into_iter().map(|(hash, top)| (hash, inner_payments(&top))).collect())
}

#[cfg(test)]
#[path = "traces_tests.rs"]
mod tests;
