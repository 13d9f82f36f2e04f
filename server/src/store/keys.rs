//! API keys and the endpoint of each. Secrets are here as digests, APP_KEYs sealed; neither can be
//! read back from a row alone.

use std::fmt;

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{Db, Result, UnitOfWork, all, execute, one};
use crate::domain::time::Micros;

/// Keys returned by one list.
const LISTED_MAX: i64 = 1_000;

/// A key with what authentication needs to know about its merchant, and its endpoint.
#[derive(Clone, PartialEq, Eq, FromQueryResult)]
pub struct ApiKey {
    /// Its row.
    pub id: Uuid,
    /// The public part, `pk_...`.
    pub public_id: String,
    /// Whose it is.
    pub merchant_id: Uuid,
    /// Its name for people.
    pub name: String,
    /// SHA-256 of the secret part.
    pub digest: Vec<u8>,
    /// `test` or `live`.
    pub mode: String,
    /// Names of scopes, comma separated; `*` is every merchant scope.
    pub scopes: String,
    /// `basic` or `full`.
    pub rest_view: String,
    /// What signs its webhooks, sealed.
    pub app_key: Vec<u8>,
    /// When it stops working, microseconds.
    pub expires_at: Option<i64>,
    /// When it was revoked, microseconds.
    pub revoked_at: Option<i64>,
    /// When it was created, microseconds.
    pub created_at: i64,
    /// When its merchant was approved, microseconds.
    pub approved_at: Option<i64>,
    /// Whether its merchant honours late payments.
    pub honors_late: bool,
    /// How much its merchant allows to be missing, hundredths of a percent.
    pub shortfall_basis_points: i64,
    /// Where its events are sent.
    pub webhook_url: Option<String>,
    /// The event types it gets, comma separated.
    pub webhook_events: Option<String>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("public_id", &self.public_id).finish_non_exhaustive()
    }
}

const SELECT: &str = "SELECT k.id, k.public_id, k.merchant_id, k.name, k.digest, k.mode, k.scopes,
        k.rest_view, k.app_key, k.expires_at, k.revoked_at, k.created_at, m.approved_at,
        m.honors_late, m.shortfall_basis_points, p.url AS webhook_url, p.events AS webhook_events
     FROM api_key k JOIN merchant m ON m.id = k.merchant_id
     LEFT JOIN endpoint p ON p.api_key_id = k.id";

/// Inserts a key.
pub async fn insert(unit: &UnitOfWork, key: &ApiKey) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO api_key (id, public_id, merchant_id, name, digest, mode, scopes, rest_view,
            app_key, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        vec![
            key.id.into(),
            key.public_id.clone().into(),
            key.merchant_id.into(),
            key.name.clone().into(),
            key.digest.clone().into(),
            key.mode.clone().into(),
            key.scopes.clone().into(),
            key.rest_view.clone().into(),
            key.app_key.clone().into(),
            key.expires_at.into(),
            key.created_at.into(),
        ],
    )
    .await?;
    Ok(())
}

/// The key with this public part.
pub async fn get(db: &Db, public_id: &str) -> Result<Option<ApiKey>> {
    one(db.reader(), &format!("{SELECT} WHERE k.public_id = $1"), vec![public_id.into()]).await
}

/// A merchant's keys, oldest first.
pub async fn of_merchant(db: &Db, merchant_id: Uuid) -> Result<Vec<ApiKey>> {
    let sql = format!("{SELECT} WHERE k.merchant_id = $1 ORDER BY k.created_at, k.id LIMIT $2");
    all(db.reader(), &sql, vec![merchant_id.into(), LISTED_MAX.into()]).await
}

/// Revokes a key that is not yet.
pub async fn revoke(unit: &UnitOfWork, public_id: &str, at: Micros) -> Result<()> {
    execute(
        unit.db(),
        "UPDATE api_key SET revoked_at = $2 WHERE public_id = $1 AND revoked_at IS NULL",
        vec![public_id.into(), at.0.into()],
    )
    .await?;
    Ok(())
}

/// Changes a key's name and view; what is `None` stays.
pub async fn update(
    unit: &UnitOfWork,
    public_id: &str,
    name: Option<&str>,
    rest_view: Option<&str>,
) -> Result<()> {
    execute(
        unit.db(),
        "UPDATE api_key SET name = COALESCE($2, name), rest_view = COALESCE($3, rest_view)
         WHERE public_id = $1",
        vec![public_id.into(), name.map(str::to_owned).into(), rest_view.map(str::to_owned).into()],
    )
    .await?;
    Ok(())
}

/// A key's endpoint as it shall be.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// The id it gets if it is new.
    pub id: Uuid,
    /// Whose it is.
    pub api_key_id: Uuid,
    /// The merchant of that key.
    pub merchant_id: Uuid,
    /// Where to send; `None` sends nothing.
    pub url: Option<String>,
    /// The event types, comma separated.
    pub events: String,
}

/// Sets a key's endpoint.
pub async fn set_endpoint(unit: &UnitOfWork, endpoint: &NewEndpoint, at: Micros) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO endpoint (id, api_key_id, merchant_id, url, events, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (api_key_id) DO UPDATE SET url = excluded.url, events = excluded.events",
        vec![
            endpoint.id.into(),
            endpoint.api_key_id.into(),
            endpoint.merchant_id.into(),
            endpoint.url.clone().into(),
            endpoint.events.clone().into(),
            at.0.into(),
        ],
    )
    .await?;
    Ok(())
}
