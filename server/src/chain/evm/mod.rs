//! EVM chains read and written over a node's JSON-RPC: native coins on Ethereum, one pinned token on
//! BNB Smart Chain. Every fact is anchored to a block's hash; what a node answers is checked against
//! that hash and never trusted to be complete. Not here: keys, addresses' text, and all that
//! remembers (scanning, reorgs, confirmations).

mod balances;
mod calls;
mod matching;
pub mod reader;
pub mod report;
mod rpc;
mod traces;
mod unexpected;
mod versions;
mod waiting;
mod wire;
pub mod writer;

pub use reader::EvmReader;
pub use writer::EvmWriter;

use alloy::primitives::Address;

use self::unexpected::KnownCoins;
use super::bitcoin::{RpcSettings, SetupError as RpcSetupError};
use crate::domain::address::ChainKind;
use crate::domain::asset::{Asset, Network};
use crate::domain::payment_request::{BEP20_USDT, chain_id};

/// How one EVM chain is reached.
#[derive(Debug, Clone)]
pub struct EvmSettings {
    /// Ethereum or BNB Smart Chain.
    pub network: Network,
    /// Which instance of it.
    pub chain: ChainKind,
    /// The id that a private chain's node must have (EIP-155), where it is not the one of its own
    /// that [`chain_id`] gives. Payment requests of private chains keep that one in any case: no
    /// wallet is ever to be told to pay to a test address on chain 1 or 56.
    pub private_chain_id: Option<u64>,
    /// The token's contract on a test chain; on mainnet it is ours to know.
    pub contract: Option<String>,
    /// How the node is reached.
    pub rpc: RpcSettings,
}

/// Settings no node can be reached with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// There is no EVM node of this network and chain.
    #[error("{0} on {1:?} has no EVM node")]
    NotEvm(Network, ChainKind),
    /// The token's contract is missing where there is one, is there where there is none, or is no
    /// address.
    #[error("contract: {0}")]
    Contract(&'static str),
    /// URL or TLS cannot be used.
    #[error(transparent)]
    Rpc(#[from] RpcSetupError),
}

/// What differs between the chains this room reads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameters {
    network: Network,
    chain: ChainKind,
    /// EIP-155.
    chain_id: u64,
    /// The contract whose logs are payments; `None` where native value is.
    token: Option<Address>,
    /// What else is known on it.
    known: KnownCoins,
}

impl Parameters {
    fn of(settings: &EvmSettings) -> Result<Self, SetupError> {
        let EvmSettings { network, chain, .. } = *settings;
        let not_evm = SetupError::NotEvm(network, chain);
        let has_token = match network {
            Network::Eth => false,
            Network::Bep20 => true,
            _ => return Err(not_evm),
        };
        let own_id = chain_id(network, chain).ok_or(not_evm.clone())?;
        let chain_id = match (chain, settings.private_chain_id) {
            (ChainKind::Sandbox, _) => return Err(not_evm),
            (ChainKind::Regtest, Some(id)) => id,
            _ => own_id,
        };
        let contract = match (chain, settings.contract.as_deref()) {
            (_, Some(_)) if !has_token => return Err(SetupError::Contract("there is no token")),
            (_, None) if !has_token => None,
            (ChainKind::Mainnet, None) => Some(BEP20_USDT),
            (ChainKind::Mainnet, Some(_)) => return Err(SetupError::Contract("is pinned")),
            (_, None) => return Err(SetupError::Contract("is required on a test chain")),
            (_, given) => given,
        };
        let token = contract
            .map(|text| text.parse::<Address>())
            .transpose()
            .map_err(|_| SetupError::Contract("is no address"))?;
        Ok(Self { network, chain, chain_id, token, known: KnownCoins::of(network, chain) })
    }

    const fn asset(&self) -> Asset {
        self.network.asset()
    }

    /// Whether blocks come from strangers over a network, so that the node may lag behind it.
    const fn has_peers(&self) -> bool {
        matches!(self.chain, ChainKind::Mainnet | ChainKind::Testnet)
    }

    /// Whether a chain that begins with this block may be read as this one. A private chain may begin
    /// with anything but a public chain's block.
    fn may_begin_with(&self, genesis: &str) -> bool {
        match (self.network, self.chain) {
            (Network::Eth, ChainKind::Mainnet) => genesis == ETH_MAINNET,
            (Network::Eth, ChainKind::Testnet) => genesis == ETH_SEPOLIA,
            (Network::Bep20, ChainKind::Mainnet) => genesis == BSC_MAINNET,
            (Network::Bep20, ChainKind::Testnet) => genesis == BSC_CHAPEL,
            _ => ![ETH_MAINNET, ETH_SEPOLIA, BSC_MAINNET, BSC_CHAPEL].contains(&genesis),
        }
    }
}

// Source: `params/config.go` of go-ethereum 1.14 and of bsc 1.5.
const ETH_MAINNET: &str = "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3";
const ETH_SEPOLIA: &str = "0x25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9";
const BSC_MAINNET: &str = "0x0d21840abff46b96c84b2ac9e10e4f5cdaeb5693cb665db62a2f3b02d2d57b5b";
const BSC_CHAPEL: &str = "0x6d3c66c5357ec91d5c43af47e234a939b22557cbb552dc45bebbceeed90fbe34";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::chain::bitcoin::RpcAuth;
    use std::time::Duration;

    fn settings(network: Network, chain: ChainKind) -> EvmSettings {
        let url = "http://127.0.0.1:1/".to_owned();
        let rpc = RpcSettings { url, auth: RpcAuth::None, timeout: Duration::from_secs(1) };
        EvmSettings { network, chain, private_chain_id: None, contract: None, rpc }
    }

    fn id(settings: &EvmSettings) -> u64 {
        Parameters::of(settings).unwrap().chain_id
    }

    #[test]
    fn public_chains_have_their_ids_and_private_ones_may_have_any() {
        assert_eq!(id(&settings(Network::Eth, ChainKind::Mainnet)), 1);
        assert_eq!(id(&settings(Network::Eth, ChainKind::Testnet)), 11_155_111);
        assert_eq!(id(&settings(Network::Bep20, ChainKind::Mainnet)), 56);
        let mut private = settings(Network::Eth, ChainKind::Regtest);
        assert_eq!(id(&private), 900_000_001);
        private.private_chain_id = Some(1);
        assert_eq!(id(&private), 1);
        let mut public = settings(Network::Eth, ChainKind::Mainnet);
        public.private_chain_id = Some(5);
        assert_eq!(id(&public), 1, "a public chain's id is not a setting");
        for (network, chain) in
            [(Network::Ltc, ChainKind::Mainnet), (Network::Eth, ChainKind::Sandbox)]
        {
            let refused = Parameters::of(&settings(network, chain));
            assert_eq!(refused, Err(SetupError::NotEvm(network, chain)));
        }
    }

    #[test]
    fn the_contract_is_pinned_on_mainnet_and_named_on_test_chains() {
        let token = |chain, contract: Option<&str>| {
            let contract = contract.map(str::to_owned);
            Parameters::of(&EvmSettings { contract, ..settings(Network::Bep20, chain) })
        };
        let other = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
        let pinned = token(ChainKind::Mainnet, None).unwrap().token.unwrap();
        assert_eq!(pinned.to_string(), "0x55d398326f99059fF775485246999027B3197955");
        let chosen = token(ChainKind::Testnet, Some(other)).unwrap();
        assert_eq!((chosen.chain_id, chosen.token), (97, Some(other.parse().unwrap())));
        for (chain, contract) in [
            (ChainKind::Mainnet, Some(other)),
            (ChainKind::Testnet, None),
            (ChainKind::Regtest, Some("0x12")),
        ] {
            assert!(matches!(token(chain, contract), Err(SetupError::Contract(_))), "{contract:?}");
        }
        let native = EvmSettings {
            contract: Some(other.to_owned()),
            ..settings(Network::Eth, ChainKind::Regtest)
        };
        assert!(matches!(Parameters::of(&native), Err(SetupError::Contract(_))));
    }

    #[test]
    fn no_public_chain_is_read_as_another() {
        let all = [ETH_MAINNET, ETH_SEPOLIA, BSC_MAINNET, BSC_CHAPEL];
        let mut chains = Vec::new();
        for network in [Network::Eth, Network::Bep20] {
            for chain in [ChainKind::Mainnet, ChainKind::Testnet, ChainKind::Regtest] {
                let test_chain = network == Network::Bep20 && chain != ChainKind::Mainnet;
                let contract = test_chain.then(|| BEP20_USDT.to_owned());
                chains.push(EvmSettings { contract, ..settings(network, chain) });
            }
        }
        let begins = |settings: &EvmSettings| {
            let parameters = Parameters::of(settings).unwrap();
            all.iter().filter(|genesis| parameters.may_begin_with(genesis)).count()
        };
        assert_eq!(chains.iter().map(begins).collect::<Vec<_>>(), [1, 1, 0, 1, 1, 0]);
    }
}
