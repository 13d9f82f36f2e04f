//! Blocks, transactions, receipts and accounts in java-tron's JSON: protobuf's zeros left out,
//! addresses in hex with 0x41 (logs without) or in base58 where `visible` was asked for.
//! Not here: which of them is asked for.

use cryptopayment::chain::tron::transaction::Raw;
use cryptopayment::domain::address_text;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::chain::{Block, Included, key_named, sign};
use super::contracts::SimLog;
use super::execute::{FREE_BYTES, Holder, Receipt, State, TOTAL_ENERGY};
use super::wire::{Account, Action, Tx, account, hex41};

/// How one request wants addresses.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub visible: bool,
}

/// An object without its nulls, zeros and empty texts, as protobuf's JSON leaves them out.
fn sparse(fields: &[(&str, Value)]) -> Value {
    let said = |value: &Value| {
        !(value.is_null() || *value == json!(0) || *value == json!("") || *value == json!([]))
    };
    let fields = fields.iter().filter(|(_, value)| said(value));
    Value::Object(fields.map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

impl View {
    pub fn address(self, who: Account) -> Value {
        json!(if self.visible { address_text::tron(who) } else { hex41(who) })
    }

    fn of_bytes(self, bytes: &[u8]) -> Value {
        account(bytes).map_or_else(|| json!(hex::encode(bytes)), |who| self.address(who))
    }

    pub fn header(self, block: &Block) -> Value {
        let header = &block.header;
        let raw = sparse(&[
            ("number", json!(header.number)),
            ("txTrieRoot", json!(hex::encode(&header.tx_trie_root))),
            ("witness_address", self.of_bytes(&header.witness_address)),
            ("parentHash", json!(hex::encode(&header.parent_hash))),
            ("version", json!(header.version)),
            ("timestamp", json!(header.timestamp)),
        ]);
        let mut signature = sign(&key_named(&format!("witness {}", block.witness)), block.id);
        signature[64] -= 27;
        let header = if block.header.number == 0 {
            json!({ "raw_data": raw })
        } else {
            json!({ "raw_data": raw, "witness_signature": hex::encode(signature) })
        };
        json!({ "blockID": hex::encode(block.id), "block_header": header })
    }

    pub fn block(self, block: &Block) -> Value {
        let mut answer = self.header(block);
        if !block.included.is_empty() {
            let all = block.included.iter().map(|one| self.included(one));
            answer["transactions"] = all.collect();
        }
        answer
    }

    pub fn included(self, included: &Included) -> Value {
        self.with_outcome(&included.tx, included.receipt.result.unwrap_or("SUCCESS"))
    }

    /// What waits is told as if it had succeeded.
    pub fn waiting(self, tx: &Tx) -> Value {
        self.with_outcome(tx, "SUCCESS")
    }

    fn with_outcome(self, tx: &Tx, outcome: &str) -> Value {
        let signatures: Vec<String> = tx.signed.signature.iter().map(hex::encode).collect();
        let mut answer = json!({ "ret": [{ "contractRet": outcome }], "signature": signatures });
        answer["txID"] = json!(tx.txid());
        answer["raw_data"] = self.raw(&tx.raw, &tx.action);
        answer["raw_data_hex"] = json!(hex::encode(&tx.signed.raw_data));
        answer
    }

    /// A transaction that nobody signed yet.
    pub fn unsigned(self, raw: &Raw, action: &Action) -> Value {
        let bytes = raw.bytes();
        json!({
            "visible": self.visible,
            "txID": hex::encode(cryptopayment::chain::tron::transaction::id_of(&bytes)),
            "raw_data": self.raw(raw, action),
            "raw_data_hex": hex::encode(bytes),
        })
    }

    pub fn raw(self, raw: &Raw, action: &Action) -> Value {
        let contract = json!([{
            "parameter": {
                "value": self.action(action),
                "type_url": format!("type.googleapis.com/protocol.{}", action.name()),
            },
            "type": action.name(),
        }]);
        sparse(&[
            ("contract", contract),
            ("ref_block_bytes", json!(hex::encode(&raw.ref_block_bytes))),
            ("ref_block_hash", json!(hex::encode(&raw.ref_block_hash))),
            ("expiration", json!(raw.expiration)),
            ("fee_limit", json!(raw.fee_limit)),
            ("timestamp", json!(raw.timestamp)),
        ])
    }

    fn action(self, action: &Action) -> Value {
        let energy = |resource: i32| if resource == 1 { json!("ENERGY") } else { Value::Null };
        match action {
            Action::Transfer(body) => sparse(&[
                ("amount", json!(body.amount)),
                ("owner_address", self.of_bytes(&body.owner_address)),
                ("to_address", self.of_bytes(&body.to_address)),
            ]),
            Action::Trigger(body) => sparse(&[
                ("data", json!(hex::encode(&body.data))),
                ("owner_address", self.of_bytes(&body.owner_address)),
                ("contract_address", self.of_bytes(&body.contract_address)),
                ("call_value", json!(body.call_value)),
            ]),
            Action::Create(body) => json!({
                "owner_address": self.of_bytes(&body.owner_address),
                "new_contract": {
                    "bytecode": hex::encode(&body.new_contract.clone().unwrap_or_default().bytecode),
                    "origin_address": self.of_bytes(&body.owner_address),
                },
            }),
            Action::Freeze(body) => sparse(&[
                ("resource", energy(body.resource)),
                ("frozen_balance", json!(body.frozen_balance)),
                ("owner_address", self.of_bytes(&body.owner_address)),
            ]),
            Action::Delegate(body) => sparse(&[
                ("balance", json!(body.balance)),
                ("resource", energy(body.resource)),
                ("receiver_address", self.of_bytes(&body.receiver_address)),
                ("owner_address", self.of_bytes(&body.owner_address)),
            ]),
        }
    }

    pub fn receipt(self, block: &Block, included: &Included) -> Value {
        let Included { tx, receipt } = included;
        let Receipt { result, message, output, logs, .. } = receipt;
        let failed = result.is_some_and(|result| result != "SUCCESS");
        let resources = sparse(&[
            ("energy_usage", json!(receipt.energy_usage)),
            ("energy_fee", json!(receipt.energy_fee)),
            ("energy_usage_total", json!(receipt.energy_total)),
            ("net_usage", json!(receipt.net_usage)),
            ("net_fee", json!(receipt.net_fee)),
            ("result", json!(result)),
        ]);
        let logs: Vec<Value> = logs.iter().map(|log| self.log(log)).collect();
        let mut answer = sparse(&[
            ("log", json!(logs)),
            ("fee", json!(receipt.fee)),
            ("blockNumber", json!(block.header.number)),
            ("blockTimeStamp", json!(block.header.timestamp)),
            ("result", json!(failed.then_some("FAILED"))),
            ("resMessage", json!(hex::encode(message))),
            ("contract_address", receipt.contract.map_or(Value::Null, |who| self.address(who))),
            ("id", json!(tx.txid())),
        ]);
        answer["contractResult"] = json!([hex::encode(output)]);
        answer["receipt"] = resources;
        answer
    }

    pub fn log(self, log: &SimLog) -> Value {
        let contract = if self.visible {
            json!(address_text::tron(log.contract))
        } else {
            json!(hex::encode(log.contract))
        };
        let topics: Vec<String> = log.topics.iter().map(hex::encode).collect();
        json!({ "address": contract, "topics": topics, "data": hex::encode(&log.data) })
    }

    /// An account as it is told once it was activated.
    pub fn holder(self, who: Account, holder: &Holder) -> Value {
        let keys = json!([{ "address": self.address(who), "weight": 1 }]);
        let mut answer = sparse(&[
            ("address", self.address(who)),
            ("balance", json!(holder.sun)),
            ("free_net_usage", json!(holder.free_bytes_used)),
            ("net_window_size", json!(28_800)),
        ]);
        answer["account_resource"] = json!({ "energy_window_size": 28_800 });
        answer["owner_permission"] =
            json!({ "permission_name": "owner", "threshold": 1, "keys": keys });
        answer["active_permission"] = json!([{
            "type": "Active", "id": 2, "permission_name": "active", "threshold": 1,
            "operations": "7fff1fc0033e0100000000000000000000000000000000000000000000000000", "keys": keys,
        }]);
        answer["frozenV2"] = json!([{}, sparse_energy(holder), { "type": "TRON_POWER" }]);
        answer["asset_optimized"] = json!(true);
        answer
    }
}

fn sparse_energy(holder: &Holder) -> Value {
    let mut energy = Map::from_iter([("type".to_owned(), json!("ENERGY"))]);
    if holder.staked > 0 {
        energy.insert("amount".to_owned(), json!(holder.staked));
    }
    Value::Object(energy)
}

/// `getaccountresource`, or `getaccountnet` with the bytes alone.
pub fn resources(state: &State, who: Account, with_energy: bool) -> Value {
    let Some(holder) = state.holders.get(&who) else { return json!({}) };
    let staked = state.staked_trx();
    let energy = |value: i64| if with_energy { json!(value) } else { Value::Null };
    sparse(&[
        ("freeNetUsed", json!(holder.free_bytes_used)),
        ("freeNetLimit", json!(FREE_BYTES)),
        ("TotalNetLimit", json!(43_200_000_000_i64)),
        ("EnergyUsed", energy(holder.energy_used)),
        ("EnergyLimit", energy(state.energy_limit(who))),
        ("TotalEnergyLimit", energy(TOTAL_ENERGY)),
        ("TotalEnergyWeight", energy(staked)),
    ])
}

/// The bytes of a transaction as `broadcasttransaction` is given it.
pub fn bytes_of(json: &Value) -> Option<Vec<u8>> {
    let bytes = |value: &Value| hex::decode(value.as_str()?).ok();
    let signature = json["signature"].as_array()?.iter().map(bytes).collect::<Option<Vec<_>>>()?;
    let raw_data = bytes(&json["raw_data_hex"])?;
    Some(
        cryptopayment::chain::tron::transaction::Transaction { raw_data, signature }
            .encode_to_vec(),
    )
}
