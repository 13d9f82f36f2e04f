//! CheckoutService: an invoice as its payer sees it. The page is rendered from the very same message.
//! Nothing of the merchant is read into it.

use cryptopayment_proto::checkout::v1;
use cryptopayment_proto::checkout::v1::checkout_service_server::CheckoutService;
use cryptopayment_proto::v1::Confirmations;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::watchers::Watchers;
use super::watching::{Followed, Messages, Wakes, follow};
use crate::domain::amount::decimal;
use crate::domain::failure::Failure;
use crate::domain::invoice::Status as InvoiceStatus;
use crate::domain::price;
use crate::domain::time::Micros;
use crate::env::Env;
use crate::signals::Signals;
use crate::store::invoices::{self, Invoice, InvoiceView};
use crate::store::{Db, cursor};
use crate::transport::convert::{self, Chains};
use crate::transport::pages::texts;
use crate::transport::status::status;
use crate::usecase::cancel_invoice::not_found;

/// Streams open at once: whoever watches needs no key, and each costs a read a second.
pub const WATCHERS_MAX: usize = 2_000;
/// The same of one invoice: whoever opens all of them takes no other payer's.
pub const WATCHERS_PER_INVOICE_MAX: usize = 50;

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
    pub chains: Chains,
    /// Whether money is play money here.
    pub is_sandbox: bool,
    /// Places of streams, [`WATCHERS_MAX`] of them, [`WATCHERS_PER_INVOICE_MAX`] for each invoice.
    pub watchers: Watchers,
}

/// What an invoice waits for longer than it should.
#[derive(Debug, Clone, Copy, Default)]
struct Holdups {
    /// The time is over, and payments sent in time may not have been read yet.
    expiry: bool,
    /// The payment must be final, and the chain has stopped calling blocks so.
    finality: bool,
}

type WatchStream = Messages<v1::WatchCheckoutResponse>;

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
        let id = request.into_inner().id;
        let place = self.watchers.enter(uuid(&id).map_err(status)?).map_err(status)?;
        let wakes = Wakes::new(&self.env, &self.signals, &self.stop, place, None)?;
        let mut checkout = FollowedCheckout { api: self.clone(), id };
        let first = checkout.read().await?;
        Ok(Response::new(follow(checkout, first, wakes)))
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
        let holdups = self.holdups(&view.invoice, now).await?;
        Ok(self.shown(&view, now, holdups))
    }

    /// What the network owes the invoice.
    async fn holdups(&self, invoice: &Invoice, now: Micros) -> Result<Holdups, Failure> {
        let (terms, status) = (&invoice.terms, invoice.standing.status);
        let is_over = status == InvoiceStatus::Pending && now > terms.expires_at;
        let must_be_final = status == InvoiceStatus::Confirming && terms.requires_finality;
        if !is_over && !must_be_final {
            return Ok(Holdups::default());
        }
        let cursor = cursor::get(&self.db, invoice.network).await?;
        let is_read = cursor.as_ref().is_some_and(|cursor| cursor.watermark > terms.expires_at);
        let is_stalled = cursor.is_some_and(|cursor| cursor.is_finality_stalled(invoice.network));
        Ok(Holdups { expiry: is_over && !is_read, finality: must_be_final && is_stalled })
    }

    fn shown(&self, view: &InvoiceView, now: Micros, holdups: Holdups) -> v1::Checkout {
        let invoice = &view.invoice;
        let (network, terms, standing) = (invoice.network, &invoice.terms, invoice.standing);
        let coins = |units| decimal(units, network.asset().decimals());
        let summary = convert::summary(view, now);
        let missing = terms.missing_units(summary.paid_units);
        let payment_uri = convert::payment_uri(invoice, summary.paid_units, &self.chains, now);
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
            expiry_waits_for_network: holdups.expiry,
            finality_is_delayed: holdups.finality,
            is_final: standing.status.is_final(),
            is_sandbox: self.is_sandbox,
            now: Some(convert::timestamp(now)),
            clock_ahead_seconds: Micros(self.env.business_offset())
                .seconds()
                .try_into()
                .unwrap_or(u32::MAX),
        }
    }
}

/// The invoice of an id that a payer gave.
pub(super) async fn view(db: &Db, id: &str) -> Result<InvoiceView, Failure> {
    invoices::get_for_payer(db, uuid(id)?).await?.ok_or_else(not_found)
}

/// The id that a payer gave; text that is no UUID names nothing.
fn uuid(id: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(id).map_err(|_| not_found())
}

/// An invoice as its payer follows it.
struct FollowedCheckout {
    api: CheckoutApi,
    id: String,
}

#[tonic::async_trait]
impl Followed for FollowedCheckout {
    type Message = v1::WatchCheckoutResponse;

    async fn read(&mut self) -> Result<v1::WatchCheckoutResponse, Status> {
        let checkout = self.api.find(&self.id).await.map_err(status)?;
        Ok(v1::WatchCheckoutResponse { checkout: Some(checkout) })
    }

    fn is_same(told: &v1::WatchCheckoutResponse, now: &v1::WatchCheckoutResponse) -> bool {
        let timeless = |message: &v1::WatchCheckoutResponse| {
            message.checkout.clone().map(|checkout| v1::Checkout { now: None, ..checkout })
        };
        timeless(told) == timeless(now)
    }

    fn is_final(message: &v1::WatchCheckoutResponse) -> bool {
        message.checkout.as_ref().is_some_and(|checkout| checkout.is_final)
    }
}
