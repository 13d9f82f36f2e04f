//! How a fake or odd deposit is played on a real EVM node, each on an invoice of its own: what was credited,
//! and the facts of the chain that show that it happened as its row says. Not here: the cases (`evm_tokens`,
//! `evm_coins`), and what concerns TRON (E-04) or our own transactions (E-08).

use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, U256, hex, keccak256};
use cryptopayment::chain::SandboxControl as _;
use cryptopayment_sdk::v1::{Invoice, InvoiceStatus as Status};
use serde_json::{Value, json};

use crate::anvil::Anvil;
use crate::anvil::abi::{Argument, account, call_data};
use crate::conformance::world::{World, asked};
use crate::evm_world::NodeWorld;
use crate::table::{Row, Verdict, row};

/// What a receipt says of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Log {
    contract: Address,
    topics: Vec<B256>,
    data: Bytes,
}

impl Log {
    pub fn new(contract: Address, event: &str, topics: &[U256], data: &[U256]) -> Self {
        let topics = topics.iter().map(|word| B256::from(*word));
        Self {
            contract,
            topics: std::iter::once(keccak256(event)).chain(topics).collect(),
            data: data.iter().flat_map(|word| word.to_be_bytes::<32>()).collect::<Vec<_>>().into(),
        }
    }

    /// The event that pays, in its right form.
    pub fn transfer(contract: Address, from: Address, to: Address, units: U256) -> Self {
        Self::new(contract, TRANSFER, &[account(from), account(to)], &[units])
    }

    fn read(told: &Value) -> Self {
        let topics = told["topics"].as_array().unwrap().iter();
        Self {
            contract: told["address"].as_str().unwrap().parse().unwrap(),
            topics: topics.map(|topic| topic.as_str().unwrap().parse().unwrap()).collect(),
            data: told["data"].as_str().unwrap().parse().unwrap(),
        }
    }
}

pub const TRANSFER: &str = "Transfer(address,address,uint256)";

/// A call inside a transaction, and whether it or one around it failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub kind: &'static str,
    pub to: Address,
    pub value: U256,
    pub undone: bool,
}

/// What must be true of the chain for a case to be what its row says.
pub enum Fact {
    /// The transaction is in a block and failed.
    Reverted(String),
    /// The same, because it had no gas left.
    OutOfGas(String),
    /// It succeeded, with exactly these logs.
    Logged(String, Vec<Log>),
    /// There was such a call in it.
    Called(String, Call),
    /// So many coins are at the address.
    Has(Address, u128),
}

impl Fact {
    pub async fn check(&self, node: &Anvil, key: &str) {
        match self {
            Self::Reverted(txid) => check_failed(node, txid, false, key).await,
            Self::OutOfGas(txid) => check_failed(node, txid, true, key).await,
            Self::Logged(txid, logs) => {
                let receipt = receipt(node, txid).await;
                assert_eq!(receipt["status"], "0x1", "{key}");
                let told = receipt["logs"].as_array().unwrap().iter().map(Log::read);
                assert_eq!(told.collect::<Vec<_>>(), *logs, "{key}");
            }
            Self::Called(txid, call) => {
                let tracer = json!([txid, { "tracer": "callTracer" }]);
                let trace: Value = node.call("debug_traceTransaction", tracer).await.unwrap();
                assert!(has_call(&trace, false, call), "{key}: no {call:?} in {trace}");
            }
            Self::Has(account, units) => {
                let params = json!([hex::encode_prefixed(account), "latest"]);
                let balance: String = node.call("eth_getBalance", params).await.unwrap();
                assert_eq!(balance, format!("{units:#x}"), "{key}");
            }
        }
    }
}

pub async fn receipt(node: &Anvil, txid: &str) -> Value {
    node.call("eth_getTransactionReceipt", json!([txid])).await.unwrap()
}

async fn check_failed(node: &Anvil, txid: &str, used_up: bool, key: &str) {
    let receipt = receipt(node, txid).await;
    assert_eq!((&receipt["status"], &receipt["logs"]), (&json!("0x0"), &json!([])), "{key}");
    let sent: Value = node.call("eth_getTransactionByHash", json!([txid])).await.unwrap();
    assert_eq!(receipt["gasUsed"] == sent["gas"], used_up, "{key}: {receipt}");
}

fn has_call(frame: &Value, around_undone: bool, wanted: &Call) -> bool {
    let undone = around_undone || frame.get("error").is_some();
    let to: Option<Address> = frame["to"].as_str().and_then(|to| to.parse().ok());
    let value = frame["value"].as_str().map_or(U256::ZERO, |value| value.parse().unwrap());
    let calls = frame["calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    (frame["type"] == wanted.kind && to == Some(wanted.to))
        && (value, undone) == (wanted.value, wanted.undone)
        || calls.iter().any(|call| has_call(call, undone, wanted))
}

/// A case on an invoice of its own.
struct Case {
    row: &'static Row,
    invoice: Invoice,
    /// What must be counted as paid.
    paid: u128,
    facts: Vec<Fact>,
}

/// The cases of one world, each played on an invoice and judged when all was mined and read.
pub struct Cases {
    pub world: World,
    pub node: Arc<Anvil>,
    played: Vec<Case>,
}

impl Cases {
    pub fn on(start: NodeWorld) -> Self {
        let NodeWorld { world, node, .. } = start;
        Self { world, node, played: Vec::new() }
    }

    /// An invoice for a case: its address, and what it asks.
    pub async fn fresh(&self) -> (Invoice, Address, u128) {
        let invoice = self.world.invoice().await;
        let (ours, asked) = (invoice.address.parse().unwrap(), asked(&invoice));
        (invoice, ours, asked)
    }

    pub fn refused<const N: usize>(&mut self, key: &str, invoice: Invoice, facts: [Fact; N]) {
        assert_eq!(row(key).verdict, Verdict::Refused, "{key}");
        self.played.push(Case { row: row(key), invoice, paid: 0, facts: facts.into() });
    }

    pub fn credited<const N: usize>(
        &mut self,
        key: &str,
        invoice: Invoice,
        paid: u128,
        facts: [Fact; N],
    ) {
        assert_eq!(row(key).verdict, Verdict::Credited, "{key}");
        self.played.push(Case { row: row(key), invoice, paid, facts: facts.into() });
    }

    /// Mines everything deep, waits until it was read, and judges. An ordinary payment at the end
    /// shows that all before it was read.
    pub async fn judge(self) {
        let Self { world, node, played } = self;
        let last = world.invoice().await;
        node.mine(1).await.unwrap();
        world.pay(&last, 1, 1).await;
        world.mine_deep(&last).await;
        let over =
            world.wait_until(&last, "the last payment", |now| now.status() == Status::Confirmed);
        let mut credited: u128 = over.await.paid_units.parse().unwrap();
        for case in &played {
            for fact in &case.facts {
                fact.check(&node, case.row.key).await;
            }
            let after = world.client.get_invoice(&case.invoice.id).await.unwrap();
            let what = format!("{}: {}", case.row.key, case.invoice.address);
            assert_eq!(after.paid_units, case.paid.to_string(), "{what}");
            assert_eq!(after.payments.is_empty(), case.paid == 0, "{what}");
            assert_eq!(
                after.status(),
                if case.paid >= asked(&case.invoice) { Status::Confirmed } else { Status::Pending },
                "{what}"
            );
            credited += case.paid;
        }
        world.wait_available(credited).await;
        world.finish().await;
        played.iter().for_each(|case| case.row.held());
    }
}

/// The call of `say` and its like: an event of the caller's making.
pub fn say(form: &str, from: Address, to: Address, value: U256) -> Vec<u8> {
    let arguments = [account(from), account(to), value].map(Argument::Word);
    call_data(&format!("{form}(address,address,uint256)"), &arguments)
}

pub fn to_one(function: &str, to: Address) -> Vec<u8> {
    call_data(&format!("{function}(address)"), &[Argument::Word(account(to))])
}
