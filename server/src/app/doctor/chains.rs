//! The enabled networks: whether a node answers, is the right chain and keeps up, and how far it was
//! read.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Check, Readable, evm, tron};
use crate::app::networks::{bitcoin_reader, rpc_settings};
use crate::chain::bitcoin::RpcSettings;
use crate::chain::bitcoin::report::NodeReport;
use crate::chain::{ChainError, ChainReader as _};
use crate::config::{Backend, Config, NetworkSettings};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::env::Env;
use crate::store::inspection::{self, StampedNetwork};
use crate::store::{Db, cursor};

/// How long a node may take for all that it is asked.
pub(super) const NODE_SECONDS_MAX: u64 = 10;
/// Blocks that a node may be behind the headers it knows.
const BEHIND_BLOCKS_MAX: u64 = 3;
/// Block times after which a node without a new block is worth a look: by chance once in months.
pub(super) const QUIET_BLOCKS_MAX: u32 = 12;
/// The largest difference of a node's clock from its peers' that is no trouble (Bitcoin Core warns at
/// 70 minutes, and blocks two hours ahead are refused).
const CLOCK_OFF_SECONDS_MAX: u64 = 70;
/// What to do about a node of another chain.
pub(super) const ANOTHER_CHAIN: &str =
    "the database was begun on another chain: name the node that it belongs to";
/// What was asked of a node: its first block and how it is, or why it is too old to be asked for them.
pub(super) type Told<R> = Result<(String, R), String>;
/// A running server reads each network far more often.
const WATERMARK_AGE_MAX: Duration = Duration::from_secs(120);

/// Looks at every enabled network, side by side.
pub async fn examine(
    config: &Config,
    readable: Option<&Readable>,
    is_running: bool,
    env: &Env,
) -> Vec<Check> {
    let db = readable.filter(|readable| readable.is_current).map(|readable| &readable.db);
    let stamps = match db {
        Some(db) => inspection::networks(db).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let enabled = config.enabled();
    let looked = enabled.into_iter().map(|(network, settings)| {
        let stamp = stamps.iter().find(|stamp| stamp.network == network.as_str());
        async move {
            let mut checks = match settings.backend {
                Backend::Sandbox => vec![simulated(network)],
                Backend::Node => nodes(network, settings, stamp, env).await,
            };
            if let Some(db) = db {
                checks.extend(reading(network, db, is_running, env).await);
            }
            checks
        }
    });
    join_all(looked).await.into_iter().flatten().collect()
}

fn simulated(network: Network) -> Check {
    Check::ok(format!("network {network}"), "simulated: no node is asked")
}

/// Looks at every node of a network, side by side.
async fn nodes(
    network: Network,
    settings: &NetworkSettings,
    stamp: Option<&StampedNetwork>,
    env: &Env,
) -> Vec<Check> {
    let looked = settings.nodes().into_iter().enumerate().map(|(n, (name, settings))| async move {
        let mut check = match network {
            Network::Trc20 => tron::node(&settings, stamp, env).await,
            Network::Eth | Network::Bep20 => evm::node(network, &settings, stamp, env).await,
            Network::Btc | Network::Ltc => node(network, &settings, stamp, env).await,
        };
        if n > 0 {
            check.name = format!("{name} {network}");
        }
        check
    });
    join_all(looked).await
}

async fn node(
    network: Network,
    settings: &NetworkSettings,
    stamp: Option<&StampedNetwork>,
    env: &Env,
) -> Check {
    let name = format!("node {network}");
    let url = &settings.node.url;
    let asked = timeout(Duration::from_secs(NODE_SECONDS_MAX), ask(network, settings)).await;
    let (genesis, report) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Check::fail(name, format!("{url}: {error:#}"), node_cure(&error)),
        Err(_) => {
            let text = format!("{url} did not answer within {NODE_SECONDS_MAX} s");
            return Check::fail(name, text, "start the node, or look at what keeps it busy");
        }
    };
    let text = format!(
        "{url}: {} on {}, block {} of {}, {} peers",
        report.version,
        settings.chain.as_str(),
        report.blocks,
        report.headers,
        report.peers
    );
    let Some(genesis) = genesis else {
        return outdated(name, text, network);
    };
    if is_another(stamp, &genesis, settings) {
        return Check::fail(name, text, ANOTHER_CHAIN);
    }
    judged(name, text, network, settings.chain, &report, env)
}

async fn ask(
    network: Network,
    settings: &NetworkSettings,
) -> anyhow::Result<(Option<String>, NodeReport)> {
    let timeout = Duration::from_secs(NODE_SECONDS_MAX);
    let rpc = RpcSettings { timeout, ..rpc_settings(&settings.node)? };
    let reader = bitcoin_reader(network, settings, &rpc)?;
    let report = reader.report().await?;
    // Refuses a chain that is not the configured one. Of a node that is too old only that is told.
    let genesis = if report.is_outdated { None } else { Some(reader.genesis().await?) };
    Ok((genesis, report))
}

/// What is said of a node that is too old to be believed.
pub(super) fn outdated(name: impl Into<String>, text: String, network: Network) -> Check {
    let cure = format!(
        "update the node: it is older than what is known to be sound (or lower \
         networks.{network}.node.oldest_version)"
    );
    Check::fail(name, text, cure)
}

/// Whether the database was begun on another chain than the node's.
pub(super) fn is_another(
    stamp: Option<&StampedNetwork>,
    genesis: &str,
    settings: &NetworkSettings,
) -> bool {
    let differs =
        |stamp: &StampedNetwork| stamp.genesis != genesis || stamp.chain != settings.chain.as_str();
    stamp.is_some_and(differs)
}

pub(super) fn node_cure(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref::<ChainError>() {
        Some(ChainError::Transient(_)) => {
            "start the node, or wait until it has started; look at networks.*.node.url"
        }
        Some(ChainError::Unsupported(_)) => "look at the node's user, password or cookie file",
        Some(ChainError::Invalid(_) | ChainError::TooLarge(_)) => {
            "is this a node of that network and chain?"
        }
        None => "look at networks.*.node in the configuration",
    }
}

fn judged(
    name: String,
    text: String,
    network: Network,
    chain: ChainKind,
    report: &NodeReport,
    env: &Env,
) -> Check {
    if report.is_pruned {
        let cure = "a pruned node forgets blocks that a restored database needs: set prune=0";
        return Check::fail(name, text, cure);
    }
    // A private chain has no peers and no pace.
    if matches!(chain, ChainKind::Regtest | ChainKind::Sandbox) {
        return Check::ok(name, text);
    }
    if report.is_syncing || report.headers.saturating_sub(report.blocks) > BEHIND_BLOCKS_MAX {
        let cure =
            "wait until the node has caught up; no invoice of this network expires meanwhile";
        return Check::warn(name, text, cure);
    }
    if report.peers == 0 {
        return Check::fail(name, text, "the node has no peers: look at its network and firewall");
    }
    if report.clock_offset_seconds.unsigned_abs() > CLOCK_OFF_SECONDS_MAX {
        let text = format!("{text}; its clock is {} s off", report.clock_offset_seconds);
        return Check::warn(name, text, "set the node's clock by NTP");
    }
    let quiet = env.system_now().since(report.tip_at);
    if quiet > network.block_time() * QUIET_BLOCKS_MAX {
        let text = format!("{text}; its newest block is {} minutes old", quiet.as_secs() / 60);
        return Check::warn(name, text, "look at the node's peers and its log");
    }
    Check::ok(name, text)
}

/// How far the server has read a network.
async fn reading(network: Network, db: &Db, is_running: bool, env: &Env) -> Option<Check> {
    let name = format!("reading {network}");
    let at = match cursor::get(db, network).await {
        Ok(at) => at?,
        Err(error) => return Some(Check::fail(name, error.to_string(), "see the database's log")),
    };
    let now = env.now();
    let age = now.since(at.read_at);
    let mut text = format!(
        "scanned {} of {}, last complete read {} s ago",
        at.height,
        at.node_height,
        age.as_secs()
    );
    if at.watermark < at.read_at {
        let hidden = now.since(at.watermark).as_secs();
        text += &format!("; payments inside calls are known up to {hidden} s ago");
    }
    if at.read_at.since(now) > WATERMARK_AGE_MAX {
        let cure = "this machine's clock went back, or the database is from the future";
        return Some(Check::fail(name, text, cure));
    }
    if is_running && age > WATERMARK_AGE_MAX {
        let cure = "the server runs and cannot read the network: see its log and the node";
        return Some(Check::warn(name, text, cure));
    }
    Some(Check::ok(name, text))
}
