//! How a TRON node is reached: what its table must and must not say. Not here: reaching it.

use super::Node;
use crate::domain::address::ChainKind;
use crate::domain::address_text;
use crate::domain::asset::Network;

/// Requests in a second that may be asked for; more is no limit, which is 0.
const REQUESTS_PER_SECOND_MAX: u32 = 1_000;

/// Names every wrong key of `node` to `wrong`.
pub(super) fn check(chain: ChainKind, node: &Node, wrong: &mut impl FnMut(&str, &str)) {
    if node.solidity_url.is_empty() {
        wrong("node.solidity_url", "is required: a node has it on another port, TronGrid the same");
    }
    let is_address = address_text::parse(Network::Trc20, chain, &node.contract).is_ok();
    match chain {
        ChainKind::Mainnet if !node.contract.is_empty() => {
            wrong("node.contract", "must be empty on mainnet: USDT's contract is built in");
        }
        ChainKind::Testnet | ChainKind::Regtest if !is_address => {
            wrong("node.contract", "must be the token's address on this chain");
        }
        _ => {}
    }
    if node.requests_per_second > REQUESTS_PER_SECOND_MAX {
        wrong("node.requests_per_second", "must be from 0 (no limit) to 1000");
    }
    if !node.user.is_empty() || !node.cookie_file.as_os_str().is_empty() {
        wrong("node.user", "a TRON node knows no users; an API key has its own file");
    }
}
