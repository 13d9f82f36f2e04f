//! What a TRON node says of itself, for whoever looks after a deployment. Not here: anything that
//! money depends on.

use serde::Deserialize;
use serde_json::json;

use super::http::Api;
use super::{OLDEST_VERSION, TronReader};
use crate::chain::version;
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
        let info = match self.info().await {
            Err(ChainError::Unsupported(_)) => None,
            answer => answer?,
        };
        let (version, peers) = info.map_or((String::new(), None), |i| (i.config.version, i.peers));
        Ok(NodeReport { version, peers, head })
    }

    /// Why the node is too old to be believed. `None` also for one that does not tell: a service keeps
    /// its nodes to itself, in more ways than one, and may be read all the same.
    pub async fn outdated(&self) -> Option<String> {
        let info = self.info().await.ok()??;
        self.version.outdated(version::parse(&info.config.version)?, Some(OLDEST_VERSION))
    }

    async fn info(&self) -> Result<Option<NodeInfo>, ChainError> {
        self.client.call(Api::Full, "getnodeinfo", &json!({})).await
    }
}
