//! Runs the program's commands as a user does, beside a server of the test; and what the tests of
//! several commands need: a paid invoice.

use std::path::Path;
use std::process::{Command, Stdio};

use cryptopayment_sdk::sandbox_v1::PayInvoiceRequest;
use cryptopayment_sdk::v1::{Invoice, InvoiceStatus};
use cryptopayment_sdk::{CreateInvoice, v1};
use serde_json::Value;

use crate::support::server::{DEADLINE, TestServer, eventually};

/// What a command answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The answer as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The answer as one JSON object a line.
    pub fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The command ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// The program, without anything that the tests' own environment says.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptopayment"));
    for name in ["CONFIG", "URL", "API_KEY", "API_SECRET"] {
        command.env_remove(format!("CRYPTOPAYMENT_{name}"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A pipe that its reader has closed, as `true` does in `command | true`.
pub fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs a command to its end.
pub async fn run(mut command: Command) -> Said {
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(DEADLINE, running).await.expect("it ends").unwrap();
    Said {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command with a configuration file and a data directory.
pub async fn run_with(file: &Path, data: &Path, arguments: &[&str]) -> Said {
    let mut command = program();
    command.arg("--config").arg(file).arg("--data-dir").arg(data).args(arguments);
    run(command).await
}

/// Runs a command beside a server.
pub async fn beside(server: &TestServer, arguments: &[&str]) -> Said {
    let directory = server.directory.path();
    run_with(&directory.join("test.toml"), &directory.join("data"), arguments).await
}

/// The credentials and URL as arguments.
pub fn connection(server: &TestServer) -> [String; 6] {
    let (key, secret) = server.credentials.clone();
    let url = server.url.clone();
    ["--url".into(), url, "--api-key".into(), key, "--api-secret".into(), secret]
}

/// An invoice that is paid and confirmed.
pub async fn confirmed_invoice(server: &TestServer) -> Invoice {
    let client = server.client();
    let created = client.create_invoice(CreateInvoice::new("ltc", "50")).await.unwrap();
    let id = created.invoice.unwrap().id;
    let pay = PayInvoiceRequest { invoice_id: id.clone(), blocks: 6, ..Default::default() };
    client.sandbox().pay(pay).await.unwrap();
    eventually("confirmed", || async {
        let invoice: v1::Invoice = client.get_invoice(&id).await.ok()?;
        (invoice.status() == InvoiceStatus::Confirmed).then_some(invoice)
    })
    .await
}
