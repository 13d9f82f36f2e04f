//! The documented PHP, Node and Python programs, run as separate programs with nothing changed but the
//! base URL and the keys; and the documented PHP handler under `php -S`, told real events.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus, UpdateWebhookEndpointRequest};

use crate::conformance::world::World;
use crate::support::server::eventually;

fn recipe(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recipes")).join(name)
}

/// The program that `variable` names, or `default`. A program that is missing fails the test.
fn interpreter(variable: &str, default: &str) -> Command {
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

/// `php -S`, stopped when dropped.
struct Handler(Child);

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_handler_accepts_every_delivery() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let log = world.server.directory.path().join("webhook.log");
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let address = format!("127.0.0.1:{port}");
    let child = interpreter("PHP", "php")
        .args(["-S", &address])
        .arg(recipe("webhook.php"))
        .env("APP_KEY", &world.server.app_key)
        .env("WEBHOOK_LOG", &log)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _handler = Handler(child);
    eventually("the handler answers", || async {
        tokio::net::TcpStream::connect(&address).await.ok()
    })
    .await;
    let change = UpdateWebhookEndpointRequest {
        url: Some(format!("http://{address}/webhook")),
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
