//! InvoiceService.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::invoice_service_server::InvoiceService;
use futures_util::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::caller;
use crate::domain::asset::Network;
use crate::domain::failure::{Failure, Reason};
use crate::signals::Signals;
use crate::store::invoices::{self, InvoiceFilter, InvoiceView};
use crate::transport::convert;
use crate::transport::status::{status, store_status};
use crate::usecase::apply_deposits::ApplyDeposits;
use crate::usecase::cancel_invoice::{self, not_found};
use crate::usecase::create_invoice::{self, CreateInvoice};
use crate::usecase::{Caller, list_invoices};

/// How often a watched invoice is read without a signal: confirmations grow without events.
const WATCH_POLL: Duration = Duration::from_millis(500);

/// The service with what it needs.
#[derive(Clone)]
pub struct InvoiceApi {
    /// Creates.
    pub create: Arc<CreateInvoice>,
    /// Cancels.
    pub apply: ApplyDeposits,
    /// Wakes watchers.
    pub signals: Signals,
    /// Ends watchers when the server stops.
    pub stop: CancellationToken,
    /// Where payers reach this deployment, without a slash at the end.
    pub public_url: String,
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchInvoiceResponse, Status>> + Send>>;

#[tonic::async_trait]
impl InvoiceService for InvoiceApi {
    type WatchInvoiceStream = WatchStream;

    async fn create_invoice(
        &self,
        request: Request<v1::CreateInvoiceRequest>,
    ) -> Result<Response<v1::CreateInvoiceResponse>, Status> {
        let caller = caller(&request)?;
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
            invoice: Some(self.shown(&view)),
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
        Ok(Response::new(v1::GetInvoiceResponse { invoice: Some(self.shown(&view)) }))
    }

    async fn list_invoices(
        &self,
        request: Request<v1::ListInvoicesRequest>,
    ) -> Result<Response<v1::ListInvoicesResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let filter = filter(message).map_err(status)?;
        let token = message.page_token.as_deref();
        let page = list_invoices::run(self.db(), &caller, &filter, message.page, token)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::ListInvoicesResponse {
            invoices: page.invoices.iter().map(|view| self.shown(view)).collect(),
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
        Ok(Response::new(v1::CancelInvoiceResponse { invoice: Some(self.shown(&view)) }))
    }

    async fn watch_invoice(
        &self,
        request: Request<v1::WatchInvoiceRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        let caller = caller(&request)?;
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let first = self.find(&caller, id).await?;
        Ok(Response::new(Box::pin(self.clone().watch(caller, first))))
    }
}

impl InvoiceApi {
    fn db(&self) -> &crate::store::Db {
        &self.create.db
    }

    fn shown(&self, view: &InvoiceView) -> v1::Invoice {
        convert::invoice(view, self.create.env.now())
    }

    async fn find(&self, caller: &Caller, id: Uuid) -> Result<InvoiceView, Status> {
        let view = invoices::get(self.db(), caller.merchant_id, id).await.map_err(store_status)?;
        view.ok_or_else(|| status(not_found()))
    }

    /// The invoice now and after each change, ending after the change that makes it final.
    fn watch(
        self,
        caller: Caller,
        first: InvoiceView,
    ) -> impl Stream<Item = Result<v1::WatchInvoiceResponse, Status>> {
        let id = first.invoice.id;
        let events = self.signals.events();
        let state = (self, caller, Some(first), None::<v1::Invoice>, events, false);
        futures_util::stream::unfold(state, move |state| async move {
            let (api, caller, mut next, mut last, mut events, done) = state;
            if done {
                return None;
            }
            loop {
                let view = match next.take() {
                    Some(view) => Ok(view),
                    None => api.find(&caller, id).await,
                };
                let invoice = match view {
                    Ok(view) => api.shown(&view),
                    Err(error) => {
                        return Some((Err(error), (api, caller, None, last, events, true)));
                    }
                };
                if last.as_ref() != Some(&invoice) {
                    let done = invoice.is_final;
                    last = Some(invoice.clone());
                    let message = v1::WatchInvoiceResponse { invoice: Some(invoice) };
                    return Some((Ok(message), (api, caller, None, last, events, done)));
                }
                tokio::select! {
                    _ = events.changed() => {}
                    () = api.create.env.sleep(WATCH_POLL) => {}
                    () = api.stop.cancelled() => {
                        let ended = Status::unavailable("the server is shutting down");
                        return Some((Err(ended), (api, caller, None, last, events, true)));
                    }
                }
            }
        })
    }
}

fn filter(message: &v1::ListInvoicesRequest) -> Result<InvoiceFilter, Failure> {
    let network = message.network.as_deref().filter(|name| !name.is_empty());
    let network: Option<Network> = network.map(str::parse).transpose().map_err(|error| {
        let error: crate::domain::asset::UnknownName = error;
        Failure::field("network", Reason::UnknownNetwork, error.to_string())
    })?;
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
