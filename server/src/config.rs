//! The configuration: one struct, read from the defaults file, a file of the operator's, environment
//! and flags, in this order, and validated as a whole before a port opens. Not here: acting on it.

mod networks;
mod rates;
mod tron;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env as Variables, Format as _, Serialized, Toml};
use reqwest::Url;
use serde::Deserialize;
use serde::de::Error as _;

use crate::domain::asset::Network;

pub use networks::{Backend, Band, NetworkSettings, Node, WrongSetting};
pub use rates::{ExchangeUrls, FixedPrices, Market, RateKind, Rates};

/// Every setting with its default; also its documentation.
pub const DEFAULTS: &str = include_str!("../config.default.toml");
/// What the names of environment variables begin with.
const PREFIX: &str = "CRYPTOPAYMENT_";
/// Variables with that beginning that are no settings: other programs read them.
const NO_SETTINGS: [&str; 5] = ["config", "failpoint", "url", "api_key", "api_secret"];

/// Which world a deployment lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Simulated chains and test keys.
    Sandbox,
    /// Real money.
    Live,
}

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Config {
    pub environment: Environment,
    pub data_dir: PathBuf,
    pub http: Http,
    pub admin: Admin,
    pub metrics: Metrics,
    pub database: Database,
    pub log: Log,
    pub rest: Rest,
    pub invoice: Invoice,
    pub pool: Pool,
    pub webhook: Webhook,
    pub retention: Retention,
    pub rates: Rates,
    pub signer: Signer,
    pub networks: BTreeMap<String, NetworkSettings>,
    pub sandbox: Sandbox,
}

/// `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Http {
    pub listen: SocketAddr,
    pub public_url: String,
    pub body_bytes_max: usize,
    pub shutdown_seconds_max: u64,
    pub cors_origins: Vec<String>,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub streams_max: usize,
    pub streams_per_merchant_max: usize,
    pub failed_authentications_per_minute_max: u32,
}

/// `[admin]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Admin {
    pub socket: PathBuf,
}

/// `[metrics]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Metrics {
    #[serde(deserialize_with = "address_or_none")]
    pub listen: Option<SocketAddr>,
}

/// `[database]`. Its URL may hold a password.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Database {
    pub url: String,
    pub connections_max: u32,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("url", &"[redacted]").finish_non_exhaustive()
    }
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Log {
    pub format: String,
    pub filter: String,
}

/// `[rest]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Rest {
    pub unknown_fields: UnknownFields,
}

/// What happens to fields that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub enum UnknownFields {
    Refuse,
    Ignore,
}

/// `[invoice]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Invoice {
    pub expires_minutes: u64,
    pub inclusion_hours: u64,
}

/// `[pool]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Pool {
    pub addresses_low: u64,
    pub addresses_batch: u32,
    pub addresses_leased: u32,
}

/// `[webhook]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Webhook {
    pub concurrency_max: usize,
    pub timeout_seconds: u64,
}

/// `[retention]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Retention {
    pub idempotency_days: u32,
    pub delivery_days: u32,
}

/// `[signer]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Signer {
    pub passphrase_file: PathBuf,
    pub public_key: String,
}

/// `[sandbox]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Sandbox {
    pub demo_merchant: bool,
    pub demo_webhook_url: String,
}

/// Everything that is wrong with a configuration, each with the key it stands under.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// What the command line sets.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Flags {
    /// `--data-dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    /// Lists every problem at once.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(path) = file {
            if !path.is_file() {
                return Err(ConfigError(vec![format!("no configuration file {}", path.display())]));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        let variables = Variables::prefixed(PREFIX).ignore(&NO_SETTINGS).split("__");
        figment = figment.merge(variables).merge(Serialized::defaults(flags));
        let config: Self = figment.extract().map_err(|errors| {
            ConfigError(errors.into_iter().map(|error| error.to_string()).collect())
        })?;
        config.validated()
    }

    fn validated(mut self) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        if self.http.public_url.is_empty() && !self.is_live() {
            self.http.public_url = format!("http://{}", reached_at(self.http.listen));
        }
        while self.http.public_url.ends_with('/') {
            self.http.public_url.pop();
        }
        self.check_numbers(&mut problems);
        self.check_texts(&mut problems);
        self.check_metrics(&mut problems);
        self.rates.check(self.is_live(), &mut problems);
        for (name, settings) in &self.networks {
            networks::check_network(self.environment, name, settings, &mut problems);
        }
        if self.enabled().is_empty() {
            problems.push("networks: none is enabled".to_owned());
        }
        if problems.is_empty() { Ok(self) } else { Err(ConfigError(problems)) }
    }

    fn check_numbers(&self, problems: &mut Vec<String>) {
        let streams_each = self.http.streams_per_merchant_max;
        let failures = self.http.failed_authentications_per_minute_max.into();
        let ranges: [(&str, u64, u64, u64); 16] = [
            ("http.body_bytes_max", self.http.body_bytes_max as u64, 1_024, 16 << 20),
            ("http.shutdown_seconds_max", self.http.shutdown_seconds_max, 1, 600),
            ("http.connections_max", self.http.connections_max as u64, 1, 1 << 20),
            ("http.connections_per_ip_max", self.http.connections_per_ip_max as u64, 1, 1 << 20),
            ("http.streams_max", self.http.streams_max as u64, 1, 1 << 20),
            ("http.streams_per_merchant_max", streams_each as u64, 1, 1 << 20),
            ("http.failed_authentications_per_minute_max", failures, 1, 60_000),
            ("database.connections_max", u64::from(self.database.connections_max), 2, 1_000),
            ("invoice.expires_minutes", self.invoice.expires_minutes, 1, 7 * 24 * 60),
            ("invoice.inclusion_hours", self.invoice.inclusion_hours, 1, 30 * 24),
            ("pool.addresses_batch", u64::from(self.pool.addresses_batch), 1, 10_000),
            ("pool.addresses_leased", u64::from(self.pool.addresses_leased), 1, 10_000),
            ("webhook.concurrency_max", self.webhook.concurrency_max as u64, 1, 1_000),
            // Longer than this, and a claim would end while its delivery is still under way.
            ("webhook.timeout_seconds", self.webhook.timeout_seconds, 1, 20),
            ("retention.idempotency_days", self.retention.idempotency_days.into(), 1, 3_650),
            ("retention.delivery_days", self.retention.delivery_days.into(), 1, 3_650),
        ];
        for (key, value, least, most) in ranges {
            if value < least || value > most {
                problems.push(format!("{key}: must be from {least} to {most}"));
            }
        }
    }

    fn check_texts(&self, problems: &mut Vec<String>) {
        let live = self.is_live();
        let public = &self.http.public_url;
        let scheme_ok = public.starts_with("https://") || (!live && public.starts_with("http://"));
        if !scheme_ok {
            problems.push("http.public_url: must be an https URL (http in the sandbox)".to_owned());
        }
        for origin in &self.http.cors_origins {
            // Browsers compare the text: a slash too many, and nobody is let in.
            let read = Url::parse(origin).map(|url| url.origin().ascii_serialization());
            if read.as_ref() != Ok(origin) {
                let why = "is no origin like https://shop.example";
                problems.push(format!("http.cors_origins: `{origin}` {why}"));
            }
        }
        let url = &self.database.url;
        let known = ["", "sqlite://", "postgres://", "postgresql://"];
        if !known.iter().any(|start| {
            (start.is_empty() && url.is_empty()) || (!start.is_empty() && url.starts_with(start))
        }) {
            problems.push("database.url: must be empty, sqlite:// or postgres://".to_owned());
        }
        if !["text", "json"].contains(&self.log.format.as_str()) {
            problems.push("log.format: must be `text` or `json`".to_owned());
        }
        if live && self.signer.passphrase_file.as_os_str().is_empty() {
            problems.push("signer.passphrase_file: live demands one".to_owned());
        }
    }

    fn check_metrics(&self, problems: &mut Vec<String>) {
        let (metrics, public) = (self.metrics.listen, self.http.listen);
        if metrics.is_some_and(|listen| listen.port() != 0 && listen == public) {
            let why =
                "is http.listen: metrics speak of all merchants and have an address of their own";
            problems.push(format!("metrics.listen: {why}"));
        }
    }

    /// The enabled networks with their settings.
    pub fn enabled(&self) -> BTreeMap<Network, &NetworkSettings> {
        let enabled = self.networks.iter().filter(|(_, settings)| settings.enabled);
        enabled.filter_map(|(name, settings)| Some((name.parse().ok()?, settings))).collect()
    }

    /// Where the ledger's database is.
    pub fn database_url(&self) -> String {
        if self.database.url.is_empty() {
            format!("sqlite://{}", self.data_dir.join("ledger.sqlite").display())
        } else {
            self.database.url.clone()
        }
    }

    fn is_live(&self) -> bool {
        self.environment == Environment::Live
    }

    /// Whether this is a sandbox.
    pub fn is_sandbox(&self) -> bool {
        self.environment == Environment::Sandbox
    }
}

/// An address and port, or an empty text for none.
fn address_or_none<'de, D>(deserializer: D) -> Result<Option<SocketAddr>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong =
        |_| D::Error::custom(format!("`{text}` is no address and port like 127.0.0.1:9464"));
    text.parse().map(Some).map_err(wrong)
}

/// Where a browser of this machine finds who listens at an address.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

impl Environment {
    /// The name that database and signatures know it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Live => "live",
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
