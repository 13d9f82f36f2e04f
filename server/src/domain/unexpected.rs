//! Known coins that reach an address of ours and are not what it is for: which those are on each chain,
//! whether the ledger can credit them, and when one is safe to assign. Everything else that arrives stays
//! unknown and is ignored. Not here: how they are found (`chain`), what is written (`store`).

use super::address::ChainKind;
use super::asset::{Asset, Network};
use super::policy::Finality;

/// A coin that we know by its chain and its contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCoin {
    /// Its name with what it runs on, e.g. `USDC-BEP20`; assets of the ledger have their own.
    pub name: &'static str,
    /// Its contract as explorers write it; `None` for a chain's own coin, and for the asset of the
    /// network, whose contract the network knows.
    pub contract: Option<&'static str>,
    /// Base units per whole coin, as a power of ten.
    pub decimals: u32,
}

/// What is known on Ethereum's main chain. Source: the issuers' own pages (Tether, Circle).
const ETHEREUM: &[KnownCoin] = &[
    token("USDT-ERC20", "0xdAC17F958D2ee523a2206206994597C13D831ec7", 6),
    token("USDC-ERC20", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", 6),
];
/// What is known on BNB Smart Chain's main chain. Source: Binance's list of pegged tokens.
const BSC: &[KnownCoin] = &[
    BNB,
    token("ETH-BEP20", "0x2170Ed0880ac9A755fd29B2688956BD959F933F8", 18),
    token("USDC-BEP20", "0x8AC76a51cc950d9822D68b83fE1Ad97B32Cd580d", 18),
];
/// What is known on TRON's main chain. Source: Circle.
const TRON: &[KnownCoin] = &[TRX, token("USDC-TRC20", "TEkxiTehnzSmSe2XqrBj4w32RUN966rdz8", 6)];

const BNB: KnownCoin = KnownCoin::of(Asset::Bnb);
const TRX: KnownCoin = KnownCoin::of(Asset::Trx);

const fn token(name: &'static str, contract: &'static str, decimals: u32) -> KnownCoin {
    KnownCoin { name, contract: Some(contract), decimals }
}

impl KnownCoin {
    /// An asset of the ledger, on the chain that it is on.
    pub const fn of(asset: Asset) -> Self {
        Self { name: asset.as_str(), contract: None, decimals: asset.decimals() }
    }
}

/// The coins that are known on a network's chain besides what the network is for. Contracts are those of
/// main chains; on test chains only the chain's own coin is known.
pub const fn known_coins(network: Network, chain: ChainKind) -> &'static [KnownCoin] {
    match (network, chain) {
        (Network::Eth, ChainKind::Mainnet) => ETHEREUM,
        (Network::Bep20, ChainKind::Mainnet) => BSC,
        (Network::Trc20, ChainKind::Mainnet) => TRON,
        (Network::Bep20, ChainKind::Testnet | ChainKind::Regtest) => &[BNB],
        (Network::Trc20, ChainKind::Testnet | ChainKind::Regtest) => &[TRX],
        _ => &[],
    }
}

/// The asset that a merchant is credited for a coin of this name. Only what a network of ours carries: no
/// balance shows a chain's gas, and no withdrawal pays it out.
pub fn creditable(coin: &str) -> Option<Asset> {
    Network::ALL.into_iter().map(Network::asset).find(|asset| asset.as_str() == coin)
}

/// The network whose addresses are accounts on this one's chain too: whoever has the address can pay to
/// it on either.
pub const fn shares_accounts_with(network: Network) -> Option<Network> {
    match network {
        Network::Eth => Some(Network::Bep20),
        Network::Bep20 => Some(Network::Eth),
        Network::Trc20 | Network::Btc | Network::Ltc => None,
    }
}

/// Where an unexpected deposit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnexpectedState {
    /// In a block of the best chain.
    Seen,
    /// Its block left the chain.
    Orphaned,
    /// Credited to a merchant.
    Assigned,
    /// Settled outside of the ledger.
    Dismissed,
}

impl UnexpectedState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Seen, Self::Orphaned, Self::Assigned, Self::Dismissed];

    /// The database's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Orphaned => "orphaned",
            Self::Assigned => "assigned",
            Self::Dismissed => "dismissed",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// How far the chain is that holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The newest scanned block.
    pub head: u64,
    /// Up to where the chain calls its blocks final, where it does.
    pub finalized: Option<u64>,
    /// Whether the scanned blocks are a whole chain to judge by.
    pub is_whole: bool,
}

impl Progress {
    /// Blocks from `height` to the head, both counted; 0 in no block.
    pub fn confirmations(self, height: Option<u64>) -> u64 {
        height.filter(|height| *height <= self.head).map_or(0, |height| self.head - height + 1)
    }

    /// Whether what is in a block of this height stays: as deep as is asked for, and final wherever the
    /// chain calls anything so. It is not asked again afterwards.
    pub fn is_safe(self, height: Option<u64>, asked: Finality) -> bool {
        let is_deep = self.confirmations(height) >= u64::from(asked.confirmations.max(1));
        let is_final = match self.finalized {
            Some(finalized) => height.is_some_and(|height| height <= finalized),
            None => !asked.requires_finality,
        };
        self.is_whole && is_deep && is_final
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::domain::address_text;

    const MAIN: ChainKind = ChainKind::Mainnet;

    #[test]
    fn every_contract_is_written_with_its_checksum() {
        let mut contracts = 0;
        for network in Network::ALL {
            for text in known_coins(network, MAIN).iter().filter_map(|coin| coin.contract) {
                let key = address_text::parse(network, MAIN, text).unwrap();
                assert_eq!(address_text::format(network, MAIN, &key).unwrap(), text);
                contracts += 1;
            }
        }
        assert_eq!(contracts, 5);
    }

    #[test]
    fn no_network_takes_its_own_asset_for_unexpected() {
        for network in Network::ALL {
            for chain in [MAIN, ChainKind::Testnet, ChainKind::Regtest, ChainKind::Sandbox] {
                let own = network.asset().as_str();
                assert!(known_coins(network, chain).iter().all(|coin| coin.name != own));
            }
        }
        let names: Vec<&str> = Network::ALL
            .into_iter()
            .flat_map(|network| known_coins(network, MAIN))
            .map(|coin| coin.name)
            .collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "a name says what it runs on");
    }

    #[test]
    fn what_a_network_carries_can_be_credited_and_nothing_else() {
        assert_eq!(creditable("ETH"), Some(Asset::Eth));
        assert_eq!(creditable("USDT-BEP20"), Some(Asset::UsdtBep20));
        for other in ["BNB", "TRX", "ETH-BEP20", "USDC-BEP20", "USDT-ERC20", "USDC-TRC20", ""] {
            assert_eq!(creditable(other), None, "{other}");
        }
    }

    #[test]
    fn accounts_are_shared_both_ways() {
        for network in Network::ALL {
            let other = shares_accounts_with(network);
            assert_eq!(other.and_then(shares_accounts_with), other.map(|_| network));
        }
    }

    #[test]
    fn only_what_stays_is_safe() {
        let asked = Finality { confirmations: 3, requires_finality: false };
        let at = |head, finalized| Progress { head, finalized, is_whole: true };
        for (progress, height, safe) in [
            (at(12, Some(10)), Some(10), true),
            (at(12, Some(9)), Some(10), false),
            (at(11, Some(11)), Some(10), false),
            (at(12, None), Some(10), true),
            (at(12, Some(12)), None, false),
            (at(9, Some(9)), Some(10), false),
            (Progress { is_whole: false, ..at(12, Some(12)) }, Some(10), false),
        ] {
            assert_eq!(progress.is_safe(height, asked), safe, "{progress:?} {height:?}");
        }
        let strict = Finality { requires_finality: true, ..asked };
        assert!(!at(12, None).is_safe(Some(10), strict));
        assert_eq!(at(12, None).confirmations(Some(10)), 3);
    }
}
