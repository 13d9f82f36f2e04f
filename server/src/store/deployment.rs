//! What a database belongs to: its environment, wallet and chains, stamped once; and the business
//! clock's offset.

use sea_orm::FromQueryResult;

use super::{Db, Result, UnitOfWork, execute, one};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::domain::time::Micros;

/// What the database was stamped with at its first start.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Deployment {
    /// `sandbox` or `live`.
    pub environment: String,
    /// Hex SHA-256 of the signer's public key.
    pub wallet_id: String,
}

/// What a network was stamped with when it was first enabled.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct NetworkStamp {
    /// Which instance of the network.
    pub chain: String,
    /// The hash of its genesis block.
    pub genesis: String,
}

#[derive(FromQueryResult)]
struct Offset {
    business_offset: i64,
}

/// Stamps an unstamped database; returns the stamp that stands.
pub async fn stamp(db: &Db, wanted: &Deployment, now: Micros) -> Result<Deployment> {
    let unit = db.begin("deployment").await?;
    execute(
        unit.db(),
        "INSERT INTO deployment (one, environment, wallet_id, created_at) VALUES (1, $1, $2, $3)
         ON CONFLICT (one) DO NOTHING",
        vec![wanted.environment.clone().into(), wanted.wallet_id.clone().into(), now.0.into()],
    )
    .await?;
    execute(
        unit.db(),
        "INSERT INTO clock (one, business_offset) VALUES (1, 0) ON CONFLICT (one) DO NOTHING",
        vec![],
    )
    .await?;
    let stamp = one(unit.db(), "SELECT environment, wallet_id FROM deployment", vec![]).await?;
    unit.commit().await?;
    Ok(stamp.unwrap_or_else(|| wanted.clone()))
}

/// Stamps a network that is enabled for the first time; returns the stamp that stands.
pub async fn stamp_network(
    db: &Db,
    network: Network,
    chain: ChainKind,
    genesis: &str,
) -> Result<NetworkStamp> {
    let wanted = NetworkStamp { chain: chain.as_str().to_owned(), genesis: genesis.to_owned() };
    let unit = db.begin("deployment").await?;
    execute(
        unit.db(),
        "INSERT INTO network_stamp (network, chain, genesis) VALUES ($1, $2, $3)
         ON CONFLICT (network) DO NOTHING",
        vec![network.as_str().into(), wanted.chain.clone().into(), genesis.into()],
    )
    .await?;
    let stamp = one(
        unit.db(),
        "SELECT chain, genesis FROM network_stamp WHERE network = $1",
        vec![network.as_str().into()],
    )
    .await?;
    unit.commit().await?;
    Ok(stamp.unwrap_or(wanted))
}

/// How far business time is ahead of system time, microseconds.
pub async fn business_offset(db: &Db) -> Result<i64> {
    let row: Option<Offset> = one(db.reader(), "SELECT business_offset FROM clock", vec![]).await?;
    Ok(row.map_or(0, |row| row.business_offset))
}

/// Moves business time forward; returns the new offset.
pub async fn advance_clock(unit: &UnitOfWork, micros: i64) -> Result<i64> {
    let row: Option<Offset> = one(
        unit.db(),
        "UPDATE clock SET business_offset = business_offset + $1 RETURNING business_offset",
        vec![micros.into()],
    )
    .await?;
    Ok(row.map_or(micros, |row| row.business_offset))
}
