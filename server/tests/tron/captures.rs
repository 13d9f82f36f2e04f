//! The simulator against a live java-tron: the story that the captures tell is played again on it,
//! and every answer must have the captured one's keys, kinds of values, codes and texts.
//! Captures that are not played again are named with their reason; none is passed over.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bitcoin::secp256k1::SecretKey;
use cryptopayment::chain::tron::transaction::{
    Frame, Raw, TransferContract, address, token_transfer,
};
use cryptopayment::domain::address_text;
use serde_json::{Value, json};

use crate::tron_node::TronNode;
use crate::tron_node::chain::{account_of, key_named};
use crate::tron_node::driver::signed_by;
use crate::tron_node::render::View;
use crate::tron_node::wire::{Account, Action, CreateSmartContract, Tx, contract_made_by, hex41};

/// Not told by a simulated account: the moments at which something happened to it.
const MOMENTS: [&str; 4] = [
    "create_time",
    "latest_opration_time",
    "latest_consume_free_time",
    "latest_consume_time_for_energy",
];

/// `(beginning of the name, reason)` of captures that are not played again.
const LEFT_OUT: [(&str, &str); 26] = [
    ("42-", "internal transactions are not simulated"),
    ("44-", "internal transactions are not simulated"),
    ("52-", "a witness's own account; the others' are 53 and 80"),
    ("66-", "a contract's ABI and code are not simulated"),
    ("signed-trx-transfer", "no request: read in chain/tron/transaction_tests.rs"),
    ("signed-trc20-transfer", "no request: read in chain/tron/transaction_tests.rs"),
    ("82-", "JSON-RPC is a third port that the program does not use"),
    ("83-", "JSON-RPC"),
    ("84-", "JSON-RPC"),
    ("85-", "JSON-RPC"),
    ("86-", "JSON-RPC"),
    ("87-", "JSON-RPC"),
    ("88-", "JSON-RPC"),
    ("89-", "JSON-RPC"),
    ("90-", "JSON-RPC"),
    ("91-", "JSON-RPC"),
    ("92-", "JSON-RPC"),
    ("93-", "JSON-RPC"),
    ("94-", "JSON-RPC"),
    ("95-", "JSON-RPC"),
    ("96-", "JSON-RPC"),
    ("97-", "JSON-RPC"),
    ("98-", "JSON-RPC"),
    ("99-", "JSON-RPC"),
    ("100-", "JSON-RPC"),
    ("101-", "JSON-RPC"),
];

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/tron/javatron-4.8.0-live"].iter().collect()
}

fn captured(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

struct Story {
    node: TronNode,
    http: reqwest::Client,
    played: BTreeSet<String>,
    wrong: Vec<String>,
    /// Who owns nearly everything: the key of the captures.
    rich: SecretKey,
    /// Activated early in the story.
    other: SecretKey,
    /// Holds tokens and was never activated until late.
    holder: Account,
    token: Account,
}

impl Story {
    async fn begin() -> Self {
        crate::support::server::install_tls();
        let signed = captured("signed-trx-transfer");
        let rich = hex::decode(signed["private_key"].as_str().unwrap()).unwrap();
        let rich = SecretKey::from_slice(&rich).unwrap();
        let node = TronNode::start_with(account_of(&rich), 1, 0).await;
        // In the captures its free bytes were used up.
        node.chain().change(|state| {
            state.holders.get_mut(&account_of(&rich)).unwrap().free_bytes_used = 552
        });
        node.mine(1);
        Self {
            node,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            played: BTreeSet::new(),
            wrong: Vec::new(),
            rich,
            other: key_named("the other account"),
            holder: account_of(&key_named("a holder")),
            token: [0; 20],
        }
    }

    fn rich(&self) -> String {
        hex41(account_of(&self.rich))
    }

    fn other(&self) -> String {
        hex41(account_of(&self.other))
    }

    /// Asks what a capture asked, with this story's own values, and compares the answers.
    async fn same(&mut self, name: &str, body: Value) -> Value {
        self.same_but(name, body, &[]).await
    }

    /// The same without looking at some keys.
    async fn same_but(&mut self, name: &str, body: Value, ignored: &[&str]) -> Value {
        let capture = captured(name);
        let request = &capture["request"];
        let keys = |value: &Value| -> BTreeSet<String> {
            value
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| !key.starts_with("raw_data") && *key != "call_value")
                .cloned()
                .collect()
        };
        assert_eq!(keys(&body), keys(&request["body"]), "{name} asks in another way");
        let base = match request["port"].as_str() {
            Some("solidity") => self.node.solidity_url(),
            _ => self.node.full_url(),
        };
        let url = format!("{base}{}", request["url"].as_str().unwrap());
        let answer = self.http.post(url).body(body.to_string()).send().await.unwrap();
        assert_eq!(
            Some(u64::from(answer.status().as_u16())),
            capture["http_status"].as_u64(),
            "{name}"
        );
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let mut ignored = ignored.to_vec();
        ignored.extend(MOMENTS);
        compare(name, "", &capture["response"], &answer, &ignored, &mut self.wrong);
        self.played.insert(name.to_owned());
        answer
    }

    fn frame(&self, fee_limit: i64) -> Frame {
        let chain = self.node.chain();
        let tip = chain.tip();
        Frame {
            block_height: tip.number(),
            block_id: tip.id,
            expiration: tip.header.timestamp + 60_000,
            timestamp: tip.header.timestamp + 1,
            fee_limit,
        }
    }

    fn body(tx: &Tx) -> Value {
        let mut body = View { visible: false }.unsigned(&tx.raw, &tx.action);
        body["signature"] = json!([hex::encode(&tx.signed.signature[0])]);
        body
    }

    /// Signs what a method made.
    fn signed(key: &SecretKey, made: &Value) -> Tx {
        let raw = hex::decode(made["raw_data_hex"].as_str().unwrap()).unwrap();
        signed_by(key, &cryptopayment::chain::tron::transaction::read_raw(&raw).unwrap())
    }

    /// Broadcasts and puts it into a block.
    async fn include(&mut self, name: &str, tx: &Tx) {
        self.same(name, Self::body(tx)).await;
        self.node.mine(1);
    }

    fn push(&self, tx: Tx) {
        self.node.chain().push(tx).unwrap();
        self.node.mine(1);
    }

    fn height(&self) -> u64 {
        self.node.chain().tip().number()
    }

    fn call(&self, owner: &str, function: &str, parameter: String) -> Value {
        json!({
            "owner_address": owner, "contract_address": hex41(self.token),
            "function_selector": function, "parameter": parameter,
        })
    }

    fn transfer(&self, owner: &str, to: Account, units: u128) -> Value {
        self.call(owner, "transfer(address,uint256)", hex::encode(&token_transfer(to, units)[4..]))
    }

    fn balance_of(&self, who: Account) -> Value {
        let rich = self.rich();
        self.call(&rich, "balanceOf(address)", format!("{:0>64}", hex::encode(who)))
    }
}

/// Every difference of shape: keys, kinds, codes, texts.
fn compare(
    name: &str,
    at: &str,
    expected: &Value,
    got: &Value,
    ignored: &[&str],
    wrong: &mut Vec<String>,
) {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            let known = |key: &&String| !ignored.contains(&key.as_str());
            let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
                (got.keys().filter(known).collect(), expected.keys().filter(known).collect());
            if ours != theirs {
                wrong.push(format!("{name}{at}: keys {ours:?} instead of {theirs:?}"));
            }
            for key in ours.intersection(&theirs) {
                compare(name, &format!("{at}/{key}"), &expected[*key], &got[*key], ignored, wrong);
            }
        }
        (Value::Array(expected), Value::Array(got)) => {
            if expected.is_empty() != got.is_empty() {
                wrong.push(format!(
                    "{name}{at}: {} elements instead of {}",
                    got.len(),
                    expected.len()
                ));
            }
            for (expected, got) in expected.iter().zip(got) {
                compare(name, &format!("{at}/*"), expected, got, ignored, wrong);
            }
        }
        (Value::Number(expected), Value::Number(got)) if expected.is_f64() == got.is_f64() => {}
        (Value::String(expected), Value::String(got)) => {
            if kind(at, expected) != kind(at, got) {
                wrong.push(format!("{name}{at}: `{got}` instead of `{expected}`"));
            }
        }
        (expected, got) if expected == got => {}
        _ => wrong.push(format!("{name}{at}: {got} instead of {expected}")),
    }
}

/// What kind of text it is; texts that say something are their own kind.
fn kind(at: &str, text: &str) -> String {
    let last = at.rsplit('/').next().unwrap_or_default();
    let is_hex = !text.is_empty()
        && text.len().is_multiple_of(2)
        && text.bytes().all(|b| b.is_ascii_hexdigit());
    match last {
        "message" | "resMessage" if is_hex => {
            let said = String::from_utf8(hex::decode(text).unwrap()).unwrap();
            // A signature's refusal names the signature and who made it.
            said.split(": ")
                .take(if said.starts_with("Validate sig") { 1 } else { 9 })
                .collect::<Vec<_>>()
                .join(": ")
        }
        "data" | "raw_data_hex" | "parameter" if is_hex => "bytes".to_owned(),
        "*" if at.ends_with("/contractResult/*") && is_hex && text.len() > 200 => "code".to_owned(),
        "prices" | "key" => last.to_owned(),
        "block" | "solidityBlock" => text.chars().take(4).collect(),
        _ if is_hex => format!("{} bytes", text.len() / 2),
        _ if text.len() == 34 && text.starts_with('T') => "address".to_owned(),
        _ => text.to_owned(),
    }
}

/// The first TRX of an account, from its making to its solidified block.
async fn trx(story: &mut Story) {
    let (rich, other) = (story.rich(), story.other());
    story.same("01-getnowblock-empty", json!({})).await;
    story
        .same_but(
            "02-getblockbynum-genesis",
            json!({ "num": 0 }),
            &["transactions", "witness_address"],
        )
        .await;
    story.same("03-getaccount-unactivated", json!({ "address": other })).await;
    story.same("04-getaccountresource-unactivated", json!({ "address": other })).await;
    let body = json!({ "owner_address": rich, "to_address": other, "amount": 50_000_000 });
    let made = story.same("05-createtransaction-trx", body).await;
    let tx = Story::signed(&story.rich, &made);
    let of = json!({ "value": tx.txid() });
    story.same("06-broadcasttransaction-ok", Story::body(&tx)).await;
    story.same("07-broadcasttransaction-dup", Story::body(&tx)).await;
    story.same("08-gettransactionfrompending", of.clone()).await;
    story.same("09-gettransactionlistfrompending", json!({})).await;
    story.same("10-gettransactioninfobyid-unconfirmed", of.clone()).await;
    story.same("11-gettransactionbyid-pending", of.clone()).await;
    let solid = story.node.chain().solid();
    story.node.chain().solid_held_at = Some(solid);
    story.node.mine(1);
    let height = story.height();
    story.same("12-gettransactioninfobyid-trx-new-account", of.clone()).await;
    story.same("13-gettransactionbyid-trx", of.clone()).await;
    story.same("14-solidity-gettransactioninfobyid-not-yet-solid", of.clone()).await;
    story.same("15-getblockbynum-trx", json!({ "num": height })).await;
    story.same("16-gettransactioninfobyblocknum-trx", json!({ "num": height })).await;
    let body = json!({ "id_or_num": height.to_string(), "detail": false });
    story.same("17-getblock-detail-false", body).await;
    story.node.chain().solid_held_at = None;
    story.same("18-solidity-gettransactioninfobyid", of).await;
}

/// The token's deployment.
async fn deployment(story: &mut Story) {
    let capture = captured("19-broadcast-deploy");
    let raw = hex::decode(capture["request"]["body"]["raw_data_hex"].as_str().unwrap()).unwrap();
    let raw = cryptopayment::chain::tron::transaction::read_raw(&raw).unwrap();
    let Some(Action::Create(body)) = Action::of(&raw.contract[0]) else { panic!("a deployment") };
    let owner_address = address(account_of(&story.rich));
    assert_eq!(body.owner_address, owner_address, "by the key of the captures");
    let action = Action::Create(CreateSmartContract { owner_address, ..body });
    let tx = signed_by(&story.rich, &action.raw(&story.frame(1_000_000_000)));
    story.token = contract_made_by(tx.id, account_of(&story.rich));
    let mut body = Story::body(&tx);
    body["contract_address"] = json!(hex41(story.token));
    story.same("19-broadcast-deploy", body).await;
    story.node.mine(1);
    story.same("20-gettransactioninfobyid-deploy", json!({ "value": tx.txid() })).await;
}

/// Payments of the token, in time and not.
async fn token(story: &mut Story) {
    let (rich, other, holder) = (story.rich(), story.other(), story.holder);
    story
        .same("21-estimateenergy-transfer-to-new", story.transfer(&rich, holder, 12_500_000))
        .await;
    story
        .same("22-triggerconstantcontract-transfer-sim", story.transfer(&rich, holder, 12_500_000))
        .await;
    let mut body = story.transfer(&rich, holder, 12_500_000);
    body["fee_limit"] = json!(100_000_000);
    let made = story.same("23-triggersmartcontract-transfer", body).await;
    let tx = Story::signed(&story.rich, &made["transaction"]);
    let of = json!({ "value": tx.txid() });
    story.include("24-broadcast-trc20", &tx).await;
    let height = story.height();
    story.same("25-gettransactioninfobyid-trc20-to-unactivated", of.clone()).await;
    story.same("26-gettransactionbyid-trc20", of).await;
    story.same("27-getblockbynum-trc20", json!({ "num": height })).await;
    story.same("28-gettransactioninfobyblocknum-trc20", json!({ "num": height })).await;
    let visible = json!({ "num": height, "visible": true });
    story.same("29-gettransactioninfobyblocknum-trc20-visible", visible).await;
    story.same("30-triggerconstantcontract-balanceOf", story.balance_of(holder)).await;
    story.same("31-triggerconstantcontract-revert", story.transfer(&other, holder, 1)).await;
    let mut nowhere = story.balance_of(holder);
    nowhere["contract_address"] = json!(other);
    story.same("32-triggerconstantcontract-no-contract", nowhere).await;
    story.same("33-getaccount-trc20-only-holder", json!({ "address": hex41(holder) })).await;
    story.same("77-solidity-getblockbynum", json!({ "num": height })).await;
    story.same("78-solidity-gettransactioninfobyblocknum", json!({ "num": height })).await;
    let again = Raw::trigger(
        &story.frame(100_000_000),
        account_of(&story.rich),
        story.token,
        token_transfer(holder, 1),
    );
    let again = signed_by(&story.rich, &again);
    let of = json!({ "value": again.txid() });
    story.push(again);
    story.same("34-gettransactioninfobyid-trc20-to-holder", of).await;
    story.same("81-solidity-triggerconstantcontract", story.balance_of(holder)).await;

    let failing = Raw::trigger(
        &story.frame(100_000_000),
        account_of(&story.other),
        story.token,
        token_transfer(holder, 1),
    );
    let tx = signed_by(&story.other, &failing);
    let of = json!({ "value": tx.txid() });
    story.include("35-broadcast-will-revert", &tx).await;
    story.same("36-gettransactioninfobyid-revert", of.clone()).await;
    story.same("37-gettransactionbyid-revert", of).await;
    let poor = Raw::trigger(
        &story.frame(100_000),
        account_of(&story.rich),
        story.token,
        token_transfer([3; 20], 1),
    );
    let tx = signed_by(&story.rich, &poor);
    let of = json!({ "value": tx.txid() });
    story.include("38-broadcast-low-feelimit", &tx).await;
    story.same("39-gettransactioninfobyid-out-of-energy", of.clone()).await;
    story.same("40-gettransactionbyid-out-of-energy", of).await;
    for (name, value) in [
        ("41-triggersmartcontract-multi", None),
        ("43-triggersmartcontract-fwd-trx", Some(3_000_000)),
    ] {
        let mut body = story.transfer(&rich, holder, 1);
        body["fee_limit"] = json!(500_000_000);
        if let Some(value) = value {
            body["call_value"] = json!(value);
        }
        story.same(name, body).await;
    }
}

/// Every refusal that was captured.
async fn refusals(story: &mut Story) {
    let to = account_of(&story.other);
    let from = account_of(&story.rich);
    let good = Raw::transfer(&story.frame(0), from, to, 7);
    let mut forged = signed_by(&story.rich, &good);
    forged.signed.signature[0][0] ^= 0x11;
    story.same("45-broadcast-bad-signature", Story::body(&forged)).await;
    let body = json!({ "owner_address": story.other(), "to_address": story.rich(), "amount": 999_999_999_999_i64 });
    story.same("46-createtransaction-insufficient", body).await;
    let frame = story.frame(0);
    let far = frame.expiration + 2 * 86_400_000;
    for (name, raw) in [
        ("47-broadcast-expired", Raw { expiration: frame.expiration - 200_000, ..good.clone() }),
        (
            "48-broadcast-tapos",
            Raw { ref_block_hash: vec![1, 2, 3, 4, 5, 6, 7, 8], ..good.clone() },
        ),
        ("49-broadcast-too-far-expiration", Raw { expiration: far, ..good.clone() }),
        ("50-broadcast-insufficient", Raw::transfer(&frame, from, to, 9_007_199_254_740_991)),
    ] {
        story.same(name, Story::body(&signed_by(&story.rich, &raw))).await;
    }
    story.same("51-broadcasthex-ok", json!({ "transaction": "" })).await;
    story.node.mine(1);
}

/// Accounts, energy and what a node says of itself.
async fn resources(story: &mut Story) {
    let (rich, other) = (story.rich(), story.other());
    story.same("76-solidity-getnowblock", json!({})).await;
    story.same("53-getaccount-activated", json!({ "address": other })).await;
    story.same("54-getaccountresource", json!({ "address": rich })).await;
    story.same("55-getaccountnet", json!({ "address": other })).await;
    let body = json!({ "owner_address": rich, "frozen_balance": 1_000_000_000_000_i64, "resource": "ENERGY" });
    let made = story.same("56-freezebalancev2-energy", body).await;
    let tx = Story::signed(&story.rich, &made);
    let of = json!({ "value": tx.txid() });
    story.push(tx);
    story.same("57-gettransactioninfobyid-freezebalancev2-energy", of).await;
    let body = json!({
        "owner_address": rich, "receiver_address": other, "balance": 100_000_000_000_i64,
        "resource": "ENERGY", "lock": false,
    });
    let made = story.same("58-delegateresource-energy", body).await;
    let tx = Story::signed(&story.rich, &made);
    let of = json!({ "value": tx.txid() });
    story.push(tx);
    story.same("59-gettransactioninfobyid-delegateresource-energy", of).await;
    story.same("60-getaccountresource-after-delegation", json!({ "address": other })).await;
    story.same("61-getaccountresource-after-stake", json!({ "address": rich })).await;
    story.same("75-getblockbylatestnum", json!({ "num": 1 })).await;
    story.same("62-getchainparameters", json!({})).await;
    story.same("63-getenergyprices", json!({})).await;
    story.same("64-getbandwidthprices", json!({})).await;
    story.same_but("65-getnodeinfo", json!({}), &["configNodeInfo", "machineInfo"]).await;
    let text = address_text::tron(account_of(&story.rich));
    story.same("67-validateaddress-ok", json!({ "address": text })).await;
    story.same("68-validateaddress-bad", json!({ "address": format!("{}1", &text[..33]) })).await;
}

/// What is not there.
async fn nothing(story: &mut Story) {
    story.same("69-getblockbynum-missing", json!({ "num": 99_999_999 })).await;
    story.same("70-getblockbynum-bad", json!({ "num": "abc" })).await;
    story.same("71-gettransactioninfobyid-unknown", json!({ "value": "0".repeat(64) })).await;
    story.same("72-gettransactioninfobyblocknum-empty", json!({ "num": 1 })).await;
    story.same("73-gettransactioninfobyblocknum-future", json!({ "num": 99_999_999 })).await;
    story.same("74-getblockbylimitnext", json!({ "startNum": 1, "endNum": 3 })).await;
    story.same("79-solidity-getblockbynum-not-solid", json!({ "num": 99_999_999 })).await;
    let body = TransferContract {
        owner_address: address(account_of(&story.rich)),
        to_address: address(story.holder),
        amount: 3_000_000,
    };
    let tx = signed_by(&story.rich, &Action::Transfer(body).raw(&story.frame(0)));
    story.push(tx);
    story.same("80-solidity-getaccount", json!({ "address": hex41(story.holder) })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_answers_in_the_shapes_of_a_live_node() {
    let mut story = Story::begin().await;
    trx(&mut story).await;
    deployment(&mut story).await;
    token(&mut story).await;
    refusals(&mut story).await;
    resources(&mut story).await;
    nothing(&mut story).await;
    assert!(story.wrong.is_empty(), "\n{}", story.wrong.join("\n"));

    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".json");
        let reason = LEFT_OUT.iter().find(|(start, _)| name.starts_with(start));
        match reason {
            Some((_, reason)) => println!("not played again: {name}: {reason}"),
            None => assert!(story.played.contains(name), "{name} was passed over"),
        }
    }
}

/// The block's id is computed as a live node computes it.
#[test]
fn a_captured_header_hashes_to_its_id() {
    use crate::tron_node::wire::Header;
    for name in ["01-getnowblock-empty", "15-getblockbynum-trx", "27-getblockbynum-trc20"] {
        let block = captured(name)["response"].clone();
        let raw = &block["block_header"]["raw_data"];
        let bytes = |key: &str| hex::decode(raw[key].as_str().unwrap()).unwrap();
        let header = Header {
            timestamp: raw["timestamp"].as_i64().unwrap(),
            tx_trie_root: bytes("txTrieRoot"),
            parent_hash: bytes("parentHash"),
            number: raw["number"].as_i64().unwrap(),
            witness_address: bytes("witness_address"),
            version: i32::try_from(raw["version"].as_i64().unwrap()).unwrap(),
        };
        assert_eq!(hex::encode(header.id()), block["blockID"].as_str().unwrap(), "{name}");
    }
}

/// The address of a deployed contract is computed as a live node computes it.
#[test]
fn a_captured_deployment_made_its_contract() {
    let deployed = captured("20-gettransactioninfobyid-deploy")["response"].clone();
    let txid = hex::decode(deployed["id"].as_str().unwrap()).unwrap().try_into().unwrap();
    let signed = captured("signed-trx-transfer");
    let key = hex::decode(signed["private_key"].as_str().unwrap()).unwrap();
    let owner = account_of(&SecretKey::from_slice(&key).unwrap());
    assert_eq!(
        hex41(contract_made_by(txid, owner)),
        deployed["contract_address"].as_str().unwrap()
    );
}
