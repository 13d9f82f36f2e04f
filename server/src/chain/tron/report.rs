//! What a TRON node says of itself, for whoever looks after a deployment. Not here: anything that
//! money depends on.

use serde::Deserialize;
use serde_json::json;

use super::TronReader;
use super::http::Api;
use crate::chain::{ChainError, ChainReader as _, Head};

/// A node's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Its version, e.g. `4.8.0`; empty where a service does not tell.
    pub version: String,
    /// Peers it is connected to, where it tells.
    pub peers: Option<u32>,
    /// Newest and solidified block.
    pub head: Head,
}

#[derive(Deserialize)]
struct NodeInfo {
    #[serde(rename = "configNodeInfo", default)]
    config: ConfigInfo,
    #[serde(rename = "currentConnectCount")]
    peers: Option<u32>,
}

#[derive(Default, Deserialize)]
struct ConfigInfo {
    #[serde(rename = "codeVersion", default)]
    version: String,
}

impl TronReader {
    /// Asks the node how it is.
    ///
    /// # Errors
    /// As any call: see [`ChainError`]. A service that keeps its nodes to itself is none.
    pub async fn report(&self) -> Result<NodeReport, ChainError> {
        let head = self.head().await?;
        let info: Option<NodeInfo> =
            match self.client.call(Api::Full, "getnodeinfo", &json!({})).await {
                Err(ChainError::Unsupported(_)) => None,
                answer => answer?,
            };
        let (version, peers) = info.map_or((String::new(), None), |i| (i.config.version, i.peers));
        Ok(NodeReport { version, peers, head })
    }
}
