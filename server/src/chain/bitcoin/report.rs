//! What a node says of itself, for whoever looks after a deployment. Not here: anything that money
//! depends on.

use serde::Deserialize;
use serde_json::json;

use super::BitcoinReader;
use crate::chain::ChainError;
use crate::domain::time::Micros;

/// A node's own words about its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Its name and version, e.g. `/LitecoinCore:0.21.5.6/`.
    pub version: String,
    /// Whether it is older than what is believed.
    pub is_outdated: bool,
    /// Peers it is connected to.
    pub peers: u32,
    /// How far its clock is from the median of its peers', seconds.
    pub clock_offset_seconds: i64,
    /// The newest block it has.
    pub blocks: u64,
    /// The newest block it knows by its header.
    pub headers: u64,
    /// Whether the initial block download runs.
    pub is_syncing: bool,
    /// Whether it forgets old blocks.
    pub is_pruned: bool,
    /// The time that its newest block states.
    pub tip_at: Micros,
}

#[derive(Deserialize)]
struct NetworkInfo {
    version: u64,
    subversion: String,
    connections: u32,
    #[serde(default)]
    timeoffset: i64,
}

#[derive(Deserialize)]
struct ChainInfo {
    blocks: u64,
    headers: u64,
    bestblockhash: String,
    initialblockdownload: bool,
    #[serde(default)]
    pruned: bool,
}

#[derive(Deserialize)]
struct HeaderInfo {
    time: i64,
}

impl BitcoinReader {
    /// Asks the node how it is.
    ///
    /// # Errors
    /// As any call: see [`ChainError`].
    pub async fn report(&self) -> Result<NodeReport, ChainError> {
        let network: NetworkInfo = self.rpc.call("getnetworkinfo", json!([])).await?;
        let chain: ChainInfo = self.rpc.call("getblockchaininfo", json!([])).await?;
        let tip: HeaderInfo = self.rpc.call("getblockheader", json!([chain.bestblockhash])).await?;
        Ok(NodeReport {
            version: network.subversion,
            is_outdated: network.version < self.parameters.oldest_version,
            peers: network.connections,
            clock_offset_seconds: network.timeoffset,
            blocks: chain.blocks,
            headers: chain.headers,
            is_syncing: chain.initialblockdownload,
            is_pruned: chain.pruned,
            tip_at: Micros::from_seconds(tip.time),
        })
    }
}
