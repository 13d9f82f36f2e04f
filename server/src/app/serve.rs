//! Starts what answers calls: the services on the public port, the operator's on the admin socket.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;

use super::{Core, admin_socket, errors_url, networks, webhook_client};
use crate::config::Config;
use crate::rates::RateSource;
use crate::transport::auth::Authenticator;
use crate::transport::convert::Chains;
use crate::transport::grpc::admin::AdminApi;
use crate::transport::grpc::admin::deliveries::AdminDeliveryApi;
use crate::transport::grpc::admin::ledger::AdminLedgerApi;
use crate::transport::grpc::admin::networks::AdminNetworkApi;
use crate::transport::grpc::admin::unexpected_deposits::AdminUnexpectedDepositApi;
use crate::transport::grpc::balances::BalanceApi;
use crate::transport::grpc::checkout::{CheckoutApi, WATCHERS_MAX, WATCHERS_PER_INVOICE_MAX};
use crate::transport::grpc::event_tails::EventTails;
use crate::transport::grpc::events::EventApi;
use crate::transport::grpc::invoices::InvoiceApi;
use crate::transport::grpc::networks::NetworkApi;
use crate::transport::grpc::sandbox::SandboxApi;
use crate::transport::grpc::send_test::{TestPlaces, TestSender};
use crate::transport::grpc::watchers::Watchers;
use crate::transport::grpc::webhooks::WebhookApi;
use crate::transport::listener::{self, ListenerLimits, Requests};
use crate::transport::server::{self, AdminServices, PublicServices};
use crate::usecase::address_leases::AddressLeases;
use crate::usecase::create_invoice::{CreateInvoice, Groups};
use crate::usecase::play_scenario::PlayScenario;
use crate::usecase::settle_unexpected::SettleUnexpected;

/// Starts serving; the reporter says NOT_SERVING until it is told otherwise.
pub async fn spawn(
    core: &Core,
    config: &Config,
    listener: TcpListener,
    rates: Arc<dyn RateSource>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<HealthReporter> {
    let (db, env, rules) = (core.db.clone(), core.env.clone(), core.rules.clone());
    let failures_max = config.http.failed_authentications_per_minute_max;
    let auth = Authenticator::new(db, env, rules, config.is_sandbox(), failures_max);
    let create = Arc::new(create_invoice(core, config, rates, tasks));
    let tails = EventTails::start(&core.db, &core.env, &core.signals, tasks, stop);
    let services = services(core, config, &auth, create, tails, stop)?;
    let origins = &config.http.cors_origins;
    let counted = core.meters.calls.clone();
    let public =
        server::public(services, auth.clone(), counted.clone(), &core.gateway, origins).await?;
    let limits = limits(config);
    limits.check()?;
    let admin = server::admin(admin_services(core, config, &auth, stop)?, auth, counted)?;
    let socket = listener::bind_unix(&admin_socket(config)).await?;
    let requests = Requests {
        env: core.env.clone(),
        internal_url: format!("{}#internal", errors_url(config)),
    };
    let (asked, stopped) = (requests.clone(), stop.clone());
    tasks.spawn(listener::serve_api(socket, admin, asked, limits.clone(), stopped));
    let stopped = stop.clone();
    tasks.spawn(listener::serve_api(listener, public.router, requests, limits, stopped));
    Ok(public.health)
}

fn services(
    core: &Core,
    config: &Config,
    auth: &Authenticator,
    create: Arc<CreateInvoice>,
    tails: EventTails,
    stop: &CancellationToken,
) -> anyhow::Result<PublicServices> {
    let (db, env) = (core.db.clone(), core.env.clone());
    let watchers = Watchers::new(config.http.streams_max, config.http.streams_per_merchant_max);
    let chains: Chains = config.enabled().into_iter().map(|(n, one)| (n, one.chain)).collect();
    Ok(PublicServices {
        invoices: InvoiceApi {
            chains: chains.clone(),
            create,
            apply: core.apply.clone(),
            signals: core.signals.clone(),
            watchers: watchers.clone(),
            stop: stop.clone(),
            public_url: config.http.public_url.clone(),
        },
        balances: BalanceApi { db: db.clone(), networks: core.terms.keys().copied().collect() },
        networks: NetworkApi { db: db.clone(), env: env.clone(), networks: core.terms.clone() },
        webhooks: WebhookApi {
            manage: Arc::clone(&core.manage),
            auth: auth.clone(),
            tests: test_sender(core, config)?,
            signals: core.signals.clone(),
        },
        events: EventApi { db: db.clone(), tails, watchers, stop: stop.clone() },
        checkout: CheckoutApi {
            db: db.clone(),
            env: env.clone(),
            signals: core.signals.clone(),
            stop: stop.clone(),
            chains,
            is_sandbox: config.is_sandbox(),
            watchers: Watchers::new(WATCHERS_MAX, WATCHERS_PER_INVOICE_MAX),
        },
        sandbox: config.is_sandbox().then(|| SandboxApi {
            db,
            env,
            chains: core.chains.controls.clone(),
            play: PlayScenario { db: core.db.clone(), books: core.chains.scenario_books() },
        }),
    })
}

fn admin_services(
    core: &Core,
    config: &Config,
    auth: &Authenticator,
    stop: &CancellationToken,
) -> anyhow::Result<AdminServices> {
    let manage = Arc::clone(&core.manage);
    Ok(AdminServices {
        manage: AdminApi {
            manage: Arc::clone(&manage),
            auth: auth.clone(),
            tests: test_sender(core, config)?,
        },
        networks: AdminNetworkApi {
            db: core.db.clone(),
            env: core.env.clone(),
            networks: networks::configured(config),
        },
        deliveries: AdminDeliveryApi { manage, signals: core.signals.clone() },
        ledger: AdminLedgerApi::new(core.db.clone(), stop.clone()),
        unexpected: AdminUnexpectedDepositApi {
            settle: SettleUnexpected {
                apply: core.apply.clone(),
                finality: core.terms.iter().map(|(n, terms)| (*n, terms.finality.most())).collect(),
            },
        },
    })
}

/// Tests have a client of their own: names that nobody resolves take the places of its resolver alone.
fn test_sender(core: &Core, config: &Config) -> anyhow::Result<TestSender> {
    Ok(TestSender {
        manage: Arc::clone(&core.manage),
        client: webhook_client(config, &core.env)?,
        bodies: core.bodies.clone(),
        places: TestPlaces::default(),
    })
}

fn create_invoice(
    core: &Core,
    config: &Config,
    rates: Arc<dyn RateSource>,
    tasks: &TaskTracker,
) -> CreateInvoice {
    let (db, env) = (core.db.clone(), core.env.clone());
    let block = config.pool.addresses_leased;
    let environment = config.environment.as_str();
    let key = core.apply.verifying_key;
    CreateInvoice {
        leases: Arc::new(AddressLeases::new(
            db.clone(),
            env.clone(),
            core.signals.clone(),
            key,
            environment,
            block,
            core.instance,
        )),
        groups: Groups::new(db.is_sqlite(), tasks.clone()),
        rates,
        networks: core.terms.clone(),
        lifetime: Duration::from_secs(config.invoice.expires_minutes * 60),
        inclusion_window: Duration::from_secs(config.invoice.inclusion_hours * 3_600),
        scenarios: config.is_sandbox().then(|| core.chains.scenario_books()),
        db,
        env,
    }
}

fn limits(config: &Config) -> ListenerLimits {
    ListenerLimits {
        connections_max: config.http.connections_max,
        connections_per_ip_max: config.http.connections_per_ip_max,
        drain_seconds_max: config.http.shutdown_seconds_max,
        ..ListenerLimits::default()
    }
}
