//! The operator's NetworkService: how each network is read, how far, its pool of addresses, and blocks
//! read again.

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::network_service_server::NetworkService;
use tonic::{Request, Response, Status};

use super::ACTOR;
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::domain::endpoint::{Endpoint, EndpointState, NetworkState};
use crate::domain::failure::{Failure, Reason};
use crate::env::Env;
use crate::store::addresses::{self, PoolCount};
use crate::store::rescans::{self, Rescan, RescanState};
use crate::store::{Db, cursor, endpoints};
use crate::transport::convert;
use crate::transport::status::{status, store_status};
use crate::usecase::rescan_blocks;

/// Rescans shown of each network.
const RESCANS_SHOWN_MAX: u32 = 10;

/// A network as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfiguredNetwork {
    /// The network.
    pub network: Network,
    /// Whether invoices can be created on it.
    pub enabled: bool,
    /// How it is read: `sandbox` or `node`.
    pub backend: &'static str,
    /// Which instance of it.
    pub chain: ChainKind,
    /// How deep a payment must be.
    pub confirmations: u32,
}

/// The service with what it needs.
#[derive(Clone)]
pub struct AdminNetworkApi {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Every network.
    pub networks: Vec<ConfiguredNetwork>,
}

#[tonic::async_trait]
impl NetworkService for AdminNetworkApi {
    async fn list_networks(
        &self,
        _request: Request<v1::ListNetworksRequest>,
    ) -> Result<Response<v1::ListNetworksResponse>, Status> {
        let nodes = endpoints::of_all(&self.db).await.map_err(store_status)?;
        let mut networks = Vec::with_capacity(self.networks.len());
        for configured in &self.networks {
            let nodes = nodes.get(configured.network.as_str()).map(Vec::as_slice);
            networks.push(self.shown(configured, nodes.unwrap_or_default()).await?);
        }
        Ok(Response::new(v1::ListNetworksResponse { networks }))
    }

    async fn rescan_blocks(
        &self,
        request: Request<v1::RescanBlocksRequest>,
    ) -> Result<Response<v1::RescanBlocksResponse>, Status> {
        let message = request.get_ref();
        let network = self.enabled(&message.network).map_err(status)?;
        let heights = (message.from_height, message.to_height);
        let rescan = rescan_blocks::request(&self.db, &self.env, network, heights, ACTOR).await;
        let rescan = Some(shown_rescan(&rescan.map_err(status)?));
        Ok(Response::new(v1::RescanBlocksResponse { rescan }))
    }

    async fn get_rescan(
        &self,
        request: Request<v1::GetRescanRequest>,
    ) -> Result<Response<v1::GetRescanResponse>, Status> {
        let id = convert::id(&request.get_ref().id, rescan_blocks::not_found).map_err(status)?;
        let rescan = rescan_blocks::get(&self.db, id).await.map_err(status)?;
        Ok(Response::new(v1::GetRescanResponse { rescan: Some(shown_rescan(&rescan)) }))
    }
}

impl AdminNetworkApi {
    async fn shown(
        &self,
        configured: &ConfiguredNetwork,
        nodes: &[Endpoint],
    ) -> Result<v1::Network, Status> {
        let network = configured.network;
        let at = cursor::get(&self.db, network).await.map_err(store_status)?;
        let at = at.as_ref();
        let PoolCount { free, leased, used, quarantined } =
            addresses::count(&self.db, network).await.map_err(store_status)?;
        let rescans = rescans::newest(&self.db, network, RESCANS_SHOWN_MAX).await;
        let rescans = rescans.map_err(store_status)?;
        let now = self.env.now();
        let age = at.map(|at| now.since(at.read_at)).unwrap_or_default();
        let scanned = at.map(|at| (at.height, at.node_height));
        let state = NetworkState::of(scanned, age, nodes);
        Ok(v1::Network {
            network: network.as_str().to_owned(),
            network_label: network.label().to_owned(),
            enabled: configured.enabled,
            backend: configured.backend.to_owned(),
            chain: configured.chain.as_str().to_owned(),
            confirmations_required: configured.confirmations,
            node_height: at.map(|at| at.node_height),
            scanned_height: at.map(|at| at.height),
            lag_blocks: at.map_or(0, |at| at.node_height.saturating_sub(at.height)),
            watermark_at: at.map(|at| convert::timestamp(at.watermark)),
            watermark_age_seconds: at.map(|at| now.since(at.watermark).as_secs()),
            pool: Some(v1::AddressPool { free, leased, used, quarantined }),
            state: configured.enabled.then(|| convert::network_state(state).into()),
            endpoints: nodes.iter().map(shown_endpoint).collect(),
            rescans: rescans.iter().map(shown_rescan).collect(),
            finalized_height: at.and_then(|at| at.finalized_height),
        })
    }

    fn enabled(&self, name: &str) -> Result<Network, Failure> {
        if name.is_empty() {
            return Err(Failure::field("network", Reason::FieldRequired, "is required"));
        }
        let enabled = || self.networks.iter().filter(|one| one.enabled).map(|one| one.network);
        let network = enabled().find(|network| network.as_str() == name);
        network.ok_or_else(|| Failure::unknown_network("enabled", enabled().map(|n| n.as_str())))
    }
}

fn shown_endpoint(endpoint: &Endpoint) -> v1::Endpoint {
    let state = match endpoint.state {
        EndpointState::Healthy => v1::EndpointState::Healthy,
        EndpointState::Unreachable => v1::EndpointState::Unreachable,
        EndpointState::Unfit => v1::EndpointState::Unfit,
        EndpointState::Stalled => v1::EndpointState::Stalled,
        EndpointState::Lying => v1::EndpointState::Lying,
        EndpointState::Behind => v1::EndpointState::Behind,
        EndpointState::WentBack => v1::EndpointState::WentBack,
        EndpointState::Disagrees => v1::EndpointState::Disagrees,
    };
    v1::Endpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        state: state.into(),
        is_serving: endpoint.is_serving,
        height: endpoint.height,
        finalized_height: endpoint.finalized_height,
        since: Some(convert::timestamp(endpoint.since)),
        error: endpoint.error.clone(),
    }
}

fn shown_rescan(rescan: &Rescan) -> v1::Rescan {
    let state = match rescan.state {
        RescanState::Waiting => v1::RescanState::Waiting,
        RescanState::Done => v1::RescanState::Done,
        RescanState::Failed => v1::RescanState::Failed,
    };
    v1::Rescan {
        id: rescan.id.to_string(),
        network: rescan.network.clone(),
        from_height: rescan.from_height,
        to_height: rescan.to_height,
        next_height: rescan.next_height,
        deposits_changed: rescan.deposits_changed,
        state: state.into(),
        error: rescan.error.clone(),
        created_at: Some(convert::timestamp(rescan.created_at)),
        ended_at: rescan.ended_at.map(convert::timestamp),
    }
}
