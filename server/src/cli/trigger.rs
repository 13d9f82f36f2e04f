//! `trigger`: creates an invoice that plays a scenario of the sandbox, and follows it to its end, one
//! line a change. Not here: what a scenario does (`domain::scenario`).

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cryptopayment_proto::sandbox::v1 as sandbox;
use cryptopayment_proto::sandbox::v1::sandbox_service_client::SandboxServiceClient;
use cryptopayment_proto::v1;
use cryptopayment_proto::v1::invoice_service_client::InvoiceServiceClient;
use serde_json::{Value, json};
use tonic::Status;

use super::connection::{Connection, ConnectionArguments, is_passing};
use super::output::{note, say};
use crate::config::Config;
use crate::env::Env;

/// How often a scenario is asked how far it is, once its invoice says nothing new.
const LOOK: Duration = Duration::from_millis(500);
/// Failed looks in a row after which the deployment is given up.
const LOST_MAX: u32 = 20;

/// Which scenario, on what.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cryptopayment trigger paid
  cryptopayment trigger underpaid --network trc20 --amount 50
  cryptopayment trigger reorg --json")]
pub struct TriggerArguments {
    /// What to play.
    pub scenario: ScenarioName,
    /// The network of the invoice.
    #[arg(long, default_value = "ltc")]
    pub network: String,
    /// US dollars of the invoice.
    #[arg(long, default_value = "50", value_name = "USD")]
    pub amount: String,
    /// The invoice's reference.
    #[arg(long, value_name = "TEXT")]
    pub order_id: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Which deployment, and who calls.
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

/// The scenarios of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ScenarioName {
    /// Paid in one transaction: confirmed.
    Paid,
    /// Half is paid: expires.
    Underpaid,
    /// One and a half times as much is paid: confirmed.
    Overpaid,
    /// Paid in two transactions: confirmed.
    TwoParts,
    /// Paid after expiry: expired.
    Late,
    /// Confirmed, lost in a fork, sent again: confirmed.
    Reorg,
    /// Confirmed, then a fork pays somebody else.
    DoubleSpend,
    /// Nothing is paid: expires.
    Expire,
}

impl ScenarioName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Underpaid => "underpaid",
            Self::Overpaid => "overpaid",
            Self::TwoParts => "two_parts",
            Self::Late => "late",
            Self::Reorg => "reorg",
            Self::DoubleSpend => "double_spend",
            Self::Expire => "expire",
        }
    }

    const fn on_the_wire(self) -> sandbox::Scenario {
        match self {
            Self::Paid => sandbox::Scenario::Paid,
            Self::Underpaid => sandbox::Scenario::Underpaid,
            Self::Overpaid => sandbox::Scenario::Overpaid,
            Self::TwoParts => sandbox::Scenario::TwoParts,
            Self::Late => sandbox::Scenario::Late,
            Self::Reorg => sandbox::Scenario::Reorg,
            Self::DoubleSpend => sandbox::Scenario::DoubleSpend,
            Self::Expire => sandbox::Scenario::Expire,
        }
    }
}

/// Creates the invoice and follows it.
pub async fn run(
    config: &Config,
    arguments: TriggerArguments,
    env: Env,
) -> anyhow::Result<ExitCode> {
    let connection = Connection::open(config, &arguments.connection)?;
    let mut trigger = Trigger { arguments, connection, env, last: Value::Null };
    match trigger.play().await {
        Ok(code) => Ok(code),
        Err(status) => {
            note(trigger.connection.told(&status));
            Ok(ExitCode::FAILURE)
        }
    }
}

struct Trigger {
    arguments: TriggerArguments,
    connection: Connection,
    env: Env,
    /// The line that was printed last.
    last: Value,
}

impl Trigger {
    async fn play(&mut self) -> Result<ExitCode, Status> {
        let id = self.create().await?;
        let mut lost = 0;
        loop {
            match self.step(&id).await {
                Ok(sandbox::ScenarioState::Done) => break,
                Ok(sandbox::ScenarioState::Abandoned) => {
                    note("the scenario could not go on");
                    return Ok(ExitCode::FAILURE);
                }
                Ok(_) => lost = 0,
                Err(status) if is_passing(&status) && lost < LOST_MAX => lost += 1,
                Err(status) => return Err(status),
            }
            self.env.sleep(LOOK).await;
        }
        // What the last step has done to the invoice.
        self.follow(&id).await?;
        Ok(ExitCode::SUCCESS)
    }

    async fn create(&mut self) -> Result<String, Status> {
        let metadata = json!({ "sandbox": self.arguments.scenario.as_str() });
        let request = v1::CreateInvoiceRequest {
            network: self.arguments.network.clone(),
            amount_usd: self.arguments.amount.clone(),
            order_id: self.arguments.order_id.clone(),
            metadata: Some(metadata.to_string()),
            request_id: None,
        };
        let mut client = InvoiceServiceClient::new(self.connection.channel.clone());
        let created = client.create_invoice(self.connection.request(request)).await?.into_inner();
        let invoice = created.invoice.unwrap_or_default();
        if self.arguments.json {
            let line = json!({
                "id": invoice.id,
                "address": invoice.address,
                "amount_crypto": invoice.amount_crypto,
                "checkout_url": created.checkout_url,
            });
            say(line);
        } else {
            say(format_args!(
                "invoice {} asks {} {} at {}",
                invoice.id, invoice.amount_crypto, invoice.coin, invoice.address
            ));
            say(created.checkout_url);
        }
        self.print(&invoice);
        Ok(invoice.id)
    }

    /// Follows the invoice while it changes by itself, then asks how far the scenario is.
    async fn step(&mut self, id: &str) -> Result<sandbox::ScenarioState, Status> {
        self.follow(id).await?;
        let request = sandbox::PlayScenarioRequest {
            invoice_id: id.to_owned(),
            scenario: self.arguments.scenario.on_the_wire().into(),
        };
        let mut client = SandboxServiceClient::new(self.connection.channel.clone());
        let answer = client.play_scenario(self.connection.request(request)).await?.into_inner();
        Ok(answer.state())
    }

    /// Prints the invoice's changes. Returns when it is final, or nothing has changed for a while: a
    /// scenario may end with an invoice that is not final.
    async fn follow(&mut self, id: &str) -> Result<(), Status> {
        let request = self.connection.request(v1::WatchInvoiceRequest { id: id.to_owned() });
        let mut client = InvoiceServiceClient::new(self.connection.channel.clone());
        let mut stream = client.watch_invoice(request).await?.into_inner();
        // How it stands now comes first, however long it takes.
        let mut told = stream.message().await?;
        while let Some(message) = told {
            self.print(&message.invoice.unwrap_or_default());
            told = tokio::select! {
                message = stream.message() => message?,
                () = self.env.sleep(LOOK) => None,
            };
        }
        Ok(())
    }

    /// Prints where the invoice stands, if it stands elsewhere than before.
    fn print(&mut self, invoice: &v1::Invoice) {
        let confirmations = invoice.confirmations.unwrap_or_default();
        let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
        let status = word(invoice.status().as_str_name(), "INVOICE_STATUS_");
        let exception = word(invoice.exception().as_str_name(), "INVOICE_EXCEPTION_");
        let line = json!({
            "status": status,
            "exception": exception,
            "paid_amount": invoice.paid_amount,
            "confirmations": confirmations.received,
            "required": confirmations.required,
            "txid": invoice.txid,
        });
        if line == self.last {
            return;
        }
        if self.arguments.json {
            say(&line);
        } else {
            let exception =
                if exception == "none" { String::new() } else { format!(", {exception}") };
            say(format_args!(
                "{status}{exception}: paid {} {}, {}/{} confirmations",
                invoice.paid_amount, invoice.coin, confirmations.received, confirmations.required
            ));
        }
        self.last = line;
    }
}
