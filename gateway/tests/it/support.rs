//! Sends requests to a gateway in front of the library, in process, and reads its answers.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use rpc_gateway::{Gateway, GatewayService, Settings};
use serde_json::Value;
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::contract::DESCRIPTOR_SET;
use crate::library::{Arrived, DOMAIN, Library};

pub const DOC_URL_BASE: &str = "https://library.example/errors#";

pub struct House {
    pub library: Library,
    pub service: GatewayService<Routes>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub fn settings() -> Settings {
    Settings {
        doc_url_base: DOC_URL_BASE.to_owned(),
        default_success_key: Some("success".to_owned()),
        error_domain: Some(DOMAIN.to_owned()),
        ..Settings::default()
    }
}

pub fn house() -> House {
    house_with(settings())
}

pub fn house_with(settings: Settings) -> House {
    let library = Library::default();
    let gateway = Gateway::new(&DESCRIPTOR_SET, settings).unwrap();
    let service = gateway.into_service(library.routes());
    House { library, service }
}

impl House {
    pub async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = self.service.clone().oneshot(request).await.unwrap().into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.with("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.with("POST", path, &[("content-type", "application/json")], body).await
    }

    pub async fn with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    /// The only request that arrived at the library.
    pub fn arrived(&self) -> Arrived {
        let mut all = self.library.arrived();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub fn nothing_arrived(&self) {
        assert!(self.library.arrived().is_empty(), "{:?}", self.library.arrived());
    }
}
