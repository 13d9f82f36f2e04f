//! The operator's NetworkService: how each network is read, how far, and its pool of addresses.

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::network_service_server::NetworkService;
use tonic::{Request, Response, Status};

use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::env::Env;
use crate::store::addresses::{self, PoolCount};
use crate::store::{Db, cursor};
use crate::transport::convert;
use crate::transport::status::store_status;

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
        let mut networks = Vec::with_capacity(self.networks.len());
        for configured in &self.networks {
            networks.push(self.shown(configured).await?);
        }
        Ok(Response::new(v1::ListNetworksResponse { networks }))
    }
}

impl AdminNetworkApi {
    async fn shown(&self, configured: &ConfiguredNetwork) -> Result<v1::Network, Status> {
        let network = configured.network;
        let at = cursor::get(&self.db, network).await.map_err(store_status)?;
        let at = at.as_ref();
        let PoolCount { free, leased, used, quarantined } =
            addresses::count(&self.db, network).await.map_err(store_status)?;
        let now = self.env.now();
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
        })
    }
}
