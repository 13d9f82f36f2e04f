//! Streams that resume: when the connection ends or the server says UNAVAILABLE, they call again
//! from where they stood, so that the reader sees neither a gap nor a repeat.

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::event_service_client::EventServiceClient;
use cryptopayment_proto::v1::invoice_service_client::InvoiceServiceClient;
use cryptopayment_proto::v1::stream_events_request;
use futures_util::Stream;
use tonic::{Code, Status, Streaming};

use crate::retry::pause;
use crate::{Client, Error};

/// Where a stream of events begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// After this sequence, which is excluded.
    After(u64),
    /// With the oldest event kept.
    Earliest,
    /// With the first event after now.
    Latest,
}

impl From {
    fn on_the_wire(self) -> stream_events_request::From {
        match self {
            Self::After(sequence) => stream_events_request::From::After(sequence),
            Self::Earliest => stream_events_request::From::Start(v1::StreamStart::Earliest.into()),
            Self::Latest => stream_events_request::From::Start(v1::StreamStart::Latest.into()),
        }
    }
}

/// Whether a stream that ended with this goes on with a new call. Connections that break look like
/// UNKNOWN or INTERNAL to a client.
fn resumes(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled)
}

struct Events {
    client: Client,
    from: From,
    open: Option<Streaming<v1::StreamEventsResponse>>,
    failures: u32,
    ended: bool,
}

struct Watch {
    client: Client,
    id: String,
    open: Option<Streaming<v1::WatchInvoiceResponse>>,
    last: Option<v1::Invoice>,
    failures: u32,
    ended: bool,
}

impl Client {
    /// Every event of the merchant from a place on, as it happens. Ends only with an error that
    /// calling again can not cure.
    pub fn stream_events(
        &self,
        from: From,
    ) -> impl Stream<Item = Result<v1::Event, Error>> + use<> {
        let client = self.clone();
        let events = Events { client, from, open: None, failures: 0, ended: false };
        futures_util::stream::unfold(events, Events::next)
    }

    /// The invoice now and after each change, until it is final.
    pub fn watch_invoice(
        &self,
        id: &str,
    ) -> impl Stream<Item = Result<v1::Invoice, Error>> + use<> {
        let (client, id) = (self.clone(), id.to_owned());
        let watch = Watch { client, id, open: None, last: None, failures: 0, ended: false };
        futures_util::stream::unfold(watch, Watch::next)
    }
}

impl Events {
    async fn next(mut self) -> Option<(Result<v1::Event, Error>, Self)> {
        while !self.ended {
            match self.message().await {
                Ok(Some(message)) => {
                    self.failures = 0;
                    self.from = From::After(message.cursor);
                    if let Some(event) = message.event {
                        return Some((Ok(event), self));
                    }
                }
                Ok(None) => self.reopen().await,
                Err(status) if resumes(&status) => self.reopen().await,
                Err(status) => {
                    self.ended = true;
                    return Some((Err(status.into()), self));
                }
            }
        }
        None
    }

    async fn message(&mut self) -> Result<Option<v1::StreamEventsResponse>, Status> {
        if self.open.is_none() {
            let request = v1::StreamEventsRequest { from: Some(self.from.on_the_wire()) };
            let request = self.client.request(request, false);
            let mut calls = EventServiceClient::new(self.client.channel.clone());
            self.open = Some(calls.stream_events(request).await?.into_inner());
        }
        match self.open.as_mut() {
            Some(open) => open.message().await,
            None => Ok(None),
        }
    }

    async fn reopen(&mut self) {
        self.open = None;
        self.failures += 1;
        tokio::time::sleep(pause(self.failures)).await;
    }
}

impl Watch {
    async fn next(mut self) -> Option<(Result<v1::Invoice, Error>, Self)> {
        while !self.ended {
            match self.message().await {
                Ok(Some(message)) => {
                    self.failures = 0;
                    let invoice = message.invoice.unwrap_or_default();
                    // A resumed stream begins with the invoice as it is: maybe as it was.
                    if self.last.as_ref() != Some(&invoice) {
                        self.ended = invoice.is_final;
                        self.last = Some(invoice.clone());
                        return Some((Ok(invoice), self));
                    }
                }
                Ok(None) => self.reopen().await,
                Err(status) if resumes(&status) => self.reopen().await,
                Err(status) => {
                    self.ended = true;
                    return Some((Err(status.into()), self));
                }
            }
        }
        None
    }

    async fn message(&mut self) -> Result<Option<v1::WatchInvoiceResponse>, Status> {
        if self.open.is_none() {
            let request = v1::WatchInvoiceRequest { id: self.id.clone() };
            let request = self.client.request(request, false);
            let mut calls = InvoiceServiceClient::new(self.client.channel.clone());
            self.open = Some(calls.watch_invoice(request).await?.into_inner());
        }
        match self.open.as_mut() {
            Some(open) => open.message().await,
            None => Ok(None),
        }
    }

    async fn reopen(&mut self) {
        self.open = None;
        self.failures += 1;
        tokio::time::sleep(pause(self.failures)).await;
    }
}
