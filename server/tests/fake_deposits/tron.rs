//! Fake and odd deposits on TRON: other contracts, events and endings than a payment's, answers of a
//! node that are none, and odd ones that are money. A whole server on the simulated node, whose
//! answers are pinned to a live one's. Every combination of outcomes is in `chain/tron/matching_tests.rs`.

use std::sync::Arc;

use cryptopayment::chain::ForkFate;
use cryptopayment::chain::tron::transaction::{Raw, token_transfer};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text::parse;
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use serde_json::{Value, json};

use crate::conformance::world::{asked, share};
use crate::support::server::{Engine, eventually};
use crate::table::{Row, Verdict};
use crate::tron_node::contracts::{self, Code, Manner, SimLog, number, topic, transfer_log, word};
use crate::tron_node::driver::Driver;
use crate::tron_node::wire::{Account, Tx, selector};
use crate::tron_world::NodeWorld;

/// Somebody else's account.
const STRANGER: Account = [0x77; 20];

const fn refused(id: &'static str, case: &'static str, why: &'static str) -> Row {
    Row::new(id, case, Verdict::Refused, why)
}

const fn credited(id: &'static str, case: &'static str, why: &'static str) -> Row {
    Row::new(id, case, Verdict::Credited, why)
}

const fn held(id: &'static str, case: &'static str, why: &'static str) -> Row {
    Row::new(id, case, Verdict::Held, why)
}

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
    /// A call of the token itself.
    Calls(fn(&Scene) -> Vec<u8>),
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
    /// The invoice's address.
    ours: Account,
    units: u128,
}

impl Scene {
    fn log(&self, contract: Account, from: Account, data: [u8; 32]) -> SimLog {
        transfer_log(contract, from, self.ours, data.to_vec())
    }
}

/// `(row, act, parts paid out of ten)`.
const ROWS: [(Row, Act, u128); 19] = [
    (
        refused("E-01", "TRON: transfer() returns false, the receipt says SUCCESS", "no log"),
        Act::Token(Manner::ReturnsFalse),
        0,
    ),
    (
        refused("E-01", "TRON: a payment that reverts, in a block", "receipt says REVERT"),
        Act::Reverts,
        0,
    ),
    (
        refused("E-02", "TRON: a token of the same name emits Transfer", "another contract"),
        Act::Logs(|scene| vec![scene.log(scene.clone, STRANGER, number(scene.units))]),
        0,
    ),
    (
        credited("E-03", "TRON: one transaction with a fake and two real logs", "log by log"),
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
    (
        credited("E-04", "TRON: transfer() returns nothing, as Tether's does", "its log counts"),
        Act::Token(Manner::NoReturn),
        10,
    ),
    (
        refused("E-04", "TRON: a payment without energy, in a block", "receipt says OUT_OF_ENERGY"),
        Act::RunsOutOfEnergy,
        0,
    ),
    (
        refused("E-04", "TRON: logs of a call that failed", "a failed call logs nothing"),
        Act::LogsAndReverts(|scene| vec![scene.log(scene.token, STRANGER, number(scene.units))]),
        0,
    ),
    (
        refused("E-05", "TRON: Approval to our address", "another event"),
        Act::Calls(|scene| {
            [
                selector("approve(address,uint256)").as_slice(),
                &word(scene.ours),
                &number(scene.units),
            ]
            .concat()
        }),
        0,
    ),
    (
        refused("E-05", "TRON: transferFrom of nothing by a stranger", "nothing was moved"),
        Act::Calls(|scene| {
            let function = selector("transferFrom(address,address,uint256)");
            [function.as_slice(), &word(STRANGER), &word(scene.ours), &number(0)].concat()
        }),
        0,
    ),
    (
        refused("E-05", "TRON: a transfer of our address to itself", "nobody paid"),
        Act::Logs(|scene| vec![scene.log(scene.token, scene.ours, number(scene.units))]),
        0,
    ),
    (refused("E-06", "TRON: TRX instead of the token", "not the invoice's coin"), Act::Trx, 0),
    (
        refused("E-07", "TRON: units that appear without a transaction", "no log says who paid"),
        Act::Nothing,
        0,
    ),
    (
        credited(
            "E-11",
            "TRON: a token that takes a tenth of each transfer",
            "what arrived counts",
        ),
        Act::Token(Manner::TakesFee),
        9,
    ),
    (
        refused("E-12", "TRON: a log of 2^256 - 1 units", "more than 128 bits"),
        Act::Logs(|scene| vec![scene.log(scene.token, STRANGER, [0xff; 32])]),
        0,
    ),
    (
        refused("E-12", "TRON: a log of 2^128 and what is asked", "more than 128 bits"),
        Act::Logs(|scene| {
            let mut amount = number(scene.units);
            amount[15] = 1;
            vec![scene.log(scene.token, STRANGER, amount)]
        }),
        0,
    ),
    (
        refused("E-12", "TRON: an amount of two words, and of none", "another shape"),
        Act::Logs(|scene| {
            let two = [number(scene.units), number(scene.units)].concat();
            [two, Vec::new()]
                .map(|data| transfer_log(scene.token, STRANGER, scene.ours, data))
                .to_vec()
        }),
        0,
    ),
    (
        refused("E-12", "TRON: an address of more than 20 bytes", "another shape"),
        Act::Logs(|scene| {
            let mut to = word(scene.ours);
            to[0] = 1;
            let topics = vec![topic(contracts::TRANSFER), word(STRANGER), to];
            vec![SimLog { contract: scene.token, topics, data: number(scene.units).to_vec() }]
        }),
        0,
    ),
    (
        refused("E-13", "TRON: another token that behaves", "not the invoice's coin"),
        Act::OtherToken,
        0,
    ),
    (
        refused("E-13", "TRON: an event of the token with fewer topics", "another event"),
        Act::Logs(|scene| {
            let topics = vec![topic(contracts::TRANSFER), word(scene.ours)];
            vec![SimLog { contract: scene.token, topics, data: number(scene.units).to_vec() }]
        }),
        0,
    ),
];

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

/// Does what a row says; the transaction is broadcast like any other.
async fn act(driver: &Driver, act: Act, scene: &Scene) {
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
            let frame =
                cryptopayment::chain::tron::transaction::Frame { fee_limit: 100_000, ..frame };
            driver.signed(&Raw::trigger(
                &frame,
                own,
                scene.token,
                token_transfer(scene.ours, scene.units),
            ))
        }
        Act::Logs(logs) => driver.call(scripted(logs(scene), false), vec![1]).await,
        Act::LogsAndReverts(logs) => driver.call(scripted(logs(scene), true), vec![1]).await,
        Act::Calls(call) => driver.call(scene.token, call(scene)).await,
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
            return;
        }
    };
    driver.send(tx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_says_is_taken_for_what_it_did() {
    let here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    let NodeWorld { world, driver, .. } = &here;
    let node = Arc::clone(driver.simulator().unwrap());
    let clone =
        node.place("a token of the same name", Code::token(Manner::Standard, 6, driver.own()));
    let mut total = 0;
    for (row, does, tenths) in &ROWS {
        let invoice = world.invoice().await;
        let units = asked(&invoice);
        let scene = Scene { token: driver.token, clone, ours: account(&invoice), units };
        act(driver, *does, &scene).await;
        node.mine(1);
        here.wait_read().await;
        set_manner(driver, Manner::Standard);
        let paid = units * tenths / 10;
        let now =
            world.wait_until(&invoice, row.case, |now| now.paid_units == paid.to_string()).await;
        world.mine_deep(&invoice).await;
        here.wait_read().await;
        total += paid;
        world.wait_available(total).await;
        let last = world.client.get_invoice(&invoice.id).await.unwrap();
        let status = if paid == units { Status::Confirmed } else { Status::Pending };
        assert_eq!(last.status(), status, "{}: {:?}", row.case, now.payments);
        assert_eq!(row.verdict == Verdict::Refused, paid == 0, "{}", row.case);
        row.held();
    }
    here.world.finish().await;
}

/// A payment that is in a block, told by a node in ways that tell nothing: the block is not passed
/// over, and the payment counts once it is told properly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_holds_the_block() {
    const METHOD: &str = "gettransactioninfobyblocknum";
    type Change = fn(&mut Value);
    let rows: [(Row, Change); 6] = [
        (held("E-04", "TRON: no receipts for a block with transactions", "not yet"), |all| {
            *all = json!([])
        }),
        (held("E-04", "TRON: `{}` for receipts", "means not there, never failed"), |all| {
            *all = json!({})
        }),
        (held("E-04", "TRON: HTTP 200 with an error", "is an error"), |all| {
            *all = json!({ "Error": "x" })
        }),
        (held("E-04", "TRON: success told and denied at once", "is told properly later"), |all| {
            all[0]["receipt"]["result"] = json!("REVERT");
        }),
        (
            held("E-04", "TRON: FAILED above a receipt of SUCCESS", "is told properly later"),
            |all| {
                all[0]["result"] = json!("FAILED");
            },
        ),
        (
            held("N-08", "TRON: lack of computing resources, as HTTP 200", "asked again later"),
            |all| {
                *all = json!({ "Error": "class java.lang.IllegalAccessException : lack of computing resources" });
            },
        ),
    ];
    let here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    let NodeWorld { world, driver, .. } = &here;
    let node = driver.simulator().unwrap();
    let mut total = 0;
    for (row, change) in rows {
        let invoice = world.invoice().await;
        let before = here.wait_read().await;
        // The receipts of the block that will be, as they will be told.
        let txid = world.chain.pay(&[share(&invoice, 1, 1)]).await.unwrap();
        node.plant(METHOD, 200, "[]");
        node.mine(1);
        let mut receipts = {
            let chain = node.chain();
            let block = chain.tip();
            let view = crate::tron_node::render::View { visible: false };
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
        assert_eq!(own.scanned_height, before, "{}: the block was passed over", row.case);
        let waiting = world.client.get_invoice(&invoice.id).await.unwrap();
        assert_eq!(
            (waiting.status(), waiting.payments.len()),
            (Status::Pending, 0),
            "{}",
            row.case
        );
        node.clear();
        world.wait_seen(&invoice, &txid).await;
        world.mine_deep(&invoice).await;
        world.wait(&invoice, Status::Confirmed, Exception::None).await;
        total += asked(&invoice);
        world.wait_available(total).await;
        row.held();
    }
    here.world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_counts_in_its_block_and_once() {
    let waits =
        held("E-04", "TRON: a waiting call that gettransactionbyid says SUCCESS of", "in no block");
    let moved = credited("E-09", "TRON: the same payment in another block after a fork", "once");
    let many =
        credited("E-09", "TRON: one call pays two invoices, one of them twice", "each log once");
    let lost = Row::new(
        "E-09",
        "TRON: a payment that fails in the other branch",
        Verdict::TakenBack,
        "the payer had spent it",
    );
    let here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    let NodeWorld { world, driver, .. } = &here;
    let node = driver.simulator().unwrap();

    let invoice = world.invoice().await;
    let txid = world.chain.pay(&[share(&invoice, 1, 1)]).await.unwrap();
    let told: Value = driver
        .client()
        .call_known(
            cryptopayment::chain::tron::http::Api::Full,
            "gettransactionbyid",
            &json!({ "value": txid }),
        )
        .await
        .unwrap();
    assert_eq!(told["ret"][0]["contractRet"], "SUCCESS", "that is what the node says");
    node.mine_exactly(Vec::new());
    here.wait_read().await;
    let now = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((now.status(), now.payments.len()), (Status::Pending, 0));
    waits.held();

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
    moved.held();

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
    many.held();

    let bad = world.invoice().await;
    let txid = world.pay(&bad, 1, 1).await;
    world.wait_seen(&bad, &txid).await;
    world.mine_until(required).await;
    world.wait(&bad, Status::Confirmed, Exception::None).await;
    world.fork(required, &txid, ForkFate::DoubleSpend).await;
    world.wait(&bad, Status::Pending, Exception::Reorged).await;
    world.wait_available(total).await;
    lost.held();
    here.world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_token_refuses_to_start() {
    let row = refused("E-10", "TRON: the contract says 18 decimals", "the server does not start");
    let mut here = NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    here.world.server.stop().await;
    let (token, own) = (here.driver.token, here.driver.own());
    here.driver.simulator().unwrap().chain().change(|state| {
        state.contracts.insert(token, Code::token(Manner::Standard, 18, own));
    });
    let settings = here.driver.settings(&here.driver.full_url, &here.driver.solidity_url, "");
    let error = here.world.server.refuses_to_run_with(&settings).await;
    assert!(error.contains("its decimals() is"), "{error}");
    row.held();
}
