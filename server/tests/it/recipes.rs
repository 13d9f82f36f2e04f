//! The documented PHP, Node and Python programs, run as separate programs with nothing changed but the
//! base URL and the keys; and the documented PHP handler under `php -S`, told real events.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{self, InvoiceException, InvoiceStatus, UpdateWebhookEndpointRequest};

use crate::conformance::world::World;
use crate::support::parts::own_address;
use crate::support::server::eventually;

/// A program beside the tests.
pub fn recipe(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recipes")).join(name)
}

/// The program that `variable` names, or `default`. A program that is missing fails the test.
pub fn interpreter(variable: &str, default: &str) -> Command {
    Command::new(std::env::var(variable).unwrap_or_else(|_| default.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_clients_get_their_checkout_url() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    for (variable, default, file) in [
        ("PHP", "php", "create_invoice.php"),
        ("NODE", "node", "create_invoice.mjs"),
        ("PYTHON", "python3", "create_invoice.py"),
    ] {
        let mut command = interpreter(variable, default);
        command
            .arg(recipe(file))
            .env("BASE_URL", &world.server.url)
            .env("API_KEY", &world.server.credentials.0)
            .env("API_SECRET", &world.server.credentials.1);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap_or_else(|error| panic!("{default}: {error}"));
        let said = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{file}: {said}{complaint}");
        let url = said.lines().next().unwrap();
        let id = url.rsplit_once("/pay/").unwrap_or_else(|| panic!("{file}: {said}")).1;
        let invoice = world.client.get_invoice(id).await.unwrap();
        assert_eq!((invoice.amount_usd.as_str(), invoice.network.as_str()), ("50.00", "trc20"));
    }
    let bad = interpreter("PYTHON", "python3")
        .arg(recipe("create_invoice.py"))
        .env("BASE_URL", &world.server.url)
        .env("API_KEY", &world.server.credentials.0)
        .env("API_SECRET", "sk_test_wrong")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!bad.success(), "a wrong secret is an error to the documented client");
    world.finish().await;
}

/// A receiver that is a program of its own, stopped when dropped.
pub struct Handler {
    /// Where it listens.
    pub url: String,
    child: Child,
}

impl Handler {
    /// The documented handler under `php -S`.
    pub async fn start(app_key: &str, log: &Path) -> Self {
        let address = own_address();
        let mut command = interpreter("PHP", "php");
        command.args(["-S", &address.to_string()]).arg(recipe("webhook.php"));
        Self::run(command.env("APP_KEY", app_key).env("WEBHOOK_LOG", log), address).await
    }

    /// Starts a program that will listen on an address, and waits until it does.
    pub async fn run(command: &mut Command, address: SocketAddr) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let handler = Self { url: format!("http://{address}/webhook"), child };
        eventually("the handler answers", || async {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        handler
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_handler_accepts_every_delivery() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let log = world.server.directory.path().join("webhook.log");
    let handler = Handler::start(&world.server.app_key, &log).await;
    let change = UpdateWebhookEndpointRequest {
        url: Some(handler.url.clone()),
        events: vec!["payment.detected".to_owned(), "payment.confirmed".to_owned()],
    };
    world.client.update_webhook_endpoint(change).await.unwrap();
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    world.mine_deep(&invoice).await;
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    let accepted = eventually("both deliveries accepted", || async {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text.lines().count() >= 2).then_some(text)
    })
    .await;
    let shipped: Vec<bool> = accepted
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["shipped"] == true)
        .collect();
    assert_eq!(shipped, [false, true], "goods are shipped on confirmation alone");
    // Nothing is left to retry: each delivery was answered with 200.
    tokio::time::timeout(Duration::from_secs(30), async {
        world.client.sandbox().advance_clock(7 * 3_600).await.unwrap();
    })
    .await
    .unwrap();
    world.finish().await;
}

/// The programs of `docs/guides/webhooks.md`: fenced blocks with `file=NAME` behind their language.
const GUIDE: &str = include_str!("../../../docs/guides/webhooks.md");

#[test]
fn the_guide_shows_the_programs_that_are_tested() {
    let blocks: Vec<_> = GUIDE.split("\n```").skip(1).step_by(2).collect();
    let programs = blocks.iter().filter_map(|block| block.split_once('\n'));
    let mut shown = Vec::new();
    for (head, text) in programs {
        let Some((_, file)) = head.split_once("file=") else { continue };
        let tested = std::fs::read_to_string(recipe(file)).unwrap();
        assert_eq!(text.trim_end(), tested.trim_end(), "{file}");
        shown.push(file);
    }
    assert_eq!(shown, ["receiver.php", "receiver.mjs", "receiver.py"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guides_receivers_take_real_events_and_refuse_forged_ones() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let next = world.client.create_app_key().await.unwrap();
    let secret = next.signing_secret.clone().unwrap();
    let keys = format!("{},{}", world.server.app_key, next.app_key_next());
    for (variable, default, arguments, extension, both_keys) in [
        ("PHP", "php", vec!["-S", "127.0.0.1:PORT"], "php", false),
        ("NODE", "node", vec![], "mjs", true),
        ("PYTHON", "python3", vec![], "py", true),
    ] {
        let port = free_port();
        let mut command = interpreter(variable, default);
        command.args(arguments.iter().map(|text| text.replace("PORT", &port.to_string())));
        command.arg(recipe(&format!("receiver.{extension}")));
        command.env("APP_KEY", &world.server.app_key).env("APP_KEYS", &keys);
        command.env("SIGNING_SECRET", &secret).env("PORT", port.to_string());
        // Two of them are told nothing but a port.
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let handler = Handler::run(&mut command, address).await;
        let change =
            UpdateWebhookEndpointRequest { url: Some(handler.url.clone()), events: Vec::new() };
        world.client.update_webhook_endpoint(change).await.unwrap();
        assert!(world.client.send_test().await.unwrap().delivered, "{default}");
        let with_next = world.client.send_test_with_next_app_key().await.unwrap();
        assert_eq!(with_next.delivered, both_keys, "{default}");
        let invoice = world.invoice().await;
        world.pay(&invoice, 1, 1).await;
        let request = v1::ListDeliveriesRequest {
            invoice_id: Some(invoice.id.clone()),
            state: v1::DeliveryState::Delivered.into(),
            ..Default::default()
        };
        let delivery = eventually("a delivery", || async {
            let page = world.client.list_deliveries(request.clone()).await.unwrap();
            page.deliveries.into_iter().next()
        })
        .await;
        let log = world.client.get_delivery(&delivery.id).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for forged in
            ["{}", "no json", &log.attempts[0].request_body.replace(".detected", ".confirmed")]
        {
            let answer = http.post(&handler.url).body(forged.to_owned()).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 400, "{default}: {forged}");
        }
    }
    world.finish().await;
}
