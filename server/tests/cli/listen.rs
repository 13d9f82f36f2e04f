//! `listen` sends a merchant's events as the webhooks they are: the same body, headers a receiver can
//! rely on, a signature that the documented handler accepts; and goes on after a lost connection.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::UpdateWebhookEndpointRequest;

use crate::program::{beside, confirmed_invoice, connection, program, run};
use crate::support::parts::own_address;
use crate::support::receiver::Receiver;
use crate::support::server::{Engine, TestServer, eventually};

/// A child that does not outlive its test.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn told(server: &TestServer, receiver: &Receiver) {
    let change = UpdateWebhookEndpointRequest {
        url: Some(receiver.url.clone()),
        events: vec!["payment.detected".to_owned(), "payment.confirmed".to_owned()],
    };
    server.client().update_webhook_endpoint(change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forwarded_is_what_is_delivered() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (real, local) = (Receiver::start().await, Receiver::start().await);
    told(&server, &real).await;
    confirmed_invoice(&server).await;
    let delivered = real.wait_for(2).await;
    let own = connection(&server);
    let mut arguments =
        vec!["listen", "--forward-to", &local.url, "--from", "earliest", "--count", "2"];
    arguments.extend(own.iter().map(String::as_str));
    let said = beside(&server, &arguments).await.ok();
    assert!(said.out.contains("payment.confirmed") && said.out.contains("HTTP 200"), "{said:?}");
    let forwarded = local.got();
    assert_eq!(forwarded.len(), 2);
    for (one, other) in delivered.iter().zip(&forwarded) {
        assert_eq!(one.body, other.body, "to the byte, signature included");
        let names = |delivery: &crate::support::receiver::Delivery| {
            let mut names: Vec<String> =
                delivery.headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(one), names(other));
        for name in ["x-cryptopayment-event-id", "x-cryptopayment-sequence", "webhook-id"] {
            assert_eq!(one.headers[name], other.headers[name], "{name}");
        }
    }
    // One JSON object a line, one event only, behind a cursor.
    let mut arguments = vec!["listen", "--forward-to", &local.url, "--from", "1", "--count", "1"];
    arguments.extend(["--json", "--events", "payment.confirmed"]);
    arguments.extend(own.iter().map(String::as_str));
    local.answer([500]);
    let lines = beside(&server, &arguments).await.ok().lines();
    assert_eq!(lines[0]["event"], "payment.confirmed");
    assert_eq!(lines[0]["status_code"], 500);
    let nobody = format!("http://{}/", own_address());
    let mut arguments = vec!["listen", "--forward-to", &nobody, "--from", "1", "--count", "1"];
    arguments.extend(own.iter().map(String::as_str));
    let said = beside(&server, &arguments).await.ok();
    assert!(said.out.contains("-> could not connect ("), "{said:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_handler_accepts_what_is_forwarded() {
    let server = TestServer::start(Engine::Sqlite).await;
    let log = server.directory.path().join("webhook.log");
    let address = own_address().to_string();
    let php = std::env::var("PHP").unwrap_or_else(|_| "php".to_owned());
    let handler = Command::new(php)
        .args(["-S", &address])
        .arg(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recipes/webhook.php")))
        .env("APP_KEY", &server.app_key)
        .env("WEBHOOK_LOG", &log)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _handler = Stopped(handler);
    eventually("the handler answers", || async {
        tokio::net::TcpStream::connect(&address).await.ok()
    })
    .await;
    confirmed_invoice(&server).await;
    let url = format!("http://{address}/webhook");
    let mut command = program();
    let (key, secret) = &server.credentials;
    command
        .args(["listen", "--forward-to", &url, "--from", "earliest", "--count", "2"])
        .env("CRYPTOPAYMENT_URL", &server.url)
        .env("CRYPTOPAYMENT_API_KEY", key)
        .env("CRYPTOPAYMENT_API_SECRET", secret);
    run(command).await.ok();
    let accepted = std::fs::read_to_string(&log).unwrap();
    assert_eq!(accepted.lines().count(), 2, "{accepted}");
    assert_eq!(accepted.matches("\"shipped\":true").count(), 1, "{accepted}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_it_was_after_a_lost_connection() {
    let settings = format!("[http]\nlisten = \"{}\"", own_address());
    let mut server = TestServer::with(Engine::Sqlite, &settings).await;
    let local = Receiver::start().await;
    let mut command = program();
    command.args(["listen", "--forward-to", &local.url, "--count", "2", "--json"]);
    command.args(["--events", "invoice.canceled"]).args(connection(&server));
    let mut child = Stopped(command.spawn().unwrap());
    let errors = BufReader::new(child.0.stderr.take().unwrap());
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            let _ = said.send(line);
        }
    });
    let started = heard.recv().await.unwrap();
    assert!(started.starts_with("sending invoice.canceled to"), "{started}");
    let cancel = async |server: &TestServer| {
        let client = server.client();
        let created = client.create_invoice(CreateInvoice::new("ltc", "10")).await.unwrap();
        client.cancel_invoice(&created.invoice.unwrap().id).await.unwrap();
    };
    cancel(&server).await;
    local.wait_for(1).await;
    server.restart().await;
    cancel(&server).await;
    local.wait_for(2).await;
    let status = tokio::task::spawn_blocking(move || child.0.wait().unwrap()).await.unwrap();
    assert!(status.success());
    let sequences: Vec<_> = local
        .got()
        .iter()
        .map(|delivery| delivery.headers["x-cryptopayment-sequence"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(sequences, ["1", "2"], "each once, in order");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_wishes_are_refused_by_name() {
    let server = TestServer::start(Engine::Sqlite).await;
    let refused = async |arguments: &[&str]| {
        let mut all = vec!["listen"];
        all.extend(arguments);
        let said = beside(&server, &all).await;
        assert_ne!(said.code, 0, "{said:?}");
        said.err
    };
    let url = "http://127.0.0.1:9/";
    assert!(refused(&[]).await.contains("--forward-to"));
    assert!(refused(&["--forward-to", "ftp://x/"]).await.contains("scheme"));
    let unknown = refused(&["--forward-to", url, "--events", "payment.lost"]).await;
    assert!(unknown.contains("payment.detected"), "{unknown}");
    assert!(refused(&["--forward-to", url, "--from", "yesterday"]).await.contains("earliest"));
    let (key, wrong) = (&server.credentials.0, "sk_test_wrong");
    let keys = ["--forward-to", url, "--url", &server.url, "--api-key", key, "--api-secret", wrong];
    assert!(refused(&keys).await.contains("wrong"));
    server.finish().await;
}
