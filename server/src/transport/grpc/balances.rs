//! BalanceService.

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::balance_service_server::BalanceService;
use tonic::{Request, Response, Status};

use super::caller;
use crate::domain::amount::decimal;
use crate::domain::asset::{Asset, Network};
use crate::domain::failure::{Failure, Reason};
use crate::store::{Db, ledger};
use crate::transport::convert;
use crate::transport::status::{status, store_status};
use crate::usecase::list_ledger_entries;

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

    async fn list_ledger_entries(
        &self,
        request: Request<v1::ListLedgerEntriesRequest>,
    ) -> Result<Response<v1::ListLedgerEntriesResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let asset = Self::coin(message.coin.as_deref()).map_err(status)?;
        let token = message.page_token.as_deref();
        let page =
            list_ledger_entries::run(&self.db, &caller, asset, token).await.map_err(status)?;
        Ok(Response::new(v1::ListLedgerEntriesResponse {
            entries: page.entries.iter().map(convert::ledger_entry).collect(),
            pagination: Some(v1::Pagination {
                page: None,
                per_page: list_ledger_entries::PER_PAGE,
                total: page.total,
                last_page: page.total.div_ceil(list_ledger_entries::PER_PAGE).max(1),
                next_page_token: page.next_page_token,
            }),
        }))
    }
}

impl BalanceApi {
    /// The asset that a filter names; empty filters nothing.
    fn coin(name: Option<&str>) -> Result<Option<Asset>, Failure> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        let coins = Network::ALL.map(Network::asset);
        let found = coins.into_iter().find(|asset| asset.as_str() == name);
        let coin = found.ok_or_else(|| {
            let hint = format!("is not one of {}", coins.map(Asset::as_str).join(", "));
            Failure::field("coin", Reason::InvalidField, hint)
        })?;
        Ok(Some(coin))
    }
}
