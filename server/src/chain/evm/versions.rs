//! Which EVM clients are too old for which chain: those that a fork left behind. Only what a client's own
//! release says is in the table; a client that is not in it, and a chain whose forks are its owner's, is
//! not judged. Not here: reading and comparing versions (`chain::version`).

use serde_json::json;

use super::Parameters;
use super::reader::EvmReader;
use crate::chain::ChainError;
use crate::chain::version::{counted, parse};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;

/// A client's name, as `web3_clientVersion` begins, and the oldest version that follows the chain.
type Floor = (&'static str, u64);

/// Fusaka, 3 December 2025. Geth 1.16.6 knows the fork too and was replaced for a fault in it, as was
/// reth 1.9.0. Sources: the release notes of each.
const ETH_MAINNET: &[Floor] =
    &[("Geth", counted(1, 16, 7)), ("reth", counted(1, 9, 1)), ("besu", counted(25, 11, 0))];
/// Pasteur, 25 August 2026. Source: release notes of bsc 1.7.7, which calls itself Geth.
const BSC_MAINNET: &[Floor] = &[("Geth", counted(1, 7, 7))];

impl Parameters {
    const fn floors(&self) -> &'static [Floor] {
        match (self.network, self.chain) {
            (Network::Eth, ChainKind::Mainnet) => ETH_MAINNET,
            (Network::Bep20, ChainKind::Mainnet) => BSC_MAINNET,
            _ => &[],
        }
    }

    /// The oldest version of a client that is known to follow the chain.
    fn oldest(&self, client: &str) -> Option<u64> {
        let known = |floor: &&Floor| floor.0.eq_ignore_ascii_case(client);
        self.floors().iter().find(known).map(|floor| floor.1)
    }
}

/// Name and version in `Geth/v1.16.7-stable-b9f3a3d9/linux-amd64/go1.24.9`; between them may stand what an
/// operator calls his node.
fn client(text: &str) -> Option<(&str, u64)> {
    let (name, rest) = text.split_once('/')?;
    Some((name, rest.rsplit('/').find_map(parse)?))
}

impl EvmReader {
    /// The same reader, which believes nodes of every client from `version` on (major * 10000 + minor * 100
    /// + patch) instead of what is known of each.
    #[must_use]
    pub const fn accepting(mut self, version: u64) -> Self {
        self.version.accept(version);
        self
    }

    /// Why the node is too old to be believed. `None` also for one that does not tell, as services do not.
    pub async fn outdated(&self) -> Option<String> {
        if self.parameters.floors().is_empty() && !self.version.is_overridden() {
            return None;
        }
        let text: String = self.rpc.ask("web3_clientVersion", json!([])).await.ok()?;
        let (name, stated) = client(&text)?;
        self.version.outdated(stated, self.parameters.oldest(name))
    }

    /// [`ChainError::Unsupported`] for a node that is too old to be believed.
    pub(super) async fn check_version(&self) -> Result<(), ChainError> {
        self.version.begin();
        match self.outdated().await {
            Some(why) => Err(self.version.refuse(&why)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "versions_tests.rs"]
mod tests;
