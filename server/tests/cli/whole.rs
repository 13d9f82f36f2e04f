//! The program as a process of its own on SQLite, from its settings to its end: what it says at its start, a
//! deployment with real money, and what an operator finds in its log. Not here: roles, which need PostgreSQL.

use std::path::{Path, PathBuf};

use cryptopayment_proto::v1::ListNetworksRequest;
use cryptopayment_proto::v1::network_service_client::NetworkServiceClient;
use reqwest::{Client, Method};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::Value;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::process::{Process, word};
use crate::program::run_with;
use crate::support::parts::own_address;
use crate::support::rest::{Answer, answer};
use crate::support::server::{DEADLINE, eventually, install_tls};

/// A program that runs, with its files.
struct Whole {
    directory: TempDir,
    process: Process,
    url: String,
}

impl Whole {
    /// Starts the program with these settings (TOML) on an address that no other program here has.
    fn start(settings: &str) -> Self {
        install_tls();
        let directory = tempfile::tempdir().unwrap();
        let listen = own_address();
        let database = directory.path().join("ledger.sqlite");
        let toml = format!(
            "{settings}\n[database]\nurl = \"sqlite://{}\"\n[log]\nformat = \"json\"\n[http]\n\
             listen = \"{listen}\"\npublic_url = \"https://pay.example\"\n",
            database.display()
        );
        let file = directory.path().join("whole.toml");
        std::fs::write(&file, toml).unwrap();
        let process = Process::start(&file, &directory.path().join("data"), None);
        Self { directory, process, url: format!("http://{listen}") }
    }

    /// Ends it and starts it again with the same files.
    async fn again(self) -> Self {
        let Self { directory, process, url } = self;
        process.stop().await;
        let file = directory.path().join("whole.toml");
        let process = Process::start(&file, &directory.path().join("data"), None);
        Self { directory, process, url }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The first row of what `admin ... --json` answers.
    async fn admin(&self, arguments: &[&str]) -> Value {
        let file = self.directory.path().join("whole.toml");
        let arguments = [&["admin", "--json"], arguments].concat();
        run_with(&file, &self.data(), &arguments).await.ok().json()[0].clone()
    }

    /// A call of REST with this key, `KEY:SECRET`.
    async fn call(&self, method: Method, path: &str, key: &str, body: &'static str) -> Answer {
        let request = http().request(method, format!("{}{path}", self.url));
        let request = request.header("authorization", format!("Bearer {key}"));
        answer(request.header("content-type", "application/json").body(body)).await
    }
}

/// Calls over HTTP.
pub fn http() -> Client {
    Client::builder().timeout(DEADLINE).no_proxy().build().unwrap()
}

/// A deployment with real money, with a node and with exchanges that cannot be reached.
fn live(passphrase_file: &Path) -> String {
    let mut toml = format!(
        "environment = \"live\"\nsigner.passphrase_file = \"{}\"\nrates.source = \"market\"\n",
        passphrase_file.display()
    );
    for exchange in ["kraken", "coinbase", "binance"] {
        toml.push_str(&format!("rates.market.urls.{exchange} = \"https://127.0.0.1:1\"\n"));
    }
    for network in ["btc", "eth", "bep20", "trc20"] {
        toml.push_str(&format!("networks.{network}.enabled = false\n"));
    }
    let node = "{ url = \"http://127.0.0.1:1/\" }";
    toml + &format!("networks.ltc = {{ backend = \"node\", chain = \"mainnet\", node = {node} }}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_deployment_has_live_keys_alone_and_nothing_of_the_sandbox() {
    let home = tempfile::tempdir().unwrap();
    let passphrase = home.path().join("passphrase");
    std::fs::write(&passphrase, "a passphrase of this test alone").unwrap();
    let whole = Whole::start(&live(&passphrase));
    // It is ready once its network was read, which does not come; it answers before.
    eventually("it answers", || async {
        let asked = http().get(format!("{}/api/v1/networks", whole.url)).send().await;
        asked.ok().filter(|answer| answer.status() == 401)
    })
    .await;
    assert!(!whole.data().join("sandbox-credentials.json").exists(), "there is no demo merchant");

    let merchant = whole.admin(&["merchants", "create", "A shop"]).await;
    let id = merchant["id"].as_str().unwrap();
    whole.admin(&["merchants", "approve", id]).await;
    let key = whole.admin(&["keys", "create", id]).await;
    let (public, secret) = (key["api_key"].as_str().unwrap(), key["api_secret"].as_str().unwrap());
    assert!(public.starts_with("pk_live_") && secret.starts_with("sk_live_"), "{public}");
    let own = format!("{public}:{secret}");
    let networks = whole.call(Method::GET, "/api/v1/networks", &own, "").await;
    assert_eq!(networks.status, 200, "{}", networks.body);
    assert!(networks.body.contains(r#""network":"ltc""#) && !networks.body.contains("trc20"));

    let test_key = own.replace("pk_live_", "pk_test_").replace("sk_live_", "sk_test_");
    let refused = whole.call(Method::GET, "/api/v1/networks", &test_key, "").await;
    assert_eq!((refused.status, refused.code()), (401, "KEY_MODE_MISMATCH".to_owned()));
    assert!(refused.body.contains("live: use a pk_live_ key"), "{}", refused.body);

    let sandbox = "/sandbox/v1/clock/advance";
    let unserved = whole.call(Method::POST, sandbox, &own, r#"{"seconds":60}"#).await;
    assert_eq!((unserved.status, unserved.code()), (404, "ROUTE_NOT_FOUND".to_owned()));

    let endpoint = "/api/v1/webhooks/endpoint";
    for (body, why) in [
        (r#"{"url":"http://shop.example/hook"}"#, "https"),
        (r#"{"url":"https://127.0.0.1/hook"}"#, "127.0.0.1"),
        (r#"{"url":"https://10.0.0.1/hook"}"#, "10.0.0.1"),
        (r#"{"url":"https://[::1]/hook"}"#, "::1"),
    ] {
        let refused = whole.call(Method::PATCH, endpoint, &own, body).await;
        let reason = &refused.json()["error"]["details"][0]["reason"];
        assert_eq!((refused.status, reason), (400, &"WEBHOOK_TARGET_REFUSED".into()), "{body}");
        assert!(refused.body.contains(why), "{body}: {}", refused.body);
    }
    let set = whole.call(Method::GET, endpoint, &own, "").await;
    assert_eq!(set.json()["endpoint"]["url"], Value::Null, "{}", set.body);
    let data = whole.data();
    whole.process.stop().await;

    // Its database is live's for ever, also for a wallet of the sandbox's own.
    let settings = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"sqlite://{}\"\n",
        whole.directory.path().join("ledger.sqlite").display()
    );
    let file = home.path().join("sandbox.toml");
    std::fs::write(&file, settings).unwrap();
    let refused = run_with(&file, &home.path().join("data"), &[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("the database belongs to live, not to sandbox"), "{refused:?}");
    let refused = run_with(&file, &data, &[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_start_tells_the_sandbox_key_as_it_is_by_then() {
    let mut whole = Whole::start("");
    let first = whole.process.printed("export AUTH=").await;
    assert!(first.contains("webhook url   not set"), "{first}");
    let public = word(&first, "api key ").to_owned();
    let key = format!("{public}:{}", word(&first, "api secret "));
    let endpoint = "/api/v1/webhooks/endpoint";
    let url = r#"{"url":"http://127.0.0.1:9/shop"}"#;
    assert_eq!(whole.call(Method::PATCH, endpoint, &key, url).await.status, 200);
    whole.admin(&["app-key", "create", &public]).await;
    whole.admin(&["app-key", "activate", &public]).await;

    let mut whole = whole.again().await;
    let second = whole.process.printed("export AUTH=").await;
    let told = whole.call(Method::GET, endpoint, &key, "").await.json()["endpoint"].clone();
    assert_eq!(word(&second, "app key "), told["app_key"].as_str().unwrap());
    assert_ne!(word(&second, "app key "), word(&first, "app key "), "the active one");
    assert_eq!(word(&second, "webhook url "), told["url"].as_str().unwrap());
    assert_eq!(word(&second, "webhook url "), "http://127.0.0.1:9/shop");
    assert!(second.contains(&format!("export AUTH='Authorization: Bearer {key}'")), "{second}");

    whole.admin(&["keys", "revoke", &public]).await;
    let mut whole = whole.again().await;
    let third = whole.process.printed("admin keys create").await;
    assert!(third.contains(&format!("{public} was revoked")), "{third}");
    assert!(!third.contains("sk_test_") && !third.contains("export"), "{third}");
    let merchant = word(&third, "admin keys create ");
    // What it says can be typed.
    let made = whole.admin(&["keys", "create", merchant]).await;
    let key =
        format!("{}:{}", made["api_key"].as_str().unwrap(), made["api_secret"].as_str().unwrap());
    assert_eq!(whole.call(Method::GET, endpoint, &key, "").await.status, 200);
    whole.process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_id_of_an_answer_finds_its_cause_in_the_log() {
    let mut whole = Whole::start("");
    let banner = whole.process.printed("export AUTH=").await;
    let key = format!("{}:{}", word(&banner, "api key "), word(&banner, "api secret "));
    let ledger = whole.directory.path().join("ledger.sqlite");
    let db = Database::connect(format!("sqlite://{}", ledger.display())).await.unwrap();
    // The server, which reads and writes all the time, may be in the way.
    eventually("a table is gone", || async {
        db.execute_unprepared("ALTER TABLE chain_cursor RENAME TO lost").await.ok()
    })
    .await;

    let path = "/api/v1/networks";
    let made = whole.call(Method::GET, path, &key, "").await;
    let named = http().get(format!("{}{path}", whole.url)).header("x-request-id", "order-7");
    let named = answer(named.header("authorization", format!("Bearer {key}"))).await;
    let mut ids = Vec::new();
    for told in [made, named] {
        assert_eq!((told.status, told.code()), (500, "INTERNAL".to_owned()));
        let id = told.json()["error"]["request_id"].as_str().unwrap().to_owned();
        assert_eq!(told.headers["x-request-id"], id.as_str());
        ids.push(id);
    }
    assert_eq!(ids[1], "order-7", "the caller's own");

    let channel = Endpoint::new(whole.url.clone()).unwrap().connect().await.unwrap();
    let mut request = tonic::Request::new(ListNetworksRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let status = NetworkServiceClient::new(channel).list_networks(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    ids.push(status.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned());

    let logged = whole.process.logged("call failed");
    for id in &ids {
        let own: Vec<&Value> =
            logged.iter().filter(|line| line["span"]["request_id"] == id.as_str()).collect();
        assert_eq!(own.len(), 1, "{id}: {logged:#?}");
        let cause = own[0]["error"].as_str().unwrap();
        assert!(cause.contains("chain_cursor"), "{cause}");
        assert_eq!(own[0]["spans"].as_array().unwrap().len(), 1, "said once: {}", own[0]);
    }
    eventually("the table is back", || async {
        db.execute_unprepared("ALTER TABLE lost RENAME TO chain_cursor").await.ok()
    })
    .await;
    db.close().await.unwrap();
    whole.process.stop().await;
}
