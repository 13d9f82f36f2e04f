//! BalanceService.

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::balance_service_server::BalanceService;
use tonic::{Request, Response, Status};

use super::caller;
use crate::domain::amount::decimal;
use crate::domain::asset::Network;
use crate::store::{Db, ledger};
use crate::transport::status::store_status;

/// The service with what it needs.
#[derive(Clone)]
pub struct BalanceApi {
    /// The ledger's database.
    pub db: Db,
    /// The enabled networks.
    pub networks: Vec<Network>,
}

#[tonic::async_trait]
impl BalanceService for BalanceApi {
    async fn get_balances(
        &self,
        request: Request<v1::GetBalancesRequest>,
    ) -> Result<Response<v1::GetBalancesResponse>, Status> {
        let caller = caller(&request)?;
        let owned =
            ledger::merchant_balances(&self.db, caller.merchant_id).await.map_err(store_status)?;
        // `Network::ALL` is in the documented order of balances.
        let enabled = Network::ALL.into_iter().filter(|network| self.networks.contains(network));
        let balances = enabled.map(|network| {
            let asset = network.asset();
            let balance = owned.get(&asset).copied().unwrap_or_default();
            let text = |units| decimal(units, asset.decimals());
            v1::Balance {
                coin: asset.as_str().to_owned(),
                available: text(balance.available),
                pending: text(balance.pending),
                held: text(balance.held),
                available_units: balance.available.to_string(),
                pending_units: balance.pending.to_string(),
            }
        });
        Ok(Response::new(v1::GetBalancesResponse { balances: balances.collect() }))
    }
}
