//! CheckoutService: an invoice as its payer sees it. The page is rendered from the very same message.
//! Nothing of the merchant is read into it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cryptopayment_proto::checkout::v1;
use cryptopayment_proto::checkout::v1::checkout_service_server::CheckoutService;
use cryptopayment_proto::v1::Confirmations;
use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::address::ChainKind;
use crate::domain::amount::decimal;
use crate::domain::asset::Network;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::invoice::Status as InvoiceStatus;
use crate::domain::time::Micros;
use crate::domain::{payment_request, price};
use crate::env::Env;
use crate::signals::Signals;
use crate::store::invoices::{self, Invoice, InvoiceView};
use crate::store::{Db, cursor};
use crate::transport::convert;
use crate::transport::pages::texts;
use crate::transport::status::status;
use crate::usecase::cancel_invoice::not_found;

/// How often a watched invoice is read without a signal: confirmations grow without events.
const WATCH_POLL: Duration = Duration::from_secs(1);
/// Streams open at once: whoever watches needs no key, and each costs a read a second.
pub const WATCHERS_MAX: usize = 2_000;

/// The service with what it needs.
#[derive(Clone)]
pub struct CheckoutApi {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Wakes watchers.
    pub signals: Signals,
    /// Ends watchers when the server stops.
    pub stop: CancellationToken,
    /// Which instance of each enabled network is used.
    pub chains: BTreeMap<Network, ChainKind>,
    /// Whether money is play money here.
    pub is_sandbox: bool,
    /// A permit for each stream that may be open, [`WATCHERS_MAX`] of them.
    pub watchers: Arc<Semaphore>,
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchCheckoutResponse, Status>> + Send>>;

#[tonic::async_trait]
impl CheckoutService for CheckoutApi {
    type WatchCheckoutStream = WatchStream;

    async fn get_checkout(
        &self,
        request: Request<v1::GetCheckoutRequest>,
    ) -> Result<Response<v1::GetCheckoutResponse>, Status> {
        let checkout = self.find(&request.get_ref().id).await.map_err(status)?;
        Ok(Response::new(v1::GetCheckoutResponse { checkout: Some(checkout) }))
    }

    async fn watch_checkout(
        &self,
        request: Request<v1::WatchCheckoutRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        let first = self.find(&request.get_ref().id).await.map_err(status)?;
        let permit =
            Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| status(crowded()))?;
        let watching = Watching {
            events: self.signals.events(),
            api: self.clone(),
            id: first.id.clone(),
            unread: Some(first),
            shown: None,
            ended: false,
            _permit: permit,
        };
        Ok(Response::new(Box::pin(futures_util::stream::unfold(watching, Watching::next))))
    }
}

impl CheckoutApi {
    /// What the payer of this invoice may see.
    ///
    /// # Errors
    /// NOT_FOUND for whatever is no invoice's id, in one form for all.
    pub async fn find(&self, id: &str) -> Result<v1::Checkout, Failure> {
        let view = view(&self.db, id).await?;
        let now = self.env.now();
        let waits = self.waits_for_network(&view.invoice, now).await?;
        Ok(self.shown(&view, now, waits))
    }

    /// Whether the time is over and payments sent in time may not have been read yet.
    async fn waits_for_network(&self, invoice: &Invoice, now: Micros) -> Result<bool, Failure> {
        let expires_at = invoice.terms.expires_at;
        if invoice.standing.status != InvoiceStatus::Pending || now <= expires_at {
            return Ok(false);
        }
        let cursor = cursor::get(&self.db, invoice.network).await?;
        Ok(cursor.is_none_or(|cursor| cursor.watermark <= expires_at))
    }

    fn shown(&self, view: &InvoiceView, now: Micros, waits: bool) -> v1::Checkout {
        let invoice = &view.invoice;
        let (network, terms, standing) = (invoice.network, &invoice.terms, invoice.standing);
        let coins = |units| decimal(units, network.asset().decimals());
        let summary = convert::summary(view, now);
        let missing = terms.missing_units(summary.paid_units);
        let chain = self.chains.get(&network);
        let payable = standing.status == InvoiceStatus::Pending && !waits;
        let payment_uri = chain.filter(|_| payable).and_then(|chain| {
            payment_request::uri(network, *chain, &invoice.address_text, missing)
        });
        v1::Checkout {
            id: invoice.id.to_string(),
            status: convert::status(standing.status).into(),
            exception: convert::exception(standing.exception).into(),
            network: network.as_str().to_owned(),
            network_label: network.label().to_owned(),
            network_warning: texts::network_warning(network).to_owned(),
            coin: network.invoice_coin().to_owned(),
            amount_crypto: coins(terms.amount_units),
            amount_usd: price::usd(invoice.amount_cents),
            paid_amount: coins(summary.paid_units),
            missing_amount: coins(missing),
            address: invoice.address_text.clone(),
            payment_uri,
            confirmations: Some(Confirmations {
                received: summary.received,
                required: terms.confirmations_required,
            }),
            txid: summary.txid,
            expires_at: Some(convert::timestamp(terms.expires_at)),
            expiry_waits_for_network: waits,
            is_final: standing.status.is_final(),
            is_sandbox: self.is_sandbox,
            now: Some(convert::timestamp(now)),
        }
    }
}

/// The invoice of an id that a payer gave; text that is no UUID names nothing.
pub(super) async fn view(db: &Db, id: &str) -> Result<InvoiceView, Failure> {
    let id = Uuid::try_parse(id).map_err(|_| not_found())?;
    invoices::get_for_payer(db, id).await?.ok_or_else(not_found)
}

fn crowded() -> Failure {
    let text = "too many watch at once: ask with GetCheckout, or try again";
    Failure::new(Class::Unavailable, Reason::ServerUnavailable, text)
}

/// A stream under way.
struct Watching {
    api: CheckoutApi,
    id: String,
    events: watch::Receiver<u64>,
    /// Read and not compared yet.
    unread: Option<v1::Checkout>,
    /// What was sent last, without its time.
    shown: Option<v1::Checkout>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watching {
    async fn next(mut self) -> Option<(Result<v1::WatchCheckoutResponse, Status>, Self)> {
        while !self.ended {
            self.events.mark_unchanged();
            let read = match self.unread.take() {
                Some(checkout) => Ok(checkout),
                None => self.api.find(&self.id).await,
            };
            let checkout = match read {
                Ok(checkout) => checkout,
                Err(failure) => return Some(self.end(status(failure))),
            };
            let timeless = Some(v1::Checkout { now: None, ..checkout.clone() });
            if self.shown != timeless {
                self.ended = checkout.is_final;
                self.shown = timeless;
                let message = v1::WatchCheckoutResponse { checkout: Some(checkout) };
                return Some((Ok(message), self));
            }
            tokio::select! {
                _ = self.events.changed() => {}
                () = self.api.env.sleep(WATCH_POLL) => {}
                () = self.api.stop.cancelled() => {
                    return Some(self.end(Status::unavailable("the server is shutting down")));
                }
            }
        }
        None
    }

    fn end(mut self, why: Status) -> (Result<v1::WatchCheckoutResponse, Status>, Self) {
        self.ended = true;
        (Err(why), self)
    }
}
