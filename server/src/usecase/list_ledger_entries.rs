//! Listing a merchant's ledger entries by token. Each account has its own exact order; the accounts
//! are put into one list by the moment of booking. A token holds how far each account was told, so
//! that nothing is skipped or repeated while new entries come in.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use super::Caller;
use super::page_token::{Binding, refused};
use crate::domain::asset::Asset;
use crate::domain::failure::Failure;
use crate::store::Db;
use crate::store::ledger_entries::{self, Account, Entry};

/// Entries on a page.
pub const PER_PAGE: u32 = 20;
/// Bytes of one account's part of a token: its id and a version.
const PART_BYTES: usize = 16 + 8;

/// A page of the list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entries, newest first.
    pub entries: Vec<Entry>,
    /// Entries of the whole list, counted to 10,000.
    pub total: u32,
    /// Continues after this page.
    pub next_page_token: Option<String>,
}

/// Returns one page of the entries of one asset, or of all.
pub async fn run(
    db: &Db,
    caller: &Caller,
    asset: Option<Asset>,
    token: Option<&str>,
) -> Result<Page, Failure> {
    let binding = Binding::of(caller.merchant_id, "ledger entries", &asset);
    let position = token.map(|token| decode(binding, token)).transpose()?;
    let accounts = ledger_entries::accounts(db, caller.merchant_id, asset).await?;
    let bounds: Vec<(Account, i64)> = accounts
        .iter()
        .map(|account| (*account, bound(position.as_ref(), account.id)))
        .filter(|(_, version)| *version > 0)
        .collect();
    let found = ledger_entries::below(db, &bounds, PER_PAGE + 1).await?;
    let total = ledger_entries::count(db, &accounts).await?;
    let (entries, rest) = merge(&bounds, found);
    let next_page_token = rest.map(|rest| encode(binding, &rest));
    Ok(Page { entries, total, next_page_token })
}

/// Below which version an account's entries follow. One that the token does not name is newer than
/// its list: all of its entries came in after the first page.
fn bound(position: Option<&BTreeMap<Uuid, i64>>, account: Uuid) -> i64 {
    match position {
        None => i64::MAX,
        Some(position) => position.get(&account).copied().unwrap_or(0),
    }
}

/// The newest entries over all accounts, each account's in its own order, and, if there are more,
/// below which version of each account they follow.
fn merge(
    bounds: &[(Account, i64)],
    found: Vec<Entry>,
) -> (Vec<Entry>, Option<BTreeMap<Uuid, i64>>) {
    let mut queues: BTreeMap<Uuid, VecDeque<Entry>> = BTreeMap::new();
    for entry in found {
        queues.entry(entry.account.id).or_default().push_back(entry);
    }
    let mut entries = Vec::new();
    while entries.len() < PER_PAGE as usize {
        let newest = queues
            .values_mut()
            .filter(|queue| !queue.is_empty())
            .max_by_key(|queue| queue.front().map(|e| (e.at, e.transfer_id, e.line)));
        let Some(entry) = newest.and_then(VecDeque::pop_front) else { break };
        entries.push(entry);
    }
    let more = queues.values().any(|queue| !queue.is_empty());
    let rest = more.then(|| {
        let below = |(account, _): &(Account, i64)| {
            let next = queues.get(&account.id).and_then(VecDeque::front);
            (account.id, next.map_or(0, |entry| entry.version + 1))
        };
        bounds.iter().map(below).collect()
    });
    (entries, rest)
}

fn encode(binding: Binding, rest: &BTreeMap<Uuid, i64>) -> String {
    let mut position = Vec::with_capacity(rest.len() * PART_BYTES);
    for (account, version) in rest.iter().filter(|(_, version)| **version > 0) {
        position.extend_from_slice(account.as_bytes());
        position.extend_from_slice(&version.to_be_bytes());
    }
    binding.encode(&position)
}

fn decode(binding: Binding, token: &str) -> Result<BTreeMap<Uuid, i64>, Failure> {
    let position = binding.decode(token)?;
    let (parts, rest) = position.as_chunks::<PART_BYTES>();
    if !rest.is_empty() {
        return Err(refused());
    }
    let mut versions = BTreeMap::new();
    for part in parts {
        let (account, version) = part.split_at(16);
        let account = Uuid::from_slice(account).map_err(|_| refused())?;
        let version = <[u8; 8]>::try_from(version).map_err(|_| refused())?;
        versions.insert(account, i64::from_be_bytes(version));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::ledger::{AccountKind, TransferKind};
    use crate::domain::time::Micros;

    fn account(id: u128) -> Account {
        let kind = AccountKind::MerchantAvailable;
        Account { id: Uuid::from_u128(id), asset: Asset::Ltc, kind }
    }

    fn entry(account: Account, version: i64, at: i64) -> Entry {
        Entry {
            account,
            version,
            transfer_id: Uuid::from_u128(7),
            line: 0,
            why: TransferKind::Deposit,
            grows: true,
            units: 1,
            balance_after: 1,
            invoice_id: None,
            txid: None,
            at: Micros(at),
        }
    }

    /// Reads a whole list page by page from memory.
    fn pages(all: &[Entry], accounts: &[Account]) -> Vec<Entry> {
        let binding = Binding::of(Uuid::nil(), "ledger entries", &None::<Asset>);
        let (mut position, mut read) = (None, Vec::new());
        loop {
            let bounds: Vec<_> = accounts
                .iter()
                .map(|account| (*account, bound(position.as_ref(), account.id)))
                .filter(|(_, version)| *version > 0)
                .collect();
            let mut found = Vec::new();
            for (account, version) in &bounds {
                let mut own: Vec<_> = all
                    .iter()
                    .filter(|e| e.account == *account && e.version < *version)
                    .cloned()
                    .collect();
                own.sort_by_key(|e| std::cmp::Reverse(e.version));
                found.extend(own.into_iter().take(PER_PAGE as usize + 1));
            }
            let (page, rest) = merge(&bounds, found);
            read.extend(page);
            let Some(rest) = rest else { return read };
            position = Some(decode(binding, &encode(binding, &rest)).unwrap());
        }
    }

    #[test]
    fn every_entry_is_told_once_and_an_account_keeps_its_order_whatever_the_clock_said() {
        let accounts = [account(1), account(2), account(3)];
        // The second account's clock goes back and forth, and many moments are shared.
        let all: Vec<Entry> = (0..150_i64)
            .map(|n| {
                let version = 2 * (n / 3) + 1;
                let at = if n % 3 == 1 { n * 7 % 50 } else { n / 9 };
                entry(accounts[usize::try_from(n % 3).unwrap()], version, at)
            })
            .collect();
        let read = pages(&all, &accounts);
        assert_eq!(read.len(), all.len());
        for account in accounts {
            let versions: Vec<i64> =
                read.iter().filter(|e| e.account == account).map(|e| e.version).collect();
            assert_eq!(versions.len(), 50);
            assert!(versions.is_sorted_by(|a, b| a > b), "{versions:?}");
        }
    }

    #[test]
    fn an_account_that_is_newer_than_the_list_is_not_in_it() {
        let position = BTreeMap::from([(Uuid::from_u128(1), 5)]);
        assert_eq!(bound(Some(&position), Uuid::from_u128(1)), 5);
        assert_eq!(bound(Some(&position), Uuid::from_u128(2)), 0);
    }
}
