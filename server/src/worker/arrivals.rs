//! What a block brought to addresses of ours, told apart: deposits of the network, and known coins that
//! are not what their address is for. Each hit of the filters is resolved in the database. Not here:
//! writing either of them (`scan`).

use std::collections::HashMap;

use super::watch_set::WatchSet;
use crate::chain::{AddressFilter, Transfer, UnexpectedTransfer};
use crate::domain::amount;
use crate::domain::asset::Network;
use crate::domain::time::Micros;
use crate::domain::unexpected::KnownCoin;
use crate::env::Env;
use crate::store::addresses::{self, AddressOwner};
use crate::store::deposits::{FoundDeposit, InBlock};
use crate::store::unexpected_deposits::{self, FoundUnexpected, Orphaned, Recorded};
use crate::store::{Db, Result, UnitOfWork};

/// Deposits of a kind, written together, that the log names; all of them are in the database.
const LINES_MAX: usize = 20;

/// The addresses of another network that are accounts on this chain too.
pub struct Foreign {
    /// That network.
    pub network: Network,
    /// Its addresses.
    pub watch: WatchSet,
}

/// Whether an address is of interest, on its own network or on this one by mistake.
pub struct Either<'a> {
    /// The network's own.
    pub own: &'a WatchSet,
    /// The other network's, if there is one.
    pub foreign: Option<&'a WatchSet>,
}

impl AddressFilter for Either<'_> {
    fn may_watch(&self, address_key: &[u8]) -> bool {
        self.own.may_watch(address_key)
            || self.foreign.is_some_and(|foreign| foreign.may_watch(address_key))
    }

    fn may_watch_each(&self, address_keys: &[&[u8]]) -> Vec<bool> {
        let own = self.own.may_watch_each(address_keys);
        let Some(foreign) = self.foreign else { return own };
        let foreign = foreign.may_watch_each(address_keys);
        own.into_iter().zip(foreign).map(|(own, foreign)| own || foreign).collect()
    }
}

/// What a block brought.
pub struct Arrived {
    /// Of what the addresses are for.
    pub deposits: Vec<FoundDeposit>,
    /// Of what they are not for.
    pub unexpected: Vec<FoundUnexpected>,
}

/// Whose the keys of some transfers are.
pub struct Owners {
    own: HashMap<Vec<u8>, AddressOwner>,
    /// Only of keys that are none of the network's own.
    foreign: HashMap<Vec<u8>, AddressOwner>,
}

impl Owners {
    /// Asks the database.
    pub async fn of(
        db: &Db,
        network: Network,
        foreign: Option<Network>,
        transfers: &[Transfer],
        unexpected: &[UnexpectedTransfer],
    ) -> Result<Self> {
        let mut keys: Vec<Vec<u8>> = transfers
            .iter()
            .map(|transfer| &transfer.address_key)
            .chain(unexpected.iter().map(|transfer| &transfer.address_key))
            .cloned()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let own = addresses::resolve(db, network, &keys).await?;
        keys.retain(|key| !own.contains_key(key));
        let foreign = match foreign {
            Some(network) if !keys.is_empty() => addresses::resolve(db, network, &keys).await?,
            _ => HashMap::new(),
        };
        Ok(Self { own, foreign })
    }

    /// The transfers that are deposits of the network.
    pub fn deposits(
        &self,
        env: &Env,
        network: Network,
        transfers: &[Transfer],
        seen_at: Micros,
        block: Option<&InBlock>,
    ) -> Vec<FoundDeposit> {
        let ours = transfers.iter().filter(|t| t.asset == network.asset() && t.units > 0);
        ours.filter_map(|transfer| {
            let owner = self.own.get(&transfer.address_key)?;
            Some(FoundDeposit {
                id: env.new_id(),
                txid: transfer.txid.clone(),
                ordinal: transfer.ordinal.clone(),
                address_id: owner.address_id,
                invoice_id: owner.invoice_id,
                merchant_id: owner.merchant_id,
                asset: transfer.asset,
                units: transfer.units,
                first_seen_at: seen_at,
                block: block.cloned(),
                consumes: transfer.consumes.clone(),
            })
        })
        .collect()
    }

    /// What a block holds that is not what its address is for: the network's asset at the other
    /// network's addresses, and other known coins at either's.
    pub fn unexpected(
        &self,
        env: &Env,
        transfers: &[Transfer],
        unexpected: &[UnexpectedTransfer],
        block: &InBlock,
    ) -> Vec<FoundUnexpected> {
        let astray = transfers.iter().map(|transfer| UnexpectedTransfer {
            txid: transfer.txid.clone(),
            ordinal: transfer.ordinal.clone(),
            address_key: transfer.address_key.clone(),
            coin: KnownCoin::of(transfer.asset),
            units: transfer.units,
        });
        let astray = astray.filter(|transfer| !self.own.contains_key(&transfer.address_key));
        astray
            .chain(unexpected.iter().cloned())
            .filter(|transfer| transfer.units > 0)
            .filter_map(|transfer| {
                let key = &transfer.address_key;
                let owner = self.own.get(key).or_else(|| self.foreign.get(key))?;
                Some(FoundUnexpected {
                    id: env.new_id(),
                    address_id: owner.address_id,
                    txid: transfer.txid,
                    ordinal: transfer.ordinal,
                    coin: transfer.coin,
                    units: transfer.units,
                    block: block.clone(),
                })
            })
            .collect()
    }
}

/// Writes unexpected deposits down beside the blocks' others. Returns those that were not known.
pub async fn record<'a>(
    unit: &UnitOfWork,
    network: Network,
    found: &'a [FoundUnexpected],
) -> Result<Vec<&'a FoundUnexpected>> {
    let mut new = Vec::new();
    for one in found {
        match unexpected_deposits::record(unit, network, one).await? {
            Recorded::New => new.push(one),
            Recorded::Known => {}
            Recorded::Contradicted => tracing::error!(
                alarm = "unexpected_deposit_contradicted",
                %network,
                txid = one.txid,
                ordinal = one.ordinal,
                "what was settled is not what the chain holds now"
            ),
        }
    }
    Ok(new)
}

/// Says what was seen, once it is written.
pub fn tell(network: Network, new: &[&FoundUnexpected]) {
    let more = new.len().saturating_sub(LINES_MAX);
    if more > 0 {
        tracing::warn!(%network, more, "more unexpected deposits at once than are named");
    }
    for found in new.iter().take(LINES_MAX) {
        tracing::warn!(
            %network,
            coin = found.coin.name,
            amount = amount::decimal(found.units, found.coin.decimals),
            txid = found.txid,
            "unexpected deposit: see `admin unexpected-deposits list`"
        );
    }
}

/// Says which deposits belong to no invoice: of an address that was taken out of use, whose invoice a
/// restored database lacks, or whose invoice was paid in so many parts that no more are taken for it. Of
/// the last, which anybody can make many of, the largest are named.
pub fn tell_ownerless(network: Network, deposits: &[&FoundDeposit]) {
    let (mut parts, of_none): (Vec<&FoundDeposit>, Vec<&FoundDeposit>) =
        deposits.iter().partition(|deposit| deposit.invoice_id.is_some());
    parts.sort_by_key(|deposit| std::cmp::Reverse(deposit.units));
    let more = parts.len().saturating_sub(LINES_MAX);
    parts.truncate(LINES_MAX);
    for deposit in of_none.into_iter().chain(parts) {
        tracing::error!(
            alarm = "deposit_without_invoice",
            %network,
            address = %deposit.address_id,
            invoice = deposit.invoice_id.map(tracing::field::display),
            txid = deposit.txid,
            units = deposit.units,
            more,
            "money that belongs to no invoice here: was the database restored, or one paid in parts?"
        );
    }
}

/// Says what a fork undid that was settled already: it was final when it was.
pub fn tell_orphaned(network: Network, orphaned: Orphaned) {
    if orphaned.settled > 0 {
        tracing::error!(
            alarm = "settled_unexpected_deposit_reorged",
            %network,
            count = orphaned.settled,
            "settled unexpected deposits left the chain"
        );
    }
}
