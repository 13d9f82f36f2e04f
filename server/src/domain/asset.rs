//! The networks a payer can choose and the assets that accounts are kept in: names, labels,
//! decimals, the documented minimums and fees. Not here: how a chain is read, what a coin costs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A payment network of the documented API; each carries one payable asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// USDT on TRON.
    Trc20,
    /// Binance-Peg USDT on BNB Smart Chain.
    Bep20,
    /// Bitcoin.
    Btc,
    /// Litecoin.
    Ltc,
    /// Ether on Ethereum.
    Eth,
}

/// What an account or an amount is counted in. Gas assets are here because fees are paid in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Asset {
    /// USDT (TRC20), 6 decimals.
    UsdtTrc20,
    /// USDT (BEP20), 18 decimals.
    UsdtBep20,
    /// Bitcoin, 8 decimals.
    Btc,
    /// Litecoin, 8 decimals.
    Ltc,
    /// Ether, 18 decimals.
    Eth,
    /// TRON's gas, 6 decimals.
    Trx,
    /// BNB Smart Chain's gas, 18 decimals.
    Bnb,
}

/// A name that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{name}`")]
pub struct UnknownName {
    /// `network` or `coin`.
    pub kind: &'static str,
    /// The name that was given.
    pub name: String,
}

impl Network {
    /// Every network, in the documented order of balances.
    pub const ALL: [Self; 5] = [Self::Trc20, Self::Bep20, Self::Btc, Self::Ltc, Self::Eth];

    /// The documented identifier, e.g. `trc20`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trc20 => "trc20",
            Self::Bep20 => "bep20",
            Self::Btc => "btc",
            Self::Ltc => "ltc",
            Self::Eth => "eth",
        }
    }

    /// The documented label, e.g. `USDT (TRC20)`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Trc20 => "USDT (TRC20)",
            Self::Bep20 => "USDT (BEP20)",
            Self::Btc => "Bitcoin",
            Self::Ltc => "Litecoin",
            Self::Eth => "Ethereum",
        }
    }

    /// The coin as invoices and webhooks name it (`USDT` on both token networks).
    pub const fn invoice_coin(self) -> &'static str {
        match self {
            Self::Trc20 | Self::Bep20 => "USDT",
            Self::Btc => "BTC",
            Self::Ltc => "LTC",
            Self::Eth => "ETH",
        }
    }

    /// The asset payers send.
    pub const fn asset(self) -> Asset {
        match self {
            Self::Trc20 => Asset::UsdtTrc20,
            Self::Bep20 => Asset::UsdtBep20,
            Self::Btc => Asset::Btc,
            Self::Ltc => Asset::Ltc,
            Self::Eth => Asset::Eth,
        }
    }

    /// The smallest withdrawal, decimal text in whole coins (documented).
    pub const fn withdrawal_minimum(self) -> &'static str {
        match self {
            Self::Trc20 | Self::Bep20 => "5.00",
            Self::Btc => "0.0005",
            Self::Ltc => "0.01",
            Self::Eth => "0.005",
        }
    }

    /// The fee of a withdrawal, decimal text in whole coins (documented).
    pub const fn withdrawal_fee(self) -> &'static str {
        match self {
            Self::Trc20 => "1.00",
            Self::Bep20 => "0.50",
            Self::Btc => "0.00005",
            Self::Ltc | Self::Eth => "0.001",
        }
    }

    /// Confirmations required unless the configuration says otherwise.
    pub const fn default_confirmations(self) -> u32 {
        match self {
            Self::Trc20 => 19,
            Self::Bep20 => 15,
            Self::Btc => 2,
            Self::Ltc => 6,
            Self::Eth => 12,
        }
    }

    /// How often a block is found: exactly (Ethereum, TRON), about (BNB Smart Chain, faster by now), or on
    /// the average (proof of work).
    pub const fn block_time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Btc => 600,
            Self::Ltc => 150,
            Self::Eth => 12,
            Self::Trc20 | Self::Bep20 => 3,
        })
    }

    /// Whether the chain itself calls blocks irreversible. Under proof of work none ever is.
    pub const fn calls_blocks_final(self) -> bool {
        match self {
            Self::Eth | Self::Bep20 | Self::Trc20 => true,
            Self::Btc | Self::Ltc => false,
        }
    }

    /// Seconds without anything new called irreversible after which something is wrong with a network
    /// that calls blocks so: several times what it takes. Ethereum finalizes an epoch of 6.4 minutes at a
    /// time; BNB Smart Chain and TRON a block at a time.
    pub const fn finality_stalled_seconds(self) -> u64 {
        match self {
            Self::Eth => 1_800,
            Self::Bep20 | Self::Trc20 | Self::Btc | Self::Ltc => 600,
        }
    }

    /// The smallest amount, in base units, that the network relays to an ordinary address.
    pub const fn dust_limit(self) -> u128 {
        match self {
            Self::Btc => 294,
            // P2WPKH at Litecoin Core's default dust relay fee of 30,000 litoshi per kB.
            Self::Ltc => 2_940,
            Self::Trc20 | Self::Bep20 | Self::Eth => 1,
        }
    }
}

impl Asset {
    /// Every asset.
    pub const ALL: [Self; 7] =
        [Self::UsdtTrc20, Self::UsdtBep20, Self::Btc, Self::Ltc, Self::Eth, Self::Trx, Self::Bnb];

    /// The name in balances and withdrawals, e.g. `USDT-TRC20`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsdtTrc20 => "USDT-TRC20",
            Self::UsdtBep20 => "USDT-BEP20",
            Self::Btc => "BTC",
            Self::Ltc => "LTC",
            Self::Eth => "ETH",
            Self::Trx => "TRX",
            Self::Bnb => "BNB",
        }
    }

    /// Base units per whole coin, as a power of ten.
    pub const fn decimals(self) -> u32 {
        match self {
            Self::UsdtTrc20 | Self::Trx => 6,
            Self::Btc | Self::Ltc => 8,
            Self::UsdtBep20 | Self::Eth | Self::Bnb => 18,
        }
    }

    /// Decimals that an asked amount is rounded up to, so that no client's float changes it.
    pub const fn payable_decimals(self) -> u32 {
        match self {
            Self::UsdtTrc20 | Self::UsdtBep20 => 2,
            Self::Trx => 6,
            Self::Btc | Self::Ltc | Self::Eth | Self::Bnb => 8,
        }
    }

    /// Whether one coin is one US dollar by definition, so that no market rate applies.
    pub const fn is_dollar(self) -> bool {
        matches!(self, Self::UsdtTrc20 | Self::UsdtBep20)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Network {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|network| network.as_str() == name)
            .ok_or_else(|| UnknownName { kind: "network", name: name.to_owned() })
    }
}

impl FromStr for Asset {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|asset| asset.as_str() == name)
            .ok_or_else(|| UnknownName { kind: "coin", name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::amount::parse_decimal;

    #[test]
    fn names_read_back() {
        for network in Network::ALL {
            assert_eq!(network.as_str().parse(), Ok(network));
        }
        for asset in Asset::ALL {
            assert_eq!(asset.as_str().parse(), Ok(asset));
        }
        assert!("BTC".parse::<Network>().is_err(), "identifiers are lower case");
    }

    #[test]
    fn documented_fees_are_below_documented_minimums() {
        for network in Network::ALL {
            let units = |text| parse_decimal(text, network.asset().decimals()).unwrap();
            assert!(units(network.withdrawal_fee()) < units(network.withdrawal_minimum()));
        }
    }
}
