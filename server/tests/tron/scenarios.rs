//! What only a node can show: it stops, is cut off, suspends us, forks, falls behind, is another one
//! than before. Each story ends in the right books. All of them need the simulated node.

use cryptopayment::chain::{Broadcast, ChainWriter as _, ForkFate, SandboxControl as _};
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use prost::Message as _;

use crate::conformance::world::{World, asked, share};
use crate::outages;
use crate::support::rest::{Rest, metric};
use crate::support::server::{Engine, eventually};
use crate::tcp_proxy::TcpProxy;
use crate::tron_node::TronNode;
use crate::tron_node::driver::Driver;
use crate::tron_world::NodeWorld;

/// A world on the simulated node, whatever the environment names.
async fn start() -> NodeWorld {
    NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await
}

/// Waits until the network's lag is told to be this large.
async fn wait_lag(world: &World, seconds: u64) {
    eventually("the lag is told", || async {
        let networks = world.client.networks().await.unwrap();
        let own = networks.into_iter().find(|network| network.network == "trc20").unwrap();
        (u64::from(own.lag_seconds) >= seconds).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_invoices_paid_by_two_transactions() {
    let NodeWorld { world, .. } = start().await;
    let invoices = outages::invoices(&world, 100).await;
    for chunk in invoices.chunks(50) {
        let outputs: Vec<_> = chunk.iter().map(|invoice| share(invoice, 1, 1)).collect();
        world.chain.pay(&outputs).await.unwrap();
    }
    outages::all_are_confirmed(world, &invoices).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_and_comes_back_loses_nothing() {
    let NodeWorld { world, driver, .. } = start().await;
    let node = driver.simulator().unwrap();
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    node.stop();
    let other = world.invoice().await;
    node.run().await;
    world.pay(&other, 1, 1).await;
    outages::all_are_confirmed(world, &[invoice, other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_node_is_cut_off_nobody_is_late() {
    let NodeWorld { world, proxies, .. } = start().await;
    let node: Vec<&TcpProxy> = proxies.iter().collect();
    outages::while_the_node_is_cut_off_nobody_is_late(world, &node).await;
}

/// Every way in which a node or TronGrid says "not now" with an answer that could be taken for
/// "nothing there": nobody becomes late by it, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_every_form_are_waited_out() {
    let NodeWorld { world, driver, .. } = start().await;
    let node = driver.simulator().unwrap();
    let suspended = r#"{"Error": "The key exceeds the frequency limit(15), and the query server is suspended for 1s"}"#;
    let busy =
        r#"{"Error":"class java.lang.IllegalAccessException : lack of computing resources"}"#;
    let lite = "this API is closed because this node is a lite fullnode";
    let forms = [
        ("", 403, suspended),
        ("", 429, ""),
        ("getblockbynum", 200, busy),
        ("gettransactioninfobyblocknum", 200, lite),
        ("gettransactioninfobyblocknum", 200, "[]"),
        ("gettransactioninfobyblocknum", 200, "{}"),
        ("getblock", 200, "{}"),
        ("", 502, "<html>bad gateway</html>"),
    ];
    let mut total = 0;
    for (method, status, body) in forms {
        let (paid, unpaid) = (world.invoice().await, world.invoice().await);
        let txid = world.chain.pay(&[share(&paid, 1, 1)]).await.unwrap();
        node.plant(method, status, body);
        node.mine(1);
        world.expire().await;
        let asked_for = if method.is_empty() { "getblock" } else { method };
        let before = node.asked(asked_for);
        eventually("it is asked and refused", || async {
            (node.asked(asked_for) > before).then_some(())
        })
        .await;
        for invoice in [&paid, &unpaid] {
            let now = world.client.get_invoice(&invoice.id).await.unwrap();
            assert_eq!(now.status(), Status::Pending, "{method} {status} {body}");
        }
        node.clear();
        world.wait_seen(&paid, &txid).await;
        world.wait(&unpaid, Status::Expired, Exception::None).await;
        world.mine_deep(&paid).await;
        world.wait(&paid, Status::Confirmed, Exception::None).await;
        total += asked(&paid);
    }
    world.wait_available(total).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_while_down_is_found_at_the_next_start() {
    // Below both payments, each in a block of its own.
    outages::a_reorganisation_while_down_is_found_at_the_next_start(start().await.world, 2).await;
}

/// TRON's accounts have no nonce: nothing replaces a payment that a fork dropped. Until its expiration
/// it may come back, and after that it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_payment_is_waited_for_until_it_expires() {
    let NodeWorld { world, driver, .. } = start().await;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    let required = invoice.confirmations.unwrap().required;
    world.mine_until(required).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;

    world.fork(required, &txid, ForkFate::Unconfirm).await;
    driver.evict(&txid).await.unwrap();
    world.wait(&invoice, Status::Confirming, Exception::Reorged).await;
    // Blocks come every 3 seconds by their own time; it expires a minute after it was made.
    world.chain.mine(10).await.unwrap();
    let other = world.invoice().await;
    world.pay(&other, 1, 1).await;
    // Judged with the block that holds it, as the one that is waited for would have been.
    world.wait(&other, Status::Confirming, Exception::None).await;
    let still = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((still.status(), still.exception()), (Status::Confirming, Exception::Reorged));
    world.chain.mine(20).await.unwrap();
    let back = world.wait(&invoice, Status::Pending, Exception::Reorged).await;
    assert_eq!(back.paid_units, "0");
    world.wait_available(asked(&other)).await;
    world.finish().await;
}

/// Who is told that finality is late: the merchant and operator by the network, monitoring, the payer.
async fn is_late(world: &World, invoice: &Invoice) -> (bool, Option<u64>, bool) {
    let networks = world.client.networks().await.unwrap();
    let own = networks.into_iter().find(|network| network.network == "trc20").unwrap();
    let sample = "cryptopayment_network_finality_stalled{network=\"trc20\"}";
    let path = format!("/checkout/v1/invoices/{}", invoice.id);
    let told = Rest::with(&world.server, None).get(&path).await.json();
    let payer = told["checkout"]["finality_is_delayed"].as_bool().unwrap();
    (own.is_finality_stalled, metric(&world.server, sample).await, payer)
}

const IN_TIME: (bool, Option<u64>, bool) = (false, Some(0), false);
const LATE: (bool, Option<u64>, bool) = (true, Some(1), true);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finality_that_trails_holds_what_asks_for_it_and_says_so() {
    let driver = Driver::simulated().await;
    let NodeWorld { world, driver, proxies } =
        NodeWorld::with(Engine::Sqlite, driver, "requires_finality = true").await;
    let node = driver.simulator().unwrap();
    let solid = node.chain().solid();
    node.chain().solid_held_at = Some(solid);
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    // Deeper than asked, and deep enough to be final on a chain that makes blocks final.
    let tip = world.chain.mine(40).await.unwrap();
    eventually("everything is read", || async {
        let networks = world.client.networks().await.unwrap();
        let own = networks.into_iter().find(|network| network.network == "trc20").unwrap();
        (own.scanned_height == tip.height).then_some(())
    })
    .await;
    // Reading a block and judging its invoices are two units of work.
    world.wait(&invoice, Status::Confirming, Exception::None).await;
    world.wait_available_and_pending(0, asked(&invoice)).await;
    assert_eq!(is_late(&world, &invoice).await, IN_TIME);

    // As long as nobody reads the chain nobody knows.
    proxies.iter().for_each(TcpProxy::cut);
    world.client.sandbox().advance_clock(3_600).await.unwrap();
    wait_lag(&world, 3_600).await;
    assert_eq!(is_late(&world, &invoice).await, IN_TIME);
    proxies.iter().for_each(TcpProxy::mend);
    world.chain.mine(20).await.unwrap();
    eventually("finality is late", || async {
        (is_late(&world, &invoice).await == LATE).then_some(())
    })
    .await;
    let held = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((held.status(), held.exception()), (Status::Confirming, Exception::None));
    world.wait_available_and_pending(0, asked(&invoice)).await;

    // One more final block: finality goes on, and what is above it waits.
    node.chain().solid_held_at = Some(solid + 1);
    eventually("finality goes on", || async {
        (is_late(&world, &invoice).await == IN_TIME).then_some(())
    })
    .await;
    let held = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!(held.status(), Status::Confirming);
    node.chain().solid_held_at = None;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    assert_eq!(is_late(&world, &invoice).await, IN_TIME);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solidity_api_of_another_fork_is_not_believed() {
    let NodeWorld { world, driver, .. } = start().await;
    let node = driver.simulator().unwrap();
    let (paid, unpaid) = (world.invoice().await, world.invoice().await);
    // Whoever asks for the newest block without detail gets one that the full node does not have.
    let other = TronNode::start_with([9; 20], 27, 7).await;
    let foreign = other
        .chain()
        .block(12)
        .map(|block| crate::tron_node::render::View { visible: false }.header(block));
    node.plant_on_solidity("getblock", 200, &foreign.unwrap().to_string());
    world.pay(&paid, 1, 1).await;
    world.expire().await;
    wait_lag(&world, 31 * 60).await;
    let now = world.client.get_invoice(&unpaid.id).await.unwrap();
    assert_eq!(now.status(), Status::Pending, "expiry waits for the watermark");
    node.clear();
    world.wait(&unpaid, Status::Expired, Exception::None).await;
    world.mine_deep(&paid).await;
    world.wait(&paid, Status::Confirmed, Exception::None).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_or_another_token_refuses_to_start() {
    use crate::tron_node::contracts::{Code, Manner};
    let NodeWorld { mut world, driver, .. } = start().await;
    world.server.stop().await;
    let wiped = TronNode::start_with(driver.own(), 27, 1).await;
    let (token, own) = (driver.token, driver.own());
    wiped.chain().change(|state| {
        state.contracts.insert(token, Code::token(Manner::Standard, 6, own));
    });
    let settings = driver.settings(&wiped.full_url(), &wiped.solidity_url(), "");
    let error = world.server.refuses_to_run_with(&settings).await;
    assert!(error.contains("another chain"), "{error}");

    let usual = driver.settings(&driver.full_url, &driver.solidity_url, "");
    driver.simulator().unwrap().chain().change(|state| {
        state.contracts.insert(token, Code::token(Manner::Standard, 18, own));
    });
    let error = world.server.refuses_to_run_with(&usual).await;
    assert!(error.contains("its decimals() is"), "{error}");
    driver.simulator().unwrap().chain().change(|state| {
        state.contracts.remove(&token);
    });
    let error = world.server.refuses_to_run_with(&usual).await;
    assert!(error.contains("Smart contract is not exist"), "{error}");
}

/// A node that is exchanged for an older one is read no more, and read again where that is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_too_old_is_not_read() {
    use cryptopayment_proto::admin::v1 as admin;
    use cryptopayment_proto::admin::v1::network_service_client::NetworkServiceClient;
    let NodeWorld { mut world, driver, .. } = start().await;
    let old = r#"{"configNodeInfo":{"codeVersion":"4.7.7"}}"#;
    driver.simulator().unwrap().plant("getnodeinfo", 200, old);
    let error = eventually("it is found out", || async {
        let mut client = NetworkServiceClient::new(world.server.admin().await);
        let answer = client.list_networks(admin::ListNetworksRequest {}).await.unwrap();
        let networks = answer.into_inner().networks;
        let own = networks.into_iter().find(|one| one.network == "trc20").unwrap();
        let [node] = own.endpoints.try_into().unwrap();
        (node.state() == admin::EndpointState::Unfit).then_some(node.error)
    })
    .await;
    assert!(error.contains("node version 4.7.7 is older than 4.8.0: update the node"), "{error}");

    world.server.stop().await;
    let usual = driver.settings(&driver.full_url, &driver.solidity_url, "");
    let error = world.server.refuses_to_run_with(&usual).await;
    assert!(error.contains("node version 4.7.7 is older than 4.8.0"), "{error}");
    assert!(error.contains("networks.trc20.node.oldest_version"), "{error}");
    let allowed = usual.replace("contract =", "oldest_version = 40707, contract =");
    world.server.restart_with(&allowed).await;
    world.client = world.server.client();
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.finish().await;
}

/// The writer against a node that checks: each refusal by its own code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_is_taken_known_or_refused_for_its_reason() {
    use cryptopayment::chain::tron::transaction::{Raw, Transaction};
    let driver = Driver::simulated().await;
    let to = [7; 20];
    let frame = driver.frame().await.unwrap();
    let good = driver.signed(&Raw::transfer(&frame, driver.own(), to, 5));
    let send =
        async |tx: &Transaction| driver.writer().broadcast(&tx.encode_to_vec()).await.unwrap();
    assert_eq!(send(&good.signed).await, Broadcast::Accepted);
    assert_eq!(send(&good.signed).await, Broadcast::AlreadyKnown);
    driver.mine(1).await.unwrap();
    assert_eq!(send(&good.signed).await, Broadcast::AlreadyKnown, "also in a block");

    let refused = async |raw: Raw, code: &str| {
        let sent = send(&driver.signed(&raw).signed).await;
        assert!(
            matches!(&sent, Broadcast::Rejected(text) if text.starts_with(code)),
            "{code}: {sent:?}"
        );
    };
    let raw = Raw::transfer(&frame, driver.own(), to, 6);
    refused(Raw { ref_block_hash: vec![1; 8], ..raw.clone() }, "TAPOS_ERROR: Tapos check error.")
        .await;
    let expired = "TRANSACTION_EXPIRATION_ERROR: Transaction expired";
    refused(Raw { expiration: 1, ..raw.clone() }, expired).await;
    refused(Raw { expiration: frame.expiration + 2 * 86_400_000, ..raw.clone() }, expired).await;
    refused(Raw::transfer(&frame, to, driver.own(), 1), "SIGERROR: Validate signature error").await;
    let poor = Raw::transfer(&frame, driver.own(), to, i64::MAX);
    refused(poor, "CONTRACT_VALIDATE_ERROR: Contract validate error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_looks_at_both_apis_and_the_token() {
    use cryptopayment::app::doctor::{Check, Examination, State, examine};
    use cryptopayment::config::{Config, Flags};
    use cryptopayment::env::Env;
    let NodeWorld { world, driver, .. } = start().await;
    let node = driver.simulator().unwrap();
    let home = world.server.directory.path();
    let file = home.join("doctor.toml");
    std::fs::write(&file, world.server.toml()).unwrap();
    let config = Config::load(Some(&file), &Flags { data_dir: Some(home.join("data")) }).unwrap();
    let look = async || -> Check {
        let examination =
            Examination { config: &config, file: None, is_running: true, send_test: false };
        let checks = examine(examination, &Env::system(), |_| {}).await;
        checks.into_iter().find(|check| check.name == "node trc20").unwrap()
    };
    let good = look().await;
    assert_eq!(good.state, State::Ok, "{good:?}");
    assert!(
        good.text.contains("java-tron 4.8.0 on regtest, block 33, solidified 15"),
        "{}",
        good.text
    );
    let lite = "this API is closed because this node is a lite fullnode";
    let faults = [
        ("triggerconstantcontract", 200, lite, "lite node"),
        ("getblock", 401, "ApiKey not exists", "API key"),
        ("getblock", 429, "", "requests_per_second"),
        ("getblock", 200, "[]", "node of that chain"),
    ];
    for (method, status, body, cure) in faults {
        node.plant(method, status, body);
        let bad = look().await;
        assert!(bad.state == State::Fail && bad.cure.contains(cure), "{body}: {bad:?}");
        node.clear();
    }
    node.plant("getnodeinfo", 200, r#"{"configNodeInfo":{"codeVersion":"4.7.7"}}"#);
    let bad = look().await;
    assert!(bad.state == State::Fail && bad.cure.contains("update the node"), "{bad:?}");
    assert!(bad.text.ends_with("node version 4.7.7 is older than 4.8.0"), "{bad:?}");
    node.clear();
    node.plant("getnodeinfo", 404, "<html>");
    assert_eq!(look().await.state, State::Ok, "a service need not tell");
    node.clear();
    node.plant_on_solidity("getblock", 404, "<html>");
    let bad = look().await;
    assert!(bad.state == State::Fail && bad.text.contains("two base URLs"), "{bad:?}");
    node.clear();
    world.finish().await;
}

/// What the operator's own payouts will meet: whoever only ever received tokens is no account yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_only_holds_tokens_pays_once_it_was_activated() {
    use crate::tron_node::chain::{account_of, key_named};
    use crate::tron_node::driver::signed_by;
    use cryptopayment::chain::tron::transaction::{Raw, token_transfer};
    let driver = Driver::simulated().await;
    let node = driver.simulator().unwrap();
    let key = key_named("a deposit address");
    let holder = account_of(&key);
    driver.send(driver.token_payment(driver.own(), holder, 1_000_000).await).await.unwrap();
    driver.mine(1).await.unwrap();
    let pays = async || {
        let frame = driver.frame().await.unwrap();
        let raw =
            Raw::trigger(&frame, holder, driver.token, token_transfer(driver.own(), 1_000_000));
        signed_by(&key, &raw)
    };
    let refused = driver.send(pays().await).await.unwrap_err().to_string();
    assert!(refused.contains("does not exist"), "{refused}");
    let before = node.chain().tip().after.holders[&driver.own()].sun;
    let frame = driver.frame().await.unwrap();
    driver.send(driver.signed(&Raw::transfer(&frame, driver.own(), holder, 1))).await.unwrap();
    driver.mine(1).await.unwrap();
    let after = node.chain().tip().after.holders[&driver.own()].sun;
    assert_eq!(before - after, 1_100_001, "activation costs 1.1 TRX");
    // It has free bandwidth and no energy: the call is included, runs out, and pays nobody.
    let txid = driver.send(pays().await).await.unwrap();
    driver.mine(1).await.unwrap();
    assert_eq!(node.chain().find(&txid).unwrap().1.receipt.result, Some("OUT_OF_ENERGY"));
    let frame = driver.frame().await.unwrap();
    driver
        .send(driver.signed(&Raw::transfer(&frame, driver.own(), holder, 5_000_000)))
        .await
        .unwrap();
    driver.mine(1).await.unwrap();
    let txid = driver.send(pays().await).await.unwrap();
    driver.mine(1).await.unwrap();
    assert_eq!(node.chain().find(&txid).unwrap().1.receipt.result, Some("SUCCESS"));
}
