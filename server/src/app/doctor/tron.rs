//! A TRON node: whether both its APIs answer, are the right chain with the right token, agree, and
//! keep up. Not here: nodes of other chains, and how far the server has read (`chains`).

use std::time::Duration;

use tokio::time::timeout;

use super::Check;
use super::chains::{ANOTHER_CHAIN, NODE_SECONDS_MAX, Told, is_another, outdated};
use crate::app::networks::{tron_reader, tron_settings};
use crate::chain::tron::NodeSettings;
use crate::chain::tron::report::NodeReport;
use crate::chain::{ChainError, ChainReader as _};
use crate::config::NetworkSettings;
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::env::Env;
use crate::store::inspection::StampedNetwork;

const NAME: &str = "node trc20";
/// Blocks by which finality may trail before somebody should look: 70 % of 27 witnesses sign within
/// 19 blocks.
const UNSOLID_BLOCKS_MAX: u64 = 60;

/// Looks at the node.
pub(super) async fn node(
    settings: &NetworkSettings,
    stamp: Option<&StampedNetwork>,
    env: &Env,
) -> Check {
    let url = &settings.node.url;
    let asked = timeout(Duration::from_secs(NODE_SECONDS_MAX), ask(settings, env)).await;
    let (genesis, report) = match asked {
        Ok(Ok(Ok(answer))) => answer,
        Ok(Ok(Err(why))) => return outdated(NAME, format!("{url}: {why}"), Network::Trc20),
        Ok(Err(error)) => return Check::fail(NAME, format!("{url}: {error:#}"), cure(&error)),
        Err(_) => {
            let text = format!("{url} did not answer within {NODE_SECONDS_MAX} s");
            return Check::fail(NAME, text, "start the node, or look at what keeps it busy");
        }
    };
    let NodeReport { version, peers, head } = report;
    let tip = head.tip.height;
    let solid = head.finalized_height.unwrap_or_default();
    let chain = settings.chain.as_str();
    let who = if version.is_empty() { "a node".to_owned() } else { format!("java-tron {version}") };
    let text = format!("{url}: {who} on {chain}, block {tip}, solidified {solid}");
    if is_another(stamp, &genesis, settings) {
        return Check::fail(NAME, text, ANOTHER_CHAIN);
    }
    if matches!(settings.chain, ChainKind::Regtest | ChainKind::Sandbox) {
        return Check::ok(NAME, text);
    }
    if peers == Some(0) {
        return Check::fail(NAME, text, "the node has no peers: look at its network and firewall");
    }
    if tip.saturating_sub(solid) > UNSOLID_BLOCKS_MAX {
        let cure = "blocks are not made final: look at the solidity API and at news of the chain";
        return Check::warn(NAME, text, cure);
    }
    Check::ok(NAME, text)
}

async fn ask(settings: &NetworkSettings, env: &Env) -> anyhow::Result<Told<NodeReport>> {
    let timeout = Duration::from_secs(NODE_SECONDS_MAX);
    let node = NodeSettings { timeout, ..tron_settings(&settings.node)? };
    let reader = tron_reader(settings, &node, env)?;
    if let Some(why) = reader.outdated().await {
        return Ok(Err(why));
    }
    // Refuses a chain, and a token, that is not the configured one.
    let genesis = reader.genesis().await?;
    Ok(Ok((genesis, reader.report().await?)))
}

fn cure(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref::<ChainError>() {
        Some(ChainError::Transient(_)) => {
            "start the node, wait until it keeps up, or ask it less often (requests_per_second)"
        }
        Some(ChainError::Unsupported(_)) => {
            "look at the two URLs and the API key; a lite node closes what is needed here"
        }
        Some(ChainError::Invalid(_) | ChainError::TooLarge(_)) => {
            "is this a node of that chain, and the token's contract?"
        }
        None => "look at networks.trc20.node in the configuration",
    }
}
