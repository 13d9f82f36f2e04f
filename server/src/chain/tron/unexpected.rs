//! The coins that are known on TRON besides the token that is paid with, and the payments of them: TRX
//! that a transaction transfers, other tokens by the logs of their contracts. Pure.
//! Not here: which coins those are (`domain::unexpected`), TRX that contracts send on, which is not seen.

use super::block::{Log, Receipt, TransactionAnswer, moved_trx, succeeded};
use super::matching::{account_of, payment_in};
use crate::chain::{ChainError, UnexpectedTransfer, Watch};
use crate::domain::address::ChainKind;
use crate::domain::address_text;
use crate::domain::asset::Network;
use crate::domain::unexpected::KnownCoin;

/// The ordinal of TRX that a transaction itself transfers: the empty path, as on EVM chains.
const TOP_LEVEL: &str = "t:";

/// What is known on one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCoins {
    trx: Option<KnownCoin>,
    /// By contract; a handful.
    tokens: Vec<([u8; 20], KnownCoin)>,
}

impl KnownCoins {
    /// These coins.
    pub fn of(coins: &[KnownCoin]) -> Self {
        let mut known = Self { trx: None, tokens: Vec::new() };
        for coin in coins {
            let Some(text) = coin.contract else {
                known.trx = Some(*coin);
                continue;
            };
            let key = address_text::parse(Network::Trc20, ChainKind::Mainnet, text).ok();
            match key.and_then(|key| key.try_into().ok()) {
                Some(contract) => known.tokens.push((contract, *coin)),
                // A test of the list holds each against its checksum.
                None => tracing::error!(coin = coin.name, "contract is no address"),
            }
        }
        known
    }

    /// What a transaction moved to watched addresses, if it succeeded.
    ///
    /// # Errors
    /// [`ChainError`] when what the node tells of a payment to us contradicts itself.
    pub fn found(
        &self,
        transaction: &TransactionAnswer,
        receipt: &Receipt,
        watch: Watch<'_>,
    ) -> Result<Vec<UnexpectedTransfer>, ChainError> {
        let mut found = Vec::new();
        if receipt.log.is_empty() {
            found.extend(self.transferred(transaction, receipt, watch)?);
        }
        for (position, log) in receipt.log.iter().enumerate() {
            let Some(coin) = self.token(log) else { continue };
            let Some((to, units)) = payment_in(log) else { continue };
            if !watch.addresses.may_watch(&to) {
                continue;
            }
            if !succeeded(transaction, receipt)? {
                return Ok(Vec::new());
            }
            let ordinal = format!("l:{position}");
            found.push(payment(transaction, ordinal, to, coin, units));
        }
        Ok(found)
    }

    fn token(&self, log: &Log) -> Option<KnownCoin> {
        // Nothing is decoded where nothing is known.
        (!self.tokens.is_empty()).then_some(())?;
        let contract = account_of(&log.address)?;
        self.tokens.iter().find(|(known, _)| *known == contract).map(|(_, coin)| *coin)
    }

    fn transferred(
        &self,
        transaction: &TransactionAnswer,
        receipt: &Receipt,
        watch: Watch<'_>,
    ) -> Result<Option<UnexpectedTransfer>, ChainError> {
        let Some(trx) = self.trx else { return Ok(None) };
        let Some(transfer) = transaction.trx_transfer() else { return Ok(None) };
        let units = u128::try_from(transfer.amount).unwrap_or(0);
        let Some(to) = account(&transfer.to_address) else { return Ok(None) };
        let counts = units > 0 && transfer.owner_address != transfer.to_address;
        if !counts || !watch.addresses.may_watch(&to) || !moved_trx(transaction, receipt) {
            return Ok(None);
        }
        transaction.check_id()?;
        Ok(Some(payment(transaction, TOP_LEVEL.to_owned(), to, trx, units)))
    }
}

fn payment(
    transaction: &TransactionAnswer,
    ordinal: String,
    to: [u8; 20],
    coin: KnownCoin,
    units: u128,
) -> UnexpectedTransfer {
    let txid = transaction.id.clone();
    UnexpectedTransfer { txid, ordinal, address_key: to.to_vec(), coin, units }
}

/// An account as protobuf writes it.
fn account(bytes: &[u8]) -> Option<[u8; 20]> {
    match bytes.split_first() {
        Some((&super::transaction::ADDRESS_PREFIX, account)) => account.try_into().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "unexpected_tests.rs"]
mod tests;
