//! The methods of java-tron's HTTP API: `/wallet/` on the full node's port, `/walletsolidity/` on the
//! other. Every answer is HTTP 200 with the shape that a live node gave, errors too.
//! Not here: sockets and planted faults (`mod.rs`).

use cryptopayment::chain::tron::transaction::{
    Frame, TransferContract, TriggerSmartContract, address,
};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text;
use cryptopayment::domain::asset::Network;
use serde_json::{Value, json};

use super::chain::{Chain, Refusal};
use super::contracts;
use super::execute::{State, execute};
use super::render::{View, bytes_of, resources};
use super::wire::{
    Account, Action, DelegateResourceContract, FreezeBalanceV2Contract, Tx, account, selector,
};

/// A minute, as nodes give to what they make.
const EXPIRATION_MILLIS: i64 = 60_000;
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One request.
pub struct Call<'a> {
    pub body: &'a Value,
    /// Blocks above this are not there: the solidity port.
    pub solid: Option<u64>,
}

type Answer = Result<Value, String>;

/// Answers a method; `None` for a path that a node does not have.
pub fn answer(chain: &mut Chain, method: &str, call: &Call<'_>) -> Option<Value> {
    let answered = reading(chain, method, call)
        .or_else(|| if call.solid.is_some() { None } else { writing(chain, method, call) })?;
    Some(answered.unwrap_or_else(|error| json!({ "Error": error })))
}

/// What both ports have.
fn reading(chain: &Chain, method: &str, call: &Call<'_>) -> Option<Answer> {
    Some(match method {
        "getnowblock" => Ok(call.view().block(call.newest(chain))),
        "getblock" => call.block_by_any(chain),
        "getblockbynum" => call.by_number(chain),
        "getblockbyid" => Ok(call.block_by_id(chain)),
        "getblockbylimitnext" => call.range(chain),
        "getblockbylatestnum" => call.latest(chain),
        "gettransactionbyid" => Ok(call.transaction(chain)),
        "gettransactioninfobyid" => Ok(call.receipt(chain)),
        "gettransactioninfobyblocknum" => call.receipts(chain),
        "getaccount" => call.account(chain),
        "triggerconstantcontract" => call.constant(chain),
        "estimateenergy" => call.estimate(chain),
        _ => return None,
    })
}

/// What the full node's port has besides.
fn writing(chain: &mut Chain, method: &str, call: &Call<'_>) -> Option<Answer> {
    Some(match method {
        "broadcasttransaction" => Ok(call.broadcast(chain)),
        "broadcasthex" => Ok(call.broadcast_hex(chain)),
        "createtransaction" => call.create(chain),
        "triggersmartcontract" => call.trigger(chain),
        "freezebalancev2" => call.freeze(chain),
        "delegateresource" => call.delegate(chain),
        "gettransactionlistfrompending" => {
            let waiting: Vec<String> = chain.pending().iter().map(Tx::txid).collect();
            Ok(if waiting.is_empty() { json!({}) } else { json!({ "txId": waiting }) })
        }
        "gettransactionfrompending" => {
            let found = chain.pending().iter().find(|tx| json!(tx.txid()) == call.body["value"]);
            Ok(found.map_or_else(|| json!({}), |tx| call.view().waiting(tx)))
        }
        "getpendingsize" => Ok(json!({ "pendingSize": chain.pending().len() })),
        "getaccountresource" => {
            call.address("address").map(|who| resources(&chain.state(), who, true))
        }
        "getaccountnet" => call.address("address").map(|who| resources(&chain.state(), who, false)),
        "validateaddress" => Ok(call.validate()),
        "getenergyprices" => Ok(json!({ "prices": "0:100" })),
        "getbandwidthprices" => Ok(json!({ "prices": "0:1000" })),
        "getchainparameters" => Ok(json!({ "chainParameter": [
            { "key": "getCreateAccountFee", "value": 100_000 },
            { "key": "getTransactionFee", "value": 1_000 },
            { "key": "getCreateNewAccountFeeInSystemContract", "value": 1_000_000 },
            { "key": "getEnergyFee", "value": 100 },
            { "key": "getFreeNetLimit", "value": 600 },
        ] })),
        "getnodeinfo" => Ok(node_info(chain)),
        _ => return None,
    })
}

fn node_info(chain: &Chain) -> Value {
    let place = |number: u64| {
        let block = chain.block(number).unwrap();
        format!("Num:{number},ID:{}", hex::encode(block.id))
    };
    json!({
        "activeConnectCount": 0, "beginSyncNum": chain.tip().number(), "block": place(chain.tip().number()),
        "cheatWitnessInfoMap": {}, "configNodeInfo": { "codeVersion": "4.8.0", "p2pVersion": "77", "supportConstant": true },
        "currentConnectCount": 0, "machineInfo": {}, "passiveConnectCount": 0, "peerList": [],
        "solidityBlock": place(chain.solid()), "totalFlow": 0,
    })
}

impl Call<'_> {
    fn view(&self) -> View {
        View { visible: self.body["visible"] == true }
    }

    fn newest<'c>(&self, chain: &'c Chain) -> &'c super::chain::Block {
        self.solid.map_or_else(|| chain.tip(), |solid| chain.block(solid).unwrap())
    }

    fn has(&self, number: u64) -> bool {
        self.solid.is_none_or(|solid| number <= solid)
    }

    /// A number, with the error of java-tron's own JSON reader.
    fn number(&self, key: &str) -> Result<i64, String> {
        match &self.body[key] {
            Value::Null => Ok(0),
            value => value.as_i64().ok_or_else(|| format!(
                "class org.tron.core.services.http.JsonFormat$ParseException : 1:8: Couldn't parse integer: For input string: \"{value}\""
            )),
        }
    }

    fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_default()
    }

    fn address(&self, key: &str) -> Result<Account, String> {
        let text = self.text(key);
        let read = if self.view().visible {
            address_text::parse(Network::Trc20, ChainKind::Regtest, text)
                .ok()
                .and_then(|key| key.try_into().ok())
        } else {
            hex::decode(text).ok().and_then(|bytes| account(&bytes))
        };
        read.ok_or_else(|| format!(
            "class org.tron.core.services.http.JsonFormat$ParseException : 1:13: invalid hex String: {text}"
        ))
    }

    fn block_by_any(&self, chain: &Chain) -> Answer {
        let block = match self.text("id_or_num") {
            "" => Some(self.newest(chain)),
            any => match any.parse::<u64>() {
                Ok(number) => chain.block(number),
                Err(_) => chain.block_by_id(any),
            },
        };
        let block = block.filter(|block| self.has(block.number()));
        let view = self.view();
        Ok(block.map_or_else(
            || json!({}),
            |block| {
                if self.body["detail"] == true { view.block(block) } else { view.header(block) }
            },
        ))
    }

    fn by_number(&self, chain: &Chain) -> Answer {
        let number = u64::try_from(self.number("num")?).unwrap_or(u64::MAX);
        let block = chain.block(number).filter(|_| self.has(number));
        Ok(block.map_or_else(|| json!({}), |block| self.view().block(block)))
    }

    fn block_by_id(&self, chain: &Chain) -> Value {
        let block = chain.block_by_id(self.text("value")).filter(|block| self.has(block.number()));
        block.map_or_else(|| json!({}), |block| self.view().block(block))
    }

    fn blocks(&self, chain: &Chain, from: u64, until: u64) -> Value {
        let blocks: Vec<Value> = (from..until)
            .filter(|number| self.has(*number))
            .filter_map(|number| Some(self.view().block(chain.block(number)?)))
            .collect();
        if blocks.is_empty() { json!({}) } else { json!({ "block": blocks }) }
    }

    fn range(&self, chain: &Chain) -> Answer {
        let (from, until) = (self.number("startNum")?, self.number("endNum")?);
        let fits = from >= 0 && until > from && until - from <= 100;
        let read = |number: i64| u64::try_from(number).unwrap();
        Ok(if fits { self.blocks(chain, read(from), read(until)) } else { json!({}) })
    }

    fn latest(&self, chain: &Chain) -> Answer {
        let count = u64::try_from(self.number("num")?.clamp(0, 99)).unwrap();
        let newest = self.newest(chain).number() + 1;
        Ok(self.blocks(chain, newest.saturating_sub(count), newest))
    }

    fn transaction(&self, chain: &Chain) -> Value {
        let txid = self.text("value");
        let waiting = chain.pending().iter().find(|tx| self.solid.is_none() && tx.txid() == txid);
        if let Some(tx) = waiting {
            return self.view().waiting(tx);
        }
        let found = chain.find(txid).filter(|(block, _)| self.has(block.number()));
        found.map_or_else(|| json!({}), |(_, included)| self.view().included(included))
    }

    fn receipt(&self, chain: &Chain) -> Value {
        let found = chain.find(self.text("value")).filter(|(block, _)| self.has(block.number()));
        found.map_or_else(|| json!({}), |(block, included)| self.view().receipt(block, included))
    }

    fn receipts(&self, chain: &Chain) -> Answer {
        let number = self.number("num")?;
        if number <= 0 {
            return Ok(json!({}));
        }
        let number = u64::try_from(number).unwrap();
        let Some(block) = chain.block(number).filter(|_| self.has(number)) else {
            return Ok(json!([]));
        };
        Ok(block.included.iter().map(|included| self.view().receipt(block, included)).collect())
    }

    fn account(&self, chain: &Chain) -> Answer {
        let who = self.address("address")?;
        let state = match self.solid {
            Some(solid) => chain.block(solid).unwrap().after.clone(),
            None => chain.state(),
        };
        Ok(state
            .holders
            .get(&who)
            .map_or_else(|| json!({}), |holder| self.view().holder(who, holder)))
    }

    /// The call that a request describes: its function and arguments, or its data.
    fn data(&self) -> Vec<u8> {
        let function = self.text("function_selector");
        let start = if function.is_empty() { Vec::new() } else { selector(function).to_vec() };
        let rest = if function.is_empty() { self.text("data") } else { self.text("parameter") };
        [start, hex::decode(rest).unwrap_or_default()].concat()
    }

    fn frame(&self, chain: &Chain) -> Frame {
        let head = chain.tip();
        let timestamp = head.header.timestamp + 500;
        let expiration = head.header.timestamp + EXPIRATION_MILLIS;
        let fee_limit = self.body["fee_limit"].as_i64().unwrap_or_default();
        Frame { block_height: head.number(), block_id: head.id, expiration, timestamp, fee_limit }
    }

    fn trigger_action(&self) -> Result<(Account, Account, Action), String> {
        let (owner, contract) = (self.address("owner_address")?, self.address("contract_address")?);
        let call_value = self.body["call_value"].as_i64().unwrap_or_default();
        let body = TriggerSmartContract {
            owner_address: address(owner),
            contract_address: address(contract),
            call_value,
            data: self.data(),
        };
        Ok((owner, contract, Action::Trigger(body)))
    }

    /// The state as the port sees it.
    fn seen(&self, chain: &Chain) -> State {
        self.solid.map_or_else(|| chain.state(), |solid| chain.block(solid).unwrap().after.clone())
    }

    fn constant(&self, chain: &Chain) -> Answer {
        let (owner, contract, action) = self.trigger_action()?;
        let mut state = self.seen(chain);
        if !state.contracts.contains_key(&contract) {
            return Ok(no_contract());
        }
        let outcome = contracts::call(&mut state.contracts, owner, contract, &self.data());
        let frame = self.frame(chain);
        let mut transaction = self.view().unsigned(&action.raw(&frame), &action);
        transaction["ret"] =
            if outcome.reverted { json!([{ "ret": "FAILED" }]) } else { json!([{}]) };
        let mut answer = json!({
            "result": { "result": true },
            "energy_used": outcome.energy,
            "constant_result": [hex::encode(&outcome.output)],
            "transaction": transaction,
        });
        if outcome.reverted {
            answer["result"]["message"] = json!(hex::encode("REVERT opcode executed"));
        }
        if !outcome.logs.is_empty() {
            answer["logs"] = outcome.logs.iter().map(|log| self.view().log(log)).collect();
        }
        Ok(answer)
    }

    fn estimate(&self, chain: &Chain) -> Answer {
        let (owner, contract, _) = self.trigger_action()?;
        let mut state = self.seen(chain);
        if !state.contracts.contains_key(&contract) {
            return Ok(no_contract());
        }
        let outcome = contracts::call(&mut state.contracts, owner, contract, &self.data());
        Ok(json!({ "result": { "result": true }, "energy_required": outcome.energy * 5 / 4 }))
    }

    fn trigger(&self, chain: &Chain) -> Answer {
        let (_, contract, action) = self.trigger_action()?;
        if !chain.state().contracts.contains_key(&contract) {
            return Ok(no_contract());
        }
        let raw = action.raw(&self.frame(chain));
        Ok(
            json!({ "result": { "result": true }, "transaction": self.view().unsigned(&raw, &action) }),
        )
    }

    /// A transaction of any kind, if it would be valid now.
    fn made(&self, chain: &Chain, action: &Action) -> Answer {
        let raw = action.raw(&self.frame(chain));
        let tx = Tx {
            id: [0; 32],
            signed: Default::default(),
            raw: raw.clone(),
            action: action.clone(),
        };
        execute(&mut chain.state(), &tx).map_err(|text| {
            format!("class org.tron.core.exception.ContractValidateException : {text}")
        })?;
        Ok(self.view().unsigned(&raw, action))
    }

    fn create(&self, chain: &Chain) -> Answer {
        let body = TransferContract {
            owner_address: address(self.address("owner_address")?),
            to_address: address(self.address("to_address")?),
            amount: self.number("amount")?,
        };
        self.made(chain, &Action::Transfer(body))
    }

    fn freeze(&self, chain: &Chain) -> Answer {
        let body = FreezeBalanceV2Contract {
            owner_address: address(self.address("owner_address")?),
            frozen_balance: self.number("frozen_balance")?,
            resource: (self.text("resource") == "ENERGY").into(),
        };
        self.made(chain, &Action::Freeze(body))
    }

    fn delegate(&self, chain: &Chain) -> Answer {
        let body = DelegateResourceContract {
            owner_address: address(self.address("owner_address")?),
            resource: (self.text("resource") == "ENERGY").into(),
            balance: self.number("balance")?,
            receiver_address: address(self.address("receiver_address")?),
            lock: self.body["lock"] == true,
        };
        self.made(chain, &Action::Delegate(body))
    }

    fn broadcast(&self, chain: &mut Chain) -> Value {
        let bytes = bytes_of(self.body).unwrap_or_default();
        let (txid, pushed) = push(chain, &bytes);
        match pushed {
            Ok(()) => json!({ "result": true, "txid": txid }),
            Err(refusal) => {
                json!({ "code": refusal.code, "txid": txid, "message": hex::encode(refusal.text) })
            }
        }
    }

    /// Here the message is plain text, and a success has a code.
    fn broadcast_hex(&self, chain: &mut Chain) -> Value {
        let bytes = hex::decode(self.text("transaction")).unwrap_or_default();
        let shown = Tx::read(&bytes).map_or_else(
            || json!({}),
            |tx| {
                let mut shown = self.view().waiting(&tx);
                shown.as_object_mut().unwrap().remove("ret");
                shown
            },
        );
        let (txid, pushed) = push(chain, &bytes);
        let refusal = pushed.err().unwrap_or_else(|| Refusal::new("SUCCESS", ""));
        json!({
            "result": refusal.code == "SUCCESS", "code": refusal.code, "txid": txid,
            "message": refusal.text, "transaction": shown.to_string(),
        })
    }

    fn validate(&self) -> Value {
        let text = self.text("address");
        let is_good = address_text::parse(Network::Trc20, ChainKind::Regtest, text).is_ok();
        let message = if is_good { "Base58check format" } else { "Invalid address" };
        json!({ "result": is_good, "message": message })
    }
}

fn push(chain: &mut Chain, bytes: &[u8]) -> (String, Result<(), Refusal>) {
    match Tx::read(bytes) {
        Some(tx) => (tx.txid(), chain.push(tx)),
        None => {
            let text = "Contract validate error : No contract!";
            (EMPTY_HASH.to_owned(), Err(Refusal::new("CONTRACT_VALIDATE_ERROR", text)))
        }
    }
}

fn no_contract() -> Value {
    let text = hex::encode("Smart contract is not exist.");
    json!({ "result": { "code": "CONTRACT_VALIDATE_ERROR", "message": text } })
}
