//! The composition root: from a configuration to a running process, straight down. Parts are made in
//! the order in which they need each other; nothing is looked up later. No rule lives here.

pub mod demo;
pub mod doctor;
mod metrics;
mod networks;
pub mod rates;
mod serve;
mod workers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use cryptopayment_proto::{DESCRIPTOR_SET, ERROR_DOMAIN};
use ed25519_dalek::VerifyingKey;
use rpc_gateway::Gateway;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::{Config, UnknownFields};
use crate::domain::asset::Network;
use crate::env::Env;
use crate::metrics::{CallMeter, Meters};
use crate::private_file;
use crate::secret_box::SecretBox;
use crate::signals::Signals;
use crate::signer::Signer as _;
use crate::signer::keystore;
use crate::signer::local::{KeystoreSettings, LocalSigner, wallet_id};
use crate::store::deployment::{self, Deployment};
use crate::store::{Db, cursor, keys, leases};
use crate::transport::access::AccessRules;
use crate::transport::server;
use crate::usecase::apply_deposits::ApplyDeposits;
use crate::usecase::create_invoice::NetworkTerms;
use crate::usecase::manage_keys::ManageKeys;
use crate::webhook::body::BodyWriter;
use crate::webhook::{TargetPolicy, WebhookClient, WebhookLimits, check_url};

/// How long the first start may take until addresses can be handed out.
const READY_SECONDS_MAX: u64 = 60;
/// How often that is looked at.
const READY_POLL: Duration = Duration::from_millis(20);

/// What hangs on the file `secrets.key`.
const SECRETS_LOST: &str = "it opens the webhook secrets in the database";
/// What to do when that file is missing, or another one than sealed them.
const SECRETS_CURE: &str = "restore secrets.key from a backup of data_dir, or copy it from the data_dir of \
                            the worker (mode 600); without it no webhook can be signed";

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// Answers calls.
    Api,
    /// Follows chains, applies, delivers.
    Worker,
}

impl Role {
    const fn serves(self) -> bool {
        matches!(self, Self::All | Self::Api)
    }

    const fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

/// A process that was started.
pub struct Running {
    /// Where the public port is; nowhere for a worker.
    pub address: Option<SocketAddr>,
    /// Where metrics are, if they are on.
    pub metrics_address: Option<SocketAddr>,
    /// What the sandbox's own merchant calls with.
    pub demo: Option<demo::Demo>,
    tasks: TaskTracker,
    stop: CancellationToken,
    drain: Duration,
}

impl Running {
    /// Waits for the stop, then for what is under way, up to the configured deadline.
    pub async fn wait(self) {
        self.stop.cancelled().await;
        self.tasks.close();
        // Nothing depends on a graceful end; what is cut is taken up by the next start.
        if tokio::time::timeout(self.drain, self.tasks.wait()).await.is_err() {
            tracing::warn!("shutdown deadline passed with work under way");
        }
    }
}

/// Brings the database to this program's schema.
pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    prepare_directory(&config.data_dir)?;
    let db = Db::open(&config.database_url(), config.database.connections_max).await?;
    db.migrate().await?;
    Ok(())
}

/// Starts a process in a role. It runs until `stop` is cancelled.
pub async fn start(
    config: &Config,
    role: Role,
    env: Env,
    stop: CancellationToken,
) -> anyhow::Result<Running> {
    let core = Core::build(config, role, env).await?;
    let demo = demo::ensure(config, &core.manage).await?;
    // The port opens before the work begins: a port that is taken changes nothing.
    let listener =
        if role.serves() { Some(bind("http.listen", config.http.listen).await?) } else { None };
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let scraped = match config.metrics.listen {
        Some(address) => Some(bind("metrics.listen", address).await?),
        None => None,
    };
    let metrics_address = scraped.as_ref().map(TcpListener::local_addr).transpose()?;
    let tasks = TaskTracker::new();
    let rates =
        if role.serves() { Some(rates::spawn(config, &core.env, &tasks, &stop)?) } else { None };
    if let Some(scraped) = scraped {
        metrics::spawn(&core, scraped, rates.clone(), &tasks, &stop);
    }
    if config.is_sandbox() {
        workers::spawn_clock(&core, &tasks, &stop);
    }
    if role.works() {
        workers::spawn(&core, config, &tasks, &stop).await?;
    }
    if let Some((listener, rates)) = listener.zip(rates) {
        let health = serve::spawn(&core, config, listener, rates, &tasks, &stop).await?;
        if role == Role::All {
            ready(&core, &stop).await?;
        }
        health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    }
    let drain = Duration::from_secs(config.http.shutdown_seconds_max + 2);
    Ok(Running { address, metrics_address, demo, tasks, stop, drain })
}

/// What both the API and the workers are made of.
struct Core {
    /// Who holds leases and claims: one id per data directory, kept over restarts.
    instance: Uuid,
    db: Db,
    env: Env,
    /// Only where there is work for it.
    signer: Option<Arc<LocalSigner>>,
    signals: Signals,
    /// Who may call what, of every method of the contract.
    rules: AccessRules,
    meters: Meters,
    chains: networks::Chains,
    terms: BTreeMap<Network, NetworkTerms>,
    apply: ApplyDeposits,
    secrets: Arc<SecretBox>,
    gateway: Gateway,
    bodies: BodyWriter,
    client: WebhookClient,
    manage: Arc<ManageKeys>,
}

impl Core {
    async fn build(config: &Config, role: Role, env: Env) -> anyhow::Result<Self> {
        prepare_directory(&config.data_dir)?;
        let rules = AccessRules::read(DESCRIPTOR_SET)?;
        // Where no calls are answered, none are counted.
        let paths = rules.paths().filter(|_| role.serves());
        let meters = Meters::new(CallMeter::new(env.clone(), paths));
        let db = open_database(config, role).await?.counting(meters.units.clone());
        env.set_business_offset(deployment::business_offset(&db).await?);
        // Whoever only answers calls has no key, not even for a moment.
        let signer = if role.works() { Some(Arc::new(open_signer(config, &env)?)) } else { None };
        let verifying_key = match &signer {
            Some(signer) => signer.verifying_key(),
            None => configured_key(config)?,
        };
        stamp(config, &db, &wallet_id(&verifying_key), &env).await?;
        // The keystore's lock says that no other process has this directory: whoever held leases as
        // this instance is dead.
        let instance = if role.works() { instance(&config.data_dir, &env)? } else { env.new_id() };
        leases::end_of(&db, instance).await?;
        let chains = networks::open(config, &db, &env, &meters.reads).await?;
        let terms = networks::terms(config)?;
        let finality = terms.iter().map(|(network, terms)| (*network, terms.finality.clone()));
        let apply = ApplyDeposits {
            db: db.clone(),
            env: env.clone(),
            verifying_key,
            environment: config.environment.as_str().to_owned(),
            finality: Arc::new(finality.collect()),
        };
        let secrets = Arc::new(open_secrets(config, role, &db, &env).await?);
        let gateway = gateway(config, &rules)?;
        let manage = Arc::new(ManageKeys {
            db: db.clone(),
            env: env.clone(),
            secrets: Arc::clone(&secrets),
            is_sandbox: config.is_sandbox(),
            check_url: webhook_url_problem,
        });
        Ok(Self {
            instance,
            terms,
            bodies: BodyWriter::new(&gateway)?,
            client: webhook_client(config, &env)?,
            signals: Signals::default(),
            rules,
            meters,
            db,
            env,
            signer,
            chains,
            apply,
            secrets,
            gateway,
            manage,
        })
    }
}

/// What writes and signs webhook bodies as deliveries do, for whoever replays them.
pub fn webhook_bodies(config: &Config) -> anyhow::Result<BodyWriter> {
    Ok(BodyWriter::new(&gateway(config, &AccessRules::read(DESCRIPTOR_SET)?)?)?)
}

/// Where the key is that seals secrets at rest.
fn secrets_file(config: &Config) -> PathBuf {
    config.data_dir.join("secrets.key")
}

/// What seals secrets at rest. Its key is made by who works, and for a database without API keys alone: with
/// another key nothing that is sealed elsewhere would open, and every webhook would fail.
async fn open_secrets(
    config: &Config,
    role: Role,
    db: &Db,
    env: &Env,
) -> anyhow::Result<SecretBox> {
    let file = secrets_file(config);
    if !file.exists() && (!role.works() || keys::any(db).await?) {
        bail!("{} is missing: {SECRETS_LOST}; {SECRETS_CURE}", file.display());
    }
    SecretBox::open_or_create(&file, env).with_context(|| file.display().to_string())
}

/// Where the admin socket is.
pub fn admin_socket(config: &Config) -> PathBuf {
    config.data_dir.join(&config.admin.socket)
}

async fn open_database(config: &Config, role: Role) -> anyhow::Result<Db> {
    let url = config.database_url();
    let db = Db::open(&url, config.database.connections_max).await?;
    if role != Role::All && db.is_sqlite() {
        bail!("role `{role:?}` needs PostgreSQL: a SQLite database has one process, role `all`");
    }
    if role == Role::All {
        db.migrate().await.context("migrating the database")?;
    } else if !db.is_migrated().await? {
        bail!("the database is not migrated: run `cryptopayment migrate`");
    }
    Ok(db)
}

fn open_signer(config: &Config, env: &Env) -> anyhow::Result<LocalSigner> {
    let directory = wallet_directory(config);
    let configured = configured_passphrase(config)?;
    let passphrase = keystore::passphrase(configured, config.is_sandbox(), &directory, env)?;
    let enabled = config.enabled();
    let settings = KeystoreSettings {
        directory,
        environment: config.environment.as_str().to_owned(),
        chains: enabled.into_iter().map(|(network, settings)| (network, settings.chain)).collect(),
    };
    Ok(LocalSigner::open(settings, &passphrase, env.clone())?)
}

fn wallet_directory(config: &Config) -> PathBuf {
    config.data_dir.join("wallet")
}

/// The passphrase of the file that the configuration names.
fn configured_passphrase(config: &Config) -> anyhow::Result<Option<Zeroizing<String>>> {
    let file = &config.signer.passphrase_file;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("signer.passphrase_file {}", file.display()))?;
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

/// The key that vouches for addresses, where there is no keystore.
fn configured_key(config: &Config) -> anyhow::Result<VerifyingKey> {
    let problem = "signer.public_key: role `api` needs the hex of the wallet's public key";
    let bytes = hex::decode(&config.signer.public_key).context(problem)?;
    let bytes = <[u8; 32]>::try_from(bytes.as_slice()).context(problem)?;
    VerifyingKey::from_bytes(&bytes).context(problem)
}

/// One database and one wallet belong together, and to one environment.
async fn stamp(config: &Config, db: &Db, wallet_id: &str, env: &Env) -> anyhow::Result<()> {
    let wanted = Deployment {
        environment: config.environment.as_str().to_owned(),
        wallet_id: wallet_id.to_owned(),
    };
    let stands = deployment::stamp(db, &wanted, env.now()).await?;
    if stands.environment != wanted.environment {
        bail!("the database belongs to {}, not to {}", stands.environment, wanted.environment);
    }
    if stands.wallet_id != wanted.wallet_id {
        bail!("the database belongs to wallet {}, not to {}", stands.wallet_id, wanted.wallet_id);
    }
    Ok(())
}

fn gateway(config: &Config, rules: &AccessRules) -> anyhow::Result<Gateway> {
    let served = server::rest_services(rules, config.is_sandbox());
    let settings = rpc_gateway::Settings {
        body_bytes_max: config.http.body_bytes_max,
        unknown_fields: match config.rest.unknown_fields {
            UnknownFields::Refuse => rpc_gateway::UnknownFields::Refuse,
            UnknownFields::Ignore => rpc_gateway::UnknownFields::Ignore,
        },
        doc_url_base: format!("{}#", errors_url(config)),
        default_success_key: Some("success".to_owned()),
        error_domain: Some(ERROR_DOMAIN.to_owned()),
        services: Arc::new(move |name| served.iter().any(|service| service == name)),
        ..rpc_gateway::Settings::default()
    };
    Ok(Gateway::new(DESCRIPTOR_SET, settings)?)
}

/// Where errors are explained.
fn errors_url(config: &Config) -> String {
    format!("{}{}", config.http.public_url, server::ERRORS_PATH)
}

fn webhook_client(config: &Config, env: &Env) -> anyhow::Result<WebhookClient> {
    let limits = WebhookLimits {
        total_seconds_max: config.webhook.timeout_seconds,
        ..WebhookLimits::default()
    };
    Ok(WebhookClient::new(target_policy(config.is_sandbox()), limits, env.clone())?)
}

fn target_policy(is_sandbox: bool) -> TargetPolicy {
    if is_sandbox { TargetPolicy::sandbox() } else { TargetPolicy::live() }
}

fn webhook_url_problem(is_sandbox: bool, url: &str) -> Result<(), String> {
    check_url(&target_policy(is_sandbox), url).map(drop).map_err(|error| error.to_string())
}

async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting} {address}"))
}

/// Waits until every network's first batch of addresses is watched.
async fn ready(core: &Core, stop: &CancellationToken) -> anyhow::Result<()> {
    let deadline = core.env.system_now().plus(Duration::from_secs(READY_SECONDS_MAX));
    for network in core.terms.keys() {
        while cursor::get(&core.db, *network).await?.is_none_or(|cursor| cursor.watch_batch == 0) {
            if core.env.system_now() > deadline {
                tracing::warn!(%network, "no address is watched yet; serving all the same");
                break;
            }
            tokio::select! {
                () = core.env.sleep(READY_POLL) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
    Ok(())
}

/// The id of this data directory, made at its first start.
fn instance(directory: &Path, env: &Env) -> anyhow::Result<Uuid> {
    let path = directory.join("instance");
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(id) = Uuid::try_parse(text.trim())
    {
        return Ok(id);
    }
    let id = env.new_id();
    private_file::write(&path, id.to_string().as_bytes())?;
    Ok(id)
}

fn prepare_directory(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    if !path.exists() {
        std::fs::create_dir_all(path).with_context(|| format!("data_dir {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
