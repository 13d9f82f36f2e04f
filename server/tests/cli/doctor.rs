//! `doctor` finds each planted fault, says what to do, and changes nothing; with the server running and
//! without.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cryptopayment::app::doctor::{Examination, State, examine};
use cryptopayment::config::{Config, Flags};
use cryptopayment_sdk::v1::UpdateWebhookEndpointRequest;
use sea_orm::{ConnectionTrait, Database};
use serde_json::Value;

use crate::program::{Said, beside, confirmed_invoice, run_with};
use crate::support::clock::MovedClock;
use crate::support::parts::own_address;
use crate::support::receiver::Receiver;
use crate::support::server::{Engine, TestServer, eventually, fresh_database};

/// The rows of a check.
fn rows<'a>(said: &'a Value, check: &str) -> Vec<&'a Value> {
    said.as_array().unwrap().iter().filter(|row| row["check"] == check).collect()
}

/// The one check of that name is in this state and tells this.
#[track_caller]
fn states(said: &Value, check: &str, state: &str, text: &str) {
    let found = rows(said, check);
    assert_eq!(found.len(), 1, "{check}: {said:#}");
    assert_eq!(found[0]["state"], state, "{:#}", found[0]);
    let told = format!("{} -> {}", found[0]["text"], found[0]["cure"]);
    assert!(told.contains(text), "{check} does not tell {text:?}: {told}");
}

/// Something is wrong, and nothing but this.
#[track_caller]
fn fails_alone(said: &Said, check: &str, text: &str) {
    let json = said.json();
    states(&json, check, "fail", text);
    let failed = json.as_array().unwrap().iter().filter(|row| row["state"] == "fail").count();
    assert_eq!((failed, said.code), (1, 1), "{json:#}");
}

async fn doctor(server: &TestServer) -> Said {
    beside(server, &["doctor", "--json"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_deployment_is_well_with_its_server_and_without() {
    let mut server = TestServer::start(Engine::Sqlite).await;
    confirmed_invoice(&server).await;
    let running = doctor(&server).await.ok().json();
    for check in ["configuration", "data_dir", "keystore", "database", "migrations", "clock"] {
        states(&running, check, "ok", "");
    }
    states(&running, "append-only logs", "ok", "triggers");
    states(&running, "ownership", "ok", "belong together");
    states(&running, "network ltc", "ok", "simulated");
    states(&running, "reading ltc", "ok", "scanned");
    states(&running, "rates", "ok", "fixed");
    states(&running, "webhooks", "ok", "no key");
    states(&running, "server", "ok", "runs");
    states(&running, "database", "ok", "journal wal, synchronous 2, recursive triggers true");
    server.stop().await;
    let stopped = doctor(&server).await.ok().json();
    states(&stopped, "server", "warn", "start it");
    states(&stopped, "keystore", "ok", "opens");
    let lines = beside(&server, &["doctor"]).await.ok().out;
    assert!(lines.contains("ok    database") && lines.contains("warn  server"), "{lines}");
    assert_eq!(lines.lines().count(), stopped.as_array().unwrap().len(), "one line a check");
    server.run().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_was_never_started_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (file, data) = (home.path().join("settings.toml"), home.path().join("data"));
    fs::write(&file, "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let said = run_with(&file, &data, &["doctor", "--json"]).await.ok().json();
    for check in ["data_dir", "keystore", "database"] {
        states(&said, check, "warn", "made at the first start");
    }
    assert!(!data.exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_others_can_read_are_found() {
    let server = TestServer::start(Engine::Sqlite).await;
    let data = server.directory.path().join("data");
    fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    fails_alone(&doctor(&server).await, "data_dir", "chmod 700");
    fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(data.join("secrets.key"), Permissions::from_mode(0o644)).unwrap();
    fails_alone(&doctor(&server).await, "private files", "chmod 600");
    fs::set_permissions(data.join("secrets.key"), Permissions::from_mode(0o600)).unwrap();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_that_does_not_open_the_webhook_secrets_is_found() {
    let mut server = TestServer::start(Engine::Sqlite).await;
    let file = server.directory.path().join("data/secrets.key");
    let right = fs::read(&file).unwrap();
    states(&doctor(&server).await.ok().json(), "webhook secrets", "ok", "opens");
    fs::write(&file, "00".repeat(32)).unwrap();
    let key = server.credentials.0.clone();
    fails_alone(&doctor(&server).await, "webhook secrets", &key);
    fs::write(&file, "no key").unwrap();
    fails_alone(&doctor(&server).await, "webhook secrets", "is no key");
    server.stop().await;
    fs::remove_file(&file).unwrap();
    fails_alone(&doctor(&server).await, "webhook secrets", "restore secrets.key");

    // A start makes no other one in its place, which would open nothing.
    let refused = beside(&server, &["all"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("secrets.key is missing"), "{refused:?}");
    assert!(refused.err.contains("from a backup of data_dir"), "{refused:?}");
    assert!(!file.exists(), "{refused:?}");
    fs::write(&file, right).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    server.run().await;
    doctor(&server).await.ok();
    server.finish().await;
}

/// A worker was started before: from its log is the public key. What it sealed must open here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_without_the_workers_key_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (file, data) = (home.path().join("settings.toml"), home.path().join("data"));
    let url = fresh_database(Engine::Postgres, home.path()).await;
    let key = format!("58{}", "66".repeat(31));
    let settings = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"{url}\"\n\
         [signer]\npublic_key = \"{key}\"\n"
    );
    fs::write(&file, settings).unwrap();
    run_with(&file, &data, &["migrate"]).await.ok();
    let refused = run_with(&file, &data, &["api"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("secrets.key is missing"), "{refused:?}");
    assert!(refused.err.contains("from the data_dir of the worker"), "{refused:?}");
    assert!(!data.join("secrets.key").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_passphrase_is_found_beside_the_running_server() {
    let server = TestServer::start(Engine::Sqlite).await;
    let file = server.directory.path().join("data/wallet/keystore.passphrase");
    let right = fs::read(&file).unwrap();
    fs::write(&file, "another one").unwrap();
    fails_alone(&doctor(&server).await, "keystore", "passphrase");
    fs::write(&file, right).unwrap();
    doctor(&server).await.ok();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_triggers_of_the_database_are_looked_at() {
    let mut server = TestServer::start(Engine::Sqlite).await;
    let db = Database::connect(&server.database_url).await.unwrap();
    db.execute_unprepared("DROP TRIGGER transfer_no_delete").await.unwrap();
    fails_alone(&doctor(&server).await, "append-only logs", "transfer_no_delete");
    db.execute_unprepared(
        "CREATE TRIGGER transfer_no_delete BEFORE DELETE ON transfer WHEN TRUE
         BEGIN SELECT RAISE(ABORT, 'transfer is append-only'); END",
    )
    .await
    .unwrap();
    db.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999', 0)")
        .await
        .unwrap();
    fails_alone(&doctor(&server).await, "migrations", "update it");
    db.execute_unprepared("DELETE FROM seaql_migrations WHERE version = 'm9999'").await.unwrap();
    server.stop().await;
    // The stopped server's connections close a moment after it.
    eventually("the file is nobody else's", || async {
        db.execute_unprepared("PRAGMA journal_mode = DELETE").await.ok()
    })
    .await;
    db.close().await.unwrap();
    fails_alone(&doctor(&server).await, "database", "the journal must be WAL");
    server.run().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_asked_for_what_durability_depends_on() {
    let server = TestServer::start(Engine::Postgres).await;
    let said = doctor(&server).await;
    let json = said.json();
    let database = rows(&json, "database")[0];
    // The server of the tests is often started without fsync, for speed: a real fault to find.
    let is_durable = database["text"].as_str().unwrap().contains("fsync on");
    let state = if is_durable { "ok" } else { "fail" };
    states(&json, "database", state, "PostgreSQL");
    assert_eq!(said.code, i32::from(!is_durable));
    for check in ["migrations", "append-only logs", "ownership", "clock"] {
        states(&json, check, "ok", "");
    }
    let db = Database::connect(&server.database_url).await.unwrap();
    db.execute_unprepared("ALTER TABLE event DISABLE TRIGGER event_append_only").await.unwrap();
    db.close().await.unwrap();
    let json = doctor(&server).await.json();
    states(&json, "append-only logs", "fail", "event_append_only");
    server.finish().await;
}

async fn clocks(engine: Engine) {
    let server = TestServer::start(engine).await;
    let file = server.directory.path().join("test.toml");
    let flags = Flags { data_dir: Some(server.directory.path().join("data")) };
    let config = Config::load(Some(&file), &flags).unwrap();
    let looks = |ahead_seconds: i64| {
        let (clock, config, file) = (MovedClock::new(), &config, Some(file.as_path()));
        clock.advance(ahead_seconds);
        async move {
            let what = Examination { config, file, is_running: true, send_test: false };
            let checks = examine(what, &clock.env(), |_| {}).await;
            let mut found = checks.into_iter().filter(|check| check.name == "clock");
            (found.next().unwrap(), found.next())
        }
    };
    // More than 2 s is worth a look, more than 30 s makes expiry wrong; well inside of each, so that a
    // database that answers slowly changes nothing.
    for (ahead, state) in [
        (0, State::Ok),
        (12, State::Warn),
        (-12, State::Warn),
        (60, State::Fail),
        (-60, State::Fail),
        (86_400, State::Fail),
    ] {
        let (clock, another) = looks(ahead).await;
        assert_eq!((clock.state, &another), (state, &None), "{ahead}: {clock:?}");
        let words = clock.text.split_whitespace();
        let millis = words.filter_map(|word| word.parse::<i64>().ok()).next().unwrap();
        assert!((millis - ahead.abs() * 1_000).abs() < 10_000, "{ahead}: {clock:?}");
        assert_eq!(clock.cure.contains("NTP"), state != State::Ok, "{clock:?}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_not_the_databases_is_found_on_sqlite() {
    clocks(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_not_the_databases_is_found_on_postgres() {
    clocks(Engine::Postgres).await;
}

/// A configuration of its own, with data that no server has made.
async fn with_settings(home: &Path, settings: &str) -> Said {
    let file = home.join("settings.toml");
    fs::write(&file, settings).unwrap();
    run_with(&file, &home.join("data"), &["doctor", "--json"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_and_a_taken_port_are_found() {
    let home = tempfile::tempdir().unwrap();
    // Nobody listens there, and nobody is given it.
    let closed = "127.0.0.1:1";
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let node = format!(
        "[networks.ltc]\nbackend = \"node\"\nchain = \"regtest\"\nnode = {{ url = \"http://{closed}/\" }}\n"
    );
    let free = format!("[http]\nlisten = \"127.0.0.1:0\"\n{node}");
    fails_alone(&with_settings(home.path(), &free).await, "node ltc", "start the node");
    let address = taken.local_addr().unwrap();
    let busy = format!("[http]\nlisten = \"{address}\"\n");
    fails_alone(&with_settings(home.path(), &busy).await, "server", "stop what has the port");
    let wrong = with_settings(home.path(), "[http]\nlisten = \"here\"\n[pool]\nsize = 3\n").await;
    assert_eq!(wrong.code, 1);
    assert_eq!(rows(&wrong.json(), "configuration")[0]["state"], "fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_that_others_may_reach_are_a_warning() {
    let home = tempfile::tempdir().unwrap();
    let http = "[http]\nlisten = \"127.0.0.1:0\"\n";
    assert!(rows(&with_settings(home.path(), http).await.json(), "metrics").is_empty());
    for (listen, state, text) in
        [("127.0.0.1:9464", "ok", "/metrics"), ("0.0.0.0:9464", "warn", "of all merchants")]
    {
        let settings = format!("{http}[metrics]\nlisten = \"{listen}\"\n");
        states(&with_settings(home.path(), &settings).await.ok().json(), "metrics", state, text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_of_the_market_are_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let nobody = "http://127.0.0.1:1";
    let settings = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[rates]\nsource = \"market\"\n[rates.market.urls]\n\
         kraken = \"{nobody}\"\ncoinbase = \"{nobody}\"\nbinance = \"{nobody}\"\n"
    );
    let said = with_settings(home.path(), &settings).await;
    assert_eq!(said.code, 1);
    states(&said.json(), "exchange kraken", "warn", "cannot be reached");
    states(&said.json(), "rate BTC", "fail", "nobody quotes it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_endpoints_are_resolved_and_tested_on_request_alone() {
    let server = TestServer::start(Engine::Sqlite).await;
    let receiver = Receiver::start().await;
    let check = format!("webhook {}", server.credentials.0);
    let set = async |url: &str| {
        let change = UpdateWebhookEndpointRequest { url: Some(url.to_owned()), events: Vec::new() };
        server.client().update_webhook_endpoint(change).await.unwrap();
    };
    set(&receiver.url).await;
    states(&doctor(&server).await.ok().json(), &check, "ok", "resolves to 1 allowed");
    assert!(receiver.got().is_empty(), "nothing is sent unasked");
    let tested = beside(&server, &["doctor", "--json", "--send-test"]).await.ok().json();
    states(&tested, &check, "ok", "a test got HTTP 200");
    assert_eq!(receiver.got()[0].event(), "webhook.test");
    receiver.answer([503]);
    let refused = beside(&server, &["doctor", "--json", "--send-test"]).await.ok().json();
    states(&refused, &check, "warn", "HTTP 503");
    set(&format!("http://{}/", own_address())).await;
    let unheard = beside(&server, &["doctor", "--json", "--send-test"]).await.ok().json();
    states(&unheard, &check, "warn", "ms: could not connect");
    set("http://no-such-host.invalid/").await;
    states(&doctor(&server).await.ok().json(), &check, "warn", "does not resolve");
    server.finish().await;
}
