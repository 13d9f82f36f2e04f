//! The pool of deposit addresses: filled in batches by the worker, watched by the scanner, leased in
//! blocks by the API processes, used once. Not here: derivation and signatures (`signer`, `domain`).

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{
    Db, Result, StoreError, UnitOfWork, all, execute, for_update, known, lease_now, one, places,
    signed, unsigned,
};
use crate::domain::address::{ChainKind, DerivedAddress, Role, SignedAddress};
use crate::domain::asset::Network;

/// Keys resolved by one statement.
const KEYS_PER_STATEMENT_MAX: usize = 500;
/// The lease of who keeps the pool: it is held only by who has found the database to be as new as its wallet.
pub const POOL_LEASE: &str = "pool";
const ADDRESS_COLUMNS: [Column; 12] = [
    ("id", Kind::Id),
    ("network", Kind::Text),
    ("address_key", Kind::Bytes),
    ("text", Kind::Text),
    ("wallet_id", Kind::Text),
    ("chain", Kind::Text),
    ("role", Kind::Number),
    ("account", Kind::Number),
    ("path_index", Kind::Number),
    ("fill_batch", Kind::Number),
    ("signature", Kind::Bytes),
    ("state", Kind::Text),
];
const USED_COLUMNS: [Column; 3] =
    [("address_id", Kind::Id), ("used_by", Kind::Id), ("holder", Kind::Id)];

/// An address that this process may hand out.
#[derive(Debug, Clone)]
pub struct LeasedAddress {
    /// Its row.
    pub id: Uuid,
    /// What the signer vouched for.
    pub signed: SignedAddress,
}

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressOwner {
    /// The address's row.
    pub address_id: Uuid,
    /// The invoice it was handed out for.
    pub invoice_id: Option<Uuid>,
    /// That invoice's merchant.
    pub merchant_id: Option<Uuid>,
}

/// How full a network's pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevel {
    /// Addresses that no process has, as far as they were counted.
    pub free: u64,
    /// One past the highest derivation index stored.
    pub next_index: u32,
}

/// A network's addresses by what may be done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCount {
    /// Nobody has them.
    pub free: u64,
    /// A process has them ready.
    pub leased: u64,
    /// Each belongs to an invoice.
    pub used: u64,
    /// Never handed out.
    pub quarantined: u64,
}

#[derive(FromQueryResult)]
struct StateRow {
    state: String,
    count: i64,
}

#[derive(FromQueryResult)]
struct AddressRow {
    id: Uuid,
    address_key: Vec<u8>,
    text: String,
    chain: String,
    role: i64,
    account: i64,
    path_index: i64,
    signature: Vec<u8>,
}

#[derive(FromQueryResult)]
struct OwnerRow {
    address_id: Uuid,
    address_key: Vec<u8>,
    invoice_id: Option<Uuid>,
    merchant_id: Option<Uuid>,
}

#[derive(FromQueryResult)]
struct FreeRow {
    free: i64,
}

#[derive(FromQueryResult)]
struct NextRow {
    next_index: i64,
}

#[derive(FromQueryResult)]
struct BatchRow {
    batch: i64,
}

#[derive(FromQueryResult)]
struct IdRow {
    id: Uuid,
}

#[derive(FromQueryResult)]
struct KeyRow {
    address_key: Vec<u8>,
    fill_batch: i64,
}

/// How full the pool is; `free` is counted to `free_max`. However many addresses there are, this
/// reads no more index entries than that.
pub async fn level(db: &Db, network: Network, wallet_id: &str, free_max: u64) -> Result<PoolLevel> {
    let row: Option<FreeRow> = one(
        db.reader(),
        "SELECT COUNT(*) AS free FROM (SELECT 1 AS one FROM address
            WHERE network = $1 AND state = 'free' LIMIT $2) AS counted",
        vec![network.as_str().into(), signed(free_max, "pool level")?.into()],
    )
    .await?;
    let row = row.ok_or_else(|| StoreError::Corrupt("no pool level".to_owned()))?;
    Ok(PoolLevel {
        free: unsigned(row.free, "pool level")?,
        next_index: next_index(db, network, wallet_id).await?,
    })
}

/// One past the highest derivation index stored.
pub async fn next_index(db: &Db, network: Network, wallet_id: &str) -> Result<u32> {
    next_index_in(db.reader(), network, wallet_id).await
}

async fn next_index_in<C: ConnectionTrait>(
    db: &C,
    network: Network,
    wallet_id: &str,
) -> Result<u32> {
    // A network's addresses have one account, so the last entry of the index has the highest index.
    let row: Option<NextRow> = one(
        db,
        "SELECT path_index + 1 AS next_index FROM address
         WHERE network = $1 AND wallet_id = $2 AND role = 0
         ORDER BY account DESC, path_index DESC LIMIT 1",
        vec![network.as_str().into(), wallet_id.into()],
    )
    .await?;
    let next = row.map_or(0, |row| row.next_index);
    u32::try_from(next).map_err(|_| StoreError::Corrupt(format!("pool number {next}")))
}

/// The addresses of a network, counted by their state.
pub async fn count(db: &Db, network: Network) -> Result<PoolCount> {
    let rows: Vec<StateRow> = all(
        db.reader(),
        "SELECT state, COUNT(*) AS count FROM address WHERE network = $1 GROUP BY state",
        vec![network.as_str().into()],
    )
    .await?;
    let mut pool = PoolCount::default();
    for StateRow { state, count } in rows {
        let count = super::unsigned(count, "count of addresses")?;
        match state.as_str() {
            "free" => pool.free = count,
            "leased" => pool.leased = count,
            "used" => pool.used = count,
            _ => pool.quarantined = count,
        }
    }
    Ok(pool)
}

/// Adds a batch of addresses that nobody has. False, and nothing may be committed, when the batch does not
/// begin where the database ends: that has changed, or went back, since it was looked at.
pub async fn fill(
    unit: &UnitOfWork,
    wallet_id: &str,
    addresses: &[(Uuid, SignedAddress)],
    network: Network,
) -> Result<bool> {
    add(unit, wallet_id, addresses, network, "free", 1).await
}

/// Adds addresses again that the database lost: they are watched and never handed out. False as with
/// [`fill`]. The network's batch number is raised as if each had been a batch, so that no number comes
/// twice: a scanner that runs takes a number that it knows for a batch that it has.
pub async fn fill_lost(
    unit: &UnitOfWork,
    wallet_id: &str,
    addresses: &[(Uuid, SignedAddress)],
    network: Network,
) -> Result<bool> {
    let batches = signed(addresses.len() as u64, "lost addresses")?;
    add(unit, wallet_id, addresses, network, "quarantined", batches).await
}

/// The counter's row stays locked to the commit, so batches commit in the order of their numbers.
async fn add(
    unit: &UnitOfWork,
    wallet_id: &str,
    addresses: &[(Uuid, SignedAddress)],
    network: Network,
    state: &str,
    batches: i64,
) -> Result<bool> {
    let row: Option<BatchRow> = one(
        unit.db(),
        "INSERT INTO pool_seq (network, next) VALUES ($1, 1 + $2)
         ON CONFLICT (network) DO UPDATE SET next = pool_seq.next + $2 RETURNING next - 1 AS batch",
        vec![network.as_str().into(), batches.into()],
    )
    .await?;
    let batch = row.ok_or_else(|| StoreError::Corrupt("no batch number".to_owned()))?.batch;
    let next = next_index_in(unit.db(), network, wallet_id).await?;
    if addresses.first().is_some_and(|(_, signed)| signed.address.index != next) {
        return Ok(false);
    }
    let row = |(id, signed): &(Uuid, SignedAddress)| {
        let address = &signed.address;
        vec![
            (*id).into(),
            network.as_str().into(),
            address.key.clone().into(),
            address.text.clone().into(),
            wallet_id.into(),
            address.chain.as_str().into(),
            i64::from(address.role.level()).into(),
            i64::from(address.account).into(),
            i64::from(address.index).into(),
            batch.into(),
            signed.signature.to_vec().into(),
            state.into(),
        ]
    };
    let rows = addresses.iter().map(row).collect();
    for source in row_set::sources(unit.backend(), &ADDRESS_COLUMNS, &[], rows) {
        let sql = format!(
            "INSERT INTO address ({}) {} ON CONFLICT DO NOTHING",
            ADDRESS_COLUMNS.map(|(name, _)| name).join(", "),
            source.sql
        );
        execute(unit.db(), &sql, source.values).await?;
    }
    Ok(true)
}

/// Takes addresses that look unused out of use, those too that a process has ready: they may have been
/// handed out in a part of the database's past that it lost.
pub async fn quarantine_free(unit: &UnitOfWork, network: Network) -> Result<u64> {
    // In the order in which they are marked as used, so that neither waits for the other.
    let sql = format!(
        "UPDATE address SET state = 'quarantined', leased_to = NULL, leased_until = NULL
         WHERE id IN (
            SELECT id FROM address WHERE network = $1 AND state IN ('free', 'leased')
            ORDER BY id{})",
        for_update(unit.backend())
    );
    execute(unit.db(), &sql, vec![network.as_str().into()]).await
}

/// Takes one address out of use: its signature does not verify.
pub async fn quarantine(db: &Db, id: Uuid) -> Result<()> {
    let unit = db.begin("quarantine").await?;
    execute(unit.db(), "UPDATE address SET state = 'quarantined' WHERE id = $1", vec![id.into()])
        .await?;
    unit.commit().await?;
    Ok(())
}

/// Leases up to `count` free addresses whose batch the scanner watches, lowest index first. Leases
/// that ran out are taken too: their holder has stopped handing them out by then. None while nobody keeps
/// the pool: nobody knows then whether this database went back to before addresses were handed out.
pub async fn lease(
    db: &Db,
    network: Network,
    holder: Uuid,
    count: u32,
    seconds: i64,
) -> Result<Vec<LeasedAddress>> {
    let now = lease_now(db.backend());
    let skip = if db.is_sqlite() { "" } else { " FOR UPDATE SKIP LOCKED" };
    let sql = format!(
        "UPDATE address SET state = 'leased', leased_to = $2, leased_until = {now} + $3
         WHERE id IN (
            SELECT a.id FROM address a
            WHERE a.network = $1 AND a.role = 0
              AND a.state IN ('free', 'leased') AND (a.state = 'free' OR a.leased_until < {now})
              AND a.fill_batch <= (SELECT watch_batch FROM chain_cursor c WHERE c.network = $1)
              AND EXISTS (SELECT 1 FROM lease l WHERE l.name = $5 AND l.expires_at >= {now})
              AND NOT EXISTS (SELECT 1 FROM deposit d WHERE d.address_id = a.id)
            ORDER BY a.path_index LIMIT $4{skip})
         RETURNING id, address_key, text, chain, role, account, path_index, signature"
    );
    let unit = db.begin("lease_addresses").await?;
    let values = vec![
        network.as_str().into(),
        holder.into(),
        (seconds * 1_000_000).into(),
        i64::from(count).into(),
        POOL_LEASE.into(),
    ];
    let rows: Vec<AddressRow> = all(unit.db(), &sql, values).await?;
    unit.commit().await?;
    let mut leased =
        rows.into_iter().map(|row| row.read(network)).collect::<Result<Vec<LeasedAddress>>>()?;
    leased.sort_by_key(|address| address.signed.address.index);
    Ok(leased)
}

/// Marks leased addresses as handed out, each (id, merchant) for its merchant. False when some were not
/// this holder's any more. Nobody else writes them while their lease lasts, and they are written in the
/// order of their ids.
pub async fn mark_used(unit: &UnitOfWork, holder: Uuid, used: &[(Uuid, Uuid)]) -> Result<bool> {
    let mut ordered = used.to_vec();
    ordered.sort_unstable();
    let rows = ordered
        .into_iter()
        .map(|(id, merchant_id)| vec![id.into(), merchant_id.into(), holder.into()])
        .collect();
    let mut marked = 0;
    for source in row_set::sources(unit.backend(), &USED_COLUMNS, &[], rows) {
        let sql = format!(
            "WITH v (address_id, used_by, holder) AS ({})
             UPDATE address SET state = 'used', leased_to = NULL, leased_until = NULL,
                merchant_id = v.used_by
             FROM v WHERE id = v.address_id AND state = 'leased' AND leased_to = v.holder",
            source.sql
        );
        marked += execute(unit.db(), &sql, source.values).await?;
    }
    Ok(marked == used.len() as u64)
}

/// Which of these addresses this holder leases.
pub async fn leased_by(db: &Db, holder: Uuid, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
    let mut leased = HashSet::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT id FROM address WHERE state = 'leased' AND leased_to = $1 AND id IN ({})",
            places(chunk.len(), 1)
        );
        let mut values = vec![holder.into()];
        values.extend(chunk.iter().map(|id| (*id).into()));
        let rows: Vec<IdRow> = all(db.reader(), &sql, values).await?;
        leased.extend(rows.into_iter().map(|row| row.id));
    }
    Ok(leased)
}

/// The newest batch of a network's addresses; 0 before the first.
pub async fn newest_batch(db: &Db, network: Network) -> Result<i64> {
    let newest: Option<BatchRow> = one(
        db.reader(),
        "SELECT next - 1 AS batch FROM pool_seq WHERE network = $1",
        vec![network.as_str().into()],
    )
    .await?;
    Ok(newest.map_or(0, |row| row.batch))
}

/// Keys that were read, in the order of their batches.
#[derive(Debug)]
pub struct ReadKeys {
    /// See [`DerivedAddress::key`].
    pub keys: Vec<Vec<u8>>,
    /// The newest batch of which every key was read.
    pub whole_batch: i64,
}

/// At most `limit` keys of a network's addresses in batches above `after` and up to `newest`. A limit
/// above what a batch has always makes a batch whole.
pub async fn keys_after(
    db: &Db,
    network: Network,
    after: i64,
    newest: i64,
    limit: u32,
) -> Result<ReadKeys> {
    let rows: Vec<KeyRow> = all(
        db.reader(),
        "SELECT address_key, fill_batch FROM address
         WHERE network = $1 AND fill_batch > $2 AND fill_batch <= $3
         ORDER BY fill_batch LIMIT $4",
        vec![network.as_str().into(), after.into(), newest.into(), i64::from(limit).into()],
    )
    .await?;
    let is_cut = u32::try_from(rows.len()).is_ok_and(|count| count == limit);
    let whole_batch = match rows.last() {
        Some(last) if is_cut => (last.fill_batch - 1).max(after),
        _ => newest,
    };
    Ok(ReadKeys { keys: rows.into_iter().map(|row| row.address_key).collect(), whole_batch })
}

/// Whose the given keys are; strangers are left out.
pub async fn resolve(
    db: &Db,
    network: Network,
    keys: &[Vec<u8>],
) -> Result<HashMap<Vec<u8>, AddressOwner>> {
    let mut owners = HashMap::with_capacity(keys.len());
    for chunk in keys.chunks(KEYS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT a.id AS address_id, a.address_key, i.id AS invoice_id, i.merchant_id
             FROM address a LEFT JOIN invoice i ON i.address_id = a.id
             WHERE a.network = $1 AND a.address_key IN ({})",
            places(chunk.len(), 1)
        );
        let mut values = vec![network.as_str().into()];
        values.extend(chunk.iter().map(|key| key.clone().into()));
        let rows: Vec<OwnerRow> = all(db.reader(), &sql, values).await?;
        owners.extend(rows.into_iter().map(|row| {
            let owner = AddressOwner {
                address_id: row.address_id,
                invoice_id: row.invoice_id,
                merchant_id: row.merchant_id,
            };
            (row.address_key, owner)
        }));
    }
    Ok(owners)
}

/// What the signer vouched for about addresses of a network.
pub async fn signed_addresses(
    unit: &UnitOfWork,
    network: Network,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, SignedAddress>> {
    let mut signed = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT id, address_key, text, chain, role, account, path_index, signature
             FROM address WHERE id IN ({})",
            places(chunk.len(), 0)
        );
        let values = chunk.iter().map(|id| (*id).into()).collect();
        for row in all::<AddressRow, _>(unit.db(), &sql, values).await? {
            let address = row.read(network)?;
            signed.insert(address.id, address.signed);
        }
    }
    Ok(signed)
}

impl AddressRow {
    fn read(self, network: Network) -> Result<LeasedAddress> {
        let chain = match self.chain.as_str() {
            "sandbox" => Some(ChainKind::Sandbox),
            "regtest" => Some(ChainKind::Regtest),
            "testnet" => Some(ChainKind::Testnet),
            "mainnet" => Some(ChainKind::Mainnet),
            _ => None,
        };
        let level = |value: i64| {
            u32::try_from(value)
                .map_err(|_| StoreError::Corrupt(format!("address path level {value}")))
        };
        let role = level(self.role)?;
        let signature = <[u8; 64]>::try_from(self.signature.as_slice())
            .map_err(|_| StoreError::Corrupt("address signature length".to_owned()))?;
        let address = DerivedAddress {
            network,
            chain: known(chain, "chain", &self.chain)?,
            role: known(Role::from_level(role), "role", &role.to_string())?,
            account: level(self.account)?,
            index: level(self.path_index)?,
            text: self.text,
            key: self.address_key,
        };
        Ok(LeasedAddress { id: self.id, signed: SignedAddress { address, signature } })
    }
}
