//! A whole server inside the test: its own data directory and database, a free port, blocks on
//! demand. Started, stopped and started again like the program, called through SDK and REST.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use cryptopayment::app::{self, Role, Running};
use cryptopayment::config::{Config, Flags};
use cryptopayment::env::Env;
use cryptopayment_proto::admin::v1 as admin;
use cryptopayment_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use cryptopayment_proto::admin::v1::merchant_service_client::MerchantServiceClient;
use cryptopayment_sdk::{Client, Credentials};
use hyper_util::rt::TokioIo;
use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::audit;
use super::clock::MovedClock;

/// How long anything may take that a test waits for: a bound for machines with much else to do.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A running server.
pub struct TestServer {
    pub directory: TempDir,
    pub database_url: String,
    settings: String,
    /// Its system clock, if it is not the real one.
    clock: Option<MovedClock>,
    running: Option<(Running, CancellationToken)>,
    pub credentials: (String, String),
    pub app_key: String,
    pub url: String,
}

/// Installs what the program's `main` installs.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A database of its own for one test.
pub async fn fresh_database(engine: Engine, directory: &Path) -> String {
    match engine {
        Engine::Sqlite => format!("sqlite://{}", directory.join("ledger.sqlite").display()),
        Engine::Postgres => {
            let url = std::env::var("TEST_POSTGRES_URL")
                .expect("TEST_POSTGRES_URL is not set: run the tests with `make test`");
            let name = format!("t_{}", Uuid::new_v4().simple());
            let admin = Database::connect(&url).await.unwrap();
            admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
            admin.close().await.unwrap();
            let (server, _) = url.rsplit_once('/').unwrap();
            format!("{server}/{name}")
        }
    }
}

impl TestServer {
    /// A server with the sandbox's defaults.
    pub async fn start(engine: Engine) -> Self {
        Self::with(engine, "").await
    }

    /// A server with settings (TOML) beside the test's own.
    pub async fn with(engine: Engine, settings: &str) -> Self {
        Self::with_clock(engine, settings, None).await
    }

    /// A server with settings and with a system clock of the test's own.
    pub async fn with_clock(engine: Engine, settings: &str, clock: Option<MovedClock>) -> Self {
        install_tls();
        let directory = tempfile::tempdir().unwrap();
        let database_url = fresh_database(engine, directory.path()).await;
        let mut server = Self {
            settings: settings.to_owned(),
            clock,
            directory,
            database_url,
            running: None,
            credentials: Default::default(),
            app_key: String::new(),
            url: String::new(),
        };
        server.run().await;
        server
    }

    /// Starts it (again).
    pub async fn run(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let file = self.directory.path().join("test.toml");
        std::fs::write(&file, self.toml()).unwrap();
        let data = self.directory.path().join("data");
        let flags = Flags { data_dir: Some(data) };
        let config = Config::load(Some(&file), &flags).unwrap();
        let stop = CancellationToken::new();
        let env = self.clock.as_ref().map_or_else(Env::system, MovedClock::env);
        let running = app::start(&config, Role::All, env, stop.clone()).await.unwrap();
        let demo = running.demo.clone().unwrap();
        self.credentials = (demo.credentials.api_key, demo.credentials.api_secret);
        self.app_key = demo.app_key.unwrap();
        self.url = format!("http://{}", running.address.unwrap());
        self.running = Some((running, stop));
    }

    /// Where its metrics are, if they are on.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.running.as_ref().and_then(|(running, _)| running.metrics_address)
    }

    /// What it says when it is started with other settings and refuses.
    pub async fn refuses_to_run_with(&self, settings: &str) -> String {
        let file = self.directory.path().join("refused.toml");
        let database = format!("[database]\nurl = \"{}\"", self.database_url);
        let http = "[http]\nlisten = \"127.0.0.1:0\"";
        std::fs::write(&file, format!("{http}\n{database}\n{settings}")).unwrap();
        let flags = Flags { data_dir: Some(self.directory.path().join("data")) };
        let config = Config::load(Some(&file), &flags).unwrap();
        let stop = CancellationToken::new();
        let started = app::start(&config, Role::All, Env::system(), stop.clone()).await;
        stop.cancel();
        format!("{:#}", started.err().expect("it started"))
    }

    /// The test's settings. Tables that a test brings itself replace these.
    pub fn toml(&self) -> String {
        let mut toml = String::new();
        let mut table = |name: &str, body: &str| {
            if !self.settings.contains(name) {
                toml.push_str(&format!("{name}\n{body}\n"));
            }
        };
        table("[http]", "listen = \"127.0.0.1:0\"");
        table("[database]", &format!("url = \"{}\"", self.database_url));
        table("[pool]", "addresses_low = 20\naddresses_batch = 40\naddresses_leased = 20");
        for network in ["btc", "ltc", "eth", "bep20", "trc20"] {
            let name = format!("[networks.{network}]");
            table(&name, "block_seconds = 0\npoll_milliseconds = 50");
        }
        format!("{toml}\n{}", self.settings)
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(&mut self) {
        if let Some((running, stop)) = self.running.take() {
            stop.cancel();
            running.wait().await;
        }
    }

    /// Stops and starts it.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.run().await;
    }

    /// Stops it and starts it with other settings.
    pub async fn restart_with(&mut self, settings: &str) {
        self.stop().await;
        settings.clone_into(&mut self.settings);
        self.run().await;
    }

    /// The sandbox merchant's client.
    pub fn client(&self) -> Client {
        self.client_of(&self.credentials.0, &self.credentials.1)
    }

    /// A client of any key.
    pub fn client_of(&self, key: &str, secret: &str) -> Client {
        let client = Client::builder(&self.url, Credentials::new(key, secret));
        client.deadline(DEADLINE).build().unwrap()
    }

    /// The operator's connection: the admin socket.
    pub async fn admin(&self) -> Channel {
        admin_at(&self.directory.path().join("data")).await
    }

    /// Another merchant's key and secret. Its key is refused until it is approved.
    pub async fn second_merchant(&self) -> (String, String) {
        let channel = self.admin().await;
        let mut merchants = MerchantServiceClient::new(channel.clone());
        let request = admin::CreateMerchantRequest { name: "Another".to_owned() };
        let merchant = merchants.create_merchant(request).await.unwrap().into_inner().merchant;
        let merchant_id = merchant.unwrap().id;
        let request =
            admin::CreateApiKeyRequest { merchant_id: merchant_id.clone(), ..Default::default() };
        let mut keys = ApiKeyServiceClient::new(channel);
        let created = keys.create_api_key(request).await.unwrap().into_inner();
        let (key, secret) = (created.key.unwrap().api_key, created.api_secret);
        let early = self.client_of(&key, &secret).balances().await.unwrap_err();
        assert_eq!(early.reason(), Some("MERCHANT_NOT_APPROVED"));
        let request = admin::ApproveMerchantRequest { id: merchant_id };
        merchants.approve_merchant(request).await.unwrap();
        (key, secret)
    }

    /// Changes what the sandbox's merchant allows; its id is filled in.
    pub async fn update_merchant(
        &self,
        change: admin::UpdateMerchantRequest,
    ) -> Result<admin::Merchant, tonic::Status> {
        let mut merchants = MerchantServiceClient::new(self.admin().await);
        let all = merchants.list_merchants(admin::ListMerchantsRequest {}).await?.into_inner();
        let own = all.merchants.into_iter().find(|merchant| merchant.name == "Sandbox merchant");
        let request = admin::UpdateMerchantRequest { id: own.unwrap().id, ..change };
        Ok(merchants.update_merchant(request).await?.into_inner().merchant.unwrap())
    }

    /// Changes a key's settings.
    pub async fn update_key(
        &self,
        change: admin::UpdateApiKeyRequest,
    ) -> Result<admin::ApiKey, tonic::Status> {
        let mut keys = ApiKeyServiceClient::new(self.admin().await);
        Ok(keys.update_api_key(change).await?.into_inner().key.unwrap())
    }

    /// Another key of the sandbox's own merchant, and its secret.
    pub async fn another_key(&self) -> (String, String) {
        let channel = self.admin().await;
        let mut merchants = MerchantServiceClient::new(channel.clone());
        let listed = merchants.list_merchants(admin::ListMerchantsRequest {}).await.unwrap();
        let mut listed = listed.into_inner().merchants.into_iter();
        let own = listed.find(|merchant| merchant.name == "Sandbox merchant").unwrap();
        let request = admin::CreateApiKeyRequest { merchant_id: own.id, ..Default::default() };
        let mut keys = ApiKeyServiceClient::new(channel);
        let created = keys.create_api_key(request).await.unwrap().into_inner();
        (created.key.unwrap().api_key, created.api_secret)
    }

    /// Sets a key's webhook URL as the operator does.
    pub async fn set_webhook(&self, key: &str, url: &str) {
        let (api_key, url) = (key.to_owned(), Some(url.to_owned()));
        let request = admin::SetWebhookRequest { api_key, url, events: Vec::new() };
        ApiKeyServiceClient::new(self.admin().await).set_webhook(request).await.unwrap();
    }

    /// Revokes a key.
    pub async fn revoke(&self, key: &str) {
        let request = admin::RevokeApiKeyRequest { api_key: key.to_owned() };
        ApiKeyServiceClient::new(self.admin().await).revoke_api_key(request).await.unwrap();
    }

    /// The value of the `authorization` header.
    pub fn authorization(&self) -> String {
        format!("Bearer {}:{}", self.credentials.0, self.credentials.1)
    }

    /// Stops it and recomputes the books from the postings alone.
    pub async fn finish(mut self) {
        let balances = self.client().balances().await.unwrap();
        self.stop().await;
        audit::check(&self.database_url, &balances).await;
    }
}

/// The operator's connection to whatever program keeps its data here.
pub async fn admin_at(data: &Path) -> Channel {
    let socket = data.join("admin.sock");
    let connector = tower::service_fn(move |_: http::Uri| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

/// Waits until `look` gives something. Looking again is cheap; time is only a bound.
pub async fn eventually<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}
