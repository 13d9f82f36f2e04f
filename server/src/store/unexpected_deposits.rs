//! Unexpected deposits: as the scanner writes them beside the deposits of a block, as the operator reads
//! and settles them. Not here: which coins are known (`domain::unexpected`), crediting one (`journal`).

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use super::deposits::InBlock;
use super::{
    Db, Result, UnitOfWork, all, execute, for_update, known, one, signed, units, unsigned,
};
use crate::domain::amount::stored;
use crate::domain::asset::Network;
use crate::domain::time::Micros;
use crate::domain::unexpected::{KnownCoin, Progress, UnexpectedState};

/// A known coin at an address of ours, as it was found in a block.
#[derive(Debug, Clone)]
pub struct FoundUnexpected {
    /// The id it gets if it is new.
    pub id: Uuid,
    /// The transaction.
    pub txid: String,
    /// Which transfer of it.
    pub ordinal: String,
    /// The address, of whichever network.
    pub address_id: Uuid,
    /// What was paid.
    pub coin: KnownCoin,
    /// How much, base units.
    pub units: u128,
    /// The block it is in.
    pub block: InBlock,
}

/// One as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnexpectedDeposit {
    /// Its id.
    pub id: Uuid,
    /// The network on whose chain it was seen.
    pub network: Network,
    /// The transaction.
    pub txid: String,
    /// Which transfer of it.
    pub ordinal: String,
    /// The address's row.
    pub address_id: Uuid,
    /// The network that the address is for.
    pub address_network: Network,
    /// The address.
    pub address: String,
    /// The invoice that the address was handed out for.
    pub invoice_id: Option<Uuid>,
    /// That invoice's merchant.
    pub merchant_id: Option<Uuid>,
    /// What was paid.
    pub coin: String,
    /// Its contract, where the coin has one of its own.
    pub contract: Option<String>,
    /// Base units.
    pub units: u128,
    /// Base units per whole coin, as a power of ten.
    pub decimals: u32,
    /// The block that holds it, while one of the best chain does.
    pub block_height: Option<u64>,
    /// Where it stands.
    pub state: UnexpectedState,
    /// When it was first seen.
    pub created_at: Micros,
    /// The merchant that was credited.
    pub assigned_merchant_id: Option<Uuid>,
    /// The invoice it was assigned to, if it was to one.
    pub assigned_invoice_id: Option<Uuid>,
    /// When it was assigned or dismissed.
    pub settled_at: Option<Micros>,
    /// What the operator noted.
    pub note: String,
    /// How far its chain was read; `None` before the first scan.
    pub progress: Option<Progress>,
}

/// Which ones a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnexpectedFilter {
    /// Seen on this network's chain.
    pub network: Option<Network>,
    /// In this state.
    pub state: Option<UnexpectedState>,
    /// At the address of this invoice.
    pub invoice_id: Option<Uuid>,
    /// At an address of an invoice of this merchant.
    pub merchant_id: Option<Uuid>,
}

/// How one is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Credited to a merchant, about an invoice or none.
    Assigned(Uuid, Option<Uuid>),
    /// Outside of the ledger.
    Dismissed,
}

/// What recording one did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It was not known.
    New,
    /// It was known, here or in another block.
    Known,
    /// It is settled, and is not any more what was settled: somebody has to look.
    Contradicted,
}

/// What a fork took out of its blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orphaned {
    /// Ones that nobody had settled.
    pub open: u64,
    /// Ones that were settled already.
    pub settled: u64,
}

#[derive(FromQueryResult)]
struct ExistingRow {
    id: Uuid,
    address_id: Uuid,
    coin: String,
    amount: String,
    block_hash: Option<String>,
    state: String,
}

#[derive(FromQueryResult)]
struct IdRow {
    id: Uuid,
}

#[derive(FromQueryResult)]
struct Row {
    id: Uuid,
    network: String,
    txid: String,
    ordinal: String,
    address_id: Uuid,
    address_network: String,
    address: String,
    invoice_id: Option<Uuid>,
    merchant_id: Option<Uuid>,
    coin: String,
    contract: Option<String>,
    amount: String,
    decimals: i64,
    block_height: Option<i64>,
    state: String,
    created_at: i64,
    assigned_merchant_id: Option<Uuid>,
    assigned_invoice_id: Option<Uuid>,
    settled_at: Option<i64>,
    note: String,
    head: Option<i64>,
    node_height: Option<i64>,
    finalized_height: Option<i64>,
}

const SELECT: &str = "SELECT u.id, u.network, u.txid, u.ordinal, u.address_id,
        a.network AS address_network, a.text AS address, i.id AS invoice_id, i.merchant_id,
        u.coin, u.contract, u.amount, u.decimals, u.block_height, u.state, u.created_at,
        u.assigned_merchant_id, u.assigned_invoice_id, u.settled_at, u.note,
        c.height AS head, c.node_height, c.finalized_height
    FROM unexpected_deposit u JOIN address a ON a.id = u.address_id
    LEFT JOIN invoice i ON i.address_id = u.address_id
    LEFT JOIN chain_cursor c ON c.network = u.network";

/// Writes one down: a new row, or the place of a known one. A transaction that means something else in
/// another block (a call pays by the state that it finds) overwrites what nobody has settled.
pub async fn record(
    unit: &UnitOfWork,
    network: Network,
    found: &FoundUnexpected,
) -> Result<Recorded> {
    let existing: Option<ExistingRow> = one(
        unit.db(),
        "SELECT id, address_id, coin, amount, block_hash, state FROM unexpected_deposit
         WHERE network = $1 AND txid = $2 AND ordinal = $3",
        vec![network.as_str().into(), found.txid.clone().into(), found.ordinal.clone().into()],
    )
    .await?;
    let Some(row) = existing else {
        insert(unit, network, found).await?;
        return Ok(Recorded::New);
    };
    let is_same = row.address_id == found.address_id
        && row.coin == found.coin.name
        && units(&row.amount)? == found.units;
    let is_settled = ["assigned", "dismissed"].contains(&row.state.as_str());
    if is_settled && !is_same {
        return Ok(Recorded::Contradicted);
    }
    if is_same && row.block_hash.as_deref() == Some(found.block.hash.as_str()) {
        return Ok(Recorded::Known);
    }
    execute(
        unit.db(),
        "UPDATE unexpected_deposit SET block_height = $2, block_hash = $3,
            state = CASE WHEN state = 'orphaned' THEN 'seen' ELSE state END,
            address_id = $4, coin = $5, contract = $6, amount = $7, decimals = $8,
            version = version + 1 WHERE id = $1",
        vec![
            row.id.into(),
            signed(found.block.height, "block height")?.into(),
            found.block.hash.clone().into(),
            found.address_id.into(),
            found.coin.name.into(),
            found.coin.contract.into(),
            stored(found.units).into(),
            i64::from(found.coin.decimals).into(),
        ],
    )
    .await?;
    Ok(Recorded::Known)
}

async fn insert(unit: &UnitOfWork, network: Network, found: &FoundUnexpected) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO unexpected_deposit (id, network, txid, ordinal, address_id, coin, contract,
            amount, decimals, block_height, block_hash, state, created_at, note, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'seen', $12, '', 1)",
        vec![
            found.id.into(),
            network.as_str().into(),
            found.txid.clone().into(),
            found.ordinal.clone().into(),
            found.address_id.into(),
            found.coin.name.into(),
            found.coin.contract.into(),
            stored(found.units).into(),
            i64::from(found.coin.decimals).into(),
            signed(found.block.height, "block height")?.into(),
            found.block.hash.clone().into(),
            found.block.at.0.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Takes those in blocks above `height` out of their blocks: a fork removed them. What was settled stays
/// settled.
pub async fn orphan_above(unit: &UnitOfWork, network: Network, height: u64) -> Result<Orphaned> {
    let height = signed(height, "height")?;
    let open = execute(
        unit.db(),
        "UPDATE unexpected_deposit SET state = 'orphaned', block_height = NULL, block_hash = NULL,
            version = version + 1
         WHERE network = $1 AND block_height > $2 AND state = 'seen'",
        vec![network.as_str().into(), height.into()],
    )
    .await?;
    let settled = execute(
        unit.db(),
        "UPDATE unexpected_deposit SET block_height = NULL, block_hash = NULL,
            version = version + 1 WHERE network = $1 AND block_height > $2",
        vec![network.as_str().into(), height.into()],
    )
    .await?;
    Ok(Orphaned { open, settled })
}

/// The newest first, at most `limit` of those before `before`.
pub async fn list(
    db: &Db,
    filter: &UnexpectedFilter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<UnexpectedDeposit>> {
    let (mut text, mut values) = ("TRUE".to_owned(), Vec::<Value>::new());
    let mut add = |column: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            text.push_str(&format!(" AND {column} ${}", values.len()));
        }
    };
    add("u.network =", filter.network.map(|network| network.as_str().into()));
    add("u.state =", filter.state.map(|state| state.as_str().into()));
    add("i.id =", filter.invoice_id.map(Into::into));
    add("i.merchant_id =", filter.merchant_id.map(Into::into));
    add("u.id <", before.map(Into::into));
    let sql = format!("{SELECT} WHERE {text} ORDER BY u.id DESC LIMIT {limit}");
    let rows: Vec<Row> = all(db.reader(), &sql, values).await?;
    rows.into_iter().map(Row::read).collect()
}

/// One of them.
pub async fn get(db: &Db, id: Uuid) -> Result<Option<UnexpectedDeposit>> {
    read(db.reader(), id).await
}

/// One of them, locked until the unit of work is over.
pub async fn lock(unit: &UnitOfWork, id: Uuid) -> Result<Option<UnexpectedDeposit>> {
    let sql =
        format!("SELECT id FROM unexpected_deposit WHERE id = $1{}", for_update(unit.backend()));
    match one::<IdRow, _>(unit.db(), &sql, vec![id.into()]).await? {
        Some(IdRow { id }) => read(unit.db(), id).await,
        None => Ok(None),
    }
}

async fn read<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<UnexpectedDeposit>> {
    let row: Option<Row> = one(db, &format!("{SELECT} WHERE u.id = $1"), vec![id.into()]).await?;
    row.map(Row::read).transpose()
}

/// Notes that a locked one was settled.
pub async fn settle(
    unit: &UnitOfWork,
    id: Uuid,
    settlement: Settlement,
    note: &str,
    at: Micros,
) -> Result<()> {
    let (state, merchant, invoice) = match settlement {
        Settlement::Assigned(merchant, invoice) => {
            (UnexpectedState::Assigned, Some(merchant), invoice)
        }
        Settlement::Dismissed => (UnexpectedState::Dismissed, None, None),
    };
    execute(
        unit.db(),
        "UPDATE unexpected_deposit SET state = $2, assigned_merchant_id = $3,
            assigned_invoice_id = $4, note = $5, settled_at = $6, version = version + 1
         WHERE id = $1",
        vec![
            id.into(),
            state.as_str().into(),
            merchant.into(),
            invoice.into(),
            note.into(),
            at.0.into(),
        ],
    )
    .await?;
    Ok(())
}

impl Row {
    fn read(self) -> Result<UnexpectedDeposit> {
        let network = |name: &str| known(name.parse::<Network>().ok(), "network", name);
        let finalized =
            self.finalized_height.map(|h| unsigned(h, "finalized height")).transpose()?;
        let progress = match self.head.zip(self.node_height) {
            Some((head, node_height)) => Some(Progress {
                head: unsigned(head, "height")?,
                finalized,
                is_whole: head >= node_height,
            }),
            None => None,
        };
        Ok(UnexpectedDeposit {
            id: self.id,
            network: network(&self.network)?,
            address_network: network(&self.address_network)?,
            txid: self.txid,
            ordinal: self.ordinal,
            address_id: self.address_id,
            address: self.address,
            invoice_id: self.invoice_id,
            merchant_id: self.merchant_id,
            coin: self.coin,
            contract: self.contract,
            units: units(&self.amount)?,
            decimals: known(u32::try_from(self.decimals).ok(), "decimals", "of a coin")?,
            block_height: self.block_height.map(|h| unsigned(h, "block height")).transpose()?,
            state: known(UnexpectedState::parse(&self.state), "state", &self.state)?,
            created_at: Micros(self.created_at),
            assigned_merchant_id: self.assigned_merchant_id,
            assigned_invoice_id: self.assigned_invoice_id,
            settled_at: self.settled_at.map(Micros),
            note: self.note,
            progress,
        })
    }
}
