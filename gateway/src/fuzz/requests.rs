//! Whole requests and whole messages by a compiled contract, without a server: what is read is a
//! message of the method, what is written is strict JSON, and both ways together change nothing.

use futures_util::FutureExt as _;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use crate::compile::Compiled;
use crate::failure::{Failure, Frame};
use crate::json::token::Reader;
use crate::request::{self, BodyRule, Brought, Query};
use crate::router::Found;
use crate::settings::TEXT_DEPTH_MAX;
use crate::{Gateway, MessageWriter, Settings, View};

/// Bytes of the longest JSON text.
const JSON_BYTES_MAX: usize = 1 << 20;

/// A contract to send requests to.
pub struct Contract {
    gateway: Gateway,
    pool: DescriptorPool,
    writers: Vec<MessageWriter>,
}

impl Contract {
    /// A contract from an encoded descriptor set.
    pub fn new(descriptor_set: &[u8]) -> Self {
        let gateway = Gateway::new(descriptor_set, Settings::default()).unwrap();
        let pool = DescriptorPool::decode(descriptor_set).unwrap();
        let messages = pool.all_messages().filter(|message| !message.is_map_entry());
        let writers = messages
            .filter_map(|message| {
                MessageWriter::of(&pool, message.full_name(), JSON_BYTES_MAX).ok()
            })
            .collect();
        Self { gateway, pool, writers }
    }

    /// A first line `METHOD path?query`, and a body.
    pub fn request(&self, data: &[u8]) {
        let line_end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
        let line = String::from_utf8_lossy(&data[..line_end]);
        let body = data.get(line_end + 1..).unwrap_or_default();
        let (method, target) = line.split_once(' ').unwrap_or(("GET", &line));
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let compiled = &*self.gateway.inner;
        let Found::Route { route, .. } = compiled.router.find(&method, path) else { return };
        let bytes = match read(compiled, &method, path, query, body) {
            Ok(bytes) => bytes,
            Err(failure) => return check_failure(&failure),
        };
        let plan = &compiled.routes[route];
        let desc = self.input(plan.grpc_path.as_str());
        let message = DynamicMessage::decode(desc.clone(), bytes.as_slice());
        assert!(message.is_ok(), "no {}: {message:?}", desc.full_name());
        let writer = MessageWriter::of(&self.pool, desc.full_name(), JSON_BYTES_MAX).unwrap();
        // A number that is not set has no form: not every request can be written.
        let Ok(text) = writer.write(&bytes, View::Full) else { return };
        check_json(&text);
        if plan.request.body == BodyRule::Whole && plan.request.path.is_empty() {
            let again = read(compiled, &method, path, None, &text);
            let again = again.unwrap_or_else(|failure| panic!("not read back: {failure:?}"));
            let second = writer.write(&again, View::Full).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), String::from_utf8(second).unwrap());
        }
    }

    /// A byte that chooses the message, and its protobuf bytes.
    pub fn message(&self, data: &[u8]) {
        let Some((&choice, bytes)) = data.split_first() else { return };
        let writer = &self.writers[usize::from(choice) % self.writers.len()];
        for view in [View::Basic, View::Full] {
            if let Ok(text) = writer.write(bytes, view) {
                check_json(&text);
            }
        }
    }

    fn input(&self, grpc_path: &str) -> MessageDescriptor {
        let (service, method) = grpc_path.trim_start_matches('/').split_once('/').unwrap();
        let service = self.pool.get_service_by_name(service).unwrap();
        service.methods().find(|candidate| candidate.name() == method).unwrap().input()
    }
}

fn read(
    compiled: &Compiled,
    method: &Method,
    path: &str,
    query: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>, Failure> {
    let Found::Route { route, path } = compiled.router.find(method, path) else {
        return Err(Failure::route_not_found());
    };
    let query = Query::parse(query, &compiled.settings)?;
    let headers = HeaderMap::new();
    let brought = Brought { path: &path, query: &query, headers: &headers, body };
    request::read(&compiled.routes[route].request, &compiled.shapes, &compiled.settings, &brought)
}

/// An error's answer is the caller's fault, and its body is strict JSON whatever the caller sent.
fn check_failure(failure: &Failure) {
    assert!(failure.status.is_client_error(), "{failure:?}");
    let frame = Frame { success_key: Some("success"), request_id: "id", doc_url_base: "" };
    let body = failure.response(&frame, true).into_body().collect().now_or_never();
    check_json(&body.unwrap().unwrap().to_bytes());
}

/// serde_json reads it, and so does the strict reader, unless the text itself holds U+0000.
fn check_json(text: &[u8]) {
    let shown = || String::from_utf8_lossy(text).into_owned();
    assert!(serde_json::from_slice::<serde_json::Value>(text).is_ok(), "no JSON: {}", shown());
    let mut copy = Vec::new();
    let mut reader = Reader::new(text, TEXT_DEPTH_MAX);
    if let Err(error) = reader.copy(&mut copy).and_then(|()| reader.end()) {
        assert!(error.description.starts_with("U+0000"), "{error:?}: {}", shown());
    } else {
        assert_eq!(copy, text, "white space came out");
    }
}
