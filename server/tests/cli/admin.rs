//! `admin`: every command's table and JSON, and an audit that finds planted damage.

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::UpdateWebhookEndpointRequest;
use sea_orm::{ConnectionTrait, Database};
use serde_json::Value;

use crate::program::{beside, confirmed_invoice};
use crate::support::receiver::Receiver;
use crate::support::rest::Rest;
use crate::support::server::{Engine, TestServer, eventually};

/// Runs `admin` once for people and once as JSON; the table has these headings.
async fn both(server: &TestServer, arguments: &[&str], headings: &[&str]) -> (String, Value) {
    let mut all = vec!["admin"];
    all.extend(arguments);
    let table = beside(server, &all).await.ok().out;
    for heading in headings {
        assert!(table.contains(heading), "{arguments:?} has no {heading}:\n{table}");
    }
    all.push("--json");
    (table, beside(server, &all).await.ok().json())
}

/// Runs `admin ... --json` and returns its first row.
async fn row(server: &TestServer, arguments: &[&str]) -> Value {
    let mut all = vec!["admin", "--json"];
    all.extend(arguments);
    beside(server, &all).await.ok().json()[0].clone()
}

async fn merchants_keys_and_webhooks(engine: Engine) {
    let server = TestServer::start(engine).await;
    let made = row(&server, &["merchants", "create", "A second shop"]).await;
    assert_eq!(made["approved"], false);
    let id = made["id"].as_str().unwrap();
    assert_eq!(row(&server, &["merchants", "approve", id]).await["approved"], true);
    let (table, all) = both(&server, &["merchants", "list"], &["ID", "NAME", "APPROVED"]).await;
    assert!(table.contains("A second shop") && all.as_array().unwrap().len() == 2, "{table}");

    let key = row(&server, &["keys", "create", id, "till"]).await;
    let (public, secret) = (key["api_key"].as_str().unwrap(), key["api_secret"].as_str().unwrap());
    server.client_of(public, secret).balances().await.unwrap();
    let (_, keys) = both(&server, &["keys", "list", id], &["API KEY", "REVOKED"]).await;
    assert_eq!(keys[0]["name"], "till");
    let set = ["webhook", "set", public, "http://127.0.0.1:9/hook", "--events", "invoice.expired"];
    row(&server, &set).await;
    let (_, endpoint) = both(&server, &["webhook", "show", public], &["WEBHOOK URL"]).await;
    assert_eq!(endpoint[0]["webhook_url"], "http://127.0.0.1:9/hook");
    assert_eq!(endpoint[0]["webhook_events"][0], "invoice.expired");
    let app_key = row(&server, &["app-key", "show", public]).await;
    assert_eq!(app_key["app_key"], key["app_key"]);
    let rotated = row(&server, &["app-key", "rotate-secret", public]).await;
    assert_eq!(rotated["signing_secret_previous"], app_key["signing_secret"]);
    assert_ne!(rotated["signing_secret"], app_key["signing_secret"]);
    let refused = beside(&server, &["admin", "webhook", "test", public, "--next-app-key"]).await;
    assert!(refused.code == 1 && refused.err.contains("no next APP_KEY"), "{refused:?}");
    let tested = row(&server, &["webhook", "test", public]).await;
    assert_eq!((&tested["delivered"], &tested["status_code"]), (&false.into(), &Value::Null));
    let (_, shown) = both(&server, &["merchants", "show", id], &["merchant", "keys"]).await;
    assert_eq!(shown["merchant"][0]["name"], "A second shop");
    assert_eq!(shown["keys"][0]["api_key"], public);
    assert_eq!(row(&server, &["keys", "revoke", public]).await["revoked"], true);
    assert!(server.client_of(public, secret).balances().await.is_err());

    let nobody = "550e8400-e29b-41d4-a716-446655440000";
    for missing in [["merchants", "show", nobody], ["deliveries", "show", nobody]] {
        let mut all = vec!["admin"];
        all.extend(missing);
        let said = beside(&server, &all).await;
        assert_eq!(said.code, 1);
        assert!(said.err.contains("there is no such"), "{said:?}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merchants_keys_and_webhooks_are_kept_on_sqlite() {
    merchants_keys_and_webhooks(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merchants_keys_and_webhooks_are_kept_on_postgres() {
    merchants_keys_and_webhooks(Engine::Postgres).await;
}

async fn merchants_and_keys_are_changed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let listed = row(&server, &["merchants", "list"]).await;
    let id = listed["id"].as_str().unwrap();
    let terms = async || {
        let shown =
            beside(&server, &["admin", "merchants", "show", id, "--json"]).await.ok().json();
        let [late, percent] =
            ["late", "shortfall_percent"].map(|key| shown["merchant"][0][key].clone());
        (late, percent)
    };
    assert_eq!(terms().await, ("reject".into(), "0.00".into()));
    let headings = ["LATE", "SHORTFALL PERCENT"];
    let set = ["merchants", "set", id, "--late", "honor", "--shortfall-percent", "0.35"];
    let (table, set) = both(&server, &set, &headings).await;
    assert!(table.contains("honor") && table.contains("0.35"), "{table}");
    assert_eq!(set[0]["shortfall_percent"], "0.35");
    assert_eq!(terms().await, ("honor".into(), "0.35".into()));
    row(&server, &["merchants", "set", id, "--shortfall-percent", "10"]).await;
    assert_eq!(terms().await, ("honor".into(), "10.00".into()), "what is not given stays");
    row(&server, &["merchants", "set", id, "--late", "reject"]).await;
    // A third decimal would be rounded, and nobody said how.
    for (percent, code, said) in [
        ("0.335", 2, "at most two decimals"),
        ("10.01", 2, "must be at most 10 percent"),
        ("11", 2, "must be at most 10 percent"),
    ] {
        let set = ["admin", "merchants", "set", id, "--shortfall-percent", percent];
        let refused = beside(&server, &set).await;
        assert!(refused.code == code && refused.err.contains(said), "{percent}: {refused:?}");
    }
    let late = beside(&server, &["admin", "merchants", "set", id, "--late", "maybe"]).await;
    assert!(late.code == 2 && late.err.contains("honor"), "{late:?}");
    assert_eq!(terms().await, ("reject".into(), "10.00".into()), "nothing changed");

    let create = ["keys", "create", id, "till", "--full-view"];
    let (_, key) = both(&server, &create, &["API KEY", "API SECRET", "APP KEY"]).await;
    let (public, secret) = (key[0]["api_key"].as_str().unwrap(), &key[0]["api_secret"]);
    let authorization = format!("Bearer {public}:{}", secret.as_str().unwrap());
    let rest = Rest::with(&server, Some(authorization));
    let is_full = async || rest.get("/api/v1/balances").await.body.contains("\"held\"");
    let own = async || {
        let keys = beside(&server, &["admin", "keys", "list", id, "--json"]).await.ok().json();
        let key =
            keys.as_array().unwrap().iter().find(|key| key["api_key"] == public).unwrap().clone();
        (key["name"].clone(), key["view"].clone(), is_full().await)
    };
    assert_eq!(own().await, ("till".into(), "full".into(), true));
    let (table, set) =
        both(&server, &["keys", "set", public, "--view", "basic"], &["API KEY", "VIEW"]).await;
    assert!(table.contains("basic"), "{table}");
    assert_eq!(set[0]["view"], "basic");
    assert_eq!(own().await, ("till".into(), "basic".into(), false), "the name stays");
    row(&server, &["keys", "set", public, "--view", "full"]).await;
    row(&server, &["keys", "set", public, "--name", "Counter"]).await;
    assert_eq!(own().await, ("Counter".into(), "full".into(), true), "the view stays");
    let other = row(&server, &["keys", "create", id]).await;
    let other = row(&server, &["keys", "set", other["api_key"].as_str().unwrap()]).await;
    assert_eq!((&other["name"], &other["view"]), (&"".into(), &"basic".into()));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merchants_and_keys_are_changed_on_sqlite() {
    merchants_and_keys_are_changed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merchants_and_keys_are_changed_on_postgres() {
    merchants_and_keys_are_changed(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_app_key_is_created_and_activated() {
    let server = TestServer::start(Engine::Sqlite).await;
    let public = server.credentials.0.as_str();
    let shown = async || {
        let shown = row(&server, &["app-key", "show", public]).await;
        (shown["app_key"].clone(), shown["app_key_next"].clone())
    };
    assert_eq!(shown().await, (server.app_key.as_str().into(), Value::Null));
    let early = beside(&server, &["admin", "app-key", "activate", public]).await;
    assert!(early.code == 1 && early.err.contains("no next APP_KEY"), "{early:?}");
    let create = ["app-key", "create", public];
    let (table, created) = both(&server, &create, &["APP KEY", "APP KEY NEXT"]).await;
    let next = created[0]["app_key_next"].clone();
    assert!(!table.contains(next.as_str().unwrap()), "each call makes another one:\n{table}");
    assert_eq!(shown().await, (server.app_key.as_str().into(), next.clone()), "not active yet");
    let activated = row(&server, &["app-key", "activate", public]).await;
    assert_eq!(activated["app_key"], next);
    assert_eq!(shown().await, (next, Value::Null));
    let again = row(&server, &create).await["app_key_next"].clone();
    let table = beside(&server, &["admin", "app-key", "activate", public]).await.ok().out;
    assert!(table.contains("APP KEY") && table.contains(again.as_str().unwrap()), "{table}");
    assert_eq!(shown().await, (again, Value::Null));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_show_how_far_they_are_and_how_full() {
    let settings = "[networks.eth]\nenabled = false";
    let server = TestServer::with(Engine::Sqlite, settings).await;
    server.client().create_invoice(CreateInvoice::new("ltc", "50")).await.unwrap();
    server.client().sandbox().mine("ltc", 3).await.unwrap();
    eventually("three blocks scanned", || async {
        let (_, networks) =
            both(&server, &["networks", "list"], &["BACKEND", "POOL FREE", "LAG BLOCKS"]).await;
        let of = |name: &str| {
            networks.as_array().unwrap().iter().find(|row| row["network"] == name).unwrap().clone()
        };
        let (ltc, eth) = (of("ltc"), of("eth"));
        assert_eq!((&ltc["backend"], &ltc["chain"]), (&"sandbox".into(), &"sandbox".into()));
        assert_eq!((&eth["enabled"], &eth["head"]), (&false.into(), &Value::Null));
        assert_eq!(ltc["pool_used"], 1);
        assert!(ltc["pool_free"].as_u64().unwrap() + ltc["pool_leased"].as_u64().unwrap() > 20);
        let is_read = ltc["scanned"].as_u64() >= Some(3) && ltc["lag_blocks"] == 0;
        (is_read && ltc["state"] == "reading" && eth["state"] == Value::Null).then_some(())
    })
    .await;
    let (table, none) = both(&server, &["networks", "endpoints"], &[]).await;
    assert!(table.contains("nothing") && none.as_array().unwrap().is_empty(), "{table}");
    let asked = row(&server, &["networks", "rescan", "ltc", "0", "3"]).await;
    assert_eq!((&asked["from"], &asked["to"]), (&0.into(), &3.into()));
    eventually("the blocks were read again", || async {
        let (_, rescans) = both(&server, &["networks", "rescans"], &["DEPOSITS CHANGED"]).await;
        assert_eq!(rescans[0]["id"], asked["id"]);
        (rescans[0]["state"] == "done" && rescans[0]["next"] == 4).then_some(())
    })
    .await;
    let refused = beside(&server, &["admin", "networks", "rescan", "ltc", "0", "99"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("to_height is above block"), "{refused:?}");
    server.finish().await;
}

async fn deliveries(engine: Engine) {
    let server = TestServer::start(engine).await;
    let receiver = Receiver::start().await;
    let change =
        UpdateWebhookEndpointRequest { url: Some(receiver.url.clone()), events: Vec::new() };
    server.client().update_webhook_endpoint(change).await.unwrap();
    let invoice = confirmed_invoice(&server).await;
    receiver.wait_for(2).await;
    let delivered = ["deliveries", "list", "--state", "delivered", "--invoice", &invoice.id];
    let list = eventually("both are noted", || async {
        let (_, list) = both(&server, &delivered, &[]).await;
        (list.as_array().unwrap().len() == 2).then_some(list)
    })
    .await;
    assert_eq!(list[0]["event"], "payment.confirmed", "the newest first");
    let (table, one) =
        both(&server, &["deliveries", "list", "--limit", "1"], &["EVENT", "STATE"]).await;
    assert!(table.contains("delivered") && one.as_array().unwrap().len() == 1, "{table}");
    for nothing in [["--state", "failed"], ["--event", "invoice.expired"], ["--key", "pk_test_0"]] {
        let (table, none) =
            both(&server, &["deliveries", "list", nothing[0], nothing[1]], &[]).await;
        assert!(table.contains("nothing") && none.as_array().unwrap().is_empty());
    }
    let id = list[1]["id"].as_str().unwrap();
    let (_, shown) = both(&server, &["deliveries", "show", id], &["delivery", "attempts"]).await;
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["status_code"]), (&1.into(), &200.into()));
    assert_eq!(attempt["request_body"], String::from_utf8_lossy(&receiver.got()[0].body).as_ref());
    row(&server, &["deliveries", "redeliver", id]).await;
    let again = receiver.wait_for(3).await;
    assert_eq!(again[2].headers["x-cryptopayment-attempt"], "2");
    assert_eq!(again[2].body, again[0].body);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_read_and_sent_again_on_sqlite() {
    deliveries(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_read_and_sent_again_on_postgres() {
    deliveries(Engine::Postgres).await;
}

async fn unexpected_deposits(engine: Engine) {
    let server = TestServer::start(engine).await;
    let created = server.client().create_invoice(CreateInvoice::new("bep20", "50")).await.unwrap();
    let invoice = created.invoice.unwrap();
    let file = server.directory.path().join("data/sandbox.sqlite");
    let sandbox = Sandbox::open(&file, Env::system()).await.unwrap();
    let chain = sandbox.chain(Network::Eth).await.unwrap();
    for units in [5, 7] {
        chain.pay(&[(invoice.address.clone(), units)]).await.unwrap();
    }
    chain.mine(40).await.unwrap();
    let list = ["unexpected-deposits", "list", "--invoice", &invoice.id];
    let client = server.client();
    let rows = eventually("both are seen and final", || async {
        let networks = client.networks().await.unwrap();
        let eth = networks.into_iter().find(|network| network.network == "eth").unwrap();
        let (_, rows) = both(&server, &list, &[]).await;
        let rows = rows.as_array().unwrap().clone();
        let is_final = |row: &Value| row["block_height"].as_u64() <= eth.finalized_height;
        (rows.len() == 2 && rows.iter().all(is_final)).then_some(rows)
    })
    .await;
    both(&server, &list, &["COIN", "STATE", "INVOICE ID"]).await;
    let id = |n: usize| rows[n]["id"].as_str().unwrap();
    let show = ["unexpected-deposits", "show", id(0)];
    let (_, shown) = both(&server, &show, &["TXID", "IS CREDITABLE", "ADDRESS NETWORK"]).await;
    assert_eq!((&shown[0]["coin"], &shown[0]["is_creditable"]), (&"ETH".into(), &true.into()));
    let whom = beside(&server, &["admin", "unexpected-deposits", "assign", id(0)]).await;
    assert_eq!(whom.code, 2, "an invoice or a merchant must be named: {whom:?}");
    let assign = ["unexpected-deposits", "assign", id(0), "--invoice", &invoice.id];
    let given = row(&server, &[&assign[..], &["--note", "by mistake"]].concat()).await;
    assert_eq!((&given["state"], &given["note"]), (&"assigned".into(), &"by mistake".into()));
    let gone =
        row(&server, &["unexpected-deposits", "dismiss", id(1), "--note", "sent back"]).await;
    assert_eq!(gone["state"], "dismissed");
    let open = ["unexpected-deposits", "list", "--state", "seen", "--network", "eth"];
    let (table, none) = both(&server, &open, &[]).await;
    assert!(table.contains("nothing") && none.as_array().unwrap().is_empty());
    let late = ["admin", "unexpected-deposits", "assign", id(1), "--invoice", &invoice.id];
    let late = beside(&server, &late).await;
    assert!(late.code == 1 && late.err.contains("it is dismissed"), "{late:?}");
    let (_, good) = both(&server, &["audit"], &["CUSTODY UNITS"]).await;
    assert_eq!(good["findings"], serde_json::json!([]), "{good}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unexpected_deposits_are_read_and_settled_on_sqlite() {
    unexpected_deposits(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unexpected_deposits_are_read_and_settled_on_postgres() {
    unexpected_deposits(Engine::Postgres).await;
}

async fn audit(engine: Engine) {
    let server = TestServer::start(engine).await;
    confirmed_invoice(&server).await;
    // One more whose payment waits: `pending` is compared too.
    let waiting = server.client().create_invoice(CreateInvoice::new("btc", "50")).await.unwrap();
    let pay = cryptopayment_sdk::sandbox_v1::PayInvoiceRequest {
        invoice_id: waiting.invoice.unwrap().id,
        ..Default::default()
    };
    server.client().sandbox().pay(pay).await.unwrap();
    eventually("it is pending", || async {
        let balances = server.client().balances().await.unwrap();
        balances.iter().any(|balance| balance.pending_units != "0").then_some(())
    })
    .await;
    let (_, good) = both(&server, &["audit"], &["TRANSFERS", "CUSTODY UNITS"]).await;
    assert_eq!(good["findings"], serde_json::json!([]), "{good}");
    assert_eq!(good["read"][0]["findings"], 0);
    assert!(good["read"][0]["operator_lines"].as_u64().unwrap() > 0);
    let ltc = good["totals"].as_array().unwrap().iter().find(|row| row["coin"] == "LTC").unwrap();
    assert_eq!(ltc["custody_units"], ltc["available_units"]);

    let db = Database::connect(&server.database_url).await.unwrap();
    let drop_triggers: &[&str] = match engine {
        Engine::Sqlite => &["DROP TRIGGER posting_no_update", "DROP TRIGGER audit_log_no_update"],
        Engine::Postgres => &[
            "DROP TRIGGER posting_append_only ON posting",
            "DROP TRIGGER audit_log_append_only ON audit_log",
        ],
    };
    for statement in drop_triggers {
        db.execute_unprepared(statement).await.unwrap();
    }
    let posting = format!("UPDATE posting SET amount = '{:039}' WHERE account_version > 0", 7);
    db.execute_unprepared(&posting).await.unwrap();
    db.execute_unprepared("UPDATE audit_log SET actor = 'nobody' WHERE seq = 2").await.unwrap();
    let deposit = format!("UPDATE deposit SET amount = '{:039}' WHERE credited", 7);
    db.execute_unprepared(&deposit).await.unwrap();
    db.close().await.unwrap();
    let said = beside(&server, &["admin", "audit"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    for damage in ["transfers", "balances", "deposits", "totals", "operator log", "line 2"] {
        assert!(said.out.contains(damage), "{damage} was not found:\n{}", said.out);
    }
    assert!(said.err.contains("do not add up"), "{said:?}");
    let json = beside(&server, &["admin", "audit", "--json"]).await;
    assert_eq!(json.code, 1);
    let count = json.json()["findings"].as_array().unwrap().len();
    assert_eq!(json.json()["read"][0]["findings"], count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_damage_on_sqlite() {
    audit(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_damage_on_postgres() {
    audit(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_it_says_so() {
    let mut server = TestServer::start(Engine::Sqlite).await;
    server.stop().await;
    let said = beside(&server, &["admin", "merchants", "list"]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no server answers on"), "{said:?}");
}
