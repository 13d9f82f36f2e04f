//! `admin networks`: how each network stands with its nodes and its pool, and blocks read again.

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::network_service_client::NetworkServiceClient;
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::Channel;

use super::moment;
use crate::cli::NetworksCommand;
use crate::cli::output::Answer;

const COLUMNS: &[&str] = &[
    "network",
    "enabled",
    "state",
    "nodes",
    "backend",
    "chain",
    "head",
    "scanned",
    "lag_blocks",
    "watermark_age_seconds",
    "pool_free",
    "pool_leased",
    "pool_used",
    "pool_quarantined",
];
const ENDPOINT_COLUMNS: &[&str] =
    &["network", "name", "host", "state", "serving", "height", "finalized", "since", "error"];
const RESCAN_COLUMNS: &[&str] =
    &["id", "network", "from", "to", "next", "deposits_changed", "state", "created_at", "error"];

/// Runs one command.
pub async fn run(channel: Channel, command: NetworksCommand) -> Result<Answer, Status> {
    let mut client = NetworkServiceClient::new(channel);
    match command {
        NetworksCommand::List => {
            let networks = list(&mut client).await?;
            Ok(Answer::table(COLUMNS, networks.iter().map(row).collect()))
        }
        NetworksCommand::Endpoints => {
            let networks = list(&mut client).await?;
            let rows = networks.iter().flat_map(|network| {
                network.endpoints.iter().map(|one| endpoint_row(&network.network, one))
            });
            Ok(Answer::table(ENDPOINT_COLUMNS, rows.collect()))
        }
        NetworksCommand::Rescans => {
            let networks = list(&mut client).await?;
            let rows = networks.iter().flat_map(|network| network.rescans.iter().map(rescan_row));
            Ok(Answer::table(RESCAN_COLUMNS, rows.collect()))
        }
        NetworksCommand::Rescan { network, from, to } => {
            let request = v1::RescanBlocksRequest { network, from_height: from, to_height: to };
            let rescan = client.rescan_blocks(request).await?.into_inner().rescan;
            Ok(Answer::table(RESCAN_COLUMNS, rescan.iter().map(rescan_row).collect()))
        }
    }
}

async fn list(client: &mut NetworkServiceClient<Channel>) -> Result<Vec<v1::Network>, Status> {
    Ok(client.list_networks(v1::ListNetworksRequest {}).await?.into_inner().networks)
}

fn row(network: &v1::Network) -> Value {
    let pool = network.pool.unwrap_or_default();
    let healthy =
        network.endpoints.iter().filter(|one| one.state() == v1::EndpointState::Healthy).count();
    let nodes = format!("{healthy} of {} healthy", network.endpoints.len());
    json!({
        "network": network.network,
        "network_label": network.network_label,
        "enabled": network.enabled,
        "state": network.state.map(|_| name(network.state().as_str_name(), "NETWORK_STATE_")),
        "nodes": (!network.endpoints.is_empty()).then_some(nodes),
        "backend": network.backend,
        "chain": network.chain,
        "confirmations_required": network.confirmations_required,
        "head": network.node_height,
        "scanned": network.scanned_height,
        "finalized": network.finalized_height,
        "lag_blocks": network.lag_blocks,
        "watermark_at": moment(network.watermark_at),
        "watermark_age_seconds": network.watermark_age_seconds,
        "pool_free": pool.free,
        "pool_leased": pool.leased,
        "pool_used": pool.used,
        "pool_quarantined": pool.quarantined,
    })
}

fn endpoint_row(network: &str, endpoint: &v1::Endpoint) -> Value {
    json!({
        "network": network,
        "name": endpoint.name,
        "host": endpoint.host,
        "state": name(endpoint.state().as_str_name(), "ENDPOINT_STATE_"),
        "serving": endpoint.is_serving,
        "height": endpoint.height,
        "finalized": endpoint.finalized_height,
        "since": moment(endpoint.since),
        "error": endpoint.error,
    })
}

fn rescan_row(rescan: &v1::Rescan) -> Value {
    json!({
        "id": rescan.id,
        "network": rescan.network,
        "from": rescan.from_height,
        "to": rescan.to_height,
        "next": rescan.next_height,
        "deposits_changed": rescan.deposits_changed,
        "state": name(rescan.state().as_str_name(), "RESCAN_STATE_"),
        "created_at": moment(rescan.created_at),
        "ended_at": moment(rescan.ended_at),
        "error": rescan.error,
    })
}

/// A value of an enum as REST writes it.
fn name(value: &str, prefix: &str) -> String {
    value.trim_start_matches(prefix).to_lowercase()
}
