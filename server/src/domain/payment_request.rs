//! Payment requests: the text that a wallet reads address and amount from, as link or as QR code.
//! BIP 21 for Bitcoin and Litecoin, EIP-681 for Ethereum and BNB Smart Chain, a `tron:` link for TRON. Not
//! here: what is still to be paid (`invoice`), drawing a code (`transport::pages`).

use super::address::ChainKind;
use super::amount::decimal;
use super::asset::Network;

/// USDT (Binance-Peg) on BNB Smart Chain's main network, as EIP-55 writes it.
pub const BEP20_USDT: &str = "0x55d398326f99059fF775485246999027B3197955";
/// USDT on TRON's main network.
pub const TRC20_USDT: &str = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";

/// Asks a wallet for `units` base units to `address`. `None` when there is nothing to ask for, and
/// where no form is safe: the token of BNB Smart Chain's test network is not ours to choose, and a `tron:`
/// link names no network, so that on a test network it would ask for real coins.
///
/// TRON has no standard; the form is that of BTCPay Server's USDT plugin. The token is named besides: what
/// reads only address and amount might take TRX.
pub fn uri(network: Network, chain: ChainKind, address: &str, units: u128) -> Option<String> {
    if units == 0 {
        return None;
    }
    let coins = || decimal(units, network.asset().decimals());
    match network {
        Network::Btc => Some(format!("bitcoin:{address}?amount={}", coins())),
        Network::Ltc => Some(format!("litecoin:{address}?amount={}", coins())),
        Network::Eth => {
            let chain_id = chain_id(network, chain)?;
            Some(format!("ethereum:{address}@{chain_id}?value={units}"))
        }
        Network::Bep20 if chain == ChainKind::Testnet => None,
        Network::Bep20 => {
            let chain_id = chain_id(network, chain)?;
            Some(format!(
                "ethereum:{BEP20_USDT}@{chain_id}/transfer?address={address}&uint256={units}"
            ))
        }
        Network::Trc20 if chain == ChainKind::Mainnet => {
            Some(format!("tron:{address}?amount={}&token={TRC20_USDT}", coins()))
        }
        Network::Trc20 => None,
    }
}

/// Whether wallets read the form from a QR code as well as they read an address. Not on TRON, where many
/// of them take an address alone.
pub const fn is_scanned(network: Network) -> bool {
    !matches!(network, Network::Trc20)
}

/// The EVM chain that a wallet must be on (EIP-155); `None` where there is no EVM. Simulated and
/// private chains have ids that no public chain uses
/// (<https://github.com/ethereum-lists/chains>), so that no wallet ever sends real coins to a test
/// address.
pub const fn chain_id(network: Network, chain: ChainKind) -> Option<u64> {
    match (network, chain) {
        (Network::Eth, ChainKind::Mainnet) => Some(1),
        (Network::Eth, ChainKind::Testnet) => Some(11_155_111),
        (Network::Eth, ChainKind::Sandbox | ChainKind::Regtest) => Some(900_000_001),
        (Network::Bep20, ChainKind::Mainnet) => Some(56),
        (Network::Bep20, ChainKind::Testnet) => Some(97),
        (Network::Bep20, ChainKind::Sandbox | ChainKind::Regtest) => Some(900_000_056),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::address_text;

    const MAIN: ChainKind = ChainKind::Mainnet;
    const SANDBOX: ChainKind = ChainKind::Sandbox;
    const ACCOUNT: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";

    #[test]
    fn each_network_has_its_form() {
        let btc = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        let rltc = "rltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
        let cases = [
            (Network::Btc, MAIN, btc, 2_500_000, format!("bitcoin:{btc}?amount=0.025")),
            (Network::Btc, MAIN, btc, 1, format!("bitcoin:{btc}?amount=0.00000001")),
            (Network::Ltc, SANDBOX, rltc, 62_500_000, format!("litecoin:{rltc}?amount=0.625")),
            (
                Network::Eth,
                MAIN,
                ACCOUNT,
                16_666_670_000_000_000,
                format!("ethereum:{ACCOUNT}@1?value=16666670000000000"),
            ),
            (
                Network::Eth,
                ChainKind::Testnet,
                ACCOUNT,
                1,
                format!("ethereum:{ACCOUNT}@11155111?value=1"),
            ),
            (
                Network::Bep20,
                MAIN,
                ACCOUNT,
                50_000_000_000_000_000_000,
                format!(
                    "ethereum:0x55d398326f99059fF775485246999027B3197955@56/transfer\
                     ?address={ACCOUNT}&uint256=50000000000000000000"
                ),
            ),
            (
                Network::Trc20,
                MAIN,
                "TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs",
                12_340_000,
                "tron:TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs?amount=12.34\
                 &token=TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
                    .to_owned(),
            ),
        ];
        for (network, chain, address, units, expected) in cases {
            assert_eq!(uri(network, chain, address, units).unwrap(), expected);
        }
    }

    #[test]
    fn no_test_chain_is_taken_for_a_real_one() {
        for network in [Network::Eth, Network::Bep20] {
            for chain in [ChainKind::Sandbox, ChainKind::Regtest] {
                let text = uri(network, chain, ACCOUNT, 5).unwrap();
                assert!(!text.contains("@1?") && !text.contains("@56/"), "{text}");
            }
        }
        assert_eq!(uri(Network::Bep20, ChainKind::Testnet, ACCOUNT, 5), None);
        for chain in [ChainKind::Testnet, ChainKind::Regtest, SANDBOX] {
            assert_eq!(uri(Network::Trc20, chain, TRC20_USDT, 5), None);
        }
    }

    #[test]
    fn nothing_is_asked_for_where_there_is_nothing() {
        for network in Network::ALL {
            assert_eq!(uri(network, MAIN, ACCOUNT, 0), None);
        }
    }

    #[test]
    fn the_contracts_are_addresses() {
        for (network, contract) in [(Network::Bep20, BEP20_USDT), (Network::Trc20, TRC20_USDT)] {
            let key = address_text::parse(network, MAIN, contract).unwrap();
            assert_eq!(address_text::format(network, MAIN, &key).unwrap(), contract);
        }
    }
}
