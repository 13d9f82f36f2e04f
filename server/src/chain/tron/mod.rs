//! TRON, read and written over java-tron's HTTP API (a node's own, or TronGrid's): USDT transfers
//! told by logs of the pinned contract in receipts that say SUCCESS. Amounts come from the logs'
//! bytes alone, never from JSON numbers.
//! Not here: keys, addresses' text, and all that remembers (scanning, reorgs, confirmations).

pub mod block;
pub mod http;
pub mod matching;
pub mod reader;
pub mod report;
pub mod transaction;
pub mod unexpected;
pub mod writer;

#[cfg(test)]
mod fake_node;

pub use http::{NodeSettings, SetupError};
pub use reader::TronReader;
pub use writer::TronWriter;

use super::version::counted;
use crate::domain::address::ChainKind;
use crate::domain::address_text;
use crate::domain::asset::Network;
use crate::domain::unexpected::{KnownCoin, known_coins};

/// USDT on mainnet, `TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t`.
pub const USDT: [u8; 20] = [
    0xa6, 0x14, 0xf8, 0x03, 0xb6, 0xfd, 0x78, 0x09, 0x86, 0xa4, 0x2c, 0x78, 0xec, 0x9c, 0x7f, 0x77,
    0xe6, 0xde, 0xd1, 0x3c,
];

/// Ids of the genesis blocks, as explorers print them.
const MAINNET: &[&str] = &["00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc"];
/// Nile, Shasta.
const TEST_NETWORKS: &[&str] = &[
    "0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc",
    "0000000000000000de1aa88295e1fcf982742f773e0419c5a9c134c994a9059e",
];

/// java-tron 4.8.0: the oldest whose answers the reader was pinned to, and a mandatory upgrade of the chain.
pub const OLDEST_VERSION: u64 = counted(4, 8, 0);

/// Which chain is read, and which token on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainParameters {
    /// Which instance of TRON.
    pub chain: ChainKind,
    /// Genesis blocks that count as it; empty: any, since everybody makes his own private chain.
    pub genesis: &'static [&'static str],
    /// The token's contract.
    pub contract: [u8; 20],
    /// What else is known on the chain.
    pub known: &'static [KnownCoin],
}

impl ChainParameters {
    /// The parameters of one chain. On mainnet the contract is ours to know: a setting could only
    /// be wrong.
    ///
    /// # Errors
    /// [`SetupError::NotTron`] for simulated chains, [`SetupError::Contract`] for no address.
    pub fn of(chain: ChainKind, contract: &str) -> Result<Self, SetupError> {
        let known = known_coins(Network::Trc20, chain);
        let genesis = match chain {
            ChainKind::Mainnet => {
                return Ok(Self { chain, genesis: MAINNET, contract: USDT, known });
            }
            ChainKind::Testnet => TEST_NETWORKS,
            ChainKind::Regtest => &[],
            ChainKind::Sandbox => return Err(SetupError::NotTron(chain)),
        };
        let key = address_text::parse(Network::Trc20, chain, contract)
            .map_err(|_| SetupError::Contract)?;
        let contract = key.try_into().map_err(|_| SetupError::Contract)?;
        Ok(Self { chain, genesis, contract, known })
    }

    /// Whether blocks come from strangers every 3 seconds, so that an old tip means a node that is
    /// behind.
    const fn is_public(&self) -> bool {
        matches!(self.chain, ChainKind::Mainnet | ChainKind::Testnet)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::domain::payment_request::TRC20_USDT;

    #[test]
    fn the_pinned_contract_is_tethers() {
        let parameters = ChainParameters::of(ChainKind::Mainnet, "").unwrap();
        assert_eq!(address_text::tron(parameters.contract), TRC20_USDT);
    }

    #[test]
    fn test_chains_name_their_token_and_simulated_ones_have_no_node() {
        let token = "TLJ1qn27gNgJjFHynPhXxiJLzLg6w7Emu5";
        let parameters = ChainParameters::of(ChainKind::Regtest, token).unwrap();
        assert_eq!(address_text::tron(parameters.contract), token);
        for wrong in ["", "TLJ1qn27gNgJjFHynPhXxiJLzLg6w7Emu6", "0x00"] {
            assert_eq!(
                ChainParameters::of(ChainKind::Testnet, wrong),
                Err(SetupError::Contract),
                "{wrong}"
            );
        }
        assert!(ChainParameters::of(ChainKind::Sandbox, token).is_err());
    }
}
