//! How the nodes of each network stand, as the process that watches them noted it last. Not here: how
//! they are judged (`chain::endpoints`).

use std::collections::BTreeMap;

use sea_orm::{FromQueryResult, Value};

use super::{Db, Result, UnitOfWork, all, execute, known, signed, unsigned};
use crate::domain::asset::Network;
use crate::domain::endpoint::{Endpoint, EndpointState};
use crate::domain::time::Micros;

#[derive(FromQueryResult)]
struct Row {
    network: String,
    name: String,
    host: String,
    state: String,
    is_serving: bool,
    height: Option<i64>,
    finalized_height: Option<i64>,
    since_at: i64,
    error: String,
}

impl Row {
    fn read(self) -> Result<Endpoint> {
        let height = |height: Option<i64>| height.map(|h| unsigned(h, "height")).transpose();
        Ok(Endpoint {
            name: self.name,
            host: self.host,
            state: known(EndpointState::parse(&self.state), "endpoint state", &self.state)?,
            is_serving: self.is_serving,
            height: height(self.height)?,
            finalized_height: height(self.finalized_height)?,
            since: Micros(self.since_at),
            error: self.error,
        })
    }
}

/// Notes how the nodes of a network stand, the preferred first, in place of what was noted before.
pub async fn note(unit: &UnitOfWork, network: Network, endpoints: &[Endpoint]) -> Result<()> {
    let before = "DELETE FROM chain_endpoint WHERE network = $1";
    execute(unit.db(), before, vec![network.as_str().into()]).await?;
    for (position, endpoint) in (0_i64..).zip(endpoints) {
        let height = |height: Option<u64>| -> Result<Value> {
            Ok(height.map(|h| signed(h, "height")).transpose()?.into())
        };
        execute(
            unit.db(),
            "INSERT INTO chain_endpoint (network, position, name, host, state, is_serving, height,
                finalized_height, since_at, error)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            vec![
                network.as_str().into(),
                position.into(),
                endpoint.name.clone().into(),
                endpoint.host.clone().into(),
                endpoint.state.as_str().into(),
                endpoint.is_serving.into(),
                height(endpoint.height)?,
                height(endpoint.finalized_height)?,
                endpoint.since.0.into(),
                endpoint.error.clone().into(),
            ],
        )
        .await?;
    }
    Ok(())
}

/// The nodes of every network that has any, the preferred first.
pub async fn of_all(db: &Db) -> Result<BTreeMap<String, Vec<Endpoint>>> {
    let rows: Vec<Row> = all(
        db.reader(),
        "SELECT network, name, host, state, is_serving, height, finalized_height, since_at, error
         FROM chain_endpoint ORDER BY network, position",
        Vec::new(),
    )
    .await?;
    let mut endpoints: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
    for row in rows {
        endpoints.entry(row.network.clone()).or_default().push(row.read()?);
    }
    Ok(endpoints)
}
