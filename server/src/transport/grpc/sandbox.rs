//! SandboxService: plays payer, miner and clock with a test key. Exists on a sandbox alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use cryptopayment_proto::sandbox::v1;
use cryptopayment_proto::sandbox::v1::sandbox_service_server::SandboxService;
use tonic::{Request, Response, Status};

use super::caller;
use crate::chain::{BlockRef, ChainError, ForkFate, SandboxControl, ScenarioState};
use crate::domain::asset::Network;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::price;
use crate::domain::scenario::{Scenario, UnknownScenario};
use crate::env::Env;
use crate::store::invoices::{self, InvoiceView};
use crate::store::{Db, deployment};
use crate::transport::convert;
use crate::transport::status::{status, store_status};
use crate::usecase::cancel_invoice::not_found;
use crate::usecase::play_scenario::{PlayScenario, chain_failure};

/// Blocks mined by one call.
const BLOCKS_MAX: u32 = 1_000;
/// Blocks replaced by one fork.
const FORK_BLOCKS_MAX: u32 = 100;
/// How far one call moves the clock.
const ADVANCE_SECONDS_MAX: u32 = 31_536_000;

/// The service with what it needs.
#[derive(Clone)]
pub struct SandboxApi {
    /// The ledger's database.
    pub db: Db,
    /// The outside world; its business clock is moved here.
    pub env: Env,
    /// The simulated chains.
    pub chains: BTreeMap<Network, Arc<dyn SandboxControl>>,
    /// Lets invoices play scenarios.
    pub play: PlayScenario,
}

#[tonic::async_trait]
impl SandboxService for SandboxApi {
    async fn pay_invoice(
        &self,
        request: Request<v1::PayInvoiceRequest>,
    ) -> Result<Response<v1::PayInvoiceResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let id = convert::id_in("invoice_id", &message.invoice_id, not_found).map_err(status)?;
        let view = invoices::get(&self.db, caller.merchant_id, id).await.map_err(store_status)?;
        let view = view.ok_or_else(|| status(not_found()))?;
        if message.blocks > BLOCKS_MAX {
            return Err(status(out_of_range("blocks", BLOCKS_MAX)));
        }
        payment_kind(message.kind).map_err(status)?;
        let chain = self.chain(view.invoice.network)?;
        let txids = self.pay(chain, &view, message).await?;
        if message.blocks > 0 {
            chain.mine(message.blocks).await.map_err(refused)?;
        }
        Ok(Response::new(v1::PayInvoiceResponse { txids }))
    }

    async fn play_scenario(
        &self,
        request: Request<v1::PlayScenarioRequest>,
    ) -> Result<Response<v1::PlayScenarioResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let id = convert::id_in("invoice_id", &message.invoice_id, not_found).map_err(status)?;
        let asked = scenario(message.scenario).map_err(status)?;
        let noted = self.play.run(caller.merchant_id, id, asked).await.map_err(status)?;
        let state = match noted.state {
            ScenarioState::Playing => v1::ScenarioState::Playing,
            ScenarioState::Done => v1::ScenarioState::Done,
            ScenarioState::Abandoned => v1::ScenarioState::Abandoned,
        };
        Ok(Response::new(v1::PlayScenarioResponse {
            scenario: message.scenario,
            state: state.into(),
            txids: noted.txids,
        }))
    }

    async fn mine(
        &self,
        request: Request<v1::MineRequest>,
    ) -> Result<Response<v1::MineResponse>, Status> {
        let message = request.get_ref();
        if message.blocks > BLOCKS_MAX {
            return Err(status(out_of_range("blocks", BLOCKS_MAX)));
        }
        let chain = self.chain_named(&message.network)?;
        let tip = chain.mine(message.blocks.max(1)).await.map_err(refused)?;
        Ok(Response::new(v1::MineResponse { height: height(&tip), hash: tip.hash }))
    }

    async fn fork(
        &self,
        request: Request<v1::ForkRequest>,
    ) -> Result<Response<v1::ForkResponse>, Status> {
        let message = request.get_ref();
        if message.depth == 0 || message.depth > FORK_BLOCKS_MAX {
            return Err(status(out_of_range("depth", FORK_BLOCKS_MAX)));
        }
        let chain = self.chain_named(&message.network)?;
        let fates = fates(&message.fates).map_err(status)?;
        let tip = chain.fork(message.depth, &fates).await.map_err(refused)?;
        Ok(Response::new(v1::ForkResponse { height: height(&tip), hash: tip.hash }))
    }

    async fn evict(
        &self,
        request: Request<v1::EvictRequest>,
    ) -> Result<Response<v1::EvictResponse>, Status> {
        let message = request.get_ref();
        let chain = self.chain_named(&message.network)?;
        if message.txid.is_empty() {
            let missing = Failure::field("txid", Reason::FieldRequired, "is required");
            return Err(status(missing));
        }
        chain.evict(&message.txid).await.map_err(refused)?;
        Ok(Response::new(v1::EvictResponse {}))
    }

    async fn advance_clock(
        &self,
        request: Request<v1::AdvanceClockRequest>,
    ) -> Result<Response<v1::AdvanceClockResponse>, Status> {
        let seconds = request.get_ref().seconds;
        if seconds == 0 || seconds > ADVANCE_SECONDS_MAX {
            return Err(status(out_of_range("seconds", ADVANCE_SECONDS_MAX)));
        }
        let unit = self.db.begin("advance_clock").await.map_err(store_status)?;
        let offset = deployment::advance_clock(&unit, i64::from(seconds) * 1_000_000)
            .await
            .map_err(store_status)?;
        unit.commit().await.map_err(store_status)?;
        self.env.set_business_offset(offset);
        let now = convert::timestamp(self.env.now());
        Ok(Response::new(v1::AdvanceClockResponse { now: Some(now) }))
    }
}

impl SandboxApi {
    pub(super) async fn pay(
        &self,
        chain: &Arc<dyn SandboxControl>,
        view: &InvoiceView,
        message: &v1::PayInvoiceRequest,
    ) -> Result<Vec<String>, Status> {
        let address = view.invoice.address_text.clone();
        let amount = view.invoice.terms.amount_units;
        let mut txids = Vec::new();
        for units in self.amounts(view, message).map_err(status)? {
            txids.push(chain.pay(&[(address.clone(), units)]).await.map_err(refused)?);
        }
        if message.amount.is_none() && message.kind() == v1::PaymentKind::DoubleSpend {
            let txid = chain.pay(&[(address, amount)]).await.map_err(refused)?;
            let other = chain.replace(&txid, &[]).await.map_err(refused)?;
            txids.extend([txid, other]);
        }
        Ok(txids)
    }

    /// What each transaction pays, base units.
    fn amounts(
        &self,
        view: &InvoiceView,
        message: &v1::PayInvoiceRequest,
    ) -> Result<Vec<u128>, Failure> {
        let asset = view.invoice.network.asset();
        if let Some(text) = message.amount.as_deref() {
            let refuse = |why: String| Failure::field("amount", Reason::InvalidField, why);
            let units = price::coins(asset, text).map_err(|error| refuse(error.to_string()))?;
            if units == 0 {
                return Err(refuse("must be above zero".to_owned()));
            }
            return Ok(vec![units]);
        }
        let amount = view.invoice.terms.amount_units;
        Ok(match message.kind() {
            v1::PaymentKind::Unspecified | v1::PaymentKind::Exact => vec![self.missing(view)?],
            v1::PaymentKind::Partial => vec![(amount / 2).max(1)],
            v1::PaymentKind::Over => vec![amount + amount / 2],
            v1::PaymentKind::Parts => vec![(amount / 2).max(1), amount - (amount / 2).max(1)],
            v1::PaymentKind::DoubleSpend => Vec::new(),
        })
    }

    fn missing(&self, view: &InvoiceView) -> Result<u128, Failure> {
        let paid = convert::summary(view, self.env.now()).paid_units;
        let missing = view.invoice.terms.missing_units(paid);
        if missing == 0 {
            let text = "the invoice is paid in full; give an amount to pay more";
            return Err(Failure::new(Class::FailedPrecondition, Reason::SandboxRefused, text));
        }
        Ok(missing)
    }

    fn chain_named(&self, name: &str) -> Result<&Arc<dyn SandboxControl>, Status> {
        if name.is_empty() {
            let missing = Failure::field("network", Reason::FieldRequired, "is required");
            return Err(status(missing));
        }
        let chain = self.chains.iter().find(|(network, _)| network.as_str() == name);
        chain.map(|(_, chain)| chain).ok_or_else(|| status(self.no_chain()))
    }

    pub(super) fn chain(&self, network: Network) -> Result<&Arc<dyn SandboxControl>, Status> {
        self.chains.get(&network).ok_or_else(|| status(self.no_chain()))
    }

    fn no_chain(&self) -> Failure {
        Failure::unknown_network("simulated", self.chains.keys().map(|n| n.as_str()))
    }
}

fn scenario(asked: i32) -> Result<Scenario, Failure> {
    Ok(match v1::Scenario::try_from(asked) {
        Ok(v1::Scenario::Unspecified) => {
            return Err(Failure::field("scenario", Reason::FieldRequired, "is required"));
        }
        Ok(v1::Scenario::Paid) => Scenario::Paid,
        Ok(v1::Scenario::Underpaid) => Scenario::Underpaid,
        Ok(v1::Scenario::Overpaid) => Scenario::Overpaid,
        Ok(v1::Scenario::TwoParts) => Scenario::TwoParts,
        Ok(v1::Scenario::Late) => Scenario::Late,
        Ok(v1::Scenario::Reorg) => Scenario::Reorg,
        Ok(v1::Scenario::DoubleSpend) => Scenario::DoubleSpend,
        Ok(v1::Scenario::Expire) => Scenario::Expire,
        Err(_) => {
            let hint = UnknownScenario.to_string();
            return Err(Failure::field("scenario", Reason::UnknownScenario, hint));
        }
    })
}

/// How to pay. A number that no name belongs to is refused: it would pay in full.
pub(super) fn payment_kind(asked: i32) -> Result<v1::PaymentKind, Failure> {
    v1::PaymentKind::try_from(asked)
        .map_err(|_| Failure::field("kind", Reason::InvalidField, "is no kind of payment"))
}

/// A fate of the field `field`.
pub(super) fn fate(field: &str, asked: i32) -> Result<v1::Fate, Failure> {
    v1::Fate::try_from(asked).map_err(|_| Failure::field(field, Reason::InvalidField, "is no fate"))
}

fn fates(asked: &[v1::TransactionFate]) -> Result<Vec<(String, ForkFate)>, Failure> {
    let one = |(n, asked): (usize, &v1::TransactionFate)| {
        if asked.txid.is_empty() {
            let field = format!("fates[{n}].txid");
            return Err(Failure::field(&field, Reason::FieldRequired, "is required"));
        }
        let fate = fate(&format!("fates[{n}].fate"), asked.fate)?;
        Ok((asked.txid.clone(), fork_fate(fate)))
    };
    asked.iter().enumerate().map(one).collect()
}

pub(super) fn fork_fate(fate: v1::Fate) -> ForkFate {
    match fate {
        v1::Fate::Unspecified | v1::Fate::Keep => ForkFate::Keep,
        v1::Fate::Unconfirm => ForkFate::Unconfirm,
        v1::Fate::DoubleSpend => ForkFate::DoubleSpend,
    }
}

pub(super) fn height(block: &BlockRef) -> u32 {
    u32::try_from(block.height).unwrap_or(u32::MAX)
}

pub(super) fn out_of_range(field: &str, most: u32) -> Failure {
    Failure::field(field, Reason::InvalidField, format!("must be from 1 to {most}"))
}

pub(super) fn refused(error: ChainError) -> Status {
    status(chain_failure(error))
}
