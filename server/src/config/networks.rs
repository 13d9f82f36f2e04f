//! `[networks.*]`: how each network is reached and what it asks of payments. Not here: reaching it.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Environment, tron};
use crate::domain::address::ChainKind;
use crate::domain::address_text;
use crate::domain::amount::parse_decimal;
use crate::domain::asset::Network;
use crate::domain::policy::{Finality, FinalityPolicy};

/// The deepest that a payment may have to be.
const CONFIRMATIONS_MAX: u32 = 1_000;
/// The largest version that `oldest_version` may name where it is counted as below: 99.99.99.
const COUNTED_VERSION_MAX: u64 = 999_999;
/// Older than any java-tron or Bitcoin-like node that there is.
const FIRST_VERSION: u64 = 10_000;
/// How versions are counted that their node does not count itself.
const COUNTED: &str = "as major * 10000 + minor * 100 + patch, e.g. 40800 for 4.8.0";
/// Nodes of one network beside its first.
const FALLBACKS_MAX: usize = 4;

/// `[networks.*]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct NetworkSettings {
    pub enabled: bool,
    pub backend: Backend,
    pub chain: ChainKind,
    pub confirmations: u32,
    pub requires_finality: bool,
    pub bands: Vec<Band>,
    pub shortfall: String,
    pub block_seconds: u64,
    pub poll_milliseconds: u64,
    pub node: Node,
    pub fallbacks: Vec<Node>,
}

/// What is asked for from an amount on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Band {
    pub from_usd: String,
    pub confirmations: u32,
    #[serde(default)]
    pub requires_finality: bool,
}

/// A setting of a network that is wrong.
#[derive(Debug)]
pub struct WrongSetting {
    /// Its key below the network's table.
    pub key: String,
    /// What is wrong.
    pub why: String,
}

impl NetworkSettings {
    /// Each node of the network with a name, the preferred first, as settings of a network that has
    /// this one alone. What a fallback does not say of the chain itself is as the first node has it.
    pub fn nodes(&self) -> Vec<(String, Self)> {
        let alone = |node: Node| Self { node, fallbacks: Vec::new(), ..self.clone() };
        let mut nodes = vec![("node".to_owned(), alone(self.node.clone()))];
        for (n, fallback) in self.fallbacks.iter().enumerate() {
            let mut node = fallback.clone();
            if node.contract.is_empty() {
                node.contract.clone_from(&self.node.contract);
            }
            if node.chain_id == 0 {
                node.chain_id = self.node.chain_id;
            }
            nodes.push((format!("fallback {}", n + 1), alone(node)));
        }
        nodes
    }

    /// How deep and how final payments must be.
    pub fn finality(&self) -> Result<FinalityPolicy, WrongSetting> {
        let wrong = |n: usize, key: &str, why: String| {
            let key = if key.is_empty() { String::new() } else { format!(".{key}") };
            WrongSetting { key: format!("bands[{n}]{key}"), why }
        };
        let mut bands = Vec::with_capacity(self.bands.len());
        for (n, band) in self.bands.iter().enumerate() {
            let cents = parse_decimal(&band.from_usd, 2).ok().and_then(|c| i64::try_from(c).ok());
            let cents = cents.ok_or_else(|| {
                wrong(n, "from_usd", "must be dollars as text, e.g. \"1000\"".to_owned())
            })?;
            if band.confirmations > CONFIRMATIONS_MAX {
                let why = format!("must be from 1 to {CONFIRMATIONS_MAX}");
                return Err(wrong(n, "confirmations", why));
            }
            let Band { confirmations, requires_finality, .. } = *band;
            bands.push((cents, Finality { confirmations, requires_finality }));
        }
        let Self { confirmations, requires_finality, .. } = *self;
        FinalityPolicy::new(Finality { confirmations, requires_finality }, bands)
            .map_err(|(n, error)| wrong(n, "", error.to_string()))
    }
}

/// Where a network's chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Simulated here.
    Sandbox,
    /// A node's.
    Node,
}

/// How a node is reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "config.default.toml documents every setting")]
pub struct Node {
    pub url: String,
    pub user: String,
    pub password_file: PathBuf,
    pub cookie_file: PathBuf,
    pub solidity_url: String,
    pub api_key_file: PathBuf,
    pub contract: String,
    pub requests_per_second: u32,
    pub oldest_version: u64,
    pub chain_id: u64,
}

pub(super) fn check_network(
    environment: Environment,
    name: &str,
    settings: &NetworkSettings,
    problems: &mut Vec<String>,
) {
    let Ok(network) = name.parse::<Network>() else {
        problems.push(format!("networks.{name}: there is no such network"));
        return;
    };
    if !settings.enabled {
        return;
    }
    let mut wrong = |key: &str, why: &str| problems.push(format!("networks.{name}.{key}: {why}"));
    if settings.confirmations == 0 || settings.confirmations > CONFIRMATIONS_MAX {
        wrong("confirmations", &format!("must be from 1 to {CONFIRMATIONS_MAX}"));
    }
    match settings.finality() {
        Err(error) => wrong(&error.key, &error.why),
        Ok(policy) if policy.most().requires_finality && !network.calls_blocks_final() => {
            let key = if settings.requires_finality { "requires_finality" } else { "bands" };
            wrong(key, "nothing would ever be confirmed: this chain calls no block final");
        }
        Ok(_) => {}
    }
    if parse_decimal(&settings.shortfall, network.asset().decimals()).is_err() {
        wrong("shortfall", "must be coins as text, e.g. \"0.01\"");
    }
    if settings.poll_milliseconds < 50 {
        wrong("poll_milliseconds", "must be at least 50");
    }
    match (settings.backend, settings.chain) {
        (Backend::Sandbox, _) if environment == Environment::Live => {
            wrong("backend", "live takes nodes alone");
        }
        (Backend::Sandbox, _) if !settings.fallbacks.is_empty() => {
            wrong("fallbacks", "are for nodes: a simulated chain has none");
        }
        (Backend::Sandbox, ChainKind::Sandbox) => {}
        (Backend::Sandbox, _) => wrong("chain", "a simulated chain is `sandbox`"),
        (Backend::Node, ChainKind::Sandbox) => wrong("chain", "a node's chain is no `sandbox`"),
        (Backend::Node, ChainKind::Mainnet) if environment == Environment::Sandbox => {
            wrong("chain", "the sandbox takes test chains alone");
        }
        (Backend::Node, chain)
            if environment == Environment::Live && chain != ChainKind::Mainnet =>
        {
            wrong("chain", "live takes mainnet alone");
        }
        (Backend::Node, _) => check_nodes(network, settings, wrong),
    }
}

fn check_nodes(network: Network, settings: &NetworkSettings, mut wrong: impl FnMut(&str, &str)) {
    if settings.fallbacks.len() > FALLBACKS_MAX {
        wrong("fallbacks", &format!("are more than {FALLBACKS_MAX}"));
    }
    let nodes = settings.nodes();
    for (n, (_, one)) in nodes.iter().enumerate() {
        let mut wrong = |key: &str, why: &str| match n {
            0 => wrong(key, why),
            _ => wrong(&key.replacen("node", &format!("fallbacks[{}]", n - 1), 1), why),
        };
        if nodes[..n].iter().any(|(_, other)| other.node.url == one.node.url) {
            wrong("node.url", "stands twice: two nodes are two, or they confirm nothing");
        }
        check_node(network, one.chain, &one.node, &mut wrong);
    }
}

fn check_node(network: Network, chain: ChainKind, node: &Node, wrong: &mut impl FnMut(&str, &str)) {
    if node.url.is_empty() {
        wrong("node.url", "is required");
        return;
    }
    check_oldest_version(network, node.oldest_version, wrong);
    match network {
        Network::Eth | Network::Bep20 => check_evm_node(network, chain, node, wrong),
        _ if node.chain_id != 0 => wrong("node.chain_id", "is for eth and bep20"),
        Network::Trc20 => tron::check(chain, node, wrong),
        Network::Btc | Network::Ltc => {}
    }
}

/// A number that is no version would believe every node, or none.
fn check_oldest_version(network: Network, version: u64, wrong: &mut impl FnMut(&str, &str)) {
    let (first, last, how) = match network {
        Network::Btc | Network::Ltc => {
            (FIRST_VERSION, u64::MAX, "as the node's getnetworkinfo counts, e.g. 280000 for 28.0")
        }
        Network::Trc20 => (FIRST_VERSION, COUNTED_VERSION_MAX, COUNTED),
        Network::Eth | Network::Bep20 => (1, COUNTED_VERSION_MAX, COUNTED),
    };
    if version != 0 && !(first..=last).contains(&version) {
        wrong("node.oldest_version", &format!("must be a version {how} (0: what is known)"));
    }
}

fn check_evm_node(
    network: Network,
    chain: ChainKind,
    node: &Node,
    wrong: &mut impl FnMut(&str, &str),
) {
    if !node.cookie_file.as_os_str().is_empty() {
        wrong("node.cookie_file", "is for bitcoin and litecoin");
    }
    if !node.api_key_file.as_os_str().is_empty() && !node.user.is_empty() {
        wrong("node.api_key_file", "is set beside a user: a service asks for one of them");
    }
    if node.chain_id != 0 && chain != ChainKind::Regtest {
        wrong("node.chain_id", "is a private chain's (regtest); public ones have theirs");
    }
    let is_account = address_text::parse(network, chain, &node.contract).is_ok();
    match (network, chain) {
        (Network::Bep20, ChainKind::Mainnet) | (Network::Eth, _) if !node.contract.is_empty() => {
            wrong("node.contract", "is the token's on a test chain of bep20, and none here");
        }
        (Network::Bep20, ChainKind::Testnet | ChainKind::Regtest) if !is_account => {
            wrong("node.contract", "must be the token's address");
        }
        _ => {}
    }
}
