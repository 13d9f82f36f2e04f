//! Invoices: inserting them, reading them with their deposits and their chain's head, listing them,
//! and finding those whose status may have to change. Writing status is `invoice_status` alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::LazyLock;
use std::time::Duration;

use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Statement, Value};
use uuid::Uuid;

use super::cursor::watermark;
use super::deposits::{self, DepositRow};
use super::row_set::{self, Column, Kind};
use super::{
    Db, Result, StoreError, UnitOfWork, all, execute, for_update, known, one, places, units,
};
use crate::domain::amount::stored;
use crate::domain::asset::Network;
use crate::domain::deposit::Deposit;
use crate::domain::invoice::{Exception, Moment, Standing, Status, Terms};
use crate::domain::time::Micros;

/// Rows that `total` of a list counts at the most.
pub const COUNTED_MAX: u32 = 10_000;

/// An invoice as it stands in the database.
#[derive(Debug, Clone)]
pub struct Invoice {
    /// Its id; public.
    pub id: Uuid,
    /// Whose it is.
    pub merchant_id: Uuid,
    /// The key that created it.
    pub api_key_id: Option<Uuid>,
    /// The network to pay on.
    pub network: Network,
    /// The merchant's own reference.
    pub order_id: Option<String>,
    /// The merchant's own JSON object.
    pub metadata: String,
    /// Its address's row.
    pub address_id: Uuid,
    /// Its address.
    pub address_text: String,
    /// US cents asked.
    pub amount_cents: i64,
    /// What was agreed.
    pub terms: Terms,
    /// What was decided so far.
    pub standing: Standing,
    /// US dollars a coin, decimal text.
    pub rate: String,
    /// Where the rate came from.
    pub rate_source: String,
    /// When the rate was true.
    pub rate_at: Micros,
    /// Grows with every decision.
    pub version: i64,
    /// How many events were written about it.
    pub event_count: i64,
    /// When it was created.
    pub created_at: Micros,
}

/// An invoice with everything needed to show it.
#[derive(Debug, Clone)]
pub struct InvoiceView {
    /// The invoice.
    pub invoice: Invoice,
    /// Its deposits.
    pub deposits: Vec<Deposit>,
    /// Height of its network's newest scanned block.
    pub head: u64,
    /// Business time up to which every payment on its network is known.
    pub watermark: Micros,
}

impl InvoiceView {
    /// The moment at which it is looked at.
    pub const fn moment(&self, now: Micros) -> Moment {
        Moment { now, watermark: self.watermark, head: self.head, finalized: None }
    }
}

/// Up to where a database knows of invoices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its newest invoice.
    pub id: Option<Uuid>,
    /// Whether it lacks one that it is known to have had.
    pub lacks_noted: bool,
}

/// Which invoices of a merchant a list holds.
#[derive(Debug, Clone, Default)]
pub struct InvoiceFilter {
    /// Only with this reference.
    pub order_id: Option<String>,
    /// Only in this status.
    pub status: Option<Status>,
    /// Only on this network.
    pub network: Option<Network>,
    /// Only created at or after.
    pub created_after: Option<Micros>,
    /// Only created before.
    pub created_before: Option<Micros>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub enum PageStart {
    /// After this many rows.
    Offset(u64),
    /// After this invoice.
    After(Micros, Uuid),
}

/// What a new invoice brings; its standing is the same for all.
const NEW_COLUMNS: [Column; 21] = [
    ("id", Kind::Id),
    ("merchant_id", Kind::Id),
    ("api_key_id", Kind::Id),
    ("network", Kind::Text),
    ("asset", Kind::Text),
    ("order_id", Kind::OptionalText),
    ("metadata", Kind::Text),
    ("address_id", Kind::Id),
    ("address_text", Kind::Text),
    ("amount_cents", Kind::Number),
    ("amount_base", Kind::Text),
    ("shortfall_base", Kind::Text),
    ("rate", Kind::Text),
    ("rate_source", Kind::Text),
    ("rate_at", Kind::Number),
    ("confirmations_required", Kind::Number),
    ("requires_finality", Kind::Flag),
    ("inclusion_seconds", Kind::Number),
    ("honors_late", Kind::Flag),
    ("created_at", Kind::Number),
    ("expires_at", Kind::Number),
];

#[derive(FromQueryResult)]
struct InvoiceRow {
    id: Uuid,
    merchant_id: Uuid,
    api_key_id: Option<Uuid>,
    network: String,
    order_id: Option<String>,
    metadata: String,
    address_id: Uuid,
    address_text: String,
    amount_cents: i64,
    amount_base: String,
    shortfall_base: String,
    rate: String,
    rate_source: String,
    rate_at: i64,
    confirmations_required: i64,
    requires_finality: bool,
    inclusion_seconds: i64,
    honors_late: bool,
    status: String,
    exception: String,
    version: i64,
    event_count: i64,
    created_at: i64,
    expires_at: i64,
    detected_event_at: Option<i64>,
    confirmed_event_at: Option<i64>,
    canceled_at: Option<i64>,
}

#[derive(FromQueryResult)]
struct HeadRow {
    head: Option<i64>,
    watermark_at: Option<i64>,
    reconciled_at: Option<i64>,
}

#[derive(FromQueryResult)]
struct IdRow {
    id: Uuid,
}

#[derive(FromQueryResult)]
struct NewestRow {
    id: Option<Uuid>,
    noted: i64,
}

#[derive(FromQueryResult)]
struct CountRow {
    total: i64,
}

const COLUMNS: &str = "i.id, i.merchant_id, i.api_key_id, i.network, i.order_id, i.metadata,
    i.address_id, i.address_text, i.amount_cents, i.amount_base, i.shortfall_base, i.rate,
    i.rate_source, i.rate_at, i.confirmations_required, i.requires_finality, i.inclusion_seconds,
    i.honors_late, i.status, i.exception, i.version, i.event_count, i.created_at, i.expires_at,
    i.detected_event_at, i.confirmed_event_at, i.canceled_at";

impl InvoiceRow {
    fn read(self) -> Result<Invoice> {
        let network = self.network.parse().ok();
        let seconds = u64::try_from(self.inclusion_seconds).unwrap_or(0);
        let required = u32::try_from(self.confirmations_required)
            .map_err(|_| StoreError::Corrupt("confirmations".to_owned()))?;
        Ok(Invoice {
            id: self.id,
            merchant_id: self.merchant_id,
            api_key_id: self.api_key_id,
            network: known(network, "network", &self.network)?,
            order_id: self.order_id,
            metadata: self.metadata,
            address_id: self.address_id,
            address_text: self.address_text,
            amount_cents: self.amount_cents,
            terms: Terms {
                amount_units: units(&self.amount_base)?,
                shortfall_units: units(&self.shortfall_base)?,
                expires_at: Micros(self.expires_at),
                confirmations_required: required,
                requires_finality: self.requires_finality,
                inclusion_window: Duration::from_secs(seconds),
                honors_late: self.honors_late,
            },
            standing: Standing {
                status: known(Status::parse(&self.status), "status", &self.status)?,
                exception: known(Exception::parse(&self.exception), "exception", &self.exception)?,
                detected_told: self.detected_event_at.is_some(),
                confirmed_told: self.confirmed_event_at.is_some(),
                canceled: self.canceled_at.is_some(),
            },
            rate: self.rate,
            rate_source: self.rate_source,
            rate_at: Micros(self.rate_at),
            version: self.version,
            event_count: self.event_count,
            created_at: Micros(self.created_at),
        })
    }
}

/// Inserts new invoices.
pub async fn insert(unit: &UnitOfWork, invoices: &[Invoice]) -> Result<()> {
    let backend = unit.backend();
    let rows = invoices.iter().map(new_row).collect();
    for source in row_set::sources(backend, &NEW_COLUMNS, &["'pending'", "'none'", "1", "0"], rows)
    {
        let sql = format!(
            "INSERT INTO invoice ({}, status, exception, version, event_count) {}",
            NEW_COLUMNS.map(|(name, _)| name).join(", "),
            source.sql
        );
        execute(unit.db(), &sql, source.values).await?;
    }
    Ok(())
}

/// The values of [`NEW_COLUMNS`].
fn new_row(invoice: &Invoice) -> Vec<Value> {
    let terms = &invoice.terms;
    let inclusion_seconds = i64::try_from(terms.inclusion_window.as_secs()).unwrap_or(i64::MAX);
    vec![
        invoice.id.into(),
        invoice.merchant_id.into(),
        invoice.api_key_id.unwrap_or_default().into(),
        invoice.network.as_str().into(),
        invoice.network.asset().as_str().into(),
        invoice.order_id.clone().unwrap_or_default().into(),
        invoice.metadata.clone().into(),
        invoice.address_id.into(),
        invoice.address_text.clone().into(),
        invoice.amount_cents.into(),
        stored(terms.amount_units).into(),
        stored(terms.shortfall_units).into(),
        invoice.rate.clone().into(),
        invoice.rate_source.clone().into(),
        invoice.rate_at.0.into(),
        i64::from(terms.confirmations_required).into(),
        terms.requires_finality.into(),
        inclusion_seconds.into(),
        terms.honors_late.into(),
        invoice.created_at.0.into(),
        terms.expires_at.0.into(),
    ]
}

/// One invoice of a merchant, in one statement.
pub async fn get(db: &Db, merchant_id: Uuid, id: Uuid) -> Result<Option<InvoiceView>> {
    let views =
        views(db.reader(), "i.merchant_id = $1 AND i.id = $2", vec![merchant_id.into(), id.into()]);
    Ok(views.await?.pop())
}

/// One invoice by its id alone: for its payer, who is shown nothing of the merchant.
pub async fn get_for_payer(db: &Db, id: Uuid) -> Result<Option<InvoiceView>> {
    Ok(views(db.reader(), "i.id = $1", vec![id.into()]).await?.pop())
}

/// Some invoices of any merchants, inside a unit of work, in the order of their ids.
pub async fn get_in(unit: &UnitOfWork, ids: &[Uuid]) -> Result<Vec<InvoiceView>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let condition = format!("i.id IN ({})", places(ids.len(), 0));
    views(unit.db(), &condition, ids.iter().map(|id| (*id).into()).collect()).await
}

/// The newest invoice of all, and whether `noted` is there: both of one moment.
pub async fn newest(db: &Db, noted: Option<Uuid>) -> Result<Newest> {
    let row: Option<NewestRow> = one(
        db.reader(),
        "SELECT (SELECT id FROM invoice ORDER BY id DESC LIMIT 1) AS id,
            (SELECT COUNT(*) FROM invoice WHERE id = $1) AS noted",
        vec![noted.into()],
    )
    .await?;
    let row = row.ok_or_else(|| StoreError::Corrupt("no newest invoice".to_owned()))?;
    Ok(Newest { id: row.id, lacks_noted: noted.is_some() && row.noted == 0 })
}

/// The invoice that asks for payment to an address, whoever's it is. For workers alone.
pub async fn at_address(db: &Db, address_id: Uuid) -> Result<Option<InvoiceView>> {
    Ok(views(db.reader(), "i.address_id = $1", vec![address_id.into()]).await?.pop())
}

/// A page of a merchant's invoices, newest first, at most `limit`.
pub async fn list(
    db: &Db,
    merchant_id: Uuid,
    filter: &InvoiceFilter,
    start: PageStart,
    limit: u32,
) -> Result<Vec<InvoiceView>> {
    let (mut condition, mut values) = conditions(merchant_id, filter);
    let mut offset = 0;
    match start {
        PageStart::Offset(rows) => offset = rows,
        PageStart::After(created_at, id) => {
            values.push(created_at.0.into());
            values.push(id.into());
            let (at, key) = (values.len() - 1, values.len());
            condition.push_str(&format!(
                " AND (i.created_at < ${at} OR (i.created_at = ${at} AND i.id < ${key}))"
            ));
        }
    }
    let page = format!(
        "i.id IN (SELECT i.id FROM invoice i WHERE {condition}
            ORDER BY i.created_at DESC, i.id DESC LIMIT {limit} OFFSET {offset})"
    );
    let mut views = views(db.reader(), &page, values).await?;
    views.sort_by_key(|view| std::cmp::Reverse((view.invoice.created_at, view.invoice.id)));
    Ok(views)
}

/// How many invoices a list holds, counted to [`COUNTED_MAX`].
pub async fn count(db: &Db, merchant_id: Uuid, filter: &InvoiceFilter) -> Result<u32> {
    let (condition, values) = conditions(merchant_id, filter);
    let sql = format!(
        "SELECT COUNT(*) AS total FROM
            (SELECT 1 AS one FROM invoice i WHERE {condition} LIMIT {COUNTED_MAX}) AS counted"
    );
    let row: Option<CountRow> = one(db.reader(), &sql, values).await?;
    Ok(row.and_then(|row| u32::try_from(row.total).ok()).unwrap_or(0))
}

fn conditions(merchant_id: Uuid, filter: &InvoiceFilter) -> (String, Vec<Value>) {
    let mut text = "i.merchant_id = $1".to_owned();
    let mut values: Vec<Value> = vec![merchant_id.into()];
    let mut add = |column: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            text.push_str(&format!(" AND i.{column} ${}", values.len()));
        }
    };
    add("order_id =", filter.order_id.clone().map(Into::into));
    add("status =", filter.status.map(|status| status.as_str().into()));
    add("network =", filter.network.map(|network| network.as_str().into()));
    add("created_at >=", filter.created_after.map(|at| at.0.into()));
    add("created_at <", filter.created_before.map(|at| at.0.into()));
    (text, values)
}

/// What reads invoices with their deposits and heads, up to its condition: written once, read all the time.
static VIEWS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS}, c.height AS head, c.watermark_at, c.reconciled_at, {}
         FROM invoice i
         LEFT JOIN chain_cursor c ON c.network = i.network
         LEFT JOIN deposit d ON d.invoice_id = i.id
         WHERE ",
        deposits::columns("d_")
    )
});

/// Invoices with their deposits and heads. A row per deposit comes back; they are put together here.
async fn views<C: ConnectionTrait>(
    db: &C,
    condition: &str,
    values: Vec<Value>,
) -> Result<Vec<InvoiceView>> {
    let sql = [VIEWS.as_str(), condition].concat();
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let mut views: BTreeMap<Uuid, InvoiceView> = BTreeMap::new();
    for row in db.query_all_raw(statement).await? {
        let view = match views.entry(row.try_get("", "id")?) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(view_without_deposits(&row)?),
        };
        if let Some(deposit) = joined_deposit(&row)? {
            view.deposits.push(deposit);
        }
    }
    Ok(views.into_values().collect())
}

fn view_without_deposits(row: &QueryResult) -> Result<InvoiceView> {
    let HeadRow { head, watermark_at, reconciled_at } = HeadRow::from_query_result(row, "")?;
    Ok(InvoiceView {
        invoice: InvoiceRow::from_query_result(row, "")?.read()?,
        deposits: Vec::new(),
        head: head.and_then(|head| u64::try_from(head).ok()).unwrap_or(0),
        watermark: watermark(watermark_at.unwrap_or(0), reconciled_at),
    })
}

fn joined_deposit(row: &QueryResult) -> Result<Option<Deposit>> {
    let id: Option<Uuid> = row.try_get("", "d_id")?;
    if id.is_none() {
        return Ok(None);
    }
    Ok(Some(DepositRow::from_query_result(row, "d_")?.read()?.1))
}

/// Invoices of a network about which something has to be decided at `moment`: a deposit changed, became as
/// deep as was asked or missed its time to be included; or the invoice's own time is over. What was decided
/// is not asked for again: however many invoices wait, those after them have their turn.
pub async fn due(db: &Db, network: Network, moment: Moment, limit: u32) -> Result<Vec<Uuid>> {
    let over = moment.known();
    let head = i64::try_from(moment.head).unwrap_or(i64::MAX);
    let sql = "
        SELECT DISTINCT d.invoice_id AS id FROM deposit d
        WHERE d.network = $1 AND d.version > d.applied_version AND d.invoice_id IS NOT NULL
        UNION
        SELECT d.invoice_id AS id FROM deposit d
        WHERE d.network = $1 AND d.state = 'included' AND d.credited = FALSE
          AND d.block_height <= $2 - d.asked_confirmations + 1
          AND (d.asked_finality = FALSE OR d.block_height <= $3) AND d.invoice_id IS NOT NULL
        UNION
        SELECT i.id FROM invoice i
        WHERE i.network = $1 AND i.status = 'pending' AND i.expires_at < $4
        UNION
        SELECT i.id FROM deposit d JOIN invoice i ON i.id = d.invoice_id
        WHERE d.network = $1 AND d.state = 'seen' AND d.counted_pending = TRUE
          AND d.first_seen_at + i.inclusion_seconds * 1000000 < $4
        LIMIT $5";
    let finalized = moment.finalized.and_then(|height| i64::try_from(height).ok()).unwrap_or(-1);
    let values = vec![
        network.as_str().into(),
        head.into(),
        finalized.into(),
        over.0.into(),
        i64::from(limit).into(),
    ];
    let rows: Vec<IdRow> = all(db.reader(), sql, values).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Locks invoices, in the order of their ids, and returns them.
pub async fn lock(unit: &UnitOfWork, ids: &[Uuid]) -> Result<Vec<Invoice>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM invoice i WHERE i.id IN ({}) ORDER BY i.id{}",
        places(ids.len(), 0),
        for_update(unit.backend())
    );
    let rows: Vec<InvoiceRow> =
        all(unit.db(), &sql, ids.iter().map(|id| (*id).into()).collect()).await?;
    rows.into_iter().map(InvoiceRow::read).collect()
}

/// Notes that the merchant canceled an invoice; its status follows in the same unit of work.
pub async fn mark_canceled(unit: &UnitOfWork, id: Uuid, at: Micros) -> Result<()> {
    execute(
        unit.db(),
        "UPDATE invoice SET canceled_at = $2 WHERE id = $1 AND canceled_at IS NULL",
        vec![id.into(), at.0.into()],
    )
    .await?;
    Ok(())
}
