//! Bitcoin-like chains (Litecoin Core 0.21 and later, Bitcoin Core) read and written over the
//! node's JSON-RPC. Amounts come only from raw blocks and transactions, never from JSON numbers.
//! Not here: keys, addresses' text, and all that remembers (scanning, reorgs, confirmations).

pub mod block;
pub mod matching;
pub mod reader;
pub mod report;
pub mod rpc;
pub mod writer;

#[cfg(test)]
pub(in crate::chain) mod fake_node;

pub use reader::BitcoinReader;
pub use rpc::{RpcAuth, RpcSettings, SetupError};
pub use writer::BitcoinWriter;

use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use block::Format;

/// What differs between the chains this room reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainParameters {
    /// The network.
    pub network: Network,
    /// Which instance of it.
    pub chain: ChainKind,
    /// How blocks and transactions are written down.
    pub format: Format,
    /// Hashes of the genesis blocks that count as this chain (there are several public test
    /// networks of Bitcoin), lower-case hex as explorers print it.
    pub genesis: &'static [&'static str],
    /// The oldest node that is believed, as its `getnetworkinfo.version` counts: see
    /// [`BTC_OLDEST_VERSION`] and [`LTC_OLDEST_VERSION`].
    pub oldest_version: u64,
}

/// Bitcoin Core 28.0: the first that replaces whatever pays more by default, as the network does. An
/// older one keeps showing payments that others have forgotten.
pub const BTC_OLDEST_VERSION: u64 = 280_000;
/// Litecoin Core 0.21.5.6, with the repair of the MWEB fault behind the fork of 13 blocks in April 2026.
pub const LTC_OLDEST_VERSION: u64 = 210_506;

impl ChainParameters {
    /// The parameters of one chain.
    ///
    /// # Errors
    /// [`SetupError::NotBitcoinLike`] for networks and simulated chains without such a node.
    pub const fn of(network: Network, chain: ChainKind) -> Result<Self, SetupError> {
        let (format, genesis) = match (network, chain) {
            (Network::Btc, ChainKind::Mainnet) => (Format::Bitcoin, BTC_MAINNET),
            (Network::Btc, ChainKind::Testnet) => (Format::Bitcoin, BTC_TEST_NETWORKS),
            (Network::Btc, ChainKind::Regtest) => (Format::Bitcoin, BTC_REGTEST),
            (Network::Ltc, ChainKind::Mainnet) => (Format::Litecoin, LTC_MAINNET),
            (Network::Ltc, ChainKind::Testnet) => (Format::Litecoin, LTC_TESTNET),
            (Network::Ltc, ChainKind::Regtest) => (Format::Litecoin, LTC_REGTEST),
            _ => return Err(SetupError::NotBitcoinLike(network, chain)),
        };
        let oldest_version = match format {
            Format::Bitcoin => BTC_OLDEST_VERSION,
            Format::Litecoin => LTC_OLDEST_VERSION,
        };
        Ok(Self { network, chain, format, genesis, oldest_version })
    }

    /// Whether blocks come from strangers over a network, so that the node may lag behind it.
    const fn has_peers(&self) -> bool {
        matches!(self.chain, ChainKind::Mainnet | ChainKind::Testnet)
    }
}

// Source: `chainparams.cpp` of Bitcoin Core 29 and Litecoin Core 0.21; the latter's were read off
// running nodes.
const BTC_MAINNET: &[&str] = &["000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"];
/// testnet3, testnet4, signet.
const BTC_TEST_NETWORKS: &[&str] = &[
    "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
    "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
];
const BTC_REGTEST: &[&str] = &["0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"];
const LTC_MAINNET: &[&str] = &["12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2"];
const LTC_TESTNET: &[&str] = &["4966625a4b2851d9fdee139e56211a0d88575f59ed816ff5e6a63deb4e3e29a0"];
const LTC_REGTEST: &[&str] = &["530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use bitcoin::blockdata::constants::genesis_block;

    #[test]
    fn genesis_hashes_of_bitcoin_are_those_of_rust_bitcoin() {
        for (chain, network) in [
            (ChainKind::Mainnet, bitcoin::Network::Bitcoin),
            (ChainKind::Testnet, bitcoin::Network::Testnet),
            (ChainKind::Testnet, bitcoin::Network::Testnet4),
            (ChainKind::Testnet, bitcoin::Network::Signet),
            (ChainKind::Regtest, bitcoin::Network::Regtest),
        ] {
            let hash = genesis_block(network).block_hash().to_string();
            let parameters = ChainParameters::of(Network::Btc, chain).unwrap();
            assert!(parameters.genesis.contains(&hash.as_str()), "{network} {hash}");
        }
    }

    #[test]
    fn account_chains_and_simulated_ones_have_no_such_node() {
        assert!(ChainParameters::of(Network::Eth, ChainKind::Mainnet).is_err());
        assert!(ChainParameters::of(Network::Ltc, ChainKind::Sandbox).is_err());
    }
}
