//! The simulated chains through the traits that everything else uses.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use proptest::prelude::*;

use super::scenarios::Move;
use super::*;
use crate::chain::{
    AddressFilter, Block, Broadcast, ChainReader as _, ChainWriter as _, ForkFate, Mempool,
    SandboxControl as _, ScenarioBook as _, ScenarioNote, ScenarioState, Transfer, Watch,
};
use crate::domain::scenario::{Loss, Scenario};

const LTC: &str = "rltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kvn2glu";
const TRON: &str = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";

struct All;

impl AddressFilter for All {
    fn may_watch(&self, _: &[u8]) -> bool {
        true
    }
}

async fn open(home: &tempfile::TempDir, network: Network) -> SandboxChain {
    let path = home.path().join("sandbox.sqlite");
    Sandbox::open(&path, Env::system()).await.unwrap().chain(network).await.unwrap()
}

fn ltc_address() -> String {
    let script = [&[0_u8, 20], [7_u8; 20].as_slice()].concat();
    crate::domain::address_text::format(Network::Ltc, ChainKind::Sandbox, &script).unwrap()
}

async fn mempool(chain: &SandboxChain, consumed: &HashSet<String>) -> Mempool {
    chain.mempool(Watch { addresses: &All, consumed }).await.unwrap().unwrap()
}

async fn block(chain: &SandboxChain, height: u64, consumed: &HashSet<String>) -> Block {
    chain.block_at(height, Watch { addresses: &All, consumed }).await.unwrap().unwrap()
}

fn consumed_by(transfers: &[Transfer]) -> HashSet<String> {
    transfers.iter().flat_map(|transfer| transfer.consumes.clone()).collect()
}

#[tokio::test]
async fn a_payment_waits_and_is_then_included() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Ltc).await;
    let none = HashSet::new();
    let address = ltc_address();
    let txid = chain.pay(&[(address.clone(), 5), (address, 6)]).await.unwrap();
    let waiting = mempool(&chain, &none).await;
    let found: Vec<_> =
        waiting.transfers.iter().map(|t| (t.txid.as_str(), t.ordinal.as_str(), t.units)).collect();
    assert_eq!(found, [(txid.as_str(), "o:0", 5), (txid.as_str(), "o:1", 6)]);

    let tip = chain.mine(3).await.unwrap();
    assert_eq!(tip.height, 3);
    assert!(mempool(&chain, &none).await.transfers.is_empty());
    assert_eq!(block(&chain, 1, &none).await.transfers, waiting.transfers);
    assert!(block(&chain, 2, &none).await.transfers.is_empty());
    assert!(chain.header_at(4).await.unwrap().is_none());
}

#[tokio::test]
async fn a_replacement_is_seen_as_consumption_and_an_eviction_as_nothing() {
    let home = tempfile::tempdir().unwrap();
    for (network, address) in [(Network::Ltc, ltc_address()), (Network::Trc20, TRON.to_owned())] {
        let chain = open(&home, network).await;
        let first = chain.pay(&[(address.clone(), 5)]).await.unwrap();
        let watched = consumed_by(&mempool(&chain, &HashSet::new()).await.transfers);
        let second = chain.replace(&first, &[]).await.unwrap();
        let now = mempool(&chain, &watched).await;
        assert!(now.transfers.is_empty());
        assert_eq!(now.consumptions.iter().map(|c| &c.txid).collect::<Vec<_>>(), [&second]);
        assert!(chain.replace(&first, &[]).await.is_err(), "it is gone");

        chain.evict(&second).await.unwrap();
        let after = mempool(&chain, &watched).await;
        assert_eq!((after.transfers.len(), after.consumptions.len()), (0, 0));
    }
}

/// What its transaction consumes comes with a payment, however they meet: without it, the replacement of
/// a payment would never be known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_never_read_without_what_it_consumes() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Trc20).await;
    let payer = chain.clone();
    let paying = tokio::spawn(async move {
        for units in 1..=300 {
            payer.pay(&[(TRON.to_owned(), units)]).await.unwrap();
            payer.mine(1).await.unwrap();
        }
    });
    let (none, mut seen) = (HashSet::new(), 0);
    while !paying.is_finished() {
        for transfer in mempool(&chain, &none).await.transfers {
            assert_eq!(transfer.consumes.len(), 1, "payment of {} units", transfer.units);
            seen += 1;
        }
    }
    paying.await.unwrap();
    assert!(seen > 0, "no payment was seen while it waited");
}

#[tokio::test]
async fn a_fork_keeps_unconfirms_and_double_spends() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Ltc).await;
    let mut txids = Vec::new();
    for units in [1, 2, 3] {
        txids.push(chain.pay(&[(ltc_address(), units)]).await.unwrap());
    }
    let before = chain.mine(2).await.unwrap();
    let watched = consumed_by(&block(&chain, 1, &HashSet::new()).await.transfers);
    let fates =
        [(txids[1].clone(), ForkFate::Unconfirm), (txids[2].clone(), ForkFate::DoubleSpend)];
    let after = chain.fork(2, &fates).await.unwrap();
    assert_eq!(after.height, before.height + 1);
    let replaced = block(&chain, 1, &watched).await;
    let kept: Vec<_> = replaced.transfers.iter().map(|t| t.txid.clone()).collect();
    assert_eq!(kept, [txids[0].clone()]);
    assert_eq!(replaced.consumptions.len(), 2, "the kept one and the double spend");
    let waiting = mempool(&chain, &HashSet::new()).await;
    assert_eq!(waiting.transfers[0].txid, txids[1]);
    assert!(chain.fork(99, &[]).await.is_err());
    assert!(chain.fork(0, &[]).await.is_err());
}

#[tokio::test]
async fn failed_foreign_and_empty_transfers_pay_nothing() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Trc20).await;
    chain.pay_failed(TRON, 5).await.unwrap();
    chain.pay_foreign_token(TRON, 5).await.unwrap();
    chain.pay(&[(TRON.to_owned(), 0)]).await.unwrap();
    assert!(mempool(&chain, &HashSet::new()).await.transfers.is_empty());
    chain.mine(1).await.unwrap();
    assert!(block(&chain, 1, &HashSet::new()).await.transfers.is_empty());
    assert!(chain.pay(&[(LTC.to_owned(), 1)]).await.is_err(), "an address of another network");
}

#[tokio::test]
async fn the_chain_lives_on_and_states_finality() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Trc20).await;
    let genesis = chain.genesis().await.unwrap();
    let tip = chain.mine(30).await.unwrap();
    drop(chain);
    let chain = open(&home, Network::Trc20).await;
    assert_eq!(chain.genesis().await.unwrap(), genesis);
    let head = chain.head().await.unwrap();
    assert_eq!((head.tip, head.finalized_height), (tip, Some(11)));
    assert_eq!(open(&home, Network::Ltc).await.head().await.unwrap().finalized_height, None);
}

#[tokio::test]
async fn broadcast_accepts_once_and_refuses_conflicts() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Ltc).await;
    let raw = |units: &str| {
        let outputs = vec![(ltc_address(), units.to_owned())];
        let consumes = vec!["u:aa:0".to_owned()];
        serde_json::to_vec(&control::SandboxTransaction { outputs, consumes }).unwrap()
    };
    assert_eq!(chain.broadcast(&raw("5")).await.unwrap(), Broadcast::Accepted);
    assert_eq!(chain.broadcast(&raw("5")).await.unwrap(), Broadcast::AlreadyKnown);
    assert!(matches!(chain.broadcast(&raw("6")).await.unwrap(), Broadcast::Rejected(_)));
    assert!(chain.broadcast(b"{}").await.is_err());
}

#[derive(Debug, Clone)]
enum Op {
    Pay,
    Replace,
    Mine(u32),
    Fork(u32, ForkFate),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let fate =
        prop_oneof![Just(ForkFate::Keep), Just(ForkFate::Unconfirm), Just(ForkFate::DoubleSpend)];
    let op = prop_oneof![
        3 => Just(Op::Pay),
        1 => Just(Op::Replace),
        3 => (1_u32..3).prop_map(Op::Mine),
        1 => (1_u32..4, fate).prop_map(|(depth, fate)| Op::Fork(depth, fate)),
    ];
    prop::collection::vec(op, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens: blocks link up, no transaction is in two blocks, no two included ones
    /// consume the same.
    #[test]
    fn every_history_is_a_chain(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let chain = open(&home, Network::Ltc).await;
            let mut last = String::new();
            for op in ops {
                match op {
                    Op::Pay => last = chain.pay(&[(ltc_address(), 1)]).await.unwrap(),
                    Op::Replace => drop(chain.replace(&last, &[]).await),
                    Op::Mine(blocks) => drop(chain.mine(blocks).await.unwrap()),
                    Op::Fork(depth, fate) => drop(chain.fork(depth, &[(last.clone(), fate)]).await),
                }
            }
            let tip = chain.head().await.unwrap().tip;
            let mut parent = None;
            let (mut txids, mut keys) = (HashSet::new(), HashSet::new());
            for height in 0..=tip.height {
                let block = block(&chain, height, &HashSet::new()).await;
                if let Some(parent) = parent {
                    assert_eq!(block.reference.parent, parent);
                }
                parent = Some(block.reference.hash);
                for transfer in block.transfers {
                    assert!(txids.insert(transfer.txid), "in two blocks");
                    assert!(keys.insert(transfer.consumes), "consumed twice");
                }
            }
        });
    }
}

fn note(scenario: Scenario, from_metadata: bool) -> ScenarioNote {
    let address_id = uuid::Uuid::from_u128(7);
    ScenarioNote { address_id, address: ltc_address(), scenario, from_metadata }
}

#[tokio::test]
async fn a_scenarios_step_is_taken_once_with_its_payment() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Ltc).await;
    chain.note(&note(Scenario::Paid, false)).await.unwrap();
    let before = chain.sandbox.open_scenarios(0, 10).await.unwrap().remove(0);
    assert!(chain.take_step(&before, Move::Pay(5)).await.unwrap());
    // Another player, or this one after its death, read the same row.
    assert!(!chain.take_step(&before, Move::Pay(5)).await.unwrap(), "taken already");
    assert_eq!(mempool(&chain, &HashSet::new()).await.transfers.len(), 1, "paid once");

    let after = chain.sandbox.open_scenarios(0, 10).await.unwrap().remove(0);
    assert_eq!((after.step, after.txids.len()), (1, 1));
    let tip = chain.mine(1).await.unwrap();
    assert!(chain.take_step(&after, Move::Fork(Loss::Dropped)).await.unwrap());
    assert_eq!(chain.head().await.unwrap().tip.height, tip.height + 1);
    assert!(mempool(&chain, &HashSet::new()).await.transfers.is_empty(), "no node has it");
    let lost = chain.sandbox.open_scenarios(0, 10).await.unwrap().remove(0);
    assert!(chain.take_step(&lost, Move::Resend).await.unwrap());
    assert_eq!(mempool(&chain, &HashSet::new()).await.transfers[0].txid, after.txids[0]);
    let last = chain.sandbox.open_scenarios(0, 10).await.unwrap().remove(0);
    assert!(chain.take_step(&last, Move::Nothing).await.unwrap());
    assert!(chain.sandbox.open_scenarios(0, 10).await.unwrap().is_empty(), "it is done");
    let noted = chain.noted(last.note.address_id).await.unwrap().unwrap();
    assert_eq!((noted.state, noted.txids), (ScenarioState::Done, after.txids));
}

#[tokio::test]
async fn a_note_without_an_invoice_gives_way_and_a_begun_one_does_not() {
    let home = tempfile::tempdir().unwrap();
    let chain = open(&home, Network::Ltc).await;
    chain.note(&note(Scenario::Late, true)).await.unwrap();
    let stale = chain.sandbox.open_scenarios(0, 10).await.unwrap().remove(0);
    let noted = chain.note(&note(Scenario::Paid, true)).await.unwrap();
    assert_eq!(noted.scenario, Scenario::Paid, "the address went to another invoice");
    assert!(!chain.take_step(&stale, Move::Pay(5)).await.unwrap(), "what was read is stale");
    chain.sandbox.forget(&stale).await.unwrap();

    let open = chain.sandbox.open_scenarios(0, 10).await.unwrap().remove(0);
    assert!(chain.take_step(&open, Move::Pay(5)).await.unwrap());
    let noted = chain.note(&note(Scenario::Expire, false)).await.unwrap();
    assert_eq!(noted.scenario, Scenario::Paid, "it plays already");
    chain.sandbox.forget(&open).await.unwrap();
    assert_eq!(chain.sandbox.open_scenarios(0, 10).await.unwrap().len(), 1, "begun is kept");
}
