//! What is known of payments that wait to be included: a scanner finds all of them at each look, and writes
//! down what is new. Not here: writing (`deposits`).

use std::collections::{HashMap, HashSet};

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::deposits::{FoundDeposit, IDS_PER_STATEMENT_MAX, promises_max};
use super::{Db, Result, all, places, units};
use crate::domain::amount::stored;
use crate::domain::asset::Network;

/// What waits is little beside what was: begin with it. SQLite takes all that is of one network, or in one
/// state, for a few rows; what it cannot look up is no way to begin (`|| ''`).
const OUTPOINTS: &str = "SELECT DISTINCT n.outpoint FROM deposit d
    JOIN deposit_input n ON n.network || '' = d.network AND n.txid = d.txid
    WHERE d.network = $1 AND d.state = 'seen'";

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

#[derive(FromQueryResult)]
struct PartsRow {
    id: Uuid,
    asked: String,
    parts: i64,
}

/// What waiting deposits consume: whoever consumes the same replaces them.
pub async fn outpoints(db: &Db, network: Network) -> Result<HashSet<String>> {
    let rows: Vec<OutpointRow> = all(db.reader(), OUTPOINTS, vec![network.as_str().into()]).await?;
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

/// Of what was found waiting, that which is not written down so already, all of it being found at each look,
/// and that an invoice has room for: what waits is a promise, and is found in its block if it is kept.
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
             WHERE network = $1 AND txid IN ({}) AND state || '' = 'seen'",
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
    let mut news: Vec<FoundDeposit> = found.into_iter().filter(|one| !is_known(one)).collect();
    // The largest first: they are the likeliest to be the payment.
    news.sort_by_key(|one| std::cmp::Reverse(one.units));
    let mut parts = parts_of(db, &news).await?;
    news.retain(|one| {
        let Some((asked, parts)) = one.invoice_id.and_then(|id| parts.get_mut(&id)) else {
            return true;
        };
        let has_room = *parts < promises_max(one.units, *asked);
        *parts += i64::from(has_room);
        has_room
    });
    Ok(news)
}

/// What the invoices of these ask for, and how many deposits they have.
async fn parts_of(db: &Db, found: &[FoundDeposit]) -> Result<HashMap<Uuid, (u128, i64)>> {
    let mut invoices: Vec<Uuid> = found.iter().filter_map(|one| one.invoice_id).collect();
    invoices.sort_unstable();
    invoices.dedup();
    let mut parts = HashMap::new();
    for chunk in invoices.chunks(IDS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT i.id, i.amount_base AS asked,
                (SELECT COUNT(*) FROM deposit d WHERE d.invoice_id = i.id) AS parts
             FROM invoice i WHERE i.id IN ({})",
            places(chunk.len(), 0)
        );
        let values = chunk.iter().map(|id| (*id).into()).collect();
        let rows: Vec<PartsRow> = all(db.reader(), &sql, values).await?;
        for PartsRow { id, asked, parts: count } in rows {
            parts.insert(id, (units(&asked)?, count));
        }
    }
    Ok(parts)
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
             WHERE n.network = $1 AND n.outpoint IN ({}) AND d.state || '' = 'seen'",
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[derive(FromQueryResult)]
    struct PlanRow {
        detail: String,
    }

    #[tokio::test]
    async fn a_look_at_what_waits_reads_no_history_on_sqlite() {
        let home = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", home.path().join("ledger.sqlite").display());
        let db = Db::open(&url, 1).await.unwrap();
        db.migrate().await.unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {OUTPOINTS}");
        let plan: Vec<PlanRow> = all(db.reader(), &sql, vec!["ltc".into()]).await.unwrap();
        let plan: Vec<&str> = plan.iter().map(|row| row.detail.as_str()).collect();
        assert!(
            plan[0].starts_with("SEARCH d ") && plan[0].contains("(network=? AND state=?"),
            "{plan:?}"
        );
        assert!(plan[1].starts_with("SEARCH n ") && plan[1].contains("(txid=?"), "{plan:?}");
    }
}
