//! InvoiceService.

use std::sync::Arc;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::invoice_service_server::InvoiceService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::watchers::Watchers;
use super::watching::{Followed, Messages, Wakes, follow};
use super::{admission, caller, sees_all};
use crate::domain::asset::Network;
use crate::domain::failure::{Failure, Reason};
use crate::domain::timeline::Entry;
use crate::signals::Signals;
use crate::store::invoices::{self, InvoiceFilter, InvoiceView};
use crate::store::timeline;
use crate::transport::convert::{self, Chains, Shown};
use crate::transport::status::{status, store_status};
use crate::usecase::apply_deposits::ApplyDeposits;
use crate::usecase::cancel_invoice::{self, not_found};
use crate::usecase::create_invoice::{self, CreateInvoice};
use crate::usecase::{Caller, list_invoices};

/// The service with what it needs.
#[derive(Clone)]
pub struct InvoiceApi {
    /// Creates.
    pub create: Arc<CreateInvoice>,
    /// Cancels.
    pub apply: ApplyDeposits,
    /// Wakes watchers.
    pub signals: Signals,
    /// Places of streams.
    pub watchers: Watchers,
    /// Which instance of each enabled network is used.
    pub chains: Chains,
    /// Ends watchers when the server stops.
    pub stop: CancellationToken,
    /// Where payers reach this deployment, without a slash at the end.
    pub public_url: String,
}

type WatchStream = Messages<v1::WatchInvoiceResponse>;

#[tonic::async_trait]
impl InvoiceService for InvoiceApi {
    type WatchInvoiceStream = WatchStream;

    async fn create_invoice(
        &self,
        request: Request<v1::CreateInvoiceRequest>,
    ) -> Result<Response<v1::CreateInvoiceResponse>, Status> {
        let (caller, all) = (caller(&request)?, sees_all(&request));
        let message = request.into_inner();
        let wanted = create_invoice::Request {
            network: message.network,
            amount_usd: message.amount_usd,
            order_id: message.order_id,
            metadata: message.metadata,
            request_id: message.request_id,
        };
        let view = self.create.run(&caller, &wanted).await.map_err(status)?;
        let checkout_url = format!("{}/pay/{}", self.public_url, view.invoice.id);
        Ok(Response::new(v1::CreateInvoiceResponse {
            invoice: Some(self.shown(&view, all).await?),
            checkout_url,
        }))
    }

    async fn get_invoice(
        &self,
        request: Request<v1::GetInvoiceRequest>,
    ) -> Result<Response<v1::GetInvoiceResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let view = self.find(&caller, id).await?;
        let invoice = self.shown(&view, sees_all(&request)).await?;
        Ok(Response::new(v1::GetInvoiceResponse { invoice: Some(invoice) }))
    }

    async fn list_invoices(
        &self,
        request: Request<v1::ListInvoicesRequest>,
    ) -> Result<Response<v1::ListInvoicesResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let enabled = self.create.networks.keys().copied();
        let filter = filter(message, enabled).map_err(status)?;
        let token = message.page_token.as_deref();
        let page = list_invoices::run(self.db(), &caller, &filter, message.page, token)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::ListInvoicesResponse {
            invoices: self.all_shown(&page.invoices, sees_all(&request)).await?,
            pagination: Some(v1::Pagination {
                page: page.page,
                per_page: list_invoices::PER_PAGE,
                total: page.total,
                last_page: page.last_page,
                next_page_token: page.next_page_token,
            }),
        }))
    }

    async fn cancel_invoice(
        &self,
        request: Request<v1::CancelInvoiceRequest>,
    ) -> Result<Response<v1::CancelInvoiceResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let view = cancel_invoice::run(&self.apply, &caller, id).await.map_err(status)?;
        self.signals.events_written();
        let invoice = self.shown(&view, sees_all(&request)).await?;
        Ok(Response::new(v1::CancelInvoiceResponse { invoice: Some(invoice) }))
    }

    async fn watch_invoice(
        &self,
        request: Request<v1::WatchInvoiceRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        let caller = caller(&request)?;
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let place = self.watchers.enter(caller.merchant_id).map_err(status)?;
        let admission = Some(admission(&request)?);
        let wakes = Wakes::new(&self.create.env, &self.signals, &self.stop, place, admission)?;
        let sees_all = sees_all(&request);
        let api = self.clone();
        let mut invoice = FollowedInvoice { api, caller, id, sees_all, lines: (0, Vec::new()) };
        let first = invoice.read().await?;
        Ok(Response::new(follow(invoice, first, wakes)))
    }
}

impl InvoiceApi {
    fn db(&self) -> &crate::store::Db {
        &self.create.db
    }

    async fn shown(&self, view: &InvoiceView, all: bool) -> Result<v1::Invoice, Status> {
        let mut shown = self.all_shown(std::slice::from_ref(view), all).await?;
        shown.pop().ok_or_else(|| status(Failure::internal("an invoice got lost")))
    }

    /// The invoices as the contract shows them; their timelines only for whoever sees them.
    async fn all_shown(
        &self,
        views: &[InvoiceView],
        all: bool,
    ) -> Result<Vec<v1::Invoice>, Status> {
        let shown = self.how(all);
        if !all {
            return Ok(views.iter().map(|view| convert::invoice(view, &[], shown)).collect());
        }
        let told = views.iter().filter(|view| view.invoice.event_count > 0);
        let told: Vec<Uuid> = told.map(|view| view.invoice.id).collect();
        let lines = timeline::told(self.db(), &told).await.map_err(store_status)?;
        let of = |view: &InvoiceView| lines.get(&view.invoice.id).map_or(&[][..], Vec::as_slice);
        Ok(views.iter().map(|view| convert::invoice(view, of(view), shown)).collect())
    }

    fn how(&self, sees_all: bool) -> Shown<'_> {
        Shown { now: self.create.env.now(), chains: &self.chains, sees_all }
    }

    async fn find(&self, caller: &Caller, id: Uuid) -> Result<InvoiceView, Status> {
        let view = invoices::get(self.db(), caller.merchant_id, id).await.map_err(store_status)?;
        view.ok_or_else(|| status(not_found()))
    }
}

/// An invoice as its merchant follows it, ending after the change that makes it final.
struct FollowedInvoice {
    api: InvoiceApi,
    caller: Caller,
    id: Uuid,
    sees_all: bool,
    /// The timeline's events, and how many there were when they were read.
    lines: (i64, Vec<Entry>),
}

#[tonic::async_trait]
impl Followed for FollowedInvoice {
    type Message = v1::WatchInvoiceResponse;

    async fn read(&mut self) -> Result<v1::WatchInvoiceResponse, Status> {
        let view = self.api.find(&self.caller, self.id).await?;
        // Most looks find no new event: the log is read only when there is one.
        let events = view.invoice.event_count;
        if self.sees_all && events != self.lines.0 {
            let mut lines =
                timeline::told(self.api.db(), &[self.id]).await.map_err(store_status)?;
            self.lines = (events, lines.remove(&self.id).unwrap_or_default());
        }
        let invoice = convert::invoice(&view, &self.lines.1, self.api.how(self.sees_all));
        Ok(v1::WatchInvoiceResponse { invoice: Some(invoice) })
    }

    fn is_same(told: &v1::WatchInvoiceResponse, now: &v1::WatchInvoiceResponse) -> bool {
        told == now
    }

    fn is_final(message: &v1::WatchInvoiceResponse) -> bool {
        message.invoice.as_ref().is_some_and(|invoice| invoice.is_final)
    }
}

/// The filter that a request asks for. Invoices of a network that was disabled since are found too.
fn filter(
    message: &v1::ListInvoicesRequest,
    enabled: impl Iterator<Item = Network>,
) -> Result<InvoiceFilter, Failure> {
    let network = message.network.as_deref().filter(|name| !name.is_empty());
    let network: Option<Network> = network
        .map(str::parse)
        .transpose()
        .map_err(|_| Failure::unknown_network("enabled", enabled.map(Network::as_str)))?;
    if message.order_id.as_deref().is_some_and(|text| text.contains('\0')) {
        return Err(Failure::field("order_id", Reason::InvalidField, "holds U+0000"));
    }
    Ok(InvoiceFilter {
        order_id: message.order_id.clone().filter(|text| !text.is_empty()),
        status: convert::status_filter(message.status)?,
        network,
        created_after: message.created_after.as_ref().map(convert::micros),
        created_before: message.created_before.as_ref().map(convert::micros),
    })
}
