//! GetInvoice over REST as somebody would write it by hand who has this one message to serve: axum, serde,
//! and the same look-ups that the product makes. Not here: what is compared (`calls`, `transcoder`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use cryptopayment::domain::amount::decimal;
use cryptopayment::domain::invoice::Status;
use cryptopayment::domain::price;
use cryptopayment::domain::time::Micros;
use cryptopayment::env::Env;
use cryptopayment::store::Db;
use cryptopayment::store::invoices::{self, InvoiceView};
use cryptopayment::store::keys::{self, ApiKey};
use cryptopayment::transport::convert;
use cryptopayment::usecase::manage_keys::digest;
use cryptopayment_proto::v1;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::handler::SameInvoice;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of the digest of an answer that its entity tag has.
const TAG_BYTES: usize = 16;
/// Connections to PostgreSQL, as many as the product has if nobody sets it.
const CONNECTIONS_MAX: u32 = 16;

/// What it looks up.
#[derive(Clone)]
pub struct Looked {
    db: Db,
    env: Env,
    keys: Arc<Mutex<HashMap<String, Arc<ApiKey>>>>,
}

impl Looked {
    /// In the database of a running server.
    pub async fn up(database_url: &str) -> Self {
        let db = Db::open(database_url, CONNECTIONS_MAX).await.unwrap();
        Self { db, env: Env::system(), keys: Arc::default() }
    }

    /// Whose key the header names, if its secret is right. Keys are kept: so does the product.
    async fn key(&self, headers: &HeaderMap) -> Option<Arc<ApiKey>> {
        let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (public_id, secret) = text.strip_prefix("Bearer ")?.split_once(':')?;
        let known = self.keys.lock().unwrap().get(public_id).cloned();
        let key = match known {
            Some(key) => key,
            None => {
                let key = Arc::new(keys::get(&self.db, public_id).await.unwrap()?);
                self.keys.lock().unwrap().insert(public_id.to_owned(), Arc::clone(&key));
                key
            }
        };
        bool::from(digest(secret).ct_eq(key.digest.as_slice())).then_some(key)
    }
}

/// Checks the key, reads the invoice, writes it.
pub async fn looked_up(
    State(looked): State<Looked>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Response {
    let Some(key) = looked.key(&headers).await else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    match invoices::get(&looked.db, key.merchant_id, id).await.unwrap() {
        Some(view) => Shown::of_view(&view, looked.env.now()).written(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The same invoice always. It builds its message anew, as the service does.
pub async fn same(State(same): State<SameInvoice>, Path(id): Path<String>) -> Response {
    let invoice = v1::Invoice::clone(&same.0);
    assert!(!id.is_empty());
    Shown::of_message(&invoice).written()
}

/// The documented answer.
#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    invoice: Shown<'a>,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: Cow<'a, str>,
    order_id: Option<&'a str>,
    status: &'static str,
    network: &'a str,
    network_label: &'a str,
    coin: &'a str,
    amount_usd: Box<RawValue>,
    amount_crypto: Box<RawValue>,
    address: &'a str,
    paid_amount: Box<RawValue>,
    txid: Option<Cow<'a, str>>,
    confirmations: Confirmations,
    expires_at: String,
    created_at: String,
}

#[derive(Serialize)]
struct Confirmations {
    received: u32,
    required: u32,
}

impl<'a> Shown<'a> {
    fn of_message(invoice: &'a v1::Invoice) -> Self {
        let confirmations = invoice.confirmations.unwrap_or_default();
        Shown {
            id: invoice.id.as_str().into(),
            order_id: invoice.order_id.as_deref(),
            status: match v1::InvoiceStatus::try_from(invoice.status) {
                Ok(v1::InvoiceStatus::Pending) => "pending",
                Ok(v1::InvoiceStatus::Confirming) => "confirming",
                Ok(v1::InvoiceStatus::Confirmed) => "confirmed",
                _ => "expired",
            },
            network: &invoice.network,
            network_label: &invoice.network_label,
            coin: &invoice.coin,
            amount_usd: number(&invoice.amount_usd),
            amount_crypto: number(&invoice.amount_crypto),
            address: &invoice.address,
            paid_amount: number(&invoice.paid_amount),
            txid: invoice.txid.as_deref().map(Cow::from),
            confirmations: Confirmations {
                received: confirmations.received,
                required: confirmations.required,
            },
            expires_at: moment(invoice.expires_at.map_or(0, |at| at.seconds)),
            created_at: moment(invoice.created_at.map_or(0, |at| at.seconds)),
        }
    }

    fn of_view(view: &'a InvoiceView, now: Micros) -> Self {
        let invoice = &view.invoice;
        let summary = convert::summary(view, now);
        let decimals = invoice.network.asset().decimals();
        Shown {
            id: invoice.id.to_string().into(),
            order_id: invoice.order_id.as_deref(),
            status: match invoice.standing.status {
                Status::Pending => "pending",
                Status::Confirming => "confirming",
                Status::Confirmed => "confirmed",
                Status::Expired => "expired",
            },
            network: invoice.network.as_str(),
            network_label: invoice.network.label(),
            coin: invoice.network.invoice_coin(),
            amount_usd: number(&price::usd(invoice.amount_cents)),
            amount_crypto: number(&decimal(invoice.terms.amount_units, decimals)),
            address: &invoice.address_text,
            paid_amount: number(&decimal(summary.paid_units, decimals)),
            txid: summary.txid.map(Cow::from),
            confirmations: Confirmations {
                received: summary.received,
                required: invoice.terms.confirmations_required,
            },
            expires_at: moment(invoice.terms.expires_at.seconds()),
            created_at: moment(invoice.created_at.seconds()),
        }
    }

    /// With the headers that the contract promises.
    fn written(self) -> Response {
        let answer = Answer { success: true, invoice: self };
        let json = serde_json::to_vec(&answer).unwrap();
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&json)[..TAG_BYTES]));
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ETAG, HeaderValue::try_from(tag).unwrap()),
            (REQUEST_ID, HeaderValue::try_from(Uuid::new_v4().to_string()).unwrap()),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        (headers, json).into_response()
    }
}

/// A number token with at least two digits behind its point; nothing is plain `0`.
fn number(text: &str) -> Box<RawValue> {
    if text == "0" {
        return RawValue::from_string(text.to_owned()).unwrap();
    }
    let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let mut token = text.to_owned();
    if digits == 0 {
        token.push('.');
    }
    for _ in digits..2 {
        token.push('0');
    }
    RawValue::from_string(token).unwrap()
}

fn moment(seconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00", u8::from(month))
}
