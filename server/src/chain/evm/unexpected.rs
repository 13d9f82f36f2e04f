//! The coins that a chain's reader knows besides its network's asset, and the payments of them: a token
//! by the logs of its contract, the chain's own coin by the value that a transaction carries itself.
//! Not here: which coins those are (`domain::unexpected`), what the network is for (`reader`).

use alloy::primitives::Address;

use super::EvmReader;
use super::matching::{Payment, ToldTransfer, carried, check_receipts, told_transfers};
use super::reader::Transactions;
use super::rpc::read;
use super::wire::{Receipt, Transaction, hash_text};
use crate::chain::{AddressFilter, ChainError, UnexpectedTransfer, Watch};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::domain::unexpected::{KnownCoin, known_coins};

/// How often a block's receipts are asked for where payments do not need them.
pub(super) const RECEIPTS_TRIES_MAX: u32 = 20;

/// What is known on one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownCoins {
    /// The chain's own coin, where the network is for another one.
    native: Option<KnownCoin>,
    /// By contract; a handful.
    tokens: Vec<(Address, KnownCoin)>,
}

impl KnownCoins {
    /// What is known on a network's chain.
    pub fn of(network: Network, chain: ChainKind) -> Self {
        let mut known = Self { native: None, tokens: Vec::new() };
        for coin in known_coins(network, chain) {
            match coin.contract.map(str::parse) {
                None => known.native = Some(*coin),
                Some(Ok(contract)) => known.tokens.push((contract, *coin)),
                // A test of the list holds each against its checksum.
                Some(Err(_)) => tracing::error!(coin = coin.name, "contract is no address"),
            }
        }
        known
    }

    /// Whether logs have to be read for it.
    pub const fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// The coin of a contract.
    fn token(&self, contract: Address) -> Option<KnownCoin> {
        self.tokens.iter().find(|(known, _)| *known == contract).map(|(_, coin)| *coin)
    }

    /// The chain's own coin that a transaction carries to somebody of interest.
    pub fn carried(
        &self,
        transaction: &Transaction<'_>,
        filter: &dyn AddressFilter,
    ) -> Option<UnexpectedTransfer> {
        // Most transactions carry nothing.
        let coin = self.native.filter(|_| !transaction.value.is_zero())?;
        known_payment(&carried(transaction)?, coin, transaction, filter)
    }

    /// What a log says, if its contract is a known token.
    pub fn told(
        &self,
        told: &ToldTransfer<'_>,
        filter: &dyn AddressFilter,
    ) -> Option<UnexpectedTransfer> {
        let coin = self.token(told.contract)?;
        known_payment(&told.payment()?, coin, told.transaction, filter)
    }
}

/// A payment of a known coin, if it is one to somebody of interest.
fn known_payment(
    payment: &Payment,
    coin: KnownCoin,
    transaction: &Transaction<'_>,
    filter: &dyn AddressFilter,
) -> Option<UnexpectedTransfer> {
    let units = payment.units(filter)?;
    Some(UnexpectedTransfer {
        txid: hash_text(&transaction.hash),
        ordinal: payment.ordinal.clone(),
        address_key: payment.to.to_vec(),
        coin,
        units,
    })
}

impl EvmReader {
    /// Known tokens of a chain whose own coin is what is paid with. Receipts that make no sense, or are not
    /// given after some tries, are logged and hold nobody up: payments of the network do not need them.
    pub(super) async fn known_tokens(
        &self,
        block: &Transactions<'_>,
        watch: Watch<'_>,
    ) -> Result<Vec<UnexpectedTransfer>, ChainError> {
        let known = &self.parameters.known;
        if !known.has_tokens() {
            return Ok(Vec::new());
        }
        match self.logged_tokens(block, known, watch).await {
            Err(error @ ChainError::Transient(_))
                if !self.unread_receipts.is_given_up(block.hash, RECEIPTS_TRIES_MAX) =>
            {
                Err(error)
            }
            Err(error) => {
                let network = self.parameters.network;
                tracing::error!(alarm = "other_coins_not_read", %network, height = block.number, %error,
                    "other coins in a block are not looked for: have it read again");
                Ok(Vec::new())
            }
            found => found,
        }
    }

    async fn logged_tokens(
        &self,
        block: &Transactions<'_>,
        known: &KnownCoins,
        watch: Watch<'_>,
    ) -> Result<Vec<UnexpectedTransfer>, ChainError> {
        let answer = self.receipts(block).await?;
        let receipts: Vec<Receipt<'_>> = read("receipts", &answer)?;
        check_receipts(block, &receipts)?;
        let told = told_transfers(block, &receipts, watch.addresses);
        Ok(told.iter().filter_map(|told| known.told(told, watch.addresses)).collect())
    }
}

#[cfg(test)]
#[path = "unexpected_tests.rs"]
mod tests;
