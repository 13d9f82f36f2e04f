//! Calls as geth and as OpenEthereum's heirs tell them come to the same payments under the same
//! paths; what failed, or was never moved, comes to none.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use super::*;
use serde_json::{Value, json};

const PAYER: &str = "0x1111111111111111111111111111111111111111";
const SPLITTER: &str = "0x2222222222222222222222222222222222222222";
const OURS: &str = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const THEIRS: &str = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const IDENTITY: &str = "0x0000000000000000000000000000000000000004";

fn call(kind: &str, to: &str, value: &str, calls: Value) -> Value {
    json!({ "type": kind, "from": SPLITTER, "to": to, "value": value, "input": "0x", "calls": calls })
}

fn failed(mut call: Value) -> Value {
    call["error"] = json!("execution reverted");
    call
}

fn top(calls: Value) -> Value {
    json!({ "type": "CALL", "from": PAYER, "to": SPLITTER, "value": "0x64", "input": "0x",
        "output": "0x", "gas": "0x1", "calls": calls })
}

fn paths(payments: &[Payment]) -> Vec<(String, String, u64)> {
    let one = |payment: &Payment| {
        let to = alloy::primitives::hex::encode_prefixed(payment.to);
        (payment.ordinal.clone(), to, u64::try_from(payment.value).unwrap())
    };
    payments.iter().map(one).collect()
}

fn nested_paths(calls: Value) -> Vec<(String, String, u64)> {
    paths(&nested(&top(calls).to_string()).unwrap())
}

/// The same frames as `trace_block` lists them, in any order.
fn flattened(frame: &Value, address: &[usize], out: &mut Vec<Value>) {
    let kind = frame["type"].as_str().unwrap();
    let mut trace = json!({
        "action": { "from": frame["from"], "to": frame["to"], "value": frame["value"],
            "callType": kind.to_lowercase(), "input": "0x", "gas": "0x1" },
        "type": if kind == "SELFDESTRUCT" { "suicide" } else { "call" },
        "traceAddress": address, "subtraces": 0, "blockNumber": 5,
        "blockHash": format!("0x{}", "09".repeat(32)),
        "transactionHash": format!("0x{}", "01".repeat(32)), "transactionPosition": 0,
    });
    if !frame["error"].is_null() {
        trace["error"] = json!("Reverted");
    }
    out.insert(0, trace);
    for (place, call) in frame["calls"].as_array().into_iter().flatten().enumerate() {
        flattened(call, &[address, &[place]].concat(), out);
    }
}

fn flat_paths(calls: Value) -> Vec<(String, String, u64)> {
    let mut traces = Vec::new();
    flattened(&top(calls), &[], &mut traces);
    traces.push(json!({ "action": { "author": PAYER, "value": "0x5", "rewardType": "block" },
        "type": "reward", "traceAddress": [], "transactionHash": null }));
    let text = Value::Array(traces).to_string();
    let found = flat(serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(found.len(), 1);
    paths(found.values().next().unwrap())
}

#[test]
fn both_forms_tell_the_same_payments_under_the_same_paths() {
    let none = || json!([]);
    let calls = json!([
        call("STATICCALL", IDENTITY, "0x0", none()),
        call("CALL", OURS, "0x5", none()),
        failed(call("CALL", THEIRS, "0x6", json!([call("CALL", OURS, "0x7", none())]))),
        call("DELEGATECALL", OURS, "0x64", none()),
        call(
            "CALL",
            THEIRS,
            "0x8",
            json!([
                call("SELFDESTRUCT", OURS, "0x1", none()),
                call("CALL", OURS, "0x9", none()),
                call("CALL", OURS, "0x0", none()),
                call("CALLCODE", OURS, "0x9", none()),
            ])
        ),
    ]);
    let expected = [("t:0", OURS, 5), ("t:2", THEIRS, 8), ("t:2.0", OURS, 9)]
        .map(|(path, to, value)| (path.to_owned(), to.to_owned(), value));
    assert_eq!(nested_paths(calls.clone()), expected);
    assert_eq!(flat_paths(calls), expected);
}

#[test]
fn a_transaction_that_failed_paid_nobody() {
    let text = failed(top(json!([call("CALL", OURS, "0x5", json!([]))]))).to_string();
    assert_eq!(nested(&text), Some(Vec::new()));
}

#[test]
fn a_node_that_leaves_precompiles_out_tells_the_same_paths() {
    let with = json!([
        call("STATICCALL", IDENTITY, "0x0", json!([])),
        call("CALL", OURS, "0x5", json!([]))
    ]);
    let without = json!([call("CALL", OURS, "0x5", json!([]))]);
    assert_eq!(nested_paths(with), flat_paths(without));
}

#[test]
fn what_is_no_tree_is_refused_and_what_is_too_deep_is_not_read() {
    let orphan = json!([{ "action": { "from": PAYER, "to": OURS, "value": "0x5", "callType": "call" },
        "type": "call", "traceAddress": [0], "transactionHash": format!("0x{}", "01".repeat(32)) }]);
    let text = orphan.to_string();
    assert_eq!(flat(serde_json::from_str(&text).unwrap()), None);
    let mut deep = call("CALL", OURS, "0x5", json!([]));
    for _ in 0..100 {
        deep = call("CALL", THEIRS, "0x0", json!([deep]));
    }
    assert_eq!(nested(&deep.to_string()), None);
    assert_eq!(nested("{}"), None);
}
