//! SandboxCheckoutService: the checkout page's buttons, which play payer and miner for one invoice.
//! Exists on a sandbox alone; what it does to a chain is what `sandbox` does.

use cryptopayment_proto::checkout::v1;
use cryptopayment_proto::checkout::v1::sandbox_checkout_service_server::SandboxCheckoutService;
use cryptopayment_proto::sandbox::v1::{Fate, PayInvoiceRequest, PaymentKind};
use tonic::{Request, Response, Status};

use super::checkout::view;
use super::sandbox::{SandboxApi, fate, fork_fate, height, out_of_range, payment_kind, refused};
use crate::domain::deposit::{Deposit, DepositState};
use crate::domain::failure::{Class, Failure, Reason};
use crate::store::invoices::InvoiceView;
use crate::transport::status::status;

/// Blocks mined by one call.
const BLOCKS_MAX: u32 = 100;
/// Blocks that the chain may be ahead of its scanner when it is forked.
const AHEAD_BLOCKS_MAX: u64 = 5;

/// The service: the sandbox's own, for whoever has an invoice's id.
#[derive(Clone)]
pub struct SandboxCheckoutApi(pub SandboxApi);

#[tonic::async_trait]
impl SandboxCheckoutService for SandboxCheckoutApi {
    async fn pay_checkout(
        &self,
        request: Request<v1::PayCheckoutRequest>,
    ) -> Result<Response<v1::PayCheckoutResponse>, Status> {
        let message = request.get_ref();
        let view = self.view(&message.id).await?;
        let kind = payment_kind(message.kind).map_err(status)?;
        if kind == PaymentKind::Unspecified {
            return Err(status(required("kind")));
        }
        let chain = self.0.chain(view.invoice.network)?;
        let wanted = PayInvoiceRequest { kind: kind.into(), ..Default::default() };
        let txids = self.0.pay(chain, &view, &wanted).await?;
        Ok(Response::new(v1::PayCheckoutResponse { txids }))
    }

    async fn mine_checkout(
        &self,
        request: Request<v1::MineCheckoutRequest>,
    ) -> Result<Response<v1::MineCheckoutResponse>, Status> {
        let message = request.get_ref();
        let view = self.view(&message.id).await?;
        if message.blocks == 0 || message.blocks > BLOCKS_MAX {
            return Err(status(out_of_range("blocks", BLOCKS_MAX)));
        }
        let chain = self.0.chain(view.invoice.network)?;
        let tip = chain.mine(message.blocks).await.map_err(refused)?;
        Ok(Response::new(v1::MineCheckoutResponse { height: height(&tip) }))
    }

    async fn reorg_checkout(
        &self,
        request: Request<v1::ReorgCheckoutRequest>,
    ) -> Result<Response<v1::ReorgCheckoutResponse>, Status> {
        let message = request.get_ref();
        let view = self.view(&message.id).await?;
        let fate = fate("fate", message.fate).map_err(status)?;
        if !matches!(fate, Fate::Unconfirm | Fate::DoubleSpend) {
            return Err(status(required("fate")));
        }
        let chain = self.0.chain(view.invoice.network)?;
        let included = included(&view);
        let depth = depth(&view, &included).map_err(status)?;
        let mut txids: Vec<&str> = included.iter().map(|deposit| deposit.txid.as_str()).collect();
        txids.sort_unstable();
        txids.dedup();
        let fates: Vec<_> =
            txids.into_iter().map(|txid| (txid.to_owned(), fork_fate(fate))).collect();
        let tip = chain.fork(depth, &fates).await.map_err(refused)?;
        Ok(Response::new(v1::ReorgCheckoutResponse { height: height(&tip) }))
    }
}

impl SandboxCheckoutApi {
    async fn view(&self, id: &str) -> Result<InvoiceView, Status> {
        view(&self.0.db, id).await.map_err(status)
    }
}

/// The payments that are in a block.
fn included(view: &InvoiceView) -> Vec<&Deposit> {
    view.deposits.iter().filter(|deposit| deposit.state == DepositState::Included).collect()
}

/// How many of the newest blocks to replace, so that all these payments leave theirs.
fn depth(view: &InvoiceView, included: &[&Deposit]) -> Result<u32, Failure> {
    let lowest = included.iter().filter_map(|deposit| deposit.block_height).min();
    let lowest = lowest.ok_or_else(|| {
        let text = "no payment of this invoice is in a block: pay and mine first";
        Failure::new(Class::FailedPrecondition, Reason::SandboxRefused, text)
    })?;
    let depth = view.head.saturating_sub(lowest) + 1 + AHEAD_BLOCKS_MAX;
    // The genesis block stays.
    Ok(u32::try_from(depth.min(view.head)).unwrap_or(u32::MAX))
}

fn required(field: &str) -> Failure {
    Failure::field(field, Reason::FieldRequired, "is required")
}
