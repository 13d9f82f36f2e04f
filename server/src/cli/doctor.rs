//! `doctor`: looks at a deployment and says what to do about it. Here are the questions to the running
//! server and the printing; what is looked at without it is in `app::doctor`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixStream};

use super::health;
use super::output::{Answer, Section, say, spinner};
use crate::app::admin_socket;
use crate::app::doctor::{Check, Examination, State, examine};
use crate::config::{Config, ConfigError};
use crate::env::Env;

const SERVER: &str = "server";

/// How to look.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cryptopayment doctor --config /etc/cryptopayment.toml
  cryptopayment doctor --json | jq '.[] | select(.state != \"ok\")'

Exit code 1 when a check says FAIL. Nothing is changed; the server may run or not.")]
pub struct DoctorArguments {
    /// Send a test to every webhook endpoint.
    #[arg(long)]
    pub send_test: bool,
    /// Print JSON instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Looks at everything and prints it.
pub async fn run(
    config: &Config,
    file: Option<&Path>,
    arguments: &DoctorArguments,
    env: &Env,
) -> anyhow::Result<ExitCode> {
    let spinner = spinner();
    let is_running = UnixStream::connect(admin_socket(config)).await.is_ok();
    let send_test = arguments.send_test;
    let examination = Examination { config, file, is_running, send_test };
    let mut checks =
        examine(examination, env, |part| spinner.set_message(format!("looks at {part}"))).await;
    spinner.set_message("asks the server");
    checks.push(server(config.http.listen, is_running).await);
    spinner.finish_and_clear();
    print(&checks, arguments.json)
}

/// What is said of a configuration that could not be read.
pub fn refused(error: &ConfigError, arguments: &DoctorArguments) -> ExitCode {
    let cure = "correct it; server/config.default.toml documents every setting";
    let of = |problem: &String| Check::fail("configuration", problem, cure);
    let checks: Vec<Check> = error.0.iter().map(of).collect();
    // Printing text that was just made does not fail.
    print(&checks, arguments.json).unwrap_or(ExitCode::FAILURE)
}

/// Whether the server runs and serves, or could.
async fn server(address: SocketAddr, is_running: bool) -> Check {
    if !is_running {
        return match TcpListener::bind(address).await {
            Ok(_) => Check::warn(SERVER, "does not run", "start it: `cryptopayment`"),
            Err(error) => {
                let text = format!("does not run here, and {address} cannot be opened: {error}");
                Check::fail(SERVER, text, "stop what has the port, or change http.listen")
            }
        };
    }
    if address.port() == 0 {
        return Check::ok(SERVER, "runs, on a port that the system chose");
    }
    match health::status(address).await {
        Ok(health::Serving::Serving) => Check::ok(SERVER, format!("runs and serves at {address}")),
        Ok(status) => {
            let text = format!("runs at {address} and says {}", status.as_str_name());
            Check::warn(SERVER, text, "wait until its first addresses are watched, or see its log")
        }
        Err(error) => {
            let text = format!("runs, and {address} does not answer: {error:#}");
            Check::fail(SERVER, text, "is http.listen what the running server was started with?")
        }
    }
}

fn print(checks: &[Check], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        let rows = checks.iter().map(row).collect();
        Answer(vec![Section { title: "", columns: &[], rows }]).print(true)?;
    } else {
        let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for Check { name, state, text, cure } in checks {
            let cure = if cure.is_empty() { String::new() } else { format!(" -> {cure}") };
            say(format_args!("{:<4}  {name:<width$}  {text}{cure}", word(*state)));
        }
    }
    let worst = checks.iter().map(|check| check.state).max();
    Ok(if worst == Some(State::Fail) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn row(check: &Check) -> Value {
    json!({
        "check": check.name,
        "state": word(check.state).to_lowercase(),
        "text": check.text,
        "cure": check.cure,
    })
}

const fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Fail => "FAIL",
    }
}
