//! NetworkService.

use std::collections::BTreeMap;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::network_service_server::NetworkService;
use tonic::{Request, Response, Status};

use crate::domain::asset::Network;
use crate::domain::endpoint::NetworkState;
use crate::env::Env;
use crate::store::{Db, cursor, endpoints};
use crate::transport::convert;
use crate::transport::status::store_status;
use crate::usecase::create_invoice::NetworkTerms;

/// The service with what it needs.
#[derive(Clone)]
pub struct NetworkApi {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// The enabled networks.
    pub networks: BTreeMap<Network, NetworkTerms>,
}

#[tonic::async_trait]
impl NetworkService for NetworkApi {
    async fn list_networks(
        &self,
        _request: Request<v1::ListNetworksRequest>,
    ) -> Result<Response<v1::ListNetworksResponse>, Status> {
        let now = self.env.now();
        let nodes = endpoints::of_all(&self.db).await.map_err(store_status)?;
        let mut networks = Vec::with_capacity(self.networks.len());
        for (network, terms) in &self.networks {
            let at = cursor::get(&self.db, *network).await.map_err(store_status)?;
            // Of a network that was never read nothing is known, since ever.
            let lag = at.as_ref().map_or(u64::MAX, |at| now.since(at.watermark).as_secs());
            let age = at.as_ref().map(|at| now.since(at.read_at)).unwrap_or_default();
            let nodes = nodes.get(network.as_str()).map(Vec::as_slice).unwrap_or_default();
            let scanned = at.as_ref().map(|at| (at.height, at.node_height));
            let state = NetworkState::of(scanned, age, nodes);
            networks.push(v1::Network {
                network: network.as_str().to_owned(),
                network_label: network.label().to_owned(),
                coin: network.asset().as_str().to_owned(),
                withdrawal_minimum: network.withdrawal_minimum().to_owned(),
                network_fee: network.withdrawal_fee().to_owned(),
                confirmations_required: terms.finality.least().confirmations,
                lag_seconds: u32::try_from(lag).unwrap_or(u32::MAX),
                scanned_height: at.as_ref().map_or(0, |at| at.height),
                node_height: at.as_ref().map_or(0, |at| at.node_height),
                finalized_height: at.as_ref().and_then(|at| at.finalized_height),
                is_finality_stalled: at.is_some_and(|at| at.is_finality_stalled(*network)),
                state: convert::network_state(state).into(),
            });
        }
        Ok(Response::new(v1::ListNetworksResponse { networks }))
    }
}
