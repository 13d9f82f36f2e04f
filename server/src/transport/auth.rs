//! The one authentication path: every gRPC, gRPC-web and REST call passes here. An API key is looked
//! up by its public part, its secret compared by digest in constant time, and its scope held
//! against the method's rule. Not here: who may do what (the contract's options, `access`), how often
//! credentials may be wrong (`failed_authentications`), which keys are remembered (`known_keys`).

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cryptopayment_proto::options::v1::{Audience, Scope};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tonic::body::Body;
use uuid::Uuid;

use super::access::AccessRules;
use super::admission::Admission;
use super::calls::Services;
use super::failed_authentications::FailedAuthentications;
use super::known_keys::KnownKeys;
use super::listener::PeerAddress;
use super::status::status;
use crate::domain::failure::{Class, Failure, Reason};
use crate::env::Env;
use crate::store::Db;
use crate::store::keys::ApiKey;
use crate::usecase::Caller;
use crate::usecase::manage_keys::digest;
use crate::usecase::update_settings::basis_points;

/// Look-ups under way at once for streams that ask whether they may go on: those of one key ask together, and
/// the first answer is remembered for the others.
const STREAM_LOOKUPS_MAX: usize = 4;
/// Bytes of an `authorization` value that are looked at.
const AUTHORIZATION_BYTES_MAX: usize = 512;
/// What is said of wrong credentials.
const WRONG: &str = "the API key or its secret is wrong, or it was revoked";
/// From the gateway: which view its caller chose. To the gateway: that this key's answers are full.
const VIEW_HEADER: &str = "x-gateway-view";

/// Authenticates calls.
#[derive(Clone)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    rules: AccessRules,
    is_sandbox: bool,
    keys: KnownKeys,
    failed: FailedAuthentications,
    stream_lookups: Semaphore,
}

/// Whether the caller will see what only full answers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeesAll(pub bool);

/// An authenticated call's key and who it stands for.
struct Authenticated {
    caller: Caller,
    key: Arc<ApiKey>,
}

impl Authenticator {
    /// An authenticator by these rules, for which credentials of one key or from one address may be wrong
    /// `failures_per_minute_max` times a minute.
    pub fn new(
        db: Db,
        env: Env,
        rules: AccessRules,
        is_sandbox: bool,
        failures_per_minute_max: u32,
    ) -> Self {
        let shared = Shared {
            keys: KnownKeys::new(db, env.clone()),
            failed: FailedAuthentications::new(failures_per_minute_max),
            stream_lookups: Semaphore::new(STREAM_LOOKUPS_MAX),
            env,
            rules,
            is_sandbox,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Forgets a key, so that its next use reads the database.
    pub fn forget(&self, public_id: &str) {
        self.shared.keys.forget(public_id);
    }

    /// Forgets every key: something about a merchant changed.
    pub fn forget_all(&self) {
        self.shared.keys.forget_all();
    }

    /// Lets a call pass with its caller attached, or answers with why not.
    pub async fn public(
        &self,
        mut request: Request<Body>,
        services: &Services,
    ) -> Result<Response<Body>, Infallible> {
        let Some(access) = self.shared.rules.get(request.uri().path()) else {
            // Health, reflection and unknown methods: nothing of anybody's is behind them.
            return services.answer(request).await;
        };
        let headers = request.headers();
        let peer = request.extensions().get::<PeerAddress>().map(PeerAddress::network);
        let exists = self.shared.is_sandbox || !access.is_sandbox_only();
        let authenticated = match access.audience {
            // The invoice's id is all that a payer has; nobody calls.
            Audience::Payer if exists => return services.answer(request).await,
            Audience::Merchant | Audience::Sandbox if exists => {
                self.authenticate(headers, peer, access.scope).await
            }
            // What exists elsewhere does not exist here.
            _ => Err(unknown_method()),
        };
        match authenticated {
            Ok(Authenticated { caller, key }) => {
                let full_view = key.rest_view == "full";
                let chosen = request.headers().get(VIEW_HEADER).map(HeaderValue::as_bytes);
                let sees_all = match chosen {
                    // gRPC has no views.
                    None | Some(b"full") => true,
                    Some(b"basic") => false,
                    Some(_) => full_view,
                };
                request.extensions_mut().insert(caller);
                let admission = Admission::new(self.clone(), key, access.scope);
                request.extensions_mut().insert(admission);
                request.extensions_mut().insert(SeesAll(sees_all));
                let mut response = services.answer(request).await?;
                if full_view {
                    let full = HeaderValue::from_static("full");
                    response.headers_mut().insert(VIEW_HEADER, full);
                }
                Ok(response)
            }
            Err(failure) => Ok(refuse(failure)),
        }
    }

    /// Lets operator calls pass that came through the admin socket, which only its owner can open.
    pub async fn operator(
        &self,
        request: Request<Body>,
        services: &Services,
    ) -> Result<Response<Body>, Infallible> {
        match self.shared.rules.get(request.uri().path()) {
            Some(access) if access.audience != Audience::Operator => Ok(refuse(unknown_method())),
            _ => services.answer(request).await,
        }
    }

    async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        scope: Scope,
    ) -> Result<Authenticated, Failure> {
        let key = self.proven(headers, peer).await?;
        permitted(&key, scope)?;
        let caller = Caller {
            merchant_id: key.merchant_id,
            api_key_id: key.id,
            public_id: key.public_id.clone(),
            honors_late: key.honors_late,
            shortfall_basis_points: basis_points(key.shortfall_basis_points)?,
        };
        Ok(Authenticated { caller, key })
    }

    /// Whether a key that was let in still would be.
    pub(super) async fn still_admits(&self, public_id: &str, scope: Scope) -> Result<(), Failure> {
        let keys = &self.shared.keys;
        let found = match keys.remembered(public_id) {
            Some(key) => Some(key),
            None => {
                let _place = self.shared.stream_lookups.acquire().await;
                match keys.remembered(public_id) {
                    Some(key) => Some(key),
                    None => keys.looked_up(public_id).await?,
                }
            }
        };
        let Some(key) = found.filter(|key| !self.is_over(key)) else {
            return Err(Failure::new(Class::Unauthenticated, Reason::CredentialsInvalid, WRONG));
        };
        permitted(&key, scope)
    }

    /// Waits, by the system's clock.
    pub(super) async fn sleep(&self, duration: Duration) {
        self.shared.env.sleep(duration).await;
    }

    /// Whether a key was revoked or has expired.
    fn is_over(&self, key: &ApiKey) -> bool {
        let now = self.shared.env.now().0;
        key.revoked_at.is_some() || key.expires_at.is_some_and(|at| at <= now)
    }

    /// The key whose secret the caller has.
    async fn proven(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Arc<ApiKey>, Failure> {
        let Credentials::Given { public_id, secret } = credentials(headers)? else {
            return Err(self.wrong(None, peer));
        };
        self.check_mode(public_id)?;
        let found = match self.shared.keys.remembered(public_id) {
            Some(key) => Some(key),
            None => {
                let _place = self.shared.failed.place(peer, self.shared.env.system_now()).await;
                self.shared.keys.looked_up(public_id).await?
            }
        };
        let Some(key) = found else { return Err(self.wrong(None, peer)) };
        let matches: bool = digest(secret).ct_eq(key.digest.as_slice()).into();
        if !matches || self.is_over(&key) {
            return Err(self.wrong(Some(key.id), peer));
        }
        Ok(key)
    }

    /// The answer to wrong credentials, which counts them.
    fn wrong(&self, key: Option<Uuid>, peer: Option<IpAddr>) -> Failure {
        match self.shared.failed.count(key, peer, self.shared.env.system_now()) {
            None => Failure::new(Class::Unauthenticated, Reason::CredentialsInvalid, WRONG),
            Some(rest) => {
                let text = format!("{WRONG}; it was so too often");
                Failure::new(Class::ResourceExhausted, Reason::RateLimited, text).retry_after(rest)
            }
        }
    }

    /// A key of the other kind is refused by name.
    fn check_mode(&self, public_id: &str) -> Result<(), Failure> {
        let (other, here) = if self.shared.is_sandbox {
            ("pk_live_", "a sandbox: use a pk_test_ key")
        } else {
            ("pk_test_", "live: use a pk_live_ key")
        };
        if public_id.starts_with(other) {
            let text = format!("this deployment is {here}");
            return Err(Failure::new(Class::Unauthenticated, Reason::KeyModeMismatch, text));
        }
        Ok(())
    }
}

/// Whether a key allows what needs this scope.
fn permitted(key: &ApiKey, scope: Scope) -> Result<(), Failure> {
    if key.approved_at.is_none() {
        return Err(Failure::new(
            Class::PermissionDenied,
            Reason::MerchantNotApproved,
            "the merchant is not approved yet",
        ));
    }
    let wanted = scope.as_str_name();
    if key.scopes != "*" && !key.scopes.split(',').any(|has| has == wanted) {
        let text = format!("the key lacks the scope {wanted}");
        return Err(Failure::new(Class::PermissionDenied, Reason::ScopeMissing, text));
    }
    Ok(())
}

/// What an `authorization` header says.
enum Credentials<'h> {
    Given { public_id: &'h str, secret: &'h str },
    Unreadable,
}

/// The public and secret part of `Bearer KEY:SECRET`. Of two such headers a proxy in front may have
/// looked at the other one: neither counts.
fn credentials(headers: &HeaderMap) -> Result<Credentials<'_>, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next().ok_or_else(|| {
        Failure::new(
            Class::Unauthenticated,
            Reason::CredentialsMissing,
            "send `Authorization: Bearer KEY:SECRET`",
        )
    })?;
    let text = header.to_str().ok().filter(|text| text.len() <= AUTHORIZATION_BYTES_MAX);
    let parts = text.and_then(|text| text.split_once(' ')).and_then(|(scheme, rest)| {
        let (public_id, secret) = rest.trim().split_once(':')?;
        scheme.eq_ignore_ascii_case("bearer").then_some((public_id, secret))
    });
    Ok(match parts {
        Some((public_id, secret)) if values.next().is_none() => {
            Credentials::Given { public_id, secret }
        }
        _ => Credentials::Unreadable,
    })
}

fn unknown_method() -> Failure {
    Failure::new(Class::Unimplemented, Reason::NotImplemented, "there is no such method here")
}

fn refuse(failure: Failure) -> Response<Body> {
    status(failure).into_http()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::calls::Callers;
    use super::*;
    use crate::metrics::CallMeter;
    use futures_util::FutureExt as _;
    use tower::ServiceExt as _;

    /// What answers a call without a key: `reached`, or the gRPC status. Nothing is served behind the
    /// guard, so that a call which was let in finds no such method.
    async fn answer(db: &Db, is_sandbox: bool, path: &str) -> String {
        let rules = AccessRules::read(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
        let auth = Authenticator::new(db.clone(), Env::system(), rules, is_sandbox, 60);
        let counted = CallMeter::new(Env::system(), std::iter::empty());
        let guarded = Services::default().guarded(Callers::Public, auth, counted);
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = guarded.oneshot(request).await.unwrap();
        let text = |name| response.headers()[name].to_str().unwrap().to_owned();
        match text("grpc-message").as_str() {
            "there%20is%20no%20such%20method" => "reached".to_owned(),
            _ => text("grpc-status"),
        }
    }

    #[tokio::test]
    async fn a_remembered_key_waits_for_no_place_that_guessers_hold() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("ledger.sqlite").display());
        let db = Db::open(&url, 1).await.unwrap();
        let rules = AccessRules::read(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
        let auth = Authenticator::new(db, Env::system(), rules, true, 1);
        let proxy = Some(IpAddr::from([198, 51, 100, 1]));
        let now = auth.shared.env.system_now();
        while auth.shared.failed.count(None, proxy, now).is_none() {}
        let mut held = Vec::new();
        while let Some(Some(place)) = auth.shared.failed.place(proxy, now).now_or_never() {
            held.push(place);
        }
        assert!(!held.is_empty());
        let key = ApiKey {
            id: Uuid::from_u128(1),
            public_id: "pk_test_known".to_owned(),
            merchant_id: Uuid::from_u128(2),
            name: String::new(),
            digest: digest("secret").to_vec(),
            mode: "test".to_owned(),
            scopes: "*".to_owned(),
            rest_view: "basic".to_owned(),
            app_key: Vec::new(),
            app_key_next: None,
            expires_at: None,
            revoked_at: None,
            created_at: 1,
            approved_at: Some(1),
            honors_late: false,
            shortfall_basis_points: 0,
            webhook_url: None,
            webhook_events: None,
            signing_secret: None,
            signing_secret_previous: None,
            signing_secret_previous_until: None,
        };
        auth.shared.keys.remember(key);
        let call = async |key: &str| {
            let mut headers = HeaderMap::new();
            let value = format!("Bearer {key}:secret");
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
            auth.authenticate(&headers, proxy, Scope::InvoicesRead).await
        };
        assert!(call("pk_test_known").now_or_never().unwrap().is_ok());
        assert!(call("pk_test_other").now_or_never().is_none(), "it waits for a place");
    }

    #[tokio::test]
    async fn payers_need_no_key_and_a_live_deployment_has_no_buttons_for_them() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("ledger.sqlite").display());
        let db = Db::open(&url, 1).await.unwrap();
        let unauthenticated = (tonic::Code::Unauthenticated as i32).to_string();
        let unimplemented = (tonic::Code::Unimplemented as i32).to_string();
        for (path, sandbox, live) in [
            ("checkout.v1.CheckoutService/GetCheckout", "reached", "reached"),
            ("checkout.v1.CheckoutService/WatchCheckout", "reached", "reached"),
            ("checkout.v1.SandboxCheckoutService/PayCheckout", "reached", &*unimplemented),
            ("checkout.v1.SandboxCheckoutService/MineCheckout", "reached", &unimplemented),
            ("checkout.v1.SandboxCheckoutService/ReorgCheckout", "reached", &unimplemented),
            ("sandbox.v1.SandboxService/Mine", &unauthenticated, &unimplemented),
            ("v1.InvoiceService/GetInvoice", &unauthenticated, &unauthenticated),
            ("admin.v1.MerchantService/ListMerchants", &unimplemented, &unimplemented),
        ] {
            let path = format!("/cryptopayment.{path}");
            assert_eq!(answer(&db, true, &path).await, sandbox, "{path} on a sandbox");
            assert_eq!(answer(&db, false, &path).await, live, "{path} in live");
        }
    }
}
