//! What becomes of the program when nobody reads what it says: a command ends without a complaint, a server
//! goes on.

use cryptopayment_sdk::v1::UpdateWebhookEndpointRequest;

use crate::process::Process;
use crate::program::{closed_pipe, confirmed_invoice, connection, program, run};
use crate::support::parts::own_address;
use crate::support::receiver::Receiver;
use crate::support::server::{Engine, TestServer, eventually, install_tls};
use crate::whole::http;

/// What a shell tells of a program that SIGPIPE ended.
const CLOSED_PIPE: i32 = 141;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_quietly_when_its_reader_is_gone() {
    let server = TestServer::start(Engine::Sqlite).await;
    let receiver = Receiver::start().await;
    let change =
        UpdateWebhookEndpointRequest { url: Some(receiver.url.clone()), events: Vec::new() };
    server.client().update_webhook_endpoint(change).await.unwrap();
    confirmed_invoice(&server).await;
    let (key, secret) = &server.credentials;
    let own = connection(&server);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let listen = ["listen", "--forward-to", &receiver.url, "--from", "earliest"];
    for arguments in [
        vec!["admin", "merchants", "list"],
        vec!["admin", "merchants", "list", "--json"],
        vec!["doctor"],
        vec!["compat", &server.url, key, secret, "--json"],
        [listen.as_slice(), &own].concat(),
        [listen.as_slice(), &["--json"], &own].concat(),
        [["trigger", "paid"].as_slice(), &own].concat(),
    ] {
        let mut command = program();
        let directory = server.directory.path();
        command.arg("--config").arg(directory.join("test.toml"));
        command.arg("--data-dir").arg(directory.join("data")).args(&arguments);
        command.stdout(closed_pipe());
        let said = run(command).await;
        assert_eq!(said.code, CLOSED_PIPE, "{arguments:?}: {said:?}");
        assert!(!said.err.contains("panicked"), "{arguments:?}: {said:?}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_goes_on_when_nobody_reads_what_it_prints() {
    install_tls();
    let directory = tempfile::tempdir().unwrap();
    let listen = own_address();
    let file = directory.path().join("unread.toml");
    std::fs::write(&file, format!("[http]\nlisten = \"{listen}\"\n")).unwrap();
    let process = Process::start_unread(&file, &directory.path().join("data"));
    eventually("it answers", || async {
        let asked = http().get(format!("http://{listen}/api/v1/networks")).send().await;
        asked.ok().filter(|answer| answer.status() == 401)
    })
    .await;
    // What it prints when it is ready comes after that; had it died of it, it would not end well.
    process.stop().await;
}
