//! Looks at a deployment without changing it, with the server running or not: one line per check, and
//! what to do where something is wrong. Not here: printing (`cli::doctor`), asking the running server
//! (there too).

mod chains;
mod database;
mod evm;
mod files;
mod rates;
mod tron;
mod webhooks;

use std::path::Path;

use crate::config::Config;
use crate::env::Env;
use crate::store::Db;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, and somebody should look at it.
    Warn,
    /// Does not work, or may lose money.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub state: State,
    /// What was seen.
    pub text: String,
    /// What to do; empty where nothing is to be done.
    pub cure: String,
}

impl Check {
    /// A check that came out well.
    pub fn ok(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, text: text.into(), cure: String::new() }
    }

    /// Something to look at.
    pub fn warn(name: impl Into<String>, text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Warn, text: text.into(), cure: cure.into() }
    }

    /// Something to repair.
    pub fn fail(name: impl Into<String>, text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Fail, ..Self::warn(name, text, cure) }
    }
}

/// What is to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct Examination<'a> {
    /// The configuration, already found valid.
    pub config: &'a Config,
    /// The file it was read from.
    pub file: Option<&'a Path>,
    /// Whether a server works on this data directory now.
    pub is_running: bool,
    /// Whether a test is sent to every webhook endpoint.
    pub send_test: bool,
}

/// Looks at everything. `began` is told the name of each part before it is looked at.
pub async fn examine(
    examination: Examination<'_>,
    env: &Env,
    mut began: impl FnMut(&'static str),
) -> Vec<Check> {
    let Examination { config, file, is_running, send_test } = examination;
    began("configuration");
    let mut checks = vec![configuration(config, file)];
    checks.extend(metrics(config));
    began("files");
    checks.extend(files::directory(config));
    let (keystore, wallet_id) = files::keystore(config);
    checks.push(keystore);
    began("database");
    let (found, db) = database::examine(config, wallet_id.as_deref(), env).await;
    checks.extend(found);
    began("networks");
    checks.extend(chains::examine(config, db.as_ref(), is_running, env).await);
    began("rates");
    checks.extend(rates::examine(config, env).await);
    began("webhooks");
    checks.extend(webhooks::examine(config, db.as_ref(), send_test, env).await);
    checks
}

fn configuration(config: &Config, file: Option<&Path>) -> Check {
    let from = file.map_or_else(
        || "defaults and environment (no --config)".to_owned(),
        |file| file.display().to_string(),
    );
    let networks: Vec<&str> =
        config.enabled().into_keys().map(|network| network.as_str()).collect();
    let text = format!("{from}; {}; {}", config.environment.as_str(), networks.join(", "));
    let local = ["//127.", "//localhost", "//[::1]"];
    let is_local = local.iter().any(|start| config.http.public_url.contains(start));
    if !config.is_sandbox() && is_local {
        let cure = "set http.public_url to where payers reach this deployment";
        return Check::warn("configuration", text, cure);
    }
    Check::ok("configuration", text)
}

/// Where metrics are told, which asks for no key.
fn metrics(config: &Config) -> Option<Check> {
    let address = config.metrics.listen?;
    let text = format!("http://{address}/metrics");
    if address.ip().is_loopback() {
        return Some(Check::ok("metrics", text));
    }
    let text = format!("{text} tells whoever reaches it of all merchants");
    let cure =
        "set metrics.listen to a loopback address, or let only your monitoring through to it";
    Some(Check::warn("metrics", text, cure))
}

/// The database's tables can be read: migrations are done.
struct Readable {
    db: Db,
    is_current: bool,
}
