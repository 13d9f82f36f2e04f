//! The client: connection, credentials and one method per RPC. Not here: streams (`streams`),
//! webhooks (`webhooks`), what only a sandbox has (`sandbox`).

use std::fmt;
use std::time::Duration;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::balance_service_client::BalanceServiceClient;
use cryptopayment_proto::v1::event_service_client::EventServiceClient;
use cryptopayment_proto::v1::invoice_service_client::InvoiceServiceClient;
use cryptopayment_proto::v1::network_service_client::NetworkServiceClient;
use cryptopayment_proto::v1::withdrawal_service_client::WithdrawalServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::Error;
use crate::retry::safely;
use crate::sandbox::Sandbox;

/// How long a call may take unless the client is built otherwise.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How often an idle connection is checked.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// An API key with its secret.
#[derive(Clone)]
pub struct Credentials {
    key: String,
    secret: String,
}

impl Credentials {
    /// From the public part `pk_...` and the secret part `sk_...`.
    pub fn new(key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { key: key.into(), secret: secret.into() }
    }

    fn header(&self) -> Result<MetadataValue<Ascii>, Error> {
        let text = format!("Bearer {}:{}", self.key, self.secret);
        let mut value: MetadataValue<Ascii> = text
            .parse()
            .map_err(|_| Error::Setup("key or secret has characters that no header has".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A client; cheap to clone, its clones share one connection.
#[derive(Clone)]
pub struct Client {
    pub(crate) channel: Channel,
    authorization: MetadataValue<Ascii>,
    deadline: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Sets a client up.
#[derive(Debug, Clone)]
pub struct Builder {
    url: String,
    credentials: Credentials,
    deadline: Duration,
}

/// What to create an invoice from.
#[derive(Debug, Clone)]
pub struct CreateInvoice {
    request: v1::CreateInvoiceRequest,
}

impl CreateInvoice {
    /// An invoice over `amount_usd` (decimal text) on `network` (e.g. `ltc`).
    pub fn new(network: impl Into<String>, amount_usd: impl Into<String>) -> Self {
        let request = v1::CreateInvoiceRequest {
            network: network.into(),
            amount_usd: amount_usd.into(),
            ..Default::default()
        };
        Self { request }
    }

    /// Your own reference.
    pub fn order_id(mut self, order_id: impl Into<String>) -> Self {
        self.request.order_id = Some(order_id.into());
        self
    }

    /// Your own JSON object, as text.
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.request.metadata = Some(metadata.into());
        self
    }

    /// Makes a repeat of this call return the first one's invoice, also after a restart of yours:
    /// keep it with your order. Without one the client makes one up for its own retries.
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request.request_id = Some(request_id.into());
        self
    }
}

impl Builder {
    /// How long a call may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The client. It connects with its first call.
    ///
    /// # Errors
    /// When the URL or the credentials can not be used.
    pub fn build(self) -> Result<Client, Error> {
        let endpoint = Endpoint::from_shared(self.url)
            .map_err(|error| Error::Setup(format!("url: {error}")))?
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        Ok(Client {
            channel: endpoint.connect_lazy(),
            authorization: self.credentials.header()?,
            deadline: self.deadline,
        })
    }
}

impl Client {
    /// A client set up by hand.
    pub fn builder(url: impl Into<String>, credentials: Credentials) -> Builder {
        Builder { url: url.into(), credentials, deadline: DEADLINE }
    }

    /// A client from `CRYPTOPAYMENT_URL`, `CRYPTOPAYMENT_API_KEY` and `CRYPTOPAYMENT_API_SECRET`.
    ///
    /// # Errors
    /// Names the variable that is missing.
    pub fn from_env() -> Result<Self, Error> {
        let read = |name: &str| {
            std::env::var(name).map_err(|_| Error::Setup(format!("{name} is not set")))
        };
        let credentials =
            Credentials::new(read("CRYPTOPAYMENT_API_KEY")?, read("CRYPTOPAYMENT_API_SECRET")?);
        Self::builder(read("CRYPTOPAYMENT_URL")?, credentials).build()
    }

    /// A request with the credentials and, unless it opens a stream, the deadline.
    pub(crate) fn request<T>(&self, message: T, with_deadline: bool) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        if with_deadline {
            request.set_timeout(self.deadline);
        }
        request
    }

    /// A call that may be made again.
    pub(crate) async fn safe<M, T, F, Fut>(&self, message: M, call: F) -> Result<T, Error>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        safely(|| {
            let pending = call(self.channel.clone(), self.request(message.clone(), true));
            async move { Ok(pending.await?.into_inner()) }
        })
        .await
    }

    /// Creates an invoice. Repeating it is safe: it carries a request id.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_invoice(
        &self,
        invoice: CreateInvoice,
    ) -> Result<v1::CreateInvoiceResponse, Error> {
        let mut request = invoice.request;
        request.request_id.get_or_insert_with(|| uuid::Uuid::new_v4().to_string());
        self.safe(request, |channel, request| async move {
            InvoiceServiceClient::new(channel).create_invoice(request).await
        })
        .await
    }

    /// Returns one invoice.
    ///
    /// # Errors
    /// `INVOICE_NOT_FOUND` if it is not yours.
    pub async fn get_invoice(&self, id: &str) -> Result<v1::Invoice, Error> {
        let request = v1::GetInvoiceRequest { id: id.to_owned() };
        let answer = self
            .safe(request, |channel, request| async move {
                InvoiceServiceClient::new(channel).get_invoice(request).await
            })
            .await?;
        Ok(answer.invoice.unwrap_or_default())
    }

    /// Returns a page of invoices, newest first. Go on with `pagination.next_page_token`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_invoices(
        &self,
        request: v1::ListInvoicesRequest,
    ) -> Result<v1::ListInvoicesResponse, Error> {
        self.safe(request, |channel, request| async move {
            InvoiceServiceClient::new(channel).list_invoices(request).await
        })
        .await
    }

    /// Cancels an invoice for which nothing was seen.
    ///
    /// # Errors
    /// `INVOICE_NOT_CANCELABLE` once something was.
    pub async fn cancel_invoice(&self, id: &str) -> Result<v1::Invoice, Error> {
        let request = v1::CancelInvoiceRequest { id: id.to_owned() };
        let answer = self
            .safe(request, |channel, request| async move {
                InvoiceServiceClient::new(channel).cancel_invoice(request).await
            })
            .await?;
        Ok(answer.invoice.unwrap_or_default())
    }

    /// Returns the balance of every enabled coin.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn balances(&self) -> Result<Vec<v1::Balance>, Error> {
        let answer = self
            .safe(v1::GetBalancesRequest {}, |channel, request| async move {
                BalanceServiceClient::new(channel).get_balances(request).await
            })
            .await?;
        Ok(answer.balances)
    }

    /// Returns a page of ledger entries, newest first. Go on with `pagination.next_page_token`.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN` for a token of another list.
    pub async fn list_ledger_entries(
        &self,
        request: v1::ListLedgerEntriesRequest,
    ) -> Result<v1::ListLedgerEntriesResponse, Error> {
        self.safe(request, |channel, request| async move {
            BalanceServiceClient::new(channel).list_ledger_entries(request).await
        })
        .await
    }

    /// Returns the enabled networks.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn networks(&self) -> Result<Vec<v1::Network>, Error> {
        let answer = self
            .safe(v1::ListNetworksRequest {}, |channel, request| async move {
                NetworkServiceClient::new(channel).list_networks(request).await
            })
            .await?;
        Ok(answer.networks)
    }

    /// Returns up to `limit` events after a sequence; 0 is the start.
    ///
    /// # Errors
    /// `CURSOR_EXPIRED` if the events after it are gone.
    pub async fn list_events(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<v1::ListEventsResponse, Error> {
        let request = v1::ListEventsRequest { after, limit };
        self.safe(request, |channel, request| async move {
            EventServiceClient::new(channel).list_events(request).await
        })
        .await
    }

    /// Creates a withdrawal.
    ///
    /// # Errors
    /// `NOT_IMPLEMENTED` until withdrawals are built.
    pub async fn create_withdrawal(
        &self,
        mut request: v1::CreateWithdrawalRequest,
    ) -> Result<v1::Withdrawal, Error> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::new_v4().to_string();
        }
        let answer = self
            .safe(request, |channel, request| async move {
                WithdrawalServiceClient::new(channel).create_withdrawal(request).await
            })
            .await?;
        Ok(answer.withdrawal.unwrap_or_default())
    }

    /// What only a sandbox deployment has.
    pub fn sandbox(&self) -> Sandbox {
        Sandbox { client: self.clone() }
    }
}
