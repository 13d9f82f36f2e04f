//! Opens the enabled networks' chains and checks that each is the chain its database knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Url;

use crate::chain::bitcoin::{BitcoinReader, RpcAuth, RpcSettings, SetupError};
use crate::chain::endpoints::{Endpoints, NamedReader};
use crate::chain::evm::{self, EvmReader, EvmSettings};
use crate::chain::sandbox::{Sandbox, SandboxChain};
use crate::chain::tron::{self, NodeSettings, TronReader};
use crate::chain::{ChainError, ChainReader, SandboxControl, ScenarioBook};
use crate::config::{Backend, Config, NetworkSettings, Node};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::domain::price;
use crate::domain::unexpected::shares_accounts_with;
use crate::env::Env;
use crate::metrics::ReadMeter;
use crate::store::{Db, deployment, endpoints};
use crate::transport::grpc::admin::networks::ConfiguredNetwork;
use crate::usecase::create_invoice::NetworkTerms;
use crate::usecase::play_scenario::ScenarioBooks;

/// How long a node may take to answer.
const NODE_TIMEOUT: Duration = Duration::from_secs(30);

/// The opened chains.
pub struct Chains {
    /// Reads each network.
    pub readers: BTreeMap<Network, Arc<dyn ChainReader>>,
    /// What reads those that have nodes, to be looked at from time to time.
    pub endpoints: BTreeMap<Network, Arc<Endpoints>>,
    /// The simulated ones, for their miners.
    pub simulated: BTreeMap<Network, SandboxChain>,
    /// Drives the simulated ones.
    pub controls: BTreeMap<Network, Arc<dyn SandboxControl>>,
    /// The file of the simulated ones, if there are any.
    pub sandbox: Option<Sandbox>,
}

impl Chains {
    /// Where scenarios of the simulated chains are noted.
    pub fn scenario_books(&self) -> ScenarioBooks {
        let book = |(network, chain): (&Network, &SandboxChain)| {
            (*network, Arc::new(chain.clone()) as Arc<dyn ScenarioBook>)
        };
        ScenarioBooks(self.simulated.iter().map(book).collect())
    }
}

/// Opens every enabled network.
pub async fn open(
    config: &Config,
    db: &Db,
    env: &Env,
    reads: &ReadMeter,
) -> anyhow::Result<Chains> {
    let enabled = config.enabled();
    let sandbox = if enabled.values().any(|settings| settings.backend == Backend::Sandbox) {
        Some(Sandbox::open(&config.data_dir.join("sandbox.sqlite"), env.clone()).await?)
    } else {
        None
    };
    let mut chains = Chains {
        readers: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        simulated: BTreeMap::new(),
        controls: BTreeMap::new(),
        sandbox: sandbox.clone(),
    };
    let noted = endpoints::of_all(db).await?;
    for (network, settings) in enabled {
        let reader: Arc<dyn ChainReader> = match (&sandbox, settings.backend) {
            (Some(sandbox), Backend::Sandbox) => {
                let chain = sandbox.chain(network).await?;
                chains.simulated.insert(network, chain.clone());
                chains.controls.insert(network, Arc::new(chain.clone()));
                Arc::new(chain)
            }
            _ => {
                let endpoints = endpoints_of(network, settings, env)?.counting(reads.clone());
                let endpoints = Arc::new(endpoints);
                endpoints.remember(noted.get(network.as_str()).map_or(&[], Vec::as_slice));
                chains.endpoints.insert(network, Arc::clone(&endpoints));
                endpoints
            }
        };
        check_genesis(db, network, settings.chain, reader.as_ref()).await?;
        chains.readers.insert(network, reader);
    }
    Ok(chains)
}

/// Reads a network from its nodes.
fn endpoints_of(
    network: Network,
    settings: &NetworkSettings,
    env: &Env,
) -> anyhow::Result<Endpoints> {
    let mut readers = Vec::new();
    for (name, alone) in settings.nodes() {
        let reader = node_reader(network, &alone, env)
            .with_context(|| format!("networks.{network}, {name}"))?;
        readers.push(NamedReader { name, host: host(&alone.node.url), reader });
    }
    let has_pace = matches!(settings.chain, ChainKind::Mainnet | ChainKind::Testnet);
    Ok(Endpoints::new(network, readers, has_pace, env.clone()))
}

/// Where a node is, without what may be secret in its URL.
fn host(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Reads a network from one node.
fn node_reader(
    network: Network,
    settings: &NetworkSettings,
    env: &Env,
) -> anyhow::Result<Arc<dyn ChainReader>> {
    Ok(match network {
        Network::Trc20 => {
            let node = tron_settings(&settings.node)?;
            Arc::new(tron_reader(settings, &node, env)?)
        }
        Network::Eth | Network::Bep20 => {
            Arc::new(evm_reader(settings, &evm_settings(network, settings)?)?)
        }
        _ => {
            let rpc = rpc_settings(&settings.node)?;
            Arc::new(bitcoin_reader(network, settings, &rpc)?)
        }
    })
}

/// Refuses to start on a chain other than the one this database was begun on. A node that is down
/// is no reason not to start: its scanner checks the blocks it knows before it goes on.
async fn check_genesis(
    db: &Db,
    network: Network,
    chain: ChainKind,
    reader: &dyn ChainReader,
) -> anyhow::Result<()> {
    let genesis = match reader.genesis().await {
        Ok(genesis) => genesis,
        Err(ChainError::Transient(error)) => {
            tracing::warn!(%network, error, "node does not answer yet");
            return Ok(());
        }
        Err(error) => return Err(error).with_context(|| format!("networks.{network}")),
    };
    let stamp = deployment::stamp_network(db, network, chain, &genesis).await?;
    if stamp.genesis != genesis || stamp.chain != chain.as_str() {
        bail!(
            "networks.{network}: the database was begun on another chain ({} {})",
            stamp.chain,
            stamp.genesis
        );
    }
    Ok(())
}

/// What each enabled network asks of payments.
pub fn terms(config: &Config) -> anyhow::Result<BTreeMap<Network, NetworkTerms>> {
    let read = |(network, settings): (Network, &NetworkSettings)| {
        let shortfall_units = price::coins(network.asset(), &settings.shortfall)?;
        let finality = settings
            .finality()
            .map_err(|error| anyhow::anyhow!("networks.{network}.{}: {}", error.key, error.why))?;
        Ok((network, NetworkTerms { finality, shortfall_units }))
    };
    config.enabled().into_iter().map(read).collect()
}

/// The enabled network whose addresses are accounts on this one's chain too: where both are simulated, or
/// both are main chains, or both test chains. A payer of real money is not told a test chain's address.
pub fn same_accounts(config: &Config, network: Network) -> Option<Network> {
    let (enabled, other) = (config.enabled(), shares_accounts_with(network)?);
    let kind = |network| enabled.get(&network).map(|settings| (settings.backend, settings.chain));
    kind(other).filter(|kind_of_other| kind(network).as_ref() == Some(kind_of_other))?;
    Some(other)
}

/// Every network as it is configured, in the documented order of balances.
pub fn configured(config: &Config) -> Vec<ConfiguredNetwork> {
    let read = |network: Network| {
        let settings = config.networks.get(network.as_str())?;
        Some(ConfiguredNetwork {
            network,
            enabled: settings.enabled,
            backend: match settings.backend {
                Backend::Sandbox => "sandbox",
                Backend::Node => "node",
            },
            chain: settings.chain,
            confirmations: settings.confirmations,
        })
    };
    Network::ALL.into_iter().filter_map(read).collect()
}

/// A reader of a Bitcoin-like node.
pub(super) fn bitcoin_reader(
    network: Network,
    settings: &NetworkSettings,
    rpc: &RpcSettings,
) -> Result<BitcoinReader, SetupError> {
    let reader = BitcoinReader::new(network, settings.chain, rpc)?;
    Ok(match settings.node.oldest_version {
        0 => reader,
        oldest => reader.accepting(oldest),
    })
}

/// A reader of an EVM node.
pub(super) fn evm_reader(
    settings: &NetworkSettings,
    evm: &EvmSettings,
) -> Result<EvmReader, evm::SetupError> {
    let reader = EvmReader::new(evm)?;
    Ok(match settings.node.oldest_version {
        0 => reader,
        oldest => reader.accepting(oldest),
    })
}

/// A reader of a TRON node.
pub(super) fn tron_reader(
    settings: &NetworkSettings,
    node: &NodeSettings,
    env: &Env,
) -> Result<TronReader, tron::SetupError> {
    let reader = TronReader::new(settings.chain, node, env.clone())?;
    Ok(match settings.node.oldest_version {
        0 => reader,
        oldest => reader.accepting(oldest),
    })
}

/// How an EVM node is reached.
pub(super) fn evm_settings(
    network: Network,
    settings: &NetworkSettings,
) -> anyhow::Result<EvmSettings> {
    let NetworkSettings { chain, node, .. } = settings;
    let mut rpc = rpc_settings(node)?;
    if let Some(key) = api_key(node)? {
        rpc.auth = RpcAuth::PathKey(key);
    }
    Ok(EvmSettings {
        network,
        chain: *chain,
        private_chain_id: (node.chain_id != 0).then_some(node.chain_id),
        contract: (!node.contract.is_empty()).then(|| node.contract.clone()),
        rpc,
    })
}

pub(super) fn rpc_settings(node: &Node) -> anyhow::Result<RpcSettings> {
    let auth = if !node.cookie_file.as_os_str().is_empty() {
        RpcAuth::CookieFile(node.cookie_file.clone())
    } else if node.user.is_empty() {
        RpcAuth::None
    } else {
        let password = std::fs::read_to_string(&node.password_file)
            .with_context(|| format!("node.password_file {}", node.password_file.display()))?;
        RpcAuth::Password { user: node.user.clone(), password: password.trim().to_owned() }
    };
    Ok(RpcSettings { url: node.url.clone(), auth, timeout: NODE_TIMEOUT })
}

/// The key that a service asks for, from the file that holds it.
fn api_key(node: &Node) -> anyhow::Result<Option<String>> {
    if node.api_key_file.as_os_str().is_empty() {
        return Ok(None);
    }
    let key = std::fs::read_to_string(&node.api_key_file)
        .with_context(|| format!("node.api_key_file {}", node.api_key_file.display()))?;
    Ok(Some(key.trim().to_owned()))
}

pub(super) fn tron_settings(node: &Node) -> anyhow::Result<NodeSettings> {
    Ok(NodeSettings {
        url: node.url.clone(),
        solidity_url: node.solidity_url.clone(),
        api_key: api_key(node)?,
        contract: node.contract.clone(),
        requests_per_second: node.requests_per_second,
        timeout: NODE_TIMEOUT,
    })
}
