//! What is known of payments that wait to be included: a scanner finds all of them at each look, and writes
//! down what is new. Not here: writing (`deposits`).

use std::collections::{HashMap, HashSet};

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::deposits::{FoundDeposit, IDS_PER_STATEMENT_MAX};
use super::{Db, Result, all, places};
use crate::domain::amount::stored;
use crate::domain::asset::Network;

#[derive(FromQueryResult)]
struct TxidRow {
    txid: String,
}

#[derive(FromQueryResult)]
struct OutpointRow {
    outpoint: String,
}

#[derive(FromQueryResult)]
struct InputRow {
    outpoint: String,
    txid: String,
}

#[derive(FromQueryResult)]
struct WaitingRow {
    txid: String,
    ordinal: String,
    address_id: Uuid,
    amount: String,
}

/// What waiting deposits consume: whoever consumes the same replaces them.
pub async fn outpoints(db: &Db, network: Network) -> Result<HashSet<String>> {
    let rows: Vec<OutpointRow> = all(
        db.reader(),
        "SELECT DISTINCT n.outpoint FROM deposit d
         JOIN deposit_input n ON n.network = d.network AND n.txid = d.txid
         WHERE d.network = $1 AND d.state = 'seen'",
        vec![network.as_str().into()],
    )
    .await?;
    Ok(rows.into_iter().map(|row| row.outpoint).collect())
}

/// Which of these transactions have brought a deposit that is written down.
pub async fn known_txids(db: &Db, network: Network, txids: &[String]) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for chunk in txids.chunks(IDS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT DISTINCT txid FROM deposit WHERE network = $1 AND txid IN ({})",
            places(chunk.len(), 1)
        );
        let mut values = vec![network.as_str().into()];
        values.extend(chunk.iter().map(|txid| txid.clone().into()));
        let rows: Vec<TxidRow> = all(db.reader(), &sql, values).await?;
        found.extend(rows.into_iter().map(|row| row.txid));
    }
    Ok(found)
}

/// Of what was found waiting, that which is not written down so already: all of it is found at each look.
pub async fn news(
    db: &Db,
    network: Network,
    found: Vec<FoundDeposit>,
) -> Result<Vec<FoundDeposit>> {
    let mut txids: Vec<&str> = found.iter().map(|one| one.txid.as_str()).collect();
    txids.sort_unstable();
    txids.dedup();
    let mut known = HashSet::new();
    for chunk in txids.chunks(IDS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT txid, ordinal, address_id, amount FROM deposit
             WHERE network = $1 AND state = 'seen' AND txid IN ({})",
            places(chunk.len(), 1)
        );
        let mut values = vec![network.as_str().into()];
        values.extend(chunk.iter().map(|txid| (*txid).into()));
        let rows: Vec<WaitingRow> = all(db.reader(), &sql, values).await?;
        known.extend(
            rows.into_iter().map(|row| (row.txid, row.ordinal, row.address_id, row.amount)),
        );
    }
    let is_known = |one: &FoundDeposit| {
        let amount = stored(one.units);
        known.contains(&(one.txid.clone(), one.ordinal.clone(), one.address_id, amount))
    };
    Ok(found.into_iter().filter(|one| !is_known(one)).collect())
}

/// By which transactions of waiting deposits these outpoints are consumed.
pub async fn consumers(
    db: &Db,
    network: Network,
    outpoints: &[&str],
) -> Result<HashMap<String, Vec<String>>> {
    let mut consumers: HashMap<String, Vec<String>> = HashMap::new();
    for chunk in outpoints.chunks(IDS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT DISTINCT n.outpoint, n.txid FROM deposit_input n
             JOIN deposit d ON d.network = n.network AND d.txid = n.txid
             WHERE n.network = $1 AND d.state = 'seen' AND n.outpoint IN ({})",
            places(chunk.len(), 1)
        );
        let mut values = vec![network.as_str().into()];
        values.extend(chunk.iter().map(|outpoint| (*outpoint).into()));
        let rows: Vec<InputRow> = all(db.reader(), &sql, values).await?;
        for InputRow { outpoint, txid } in rows {
            consumers.entry(outpoint).or_default().push(txid);
        }
    }
    Ok(consumers)
}
