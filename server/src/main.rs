//! The program: arguments, configuration, role, signals, exit code. Everything else is the library.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser as _;
use cryptopayment::app::{self, Role};
use cryptopayment::cli::output::{note, say};
use cryptopayment::cli::{self, Arguments, Command};
use cryptopayment::config::Config;
use cryptopayment::env::Env;
use cryptopayment::failpoint;
use cryptopayment::telemetry::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `EX_USAGE` of sysexits: the configuration or the command line is wrong.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    // Whatever it makes is for its own user alone: SQLite would make a database that everybody may read.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        note("another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    if let Some(code) = cli::shell::answer(&arguments) {
        return code;
    }
    let config = match Config::load(arguments.config.as_deref(), &arguments.flags()) {
        Ok(config) => config,
        Err(error) => {
            if let Some(Command::Doctor(doctor)) = &arguments.command {
                return cli::doctor::refused(&error, doctor);
            }
            note(format_args!("configuration:\n{error}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let format = if config.log.format == "json" { LogFormat::Json } else { LogFormat::Text };
    // What a command has to say is its answer; the log is the server's.
    let filter = if arguments.serves() { config.log.filter.as_str() } else { "error" };
    if let Err(error) = telemetry::init(format, filter) {
        note(format_args!("log.filter: {error}"));
        return ExitCode::from(EXIT_USAGE);
    }
    if config.is_sandbox()
        && let Ok(specification) = std::env::var("CRYPTOPAYMENT_FAILPOINT")
    {
        failpoint::arm(&specification);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(format_args!("runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&arguments, config)) {
        Ok(code) => code,
        Err(error) => {
            note(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let role = match arguments.command.clone().unwrap_or(Command::All) {
        Command::All => Role::All,
        Command::Api => Role::Api,
        Command::Worker => Role::Worker,
        Command::Migrate => {
            app::migrate(&config).await?;
            say("the database is up to date");
            return Ok(ExitCode::SUCCESS);
        }
        Command::Healthcheck => return cli::health::check(config.http.listen).await,
        Command::Admin(admin) => {
            return cli::admin::run(&app::admin_socket(&config), admin).await;
        }
        Command::Doctor(doctor) => {
            let file = arguments.config.as_deref();
            return cli::doctor::run(&config, file, &doctor, &Env::system()).await;
        }
        Command::Listen(listen) => return cli::listen::run(&config, listen, Env::system()).await,
        Command::Trigger(trigger) => {
            return cli::trigger::run(&config, trigger, Env::system()).await;
        }
        Command::Compat(compat) => return cli::compat::run(compat, Env::system()).await,
        // Answered without a configuration.
        Command::Completions { .. } | Command::Man => return Ok(ExitCode::SUCCESS),
    };
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let running = app::start(&config, role, Env::system(), stop).await?;
    cli::banner::print(&config, &running);
    running.wait().await;
    Ok(ExitCode::SUCCESS)
}

/// The first signal asks for an end, the second one ends at once.
fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(1);
            }
            tracing::info!("stopping");
            stop.cancel();
        }
    });
    Ok(())
}
