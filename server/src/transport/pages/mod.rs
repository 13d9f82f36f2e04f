//! Pages for people, rendered here: the checkout page, the page of errors, and their files. The routes,
//! and the headers that let nothing run, load or frame but what is this server's own. Not here: what a
//! payer may see (`grpc::checkout`), the words (`texts`).

mod assets;
mod checkout;
pub mod errors;
mod qr;
pub mod texts;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use maud::Markup;
use uuid::Uuid;

use super::grpc::checkout::CheckoutApi;
use super::grpc::sandbox::SandboxApi;
use super::status::status;
use crate::domain::failure::Class;

/// Nothing but this server's own script, style, pictures and answers; in nobody's frame.
const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// What every page and file of this server is sent with.
const HEADERS: [(&str, &str); 3] = [
    ("content-security-policy", SECURITY_POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// The pages with what they need.
#[derive(Clone)]
pub struct Pages(Arc<Shared>);

struct Shared {
    checkout: CheckoutApi,
    /// The networks whose payers and miners can be played.
    simulated: BTreeSet<&'static str>,
}

impl Pages {
    /// The pages of what `checkout` shows, with buttons where `sandbox` has a chain to play on.
    pub fn new(checkout: CheckoutApi, sandbox: Option<&SandboxApi>) -> Self {
        let chains = sandbox.into_iter().flat_map(|sandbox| sandbox.chains.keys());
        let simulated = chains.map(|network| network.as_str()).collect();
        Self(Arc::new(Shared { checkout, simulated }))
    }
}

/// The routes of the pages.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/pay/{id}", get(pay).fallback(other_method))
        .route("/pay/{id}/", get(without_slash).fallback(other_method))
        .route("/assets/{name}", get(asset).fallback(other_method))
        .with_state(pages)
}

/// The route of the page of errors, at `path`.
pub fn errors_router(path: &str, errors: Markup) -> Router {
    let show = move || async move { page(StatusCode::OK, errors) };
    Router::new().route(path, get(show).fallback(other_method))
}

/// What a page answers to all but GET and HEAD; axum adds the `Allow` header.
async fn other_method() -> Response {
    page(StatusCode::METHOD_NOT_ALLOWED, checkout::notice(&texts::ONLY_READ))
}

/// Leads to the page: its own links are relative to its address without the slash.
async fn without_slash(id: Result<Path<Uuid>, PathRejection>) -> Response {
    let Ok(Path(id)) = id else {
        return page(StatusCode::NOT_FOUND, checkout::notice(&texts::NOT_FOUND));
    };
    Redirect::permanent(&format!("../{id}")).into_response()
}

async fn pay(
    State(Pages(shared)): State<Pages>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    // What is no text is no invoice's id either.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    match shared.checkout.find(&id).await {
        Ok(checkout) => {
            let playable = shared.simulated.contains(checkout.network.as_str());
            page(StatusCode::OK, checkout::page(&checkout, playable))
        }
        Err(failure) if failure.class == Class::NotFound => {
            page(StatusCode::NOT_FOUND, checkout::notice(&texts::NOT_FOUND))
        }
        Err(failure) => {
            // Logs the cause where it is the server's own; the page does not tell it.
            let _ = status(failure);
            page(StatusCode::SERVICE_UNAVAILABLE, checkout::notice(&texts::UNAVAILABLE))
        }
    }
}

fn page(code: StatusCode, markup: Markup) -> Response {
    let mut response = (code, markup.into_string()).into_response();
    let headers = response.headers_mut();
    add_common(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn asset(name: Result<Path<String>, PathRejection>, asked: HeaderMap) -> Response {
    let Some(asset) = name.ok().and_then(|Path(name)| assets::named(&name)) else {
        return page(StatusCode::NOT_FOUND, checkout::notice(&texts::NOT_FOUND));
    };
    let mut response = asset.answer(&asked);
    add_common(response.headers_mut());
    response
}

fn add_common(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
