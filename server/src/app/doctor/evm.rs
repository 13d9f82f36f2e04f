//! The nodes of EVM networks: whether one answers, is the right chain with the right token, keeps up,
//! and tells all that payments can hide in. Not here: the other networks, how far each was read.

use std::time::Duration;

use reqwest::Url;
use tokio::time::timeout;

use super::Check;
use super::chains::{
    ANOTHER_CHAIN, NODE_SECONDS_MAX, QUIET_BLOCKS_MAX, Told, is_another, node_cure, outdated,
};
use crate::app::networks::{evm_reader, evm_settings};
use crate::chain::ChainReader as _;
use crate::chain::bitcoin::RpcSettings;
use crate::chain::evm::EvmSettings;
use crate::chain::evm::report::EvmNodeReport;
use crate::config::NetworkSettings;
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::env::Env;
use crate::store::inspection::StampedNetwork;

/// Looks at one node.
pub(super) async fn node(
    network: Network,
    settings: &NetworkSettings,
    stamp: Option<&StampedNetwork>,
    env: &Env,
) -> Check {
    let name = format!("node {network}");
    // Services take their key in the path: what is printed ends before it.
    let place = Url::parse(&settings.node.url)
        .map_or_else(|_| "node.url".to_owned(), |url| url.origin().ascii_serialization());
    let asked = timeout(Duration::from_secs(NODE_SECONDS_MAX), ask(network, settings)).await;
    let (genesis, report) = match asked {
        Ok(Ok(Ok(answer))) => answer,
        Ok(Ok(Err(why))) => return outdated(name, format!("{place}: {why}"), network),
        Ok(Err(error)) => {
            return Check::fail(name, format!("{place}: {error:#}"), node_cure(&error));
        }
        Err(_) => {
            let text = format!("{place} did not answer within {NODE_SECONDS_MAX} s");
            return Check::fail(name, text, "start the node, or look at what keeps it busy");
        }
    };
    let peers = report.peers.map_or_else(|| "unknown".to_owned(), |peers| peers.to_string());
    let text = format!(
        "{place}: {} on {}, block {}, {peers} peers",
        report.version,
        settings.chain.as_str(),
        report.head.tip.height,
    );
    if is_another(stamp, &genesis, settings) {
        return Check::fail(name, text, ANOTHER_CHAIN);
    }
    judged(name, text, network, settings.chain, &report, env)
}

async fn ask(network: Network, settings: &NetworkSettings) -> anyhow::Result<Told<EvmNodeReport>> {
    let evm = evm_settings(network, settings)?;
    let timeout = Duration::from_secs(NODE_SECONDS_MAX);
    let evm = EvmSettings { rpc: RpcSettings { timeout, ..evm.rpc }, ..evm };
    let reader = evm_reader(settings, &evm)?;
    if let Some(why) = reader.outdated().await {
        return Ok(Err(why));
    }
    // Refuses a chain, and a token, that is not the configured one.
    let genesis = reader.genesis().await?;
    Ok(Ok((genesis, reader.report().await?)))
}

fn judged(
    name: String,
    text: String,
    network: Network,
    chain: ChainKind,
    report: &EvmNodeReport,
    env: &Env,
) -> Check {
    // A private chain has no peers and no pace.
    if matches!(chain, ChainKind::Mainnet | ChainKind::Testnet) {
        if report.is_syncing {
            let cure =
                "wait until the node has caught up; no invoice of this network expires meanwhile";
            return Check::warn(name, text, cure);
        }
        if report.peers == Some(0) {
            let cure = "the node has no peers: look at its network and firewall";
            return Check::fail(name, text, cure);
        }
        let quiet = env.system_now().since(report.head.tip.time);
        if quiet > network.block_time() * QUIET_BLOCKS_MAX {
            let text = format!("{text}; its newest block is {} s old", quiet.as_secs());
            return Check::warn(name, text, "look at the node's peers and its log");
        }
    }
    if network == Network::Eth && !report.tells_calls {
        if report.head.finalized_height.is_none() {
            let text = format!("{text}; it tells neither calls nor what is final");
            let cure = "payments made inside contract calls are never seen, and no invoice expires: \
                        read another node";
            return Check::fail(name, text, cure);
        }
        let text = format!("{text}; it tells no calls");
        let cure = "payments made inside contract calls, as many exchanges make them, are seen when their \
                    block is final, and invoices expire as much later: let the node offer \
                    debug_traceBlockByHash or trace_block";
        return Check::warn(name, text, cure);
    }
    let pool =
        if report.shows_pool { "" } else { "; it shows no pool: payments are seen in blocks" };
    Check::ok(name, format!("{text}{pool}"))
}
