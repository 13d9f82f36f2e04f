//! Sends the rows of the tables to a server of their own and says what is not as expected: the answer,
//! its form to the byte, and that nothing changed. Not here: the rows (`fixtures/bad_input`).

use std::collections::BTreeMap;

use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment_sdk::v1::{Invoice, InvoiceException, InvoiceStatus};
use serde::Deserialize;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::table::{Row, Section, expand, message};
use crate::conformance::world::World;
use crate::support::server::eventually;
use crate::support::wire::{Reply, exchange};

/// How far the business clock may be from the system's: nobody moved it.
const CLOCK_SECONDS_MAX: u64 = 600;

/// A server with something in it to be changed by mistake.
pub struct Scene {
    pub world: World,
    host: String,
    channel: Channel,
    /// What placeholders stand for.
    pub names: BTreeMap<&'static str, String>,
    /// What a merchant sees of it.
    seen: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorBody {
    success: bool,
    message: String,
    error: ErrorObject,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorObject {
    code: String,
    message: String,
    details: Vec<Detail>,
    request_id: String,
    doc_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    field: String,
    reason: String,
    description: String,
}

impl Scene {
    /// A merchant with an invoice, half paid, another one, a delivery; and another merchant's invoice.
    pub async fn new() -> Self {
        let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
        let paid = world.invoice().await;
        world.pay(&paid, 1, 2).await;
        world.wait(&paid, InvoiceStatus::Pending, InvoiceException::Underpaid).await;
        let open = world.invoice().await;
        let (key, secret) = world.server.second_merchant().await;
        let stranger = world.server.client_of(&key, &secret);
        let wanted = cryptopayment_sdk::CreateInvoice::new("trc20", "5");
        let foreign = stranger.create_invoice(wanted).await.unwrap().invoice.unwrap();
        let host = world.server.url.trim_start_matches("http://").to_owned();
        let channel = Channel::from_shared(world.server.url.clone()).unwrap();
        let mut scene = Self {
            channel: channel.connect().await.unwrap(),
            names: names(&world, &host, [&open, &paid, &foreign]),
            world,
            host,
            seen: String::new(),
        };
        let delivery = eventually("a delivery is done", || async {
            let reply = scene.get("/api/v1/webhooks/deliveries?state=delivered").await;
            let listed: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            listed["deliveries"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        scene.names.insert("delivery", delivery);
        scene.names.insert("foreign_auth", format!("Bearer {key}:{secret}"));
        scene.seen = scene.look().await;
        scene
    }

    /// A call without fault by the merchant.
    pub async fn get(&self, path: &str) -> Reply {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\nconnection: close\r\n\r\n",
            self.host, self.names["auth"]
        );
        let reply = exchange(&self.host, head.as_bytes(), 1, false).await.unwrap().remove(0);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply
    }

    /// Everything a merchant sees that bad input must not change.
    async fn look(&self) -> String {
        let mut seen = String::new();
        for path in [
            "/api/v1/invoices?view=full",
            "/api/v1/events",
            "/api/v1/balances?view=full",
            "/api/v1/balances/entries",
            "/api/v1/webhooks/endpoint",
            "/api/v1/webhooks/deliveries",
        ] {
            seen += &format!("{path}\n{}\n", self.get(path).await.body);
        }
        let networks = self.get("/api/v1/networks?view=full").await.body;
        let networks: serde_json::Value = serde_json::from_str(&networks).unwrap();
        for network in networks["networks"].as_array().unwrap() {
            seen += &format!("{} is at {}\n", network["network"], network["node_height"]);
        }
        let path = format!("/checkout/v1/invoices/{}?view=full", self.names["invoice"]);
        let checkout = self.get(&path).await;
        let checkout: serde_json::Value = serde_json::from_str(&checkout.body).unwrap();
        let now = checkout["checkout"]["now"].as_str().unwrap();
        let now = time::OffsetDateTime::parse(now, &time::format_description::well_known::Rfc3339);
        let apart = now.unwrap().unix_timestamp().abs_diff(Env::system().system_now().seconds());
        seen + if apart < CLOCK_SECONDS_MAX { "" } else { "the clock was moved" }
    }

    /// Sends a row's request and says what is wrong.
    pub async fn check(&mut self, row: &Row) -> Option<String> {
        let wrong = match &row.section {
            Section::Grpc { path } => self.check_grpc(row, path).await,
            _ => self.check_http(row).await,
        };
        let after = self.look().await;
        let wrong = match wrong {
            None if after != self.seen => Some(format!("it changed\n{}\nto\n{after}", self.seen)),
            other => other,
        };
        self.seen = after;
        wrong.map(|wrong| format!("{}: {:.160}\n  {wrong}", row.place, row.payload))
    }

    /// The bytes of a row's request.
    pub fn request(&self, row: &Row) -> Vec<u8> {
        let payload = expand(&row.payload, &self.names);
        let text = |text: &str| expand(text, &self.names);
        let head = |method: &str, path: &[u8], headers: &[u8], body: &[u8]| {
            let first = [method.as_bytes(), b" ", path, b" HTTP/1.1\r\n"].concat();
            let rest = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
            [&first, headers, rest.as_bytes(), body].concat()
        };
        let auth = format!("host: {}\r\nauthorization: {}\r\n", self.host, self.names["auth"]);
        let json = format!("{auth}content-type: application/json\r\n");
        match &row.section {
            Section::Bodies { method, path } => {
                head(method, &text(path), json.as_bytes(), &payload)
            }
            Section::Paths { method } => head(method, &payload, auth.as_bytes(), b""),
            Section::Headers { method, path, body } => {
                // What a row says itself, or leaves out by `-name`, is not added.
                let said = String::from_utf8_lossy(&payload).to_ascii_lowercase();
                let added = json.split_inclusive("\r\n").filter(|line| {
                    let name = line.split(':').next().unwrap_or_default();
                    let mut lines = said.split("\r\n");
                    !lines.any(|line| line.split(':').next().unwrap().trim_matches('-') == name)
                });
                let mut headers = added.collect::<String>().into_bytes();
                if !payload.is_empty() && !payload.starts_with(b"-") {
                    headers.extend([&payload[..], b"\r\n"].concat());
                }
                head(method, &text(path), &headers, &text(body))
            }
            Section::Raw { .. } | Section::Grpc { .. } => payload,
        }
    }

    /// Sends a row's request over HTTP.
    pub async fn send(&self, row: &Row) -> Result<Vec<Reply>, String> {
        let ends = matches!(row.section, Section::Raw { ends: true });
        exchange(&self.host, &self.request(row), row.statuses.len(), ends).await
    }

    async fn check_http(&self, row: &Row) -> Option<String> {
        let replies = match self.send(row).await {
            Ok(replies) => replies,
            Err(wrong) => return Some(wrong),
        };
        let statuses = statuses(row, &replies);
        if statuses != row.statuses {
            let bodies: Vec<&str> = replies.iter().map(|reply| reply.body.as_str()).collect();
            return Some(format!("wanted {:?}, got {statuses:?} {bodies:?}", row.statuses));
        }
        match (row.code.as_str(), replies.last()) {
            (".", Some(reply)) if !reply.body.is_empty() => Some(format!("said {}", reply.body)),
            ("-", Some(reply)) if !is_page(reply) && !has_no_body(row) => {
                Some(format!("no page: {:?} {:?}", reply.headers, reply.body))
            }
            ("." | "-", _) | (_, None) => None,
            (_, Some(reply)) => error_in(row, reply).err(),
        }
    }

    async fn check_grpc(&self, row: &Row, path: &str) -> Option<String> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let mut request = Request::new(message(&expand(&row.payload, &self.names)));
        request.set_timeout(std::time::Duration::from_secs(25));
        request.metadata_mut().insert("authorization", self.names["auth"].parse().unwrap());
        let path = path.to_owned().try_into().unwrap();
        let status = match client.server_streaming(request, path, Bytes).await {
            Err(status) => status,
            Ok(mut answer) => match answer.get_mut().message().await {
                Err(status) => status,
                Ok(answer) => return Some(format!("it succeeded: {answer:?}")),
            },
        };
        let details = status.get_error_details();
        let code = format!("{:?}", status.code());
        let reason = details.error_info().map_or("-", |info| info.reason.as_str());
        let fields = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
        let field = fields.first().map_or("-", |violation| violation.field.as_str());
        let wanted = (row.statuses[0].as_str(), row.code.as_str(), row.field.as_str());
        let got = (code.as_str(), reason, field);
        (got != wanted).then(|| format!("wanted {wanted:?}, got {got:?}: {}", status.message()))
    }
}

fn names(
    world: &World,
    host: &str,
    [open, paid, foreign]: [&Invoice; 3],
) -> BTreeMap<&'static str, String> {
    let (key, secret) = world.server.credentials.clone();
    BTreeMap::from([
        ("invoice", open.id.clone()),
        ("paid", paid.id.clone()),
        ("foreign", foreign.id.clone()),
        ("auth", format!("Bearer {key}:{secret}")),
        ("key", key),
        ("secret", secret),
        ("host", host.to_owned()),
        ("url", world.server.url.clone()),
        ("nl", "\r\n".to_owned()),
        ("headers", "x: a\r\n".repeat(200)),
    ])
}

/// The statuses of all answers; fewer than were waited for, and the connection is closed.
pub fn statuses(row: &Row, replies: &[Reply]) -> Vec<String> {
    let mut statuses: Vec<String> = replies.iter().map(|reply| reply.status.to_string()).collect();
    if statuses.len() < row.statuses.len() {
        statuses.push("closed".to_owned());
    }
    statuses
}

/// Whether an answer is a page for people.
fn is_page(reply: &Reply) -> bool {
    let kind = reply.header("content-type").unwrap_or_default();
    kind.starts_with("text/html") && reply.body.contains("<h1>")
}

/// Whether HTTP lets no answer to a row have a body.
fn has_no_body(row: &Row) -> bool {
    matches!(&row.section, Section::Paths { method } if method == "HEAD")
}

/// Whether an answer is the documented error, to the byte, and the one of the row.
fn error_in(row: &Row, reply: &Reply) -> Result<(), String> {
    let body: ErrorBody = serde_json::from_str(&reply.body)
        .map_err(|error| format!("not the documented form: {error}: {}", reply.body))?;
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let details: Vec<String> = body.error.details.iter().map(detail_json).collect();
    let canonical = format!(
        r#"{{"success":{},"message":{},"error":{{"code":{},"message":{},"details":[{}],"request_id":{},"doc_url":{}}}}}"#,
        body.success,
        json(&body.message),
        json(&body.error.code),
        json(&body.error.message),
        details.join(","),
        json(&body.error.request_id),
        json(&body.error.doc_url),
    );
    let field = body.error.details.first().map_or("-", |detail| detail.field.as_str());
    let is_named = match row.field.strip_suffix('*') {
        Some(beginning) => field.starts_with(beginning),
        None => field == row.field,
    };
    let page = format!("/docs/errors#{}", body.error.code.to_ascii_lowercase());
    let reasons = body.error.details.iter().all(|detail| detail.reason == body.error.code);
    let hint = row.hint.as_deref().is_none_or(|hint| body.message.contains(hint));
    for (holds, what) in [
        (canonical == reply.body, "other bytes than documented"),
        (!body.success, "success"),
        (body.message == body.error.message && !body.message.is_empty(), "two messages"),
        (reply.header("content-type") == Some("application/json"), "another content type"),
        (reply.header("x-request-id") == Some(&body.error.request_id), "another request id"),
        (body.error.doc_url.ends_with(&page), "another page of the documentation"),
        (reasons, "another reason in its details"),
        (body.error.code == row.code, "another code"),
        (is_named, "another field"),
        (hint, "another hint"),
    ] {
        if !holds {
            let wanted = (&row.code, &row.field, &row.hint);
            return Err(format!("{what}: wanted {wanted:?}, got {}", reply.body));
        }
    }
    Ok(())
}

fn detail_json(detail: &Detail) -> String {
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let (field, reason) = (json(&detail.field), json(&detail.reason));
    let description = json(&detail.description);
    format!(r#"{{"field":{field},"reason":{reason},"description":{description}}}"#)
}

/// Messages as bytes: what no generated client can send.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(out, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(from);
        Ok(Some(bytes::Buf::copy_to_bytes(from, length).to_vec()))
    }
}
