//! API keys and the endpoint of each. API secrets are here as digests, APP_KEYs and Standard Webhooks
//! secrets sealed; none can be read back from a row alone.

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
    /// What will sign them once it is activated, sealed.
    pub app_key_next: Option<Vec<u8>>,
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
    /// The Standard Webhooks secret of its endpoint, sealed.
    pub signing_secret: Option<Vec<u8>>,
    /// The secret before it, sealed.
    pub signing_secret_previous: Option<Vec<u8>>,
    /// Until when that signs too, microseconds.
    pub signing_secret_previous_until: Option<i64>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("public_id", &self.public_id).finish_non_exhaustive()
    }
}

const SELECT: &str = "SELECT k.id, k.public_id, k.merchant_id, k.name, k.digest, k.mode, k.scopes,
        k.rest_view, k.app_key, k.app_key_next, k.expires_at, k.revoked_at, k.created_at,
        m.approved_at, m.honors_late, m.shortfall_basis_points, p.url AS webhook_url,
        p.events AS webhook_events, p.signing_secret, p.signing_secret_previous,
        p.signing_secret_previous_until
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

/// Whether there is any key, revoked ones included.
pub async fn any(db: &Db) -> Result<bool> {
    let newest = newest(db, 1).await?;
    Ok(!newest.is_empty())
}

/// The newest keys of all merchants, the newest first.
pub async fn newest(db: &Db, limit: i64) -> Result<Vec<ApiKey>> {
    let sql = format!("{SELECT} ORDER BY k.created_at DESC, k.id DESC LIMIT $1");
    all(db.reader(), &sql, vec![limit.into()]).await
}

/// A merchant's keys, oldest first.
pub async fn of_merchant(db: &Db, merchant_id: Uuid) -> Result<Vec<ApiKey>> {
    let sql = format!("{SELECT} WHERE k.merchant_id = $1 ORDER BY k.created_at, k.id LIMIT $2");
    all(db.reader(), &sql, vec![merchant_id.into(), LISTED_MAX.into()]).await
}

/// The keys whose events are sent somewhere, oldest first.
pub async fn with_endpoints(db: &Db) -> Result<Vec<ApiKey>> {
    let sql = format!("{SELECT} WHERE p.url IS NOT NULL ORDER BY k.created_at, k.id LIMIT $1");
    all(db.reader(), &sql, vec![LISTED_MAX.into()]).await
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
    /// The Standard Webhooks secret it gets if it has none, sealed.
    pub signing_secret: Vec<u8>,
}

/// Sets a key's endpoint.
pub async fn set_endpoint(unit: &UnitOfWork, endpoint: &NewEndpoint, at: Micros) -> Result<()> {
    execute(
        unit.db(),
        "INSERT INTO endpoint (id, api_key_id, merchant_id, url, events, created_at, signing_secret)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (api_key_id) DO UPDATE SET url = excluded.url, events = excluded.events,
            signing_secret = COALESCE(endpoint.signing_secret, excluded.signing_secret)",
        vec![
            endpoint.id.into(),
            endpoint.api_key_id.into(),
            endpoint.merchant_id.into(),
            endpoint.url.clone().into(),
            endpoint.events.clone().into(),
            at.0.into(),
            endpoint.signing_secret.clone().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Sets a key's next APP_KEY, sealed.
pub async fn set_next_app_key(unit: &UnitOfWork, id: Uuid, sealed: Vec<u8>) -> Result<()> {
    let sql = "UPDATE api_key SET app_key_next = $2 WHERE id = $1";
    execute(unit.db(), sql, vec![id.into(), sealed.into()]).await?;
    Ok(())
}

/// Puts a key's next APP_KEY in the place of the active one. Whether there was a next one.
pub async fn activate_app_key(unit: &UnitOfWork, id: Uuid) -> Result<bool> {
    let sql = "UPDATE api_key SET app_key = app_key_next, app_key_next = NULL
               WHERE id = $1 AND app_key_next IS NOT NULL";
    Ok(execute(unit.db(), sql, vec![id.into()]).await? == 1)
}

/// Gives the endpoint of a key another secret; the one before signs too until then. Whether there
/// is an endpoint.
pub async fn rotate_secret(
    unit: &UnitOfWork,
    api_key_id: Uuid,
    sealed: Vec<u8>,
    previous_until: Micros,
) -> Result<bool> {
    let sql = "UPDATE endpoint SET signing_secret_previous = signing_secret,
                  signing_secret_previous_until = $3, signing_secret = $2
               WHERE api_key_id = $1";
    let values = vec![api_key_id.into(), sealed.into(), previous_until.0.into()];
    Ok(execute(unit.db(), sql, values).await? == 1)
}
