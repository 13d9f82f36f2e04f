//! `listen`: follows a merchant's event log and sends each event to a URL of the developer's as the
//! webhook it is in production: the same body, signature and headers. It goes on where it was after a
//! lost connection. Not here: how a delivery is made (`webhook`).

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use cryptopayment_proto::v1;
use cryptopayment_proto::v1::event_service_client::EventServiceClient;
use cryptopayment_proto::v1::stream_events_request::From;
use cryptopayment_proto::v1::webhook_service_client::WebhookServiceClient;
use serde_json::json;
use tonic::Status;

use super::connection::{Connection, ConnectionArguments, is_passing};
use super::output::{note, say};
use crate::app;
use crate::config::Config;
use crate::domain::event::{EventKind, event_id};
use crate::env::Env;
use crate::webhook::body::{self, BodyWriter};
use crate::webhook::{
    DeliveryError, Message, Outcome, SignedRequest, TargetPolicy, WebhookClient, WebhookLimits,
    check_url,
};

/// The first pause after a lost connection; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// What stands before a Standard Webhooks secret.
const SECRET_PREFIX: &str = "whsec_";

/// What to replay, and where to.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cryptopayment listen --forward-to http://localhost:3000/webhook
  cryptopayment listen --forward-to http://localhost:3000/webhook --from earliest --count 10
  CRYPTOPAYMENT_URL=https://pay.example CRYPTOPAYMENT_API_KEY=pk_... CRYPTOPAYMENT_API_SECRET=sk_... \\
    cryptopayment listen --forward-to http://localhost:3000/webhook --events payment.confirmed")]
pub struct ListenArguments {
    /// Where to send the events, e.g. http://localhost:3000/webhook.
    #[arg(long, value_name = "URL")]
    pub forward_to: String,
    /// Where to begin: `earliest`, `latest`, or behind the event of this number.
    #[arg(long, default_value = "latest", value_parser = start)]
    pub from: From,
    /// Only these events; those of the key's endpoint unless given.
    #[arg(long, value_delimiter = ',', value_parser = event)]
    pub events: Vec<String>,
    /// End after so many events were sent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Which deployment, and who calls.
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

fn start(text: &str) -> Result<From, String> {
    match text {
        "earliest" => Ok(From::Start(v1::StreamStart::Earliest.into())),
        "latest" => Ok(From::Start(v1::StreamStart::Latest.into())),
        number => {
            let after = number.parse().map(From::After);
            after.map_err(|_| "must be earliest, latest or the number of an event".to_owned())
        }
    }
}

fn event(text: &str) -> Result<String, String> {
    let kind = EventKind::parse(text).ok_or_else(|| {
        format!("is no event; known are {}", EventKind::ALL.map(EventKind::as_str).join(", "))
    })?;
    Ok(kind.as_str().to_owned())
}

/// Replays until it is stopped, or `count` events were sent.
pub async fn run(
    config: &Config,
    arguments: ListenArguments,
    env: Env,
) -> anyhow::Result<ExitCode> {
    let policy = TargetPolicy::sandbox();
    check_url(&policy, &arguments.forward_to).context("--forward-to")?;
    let connection = Connection::open(config, &arguments.connection)?;
    let mut listener = Listener {
        bodies: app::webhook_bodies(config)?,
        client: WebhookClient::new(policy, WebhookLimits::default(), env.clone())?,
        from: arguments.from,
        arguments,
        connection,
        env,
        sent: 0,
    };
    let mut pause = PAUSE_MIN;
    loop {
        let before = listener.from;
        let status = match listener.follow().await {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(Stop::Status(status)) => status,
            Err(Stop::Other(error)) => return Err(error),
        };
        let text = listener.connection.told(&status);
        if !is_passing(&status) {
            note(text);
            return Ok(ExitCode::FAILURE);
        }
        if listener.from != before {
            pause = PAUSE_MIN;
        }
        note(format_args!("{text}; again in {} s", pause.as_secs()));
        listener.env.sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Why following the log came to an end.
enum Stop {
    Status(Status),
    Other(anyhow::Error),
}

impl std::convert::From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl std::convert::From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// What signs, read anew with each connection: a key may have been activated meanwhile.
struct Keys {
    app_key: [u8; 32],
    secrets: Vec<[u8; 32]>,
}

impl Keys {
    fn read(endpoint: &v1::WebhookEndpoint) -> anyhow::Result<Self> {
        let both = endpoint.signing_secret.iter().chain(&endpoint.signing_secret_previous);
        let secrets = both.map(|text| key(text.strip_prefix(SECRET_PREFIX).unwrap_or(text)));
        Ok(Self { app_key: key(&endpoint.app_key)?, secrets: secrets.collect::<Result<_, _>>()? })
    }
}

fn key(text: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = STANDARD.decode(text).context("the deployment's key is no base64")?;
    <[u8; 32]>::try_from(bytes.as_slice()).context("the deployment's key has not 32 bytes")
}

struct Listener {
    arguments: ListenArguments,
    connection: Connection,
    bodies: BodyWriter,
    client: WebhookClient,
    env: Env,
    /// Where to begin the next time.
    from: From,
    sent: u64,
}

impl Listener {
    /// Follows the log over one connection. `Ok` when enough was sent.
    async fn follow(&mut self) -> Result<(), Stop> {
        let channel = self.connection.channel.clone();
        let request = self.connection.request(v1::GetWebhookEndpointRequest {});
        let answer =
            WebhookServiceClient::new(channel.clone()).get_webhook_endpoint(request).await?;
        let endpoint = answer.into_inner().endpoint.unwrap_or_default();
        let keys = Keys::read(&endpoint)?;
        let wanted = if self.arguments.events.is_empty() {
            &endpoint.events
        } else {
            &self.arguments.events
        };
        let request = v1::StreamEventsRequest { from: Some(self.from) };
        let request = self.connection.request(request);
        let mut stream =
            EventServiceClient::new(channel).stream_events(request).await?.into_inner();
        let to = &self.arguments.forward_to;
        note(format_args!("sending {} to {to}", wanted.join(", ")));
        let wanted = wanted.clone();
        while let Some(message) = stream.message().await? {
            if let Some(event) = &message.event
                && wanted.contains(&event.r#type)
            {
                let outcome = self.forward(event, &keys).await?;
                self.print(event, &outcome);
                self.sent += 1;
            }
            self.from = From::After(message.cursor);
            if self.arguments.count.is_some_and(|count| self.sent >= count) {
                return Ok(());
            }
        }
        Err(Status::unavailable("the stream ended").into())
    }

    /// Sends an event as its first delivery is sent.
    async fn forward(&self, event: &v1::Event, keys: &Keys) -> anyhow::Result<Outcome> {
        let data = event.data.as_ref().context("the event has no data")?;
        let told = body::event(data)?;
        let message = Message {
            event_id: &event_id(told.invoice_id, event.sequence),
            body: &told,
            sequence: Some(event.sequence),
            attempt: 1,
            sent_at: self.env.system_now(),
            app_key: &keys.app_key,
            secrets: &keys.secrets,
        };
        let SignedRequest { headers, body } = SignedRequest::new(&self.bodies, &message)?;
        Ok(self.client.post(&self.arguments.forward_to, headers, body).await)
    }

    fn print(&self, event: &v1::Event, outcome: &Outcome) {
        if self.arguments.json {
            let line = json!({
                "sequence": event.sequence,
                "event": event.r#type,
                "invoice_id": event.invoice_id,
                "status_code": outcome.status,
                "error": outcome.error.map(DeliveryError::as_str),
                "duration_ms": outcome.duration_ms,
            });
            say(line);
            return;
        }
        let answer = match (outcome.status, outcome.error.map(DeliveryError::sentence)) {
            (Some(status), None) => format!("HTTP {status}"),
            (Some(status), Some(error)) => format!("HTTP {status}, {error}"),
            (None, error) => error.unwrap_or("no answer").to_owned(),
        };
        say(format_args!(
            "#{} {} {} -> {answer} ({} ms)",
            event.sequence, event.r#type, event.invoice_id, outcome.duration_ms
        ));
    }
}
