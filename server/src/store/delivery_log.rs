//! Reading deliveries and their attempts, and asking for one to be sent again. Whose they are is the
//! merchant's: every query names it. Not here: the queue itself (`deliveries`).

use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::{
    Db, Result, StoreError, UnitOfWork, all, execute, for_update, known, one, places, unsigned,
};
use crate::domain::event::EventKind;
use crate::domain::time::Micros;

/// Deliveries of a list that are counted.
const COUNTED_MAX: u32 = 10_000;
/// Deliveries forgotten by one unit of work.
const PRUNED_DELIVERIES_MAX: i64 = 500;
/// Microseconds of a day.
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Waits for its first attempt or a retry.
    Pending,
    /// It arrived.
    Delivered,
    /// All scheduled attempts failed.
    Failed,
    /// Its endpoint was removed first.
    Dropped,
}

impl DeliveryState {
    const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Dropped];

    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A delivery as its merchant sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its row.
    pub id: Uuid,
    /// The event's place in the merchant's log.
    pub seq: u64,
    /// What happened.
    pub kind: EventKind,
    /// The invoice.
    pub invoice_id: Uuid,
    /// The public part of the key that is told.
    pub api_key: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts made, those out of turn included.
    pub attempts_made: u32,
    /// Attempts made out of turn.
    pub redeliveries: u32,
    /// When the next scheduled attempt is due.
    pub next_attempt_at: Option<Micros>,
    /// When a redelivery was asked for that is not made yet.
    pub redelivery_requested_at: Option<Micros>,
    /// When the event happened.
    pub created_at: Micros,
}

/// One attempt as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which, from 1.
    pub number: u32,
    /// Whether it was out of turn.
    pub is_redelivery: bool,
    /// When it began.
    pub started_at: Micros,
    /// How long it took.
    pub duration_ms: u64,
    /// Where to.
    pub url: String,
    /// The request's headers.
    pub request_headers: Vec<(String, String)>,
    /// The request's body.
    pub request_body: String,
    /// The answer's status.
    pub status_code: Option<u32>,
    /// What went wrong.
    pub error: Option<String>,
    /// The answer's headers.
    pub response_headers: Vec<(String, String)>,
    /// The beginning of the answer's body.
    pub response_body: String,
    /// Whether the body was longer.
    pub is_response_cut: bool,
}

/// Which deliveries a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// About this invoice.
    pub invoice_id: Option<Uuid>,
    /// Of this event.
    pub kind: Option<EventKind>,
    /// In this state.
    pub state: Option<DeliveryState>,
}

/// Which deliveries of all merchants a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorFilter {
    /// Of this merchant.
    pub merchant_id: Option<Uuid>,
    /// To the endpoint of this key, `pk_...`.
    pub api_key: Option<String>,
    /// What else.
    pub of: DeliveryFilter,
}

#[derive(FromQueryResult)]
struct DeliveryRow {
    id: Uuid,
    seq: i64,
    kind: String,
    aggregate_id: Uuid,
    public_id: String,
    state: String,
    attempt: i64,
    redeliveries: i64,
    due_at: i64,
    redeliver_at: Option<i64>,
    created_at: i64,
}

#[derive(FromQueryResult)]
struct AttemptRow {
    n: i64,
    redelivery: bool,
    started_at: i64,
    duration_ms: i64,
    url: String,
    request_headers: String,
    request_body: String,
    status_code: Option<i64>,
    error: Option<String>,
    response_headers: String,
    response: String,
    response_cut: bool,
}

#[derive(FromQueryResult)]
struct CountRow {
    total: i64,
}

#[derive(FromQueryResult)]
struct EndpointRow {
    url: Option<String>,
}

#[derive(FromQueryResult)]
struct FoundRow {
    id: Uuid,
}

const SELECT: &str = "SELECT d.id, d.seq, e.type AS kind, d.aggregate_id, k.public_id, d.state,
        d.attempt, d.redeliveries, d.due_at, d.redeliver_at, e.created_at
     FROM delivery d
     JOIN event e ON e.merchant_id = d.merchant_id AND e.seq = d.seq
     JOIN endpoint p ON p.id = d.endpoint_id
     JOIN api_key k ON k.id = p.api_key_id";

impl DeliveryRow {
    fn read(self) -> Result<Delivery> {
        let state = known(DeliveryState::parse(&self.state), "delivery state", &self.state)?;
        let count = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Delivery {
            id: self.id,
            seq: unsigned(self.seq, "sequence")?,
            kind: known(EventKind::parse(&self.kind), "event", &self.kind)?,
            invoice_id: self.aggregate_id,
            api_key: self.public_id,
            state,
            attempts_made: count(self.attempt + self.redeliveries),
            redeliveries: count(self.redeliveries),
            next_attempt_at: (state == DeliveryState::Pending).then_some(Micros(self.due_at)),
            redelivery_requested_at: self.redeliver_at.map(Micros),
            created_at: Micros(self.created_at),
        })
    }
}

impl AttemptRow {
    fn read(self) -> Result<Attempt> {
        let pairs = |text: &str| {
            serde_json::from_str(text)
                .map_err(|error| StoreError::Corrupt(format!("headers of an attempt: {error}")))
        };
        Ok(Attempt {
            number: u32::try_from(self.n).unwrap_or(u32::MAX),
            is_redelivery: self.redelivery,
            started_at: Micros(self.started_at),
            duration_ms: unsigned(self.duration_ms, "duration")?,
            url: self.url,
            request_headers: pairs(&self.request_headers)?,
            request_body: self.request_body,
            status_code: self.status_code.and_then(|code| u32::try_from(code).ok()),
            error: self.error,
            response_headers: pairs(&self.response_headers)?,
            response_body: self.response,
            is_response_cut: self.response_cut,
        })
    }
}

/// A page of a merchant's deliveries, newest event first: those after `(sequence, id)`, if given.
pub async fn list(
    db: &Db,
    merchant_id: Uuid,
    filter: &DeliveryFilter,
    after: Option<(i64, Uuid)>,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let (mut condition, mut values) = conditions(merchant_id, filter);
    if let Some((seq, id)) = after {
        values.push(seq.into());
        values.push(id.into());
        let (at, key) = (values.len() - 1, values.len());
        condition.push_str(&format!(" AND (d.seq < ${at} OR (d.seq = ${at} AND d.id < ${key}))"));
    }
    let sql = format!("{SELECT} WHERE {condition} ORDER BY d.seq DESC, d.id DESC LIMIT {limit}");
    let rows: Vec<DeliveryRow> = all(db.reader(), &sql, values).await?;
    rows.into_iter().map(DeliveryRow::read).collect()
}

/// How many deliveries a list holds, counted to [`COUNTED_MAX`].
pub async fn count(db: &Db, merchant_id: Uuid, filter: &DeliveryFilter) -> Result<u32> {
    let (condition, values) = conditions(merchant_id, filter);
    let sql = format!(
        "SELECT COUNT(*) AS total FROM (SELECT 1 AS one FROM delivery d
            JOIN event e ON e.merchant_id = d.merchant_id AND e.seq = d.seq
            WHERE {condition} LIMIT {COUNTED_MAX}) AS counted"
    );
    let row: Option<CountRow> = one(db.reader(), &sql, values).await?;
    Ok(row.and_then(|row| u32::try_from(row.total).ok()).unwrap_or(0))
}

/// A page of all merchants' deliveries, the newest first: those before the delivery `before`, if
/// given. Ids grow with time.
pub async fn list_all(
    db: &Db,
    filter: &OperatorFilter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let mut text = "1 = 1".to_owned();
    let mut values: Vec<Value> = Vec::new();
    let mut add = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            text.push_str(&format!(" AND {condition} ${}", values.len()));
        }
    };
    add("d.merchant_id =", filter.merchant_id.map(Into::into));
    add("k.public_id =", filter.api_key.clone().map(Into::into));
    add("d.aggregate_id =", filter.of.invoice_id.map(Into::into));
    add("e.type =", filter.of.kind.map(|kind| kind.as_str().into()));
    add("d.state =", filter.of.state.map(|state| state.as_str().into()));
    add("d.id <", before.map(Into::into));
    let sql = format!("{SELECT} WHERE {text} ORDER BY d.id DESC LIMIT {limit}");
    let rows: Vec<DeliveryRow> = all(db.reader(), &sql, values).await?;
    rows.into_iter().map(DeliveryRow::read).collect()
}

/// One delivery of any merchant, with whose it is.
pub async fn get_any(db: &Db, id: Uuid) -> Result<Option<(Uuid, Delivery)>> {
    let sql = "SELECT merchant_id AS id FROM delivery WHERE id = $1";
    let owner: Option<FoundRow> = one(db.reader(), sql, vec![id.into()]).await?;
    let Some(FoundRow { id: merchant_id }) = owner else { return Ok(None) };
    Ok(get(db, merchant_id, id).await?.map(|delivery| (merchant_id, delivery)))
}

fn conditions(merchant_id: Uuid, filter: &DeliveryFilter) -> (String, Vec<Value>) {
    let mut text = "d.merchant_id = $1".to_owned();
    let mut values: Vec<Value> = vec![merchant_id.into()];
    let mut add = |column: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            text.push_str(&format!(" AND {column} = ${}", values.len()));
        }
    };
    add("d.aggregate_id", filter.invoice_id.map(Into::into));
    add("e.type", filter.kind.map(|kind| kind.as_str().into()));
    add("d.state", filter.state.map(|state| state.as_str().into()));
    (text, values)
}

/// One delivery of a merchant.
pub async fn get(db: &Db, merchant_id: Uuid, id: Uuid) -> Result<Option<Delivery>> {
    let sql = format!("{SELECT} WHERE d.merchant_id = $1 AND d.id = $2");
    let row: Option<DeliveryRow> =
        one(db.reader(), &sql, vec![merchant_id.into(), id.into()]).await?;
    row.map(DeliveryRow::read).transpose()
}

/// The newest `limit` attempts of a delivery of a merchant, oldest first.
pub async fn attempts(
    db: &Db,
    merchant_id: Uuid,
    delivery_id: Uuid,
    limit: u32,
) -> Result<Vec<Attempt>> {
    let sql = "SELECT a.n, a.redelivery, a.started_at, a.duration_ms, a.url, a.request_headers,
                  a.request_body, a.status_code, a.error, a.response_headers, a.response,
                  a.response_cut
               FROM delivery d JOIN delivery_attempt a ON a.delivery_id = d.id
               WHERE d.merchant_id = $1 AND d.id = $2 ORDER BY a.n DESC LIMIT $3";
    let values = vec![merchant_id.into(), delivery_id.into(), i64::from(limit).into()];
    let rows: Vec<AttemptRow> = all(db.reader(), sql, values).await?;
    rows.into_iter().rev().map(AttemptRow::read).collect()
}

/// What became of the wish to send a delivery again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivery {
    /// It will be sent.
    Requested,
    /// The merchant has no such delivery.
    NoDelivery,
    /// Its endpoint was removed.
    NoEndpoint,
    /// It was sent again so often already.
    Exhausted,
}

/// Asks for an attempt out of turn. One that was asked for and is not made yet stays as it is.
pub async fn request_redelivery(
    unit: &UnitOfWork,
    merchant_id: Uuid,
    id: Uuid,
    at: Micros,
    redeliveries_max: u32,
) -> Result<Redelivery> {
    let sql = format!(
        "SELECT d.id FROM delivery d WHERE d.merchant_id = $1 AND d.id = $2{}",
        for_update(unit.backend())
    );
    let found: Option<FoundRow> = one(unit.db(), &sql, vec![merchant_id.into(), id.into()]).await?;
    let Some(FoundRow { id }) = found else { return Ok(Redelivery::NoDelivery) };
    let sql =
        "SELECT p.url FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id WHERE d.id = $1";
    let endpoint: Option<EndpointRow> = one(unit.db(), sql, vec![id.into()]).await?;
    if endpoint.and_then(|row| row.url).is_none() {
        return Ok(Redelivery::NoEndpoint);
    }
    let sql = "UPDATE delivery SET redeliver_at = COALESCE(redeliver_at, $2)
               WHERE id = $1 AND redeliveries < $3";
    let values = vec![id.into(), at.0.into(), i64::from(redeliveries_max).into()];
    let changed = execute(unit.db(), sql, values).await?;
    Ok(if changed == 1 { Redelivery::Requested } else { Redelivery::Exhausted })
}

/// Forgets deliveries that ended longer than `retention_days` ago, with their attempts. True when there
/// may be more.
pub async fn prune(db: &Db, retention_days: u32, now: Micros) -> Result<bool> {
    let before = now.0.saturating_sub(i64::from(retention_days).saturating_mul(MICROS_PER_DAY));
    let ended = "SELECT id FROM delivery WHERE state IN ('delivered', 'failed', 'dropped')
                 AND due_at < $1 AND redeliver_at IS NULL AND claimed_by IS NULL LIMIT $2";
    let values = || vec![before.into(), PRUNED_DELIVERIES_MAX.into()];
    if all::<FoundRow, _>(db.reader(), ended, values()).await?.is_empty() {
        return Ok(false);
    }
    let unit = db.begin("prune_deliveries").await?;
    // Locked: a redelivery asked for meanwhile waits, and then finds nothing to send again.
    let sql = format!("{ended}{}", for_update(unit.backend()));
    let old: Vec<FoundRow> = all(unit.db(), &sql, values()).await?;
    let ids = places(old.len(), 0);
    for statement in [
        format!("DELETE FROM delivery_attempt WHERE delivery_id IN ({ids})"),
        format!("DELETE FROM delivery WHERE id IN ({ids})"),
    ] {
        let values = old.iter().map(|row| row.id.into()).collect();
        if !old.is_empty() {
            execute(unit.db(), &statement, values).await?;
        }
    }
    unit.commit().await?;
    Ok(i64::try_from(old.len()) == Ok(PRUNED_DELIVERIES_MAX))
}
