//! Fake and odd deposits on TRON: other contracts, events and endings than a payment's, answers of a
//! node that are none, and odd ones that are money. A whole server on the simulated node, whose
//! answers are pinned to a live one's. Every combination of outcomes is in `chain/tron/matching_tests.rs`.

use std::sync::Arc;

use cryptopayment::chain::ForkFate;
use cryptopayment::chain::tron::http::Api;
use cryptopayment::chain::tron::transaction::{Frame, Raw, token_transfer};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text::parse;
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use serde_json::{Value, json};

use crate::conformance::world::{asked, share};
use crate::support::server::{Engine, eventually};
use crate::table::{Verdict, row};
use crate::tron_node::contracts::{self, Code, Manner, SimLog, number, topic, transfer_log, word};
use crate::tron_node::driver::Driver;
use crate::tron_node::render::View;
use crate::tron_node::wire::{Account, Tx, selector};
use crate::tron_world::NodeWorld;

/// Somebody else's account.
const STRANGER: Account = [0x77; 20];

/// Where the fee of a token that takes one goes.
const OWNER_OF_FEES: Account = [0xfe; 20];

/// What a row does on the chain, and how much of what the invoice asks it pays.
#[derive(Clone, Copy)]
enum Act {
    /// The token itself, in another manner.
    Token(Manner),
    /// A payment of more than the payer has.
    Reverts,
    /// A payment whose fee limit is too low.
    RunsOutOfEnergy,
    /// A contract that is called and logs these.
    Logs(fn(&Scene) -> Vec<SimLog>),
    /// The same, and then fails.
    LogsAndReverts(fn(&Scene) -> Vec<SimLog>),
    /// A call of the token itself, and what the token logs of it.
    Calls(fn(&Scene) -> Vec<u8>, fn(&Scene) -> SimLog),
    /// A payment of another token that behaves.
    OtherToken,
    /// TRX instead of the token.
    Trx,
    /// Units that are there without any transaction.
    Nothing,
}

/// Who is who while a row is played.
struct Scene {
    token: Account,
    /// A token of the same name.
    clone: Account,
    /// Who pays.
    own: Account,
    /// The invoice's address.
    ours: Account,
    units: u128,
}

impl Scene {
    fn log(&self, contract: Account, from: Account, data: [u8; 32]) -> SimLog {
        transfer_log(contract, from, self.ours, data.to_vec())
    }
}

/// `(key, act, parts paid out of ten)`.
const ACTS: [(&str, Act, u128); 19] = [
    ("tron_false_top_up", Act::Token(Manner::ReturnsFalse), 0),
    ("tron_reverts", Act::Reverts, 0),
    (
        "tron_same_name",
        Act::Logs(|scene| vec![scene.log(scene.clone, STRANGER, number(scene.units))]),
        0,
    ),
    (
        "tron_fake_beside_real",
        Act::Logs(|scene| {
            let half = number(scene.units / 2);
            vec![
                scene.log(scene.clone, STRANGER, number(scene.units)),
                scene.log(scene.token, STRANGER, half),
                scene.log(scene.token, STRANGER, half),
            ]
        }),
        10,
    ),
    ("tron_no_return", Act::Token(Manner::NoReturn), 10),
    ("tron_out_of_energy", Act::RunsOutOfEnergy, 0),
    (
        "tron_logs_of_failed",
        Act::LogsAndReverts(|scene| vec![scene.log(scene.token, STRANGER, number(scene.units))]),
        0,
    ),
    (
        "tron_approval",
        Act::Calls(
            |scene| {
                let function = selector("approve(address,uint256)");
                [function.as_slice(), &word(scene.ours), &number(scene.units)].concat()
            },
            |scene| {
                let topics = vec![topic(contracts::APPROVAL), word(scene.own), word(scene.ours)];
                let data = number(scene.units).to_vec();
                SimLog { contract: scene.token, topics, data }
            },
        ),
        0,
    ),
    (
        "tron_poisoning",
        Act::Calls(
            |scene| {
                let function = selector("transferFrom(address,address,uint256)");
                [function.as_slice(), &word(STRANGER), &word(scene.ours), &number(0)].concat()
            },
            |scene| scene.log(scene.token, STRANGER, number(0)),
        ),
        0,
    ),
    (
        "tron_to_itself",
        Act::Logs(|scene| vec![scene.log(scene.token, scene.ours, number(scene.units))]),
        0,
    ),
    ("tron_trx", Act::Trx, 0),
    ("tron_grew_by_itself", Act::Nothing, 0),
    ("tron_takes_a_fee", Act::Token(Manner::TakesFee), 9),
    ("tron_max_256", Act::Logs(|scene| vec![scene.log(scene.token, STRANGER, [0xff; 32])]), 0),
    (
        "tron_2_128_and_asked",
        Act::Logs(|scene| {
            let mut amount = number(scene.units);
            amount[15] = 1;
            vec![scene.log(scene.token, STRANGER, amount)]
        }),
        0,
    ),
    (
        "tron_two_words",
        Act::Logs(|scene| {
            let two = [number(scene.units), number(scene.units)].concat();
            [two, Vec::new()]
                .map(|data| transfer_log(scene.token, STRANGER, scene.ours, data))
                .to_vec()
        }),
        0,
    ),
    (
        "tron_long_address",
        Act::Logs(|scene| {
            let mut to = word(scene.ours);
            to[0] = 1;
            let topics = vec![topic(contracts::TRANSFER), word(STRANGER), to];
            vec![SimLog { contract: scene.token, topics, data: number(scene.units).to_vec() }]
        }),
        0,
    ),
    ("tron_another_token", Act::OtherToken, 0),
    (
        "tron_two_topics",
        Act::Logs(|scene| {
            let topics = vec![topic(contracts::TRANSFER), word(scene.ours)];
            vec![SimLog { contract: scene.token, topics, data: number(scene.units).to_vec() }]
        }),
        0,
    ),
];

/// What the node must say of a transaction for it to be what its row says: how its call ended, and its
/// logs. Nothing for one that calls nothing.
fn told(act: Act, scene: &Scene) -> Option<(&'static str, Vec<SimLog>)> {
    let moved = |contract: Account, to: Account, units: u128| {
        transfer_log(contract, scene.own, to, number(units).to_vec())
    };
    let fee = scene.units / 10;
    Some(match act {
        Act::Token(Manner::ReturnsFalse) => ("SUCCESS", Vec::new()),
        Act::Token(Manner::TakesFee) => {
            let parts = [(scene.ours, scene.units - fee), (OWNER_OF_FEES, fee)];
            ("SUCCESS", parts.map(|(to, units)| moved(scene.token, to, units)).to_vec())
        }
        Act::Token(_) => ("SUCCESS", vec![moved(scene.token, scene.ours, scene.units)]),
        Act::Reverts | Act::LogsAndReverts(_) => ("REVERT", Vec::new()),
        Act::RunsOutOfEnergy => ("OUT_OF_ENERGY", Vec::new()),
        Act::Logs(logs) => ("SUCCESS", logs(scene)),
        Act::Calls(_, log) => ("SUCCESS", vec![log(scene)]),
        Act::OtherToken => ("SUCCESS", vec![moved(scene.clone, scene.ours, scene.units)]),
        Act::Trx | Act::Nothing => return None,
    })
}

/// The case happened as its row says: by the node's own words, or by what the address has.
async fn check(driver: &Driver, key: &str, act: Act, scene: &Scene, txid: Option<&str>) {
    let node = driver.simulator().unwrap();
    let state = node.chain().state();
    match (told(act, scene), txid) {
        (Some((result, logs)), Some(txid)) => {
            let info = answer(driver, "gettransactioninfobyid", txid).await;
            let logs: Vec<_> = logs.iter().map(|log| View { visible: false }.log(log)).collect();
            let had = info.get("log").cloned().unwrap_or_else(|| json!([]));
            assert_eq!((&info["receipt"]["result"], had), (&json!(result), json!(logs)), "{key}");
        }
        (None, Some(txid)) => {
            assert!(node.chain().find(txid).is_some(), "{key}: in no block");
            let sun = state.holders.get(&scene.ours).map(|holder| holder.sun);
            assert_eq!(sun, Some(i64::try_from(scene.units).unwrap()), "{key}");
        }
        (_, None) => {
            let units = contracts::balance(&state.contracts, scene.token, scene.ours);
            assert_eq!(units, scene.units, "{key}");
        }
    }
}

/// What the node says of a transaction.
async fn answer(driver: &Driver, method: &str, txid: &str) -> Value {
    let query = json!({ "value": txid });
    driver.client().call_known(Api::Full, method, &query).await.unwrap()
}

fn account(invoice: &Invoice) -> Account {
    parse(Network::Trc20, ChainKind::Regtest, &invoice.address).unwrap().try_into().unwrap()
}

fn set_manner(driver: &Driver, manner: Manner) {
    let token = driver.token;
    driver.simulator().unwrap().chain().change(|state| {
        if let Some(Code::Token { manner: now, .. }) = state.contracts.get_mut(&token) {
            *now = manner;
        }
    });
}

/// Does what a row says; the transaction, if there is one, is broadcast like any other.
async fn act(driver: &Driver, act: Act, scene: &Scene) -> Option<String> {
    let node = driver.simulator().unwrap();
    let scripted = |logs: Vec<SimLog>, reverts: bool| {
        node.place("a scripted contract", Code::Scripted { logs, reverts })
    };
    let own = driver.own();
    let tx: Tx = match act {
        Act::Token(manner) => {
            set_manner(driver, manner);
            driver.token_payment(own, scene.ours, scene.units).await
        }
        Act::Reverts => driver.token_payment(own, scene.ours, u128::MAX).await,
        Act::RunsOutOfEnergy => {
            let frame = driver.frame().await.unwrap();
            let frame = Frame { fee_limit: 100_000, ..frame };
            driver.signed(&Raw::trigger(
                &frame,
                own,
                scene.token,
                token_transfer(scene.ours, scene.units),
            ))
        }
        Act::Logs(logs) => driver.call(scripted(logs(scene), false), vec![1]).await,
        Act::LogsAndReverts(logs) => driver.call(scripted(logs(scene), true), vec![1]).await,
        Act::Calls(call, _) => driver.call(scene.token, call(scene)).await,
        Act::OtherToken => driver.call(scene.clone, token_transfer(scene.ours, scene.units)).await,
        Act::Trx => {
            let frame = driver.frame().await.unwrap();
            driver.signed(&Raw::transfer(
                &frame,
                own,
                scene.ours,
                i64::try_from(scene.units).unwrap(),
            ))
        }
        Act::Nothing => {
            let (token, ours, units) = (scene.token, scene.ours, scene.units);
            node.chain().change(|state| {
                contracts::transfer(&mut state.contracts, token, own, ours, Some(units));
            });
            return None;
        }
    };
    Some(driver.send(tx).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_says_is_taken_for_what_it_did() {
    let here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    let NodeWorld { world, driver, .. } = &here;
    let node = Arc::clone(driver.simulator().unwrap());
    let clone =
        node.place("a token of the same name", Code::token(Manner::Standard, 6, driver.own()));
    let mut total = 0;
    for (key, does, tenths) in ACTS {
        let invoice = world.invoice().await;
        let units = asked(&invoice);
        let (token, own) = (driver.token, driver.own());
        let scene = Scene { token, clone, own, ours: account(&invoice), units };
        let txid = act(driver, does, &scene).await;
        node.mine(1);
        check(driver, key, does, &scene, txid.as_deref()).await;
        here.wait_read().await;
        set_manner(driver, Manner::Standard);
        let paid = units * tenths / 10;
        let now = world.wait_until(&invoice, key, |now| now.paid_units == paid.to_string()).await;
        world.mine_deep(&invoice).await;
        here.wait_read().await;
        total += paid;
        world.wait_available(total).await;
        let last = world.client.get_invoice(&invoice.id).await.unwrap();
        let status = if paid == units { Status::Confirmed } else { Status::Pending };
        assert_eq!(last.status(), status, "{key}: {:?}", now.payments);
        assert_eq!(row(key).verdict == Verdict::Refused, paid == 0, "{key}");
        assert_eq!(last.payments.is_empty(), paid == 0, "{key}");
        row(key).held();
    }
    here.world.finish().await;
}

/// A payment that is in a block, told by a node in ways that tell nothing: the block is not passed
/// over, and the payment counts once it is told properly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_holds_the_block() {
    const METHOD: &str = "gettransactioninfobyblocknum";
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 6] = [
        ("tron_no_receipts", |all| *all = json!([])),
        ("tron_empty_receipts", |all| *all = json!({})),
        ("tron_error_with_200", |all| *all = json!({ "Error": "x" })),
        ("tron_told_and_denied", |all| all[0]["receipt"]["result"] = json!("REVERT")),
        ("tron_failed_above_success", |all| all[0]["result"] = json!("FAILED")),
        ("tron_no_resources", |all| {
            let words = "class java.lang.IllegalAccessException : lack of computing resources";
            *all = json!({ "Error": words });
        }),
    ];
    let here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    let NodeWorld { world, driver, .. } = &here;
    let node = driver.simulator().unwrap();
    let mut total = 0;
    for (key, change) in changes {
        let invoice = world.invoice().await;
        let before = here.wait_read().await;
        // The receipts of the block that will be, as they will be told.
        let txid = world.chain.pay(&[share(&invoice, 1, 1)]).await.unwrap();
        node.plant(METHOD, 200, "[]");
        node.mine(1);
        let mut receipts = {
            let chain = node.chain();
            let block = chain.tip();
            let view = View { visible: false };
            block.included.iter().map(|included| view.receipt(block, included)).collect::<Value>()
        };
        change(&mut receipts);
        node.plant(METHOD, 200, &receipts.to_string());
        let asked_before = node.asked(METHOD);
        eventually("it was told so", || async {
            (node.asked(METHOD) > asked_before).then_some(())
        })
        .await;
        let networks = world.client.networks().await.unwrap();
        let own = networks.into_iter().find(|network| network.network == "trc20").unwrap();
        assert_eq!(own.scanned_height, before, "{key}: the block was passed over");
        let waiting = world.client.get_invoice(&invoice.id).await.unwrap();
        assert_eq!((waiting.status(), waiting.payments.len()), (Status::Pending, 0), "{key}");
        node.clear();
        world.wait_seen(&invoice, &txid).await;
        world.mine_deep(&invoice).await;
        world.wait(&invoice, Status::Confirmed, Exception::None).await;
        total += asked(&invoice);
        world.wait_available(total).await;
        row(key).held();
    }
    here.world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_counts_in_its_block_and_once() {
    let here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    let NodeWorld { world, driver, .. } = &here;
    let node = driver.simulator().unwrap();

    let invoice = world.invoice().await;
    let txid = world.chain.pay(&[share(&invoice, 1, 1)]).await.unwrap();
    let told = answer(driver, "gettransactionbyid", &txid).await;
    assert_eq!(told["ret"][0]["contractRet"], "SUCCESS", "that is what the node says");
    node.mine_exactly(Vec::new());
    here.wait_read().await;
    let now = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((now.status(), now.payments.len()), (Status::Pending, 0));
    row("tron_waits").held();

    node.mine(1);
    world.wait_seen(&invoice, &txid).await;
    let old = node.chain().tip().number();
    world.fork(1, &txid, ForkFate::Unconfirm).await;
    node.mine(1);
    let required = invoice.confirmations.unwrap().required;
    world.chain.mine(required).await.unwrap();
    let confirmed = world.wait(&invoice, Status::Confirmed, Exception::None).await;
    assert_eq!(confirmed.payments.len(), 1);
    assert!(node.chain().find(&txid).unwrap().0.number() > old);
    world.wait_available(asked(&invoice)).await;
    row("tron_moved_by_fork").held();

    let (one, two) = (world.invoice().await, world.invoice().await);
    let (address, half) = share(&two, 1, 2);
    world
        .pay_all(&[share(&one, 1, 1), (address.clone(), half), (address, asked(&two) - half)])
        .await;
    world.mine_deep(&one).await;
    for (invoice, payments) in [(&one, 1), (&two, 2)] {
        let confirmed = world.wait(invoice, Status::Confirmed, Exception::None).await;
        assert_eq!(confirmed.payments.len(), payments);
    }
    let total = asked(&invoice) + asked(&one) + asked(&two);
    world.wait_available(total).await;
    row("tron_two_of_three").held();

    let bad = world.invoice().await;
    let txid = world.pay(&bad, 1, 1).await;
    world.wait_seen(&bad, &txid).await;
    world.mine_until(required).await;
    world.wait(&bad, Status::Confirmed, Exception::None).await;
    world.fork(required, &txid, ForkFate::DoubleSpend).await;
    world.wait(&bad, Status::Pending, Exception::Reorged).await;
    world.wait_available(total).await;
    row("tron_fails_in_fork").held();
    here.world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_token_refuses_to_start() {
    let mut here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    here.world.server.stop().await;
    let (token, own) = (here.driver.token, here.driver.own());
    here.driver.simulator().unwrap().chain().change(|state| {
        state.contracts.insert(token, Code::token(Manner::Standard, 18, own));
    });
    let settings = here.driver.settings(&here.driver.full_url, &here.driver.solidity_url, "");
    let error = here.world.server.refuses_to_run_with(&settings).await;
    assert!(error.contains("its decimals() is"), "{error}");
    row("tron_decimals").held();
}
