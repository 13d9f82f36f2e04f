//! Starts the workers: one scanner, reconciler and applier per network, one dispatcher, pruner and pool
//! keeper and deliverer, and the miners and scenarios of simulated chains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Core, networks};
use crate::chain::endpoints::Endpoints;
use crate::chain::sandbox::SandboxChain;
use crate::config::Config;
use crate::domain::asset::Network;
use crate::store::deployment;
use crate::usecase::fill_pool::FillPool;
use crate::worker::apply::Applier;
use crate::worker::deliver::{Deliverer, DelivererParts};
use crate::worker::dispatch::Dispatcher;
use crate::worker::endpoints::EndpointWatcher;
use crate::worker::pool::PoolKeeper;
use crate::worker::prune::{Kept, Pruner};
use crate::worker::reconcile::Reconciler;
use crate::worker::scan::Scanner;
use crate::worker::scenarios::{Player, Stage};
use crate::worker::{Step, reconcile};

/// How often a worker looks without a signal.
const TICK: Duration = Duration::from_millis(500);
/// How often it is looked whether balances are to be reconciled.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(5);
/// How often scenarios are looked at: what they wait for tells them nothing.
const SCENARIO_TICK: Duration = Duration::from_millis(200);
/// How often the pruner looks.
const PRUNE_INTERVAL: Duration = Duration::from_secs(5);

/// Starts every worker.
pub async fn spawn(
    core: &Core,
    config: &Config,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut scanners = BTreeMap::new();
    for network in core.terms.keys() {
        let wake = spawn_network(core, config, *network, tasks, stop);
        scanners.extend(wake.map(|wake| (*network, wake)));
    }
    spawn_pool(core, config, scanners, tasks, stop).await?;
    spawn_telling(core, config, tasks, stop);
    spawn_pruner(core, config, tasks, stop);
    if config.is_sandbox() {
        spawn_scenarios(core, config, tasks, stop);
    }
    Ok(())
}

/// The player of scenarios, where chains are simulated.
fn spawn_scenarios(core: &Core, config: &Config, tasks: &TaskTracker, stop: &CancellationToken) {
    let Some(sandbox) = core.chains.sandbox.clone() else { return };
    let wake = sandbox.scenario_noted();
    let enabled = config.enabled();
    let stage = |(network, chain): (&Network, &SandboxChain)| {
        let has_miner = enabled.get(network).is_some_and(|settings| settings.block_seconds > 0);
        (*network, Stage { chain: chain.clone(), has_miner })
    };
    let player = Player {
        db: core.db.clone(),
        env: core.env.clone(),
        sandbox,
        stages: core.chains.simulated.iter().map(stage).collect(),
    };
    let (env, stop) = (core.env.clone(), stop.clone());
    tasks.spawn(async move {
        reconcile("scenarios", &env, SCENARIO_TICK, &wake, &stop, || player.tick()).await;
    });
}

/// The scanner, the reconciler, the applier and, of a simulated chain, the miner of one network. Returns
/// what wakes the scanner.
fn spawn_network(
    core: &Core,
    config: &Config,
    network: Network,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Option<Arc<Notify>> {
    let reader = core.chains.readers.get(&network)?;
    let settings = config.enabled().get(&network).copied()?;
    let poll = Duration::from_millis(settings.poll_milliseconds);
    let simulated = core.chains.simulated.get(&network);
    let scan = simulated.map_or_else(Default::default, |chain| chain.changed());
    let wake = Arc::clone(&scan);
    let (db, env, signals) = (core.db.clone(), core.env.clone(), core.signals.clone());
    let scanner =
        Scanner::new(db.clone(), env.clone(), Arc::clone(reader), signals.clone(), core.instance)
            .watching_also(networks::same_accounts(config, network));
    let scanner = Arc::new(Mutex::new(scanner));
    let (worker_env, worker_stop) = (env.clone(), stop.clone());
    tasks.spawn(async move {
        let step = || {
            let scanner = Arc::clone(&scanner);
            async move { scanner.lock().await.tick().await }
        };
        reconcile("scan", &worker_env, poll, &wake, &worker_stop, step).await;
    });

    let reader = Arc::clone(reader);
    let reconciler = Reconciler::new(db, env.clone(), reader, signals.clone(), core.instance);
    let (worker_env, worker_stop) = (env.clone(), stop.clone());
    tasks.spawn(async move {
        let (interval, wake) = (RECONCILE_INTERVAL, Notify::new());
        let step = || reconciler.tick();
        reconcile("reconcile", &worker_env, interval, &wake, &worker_stop, step).await;
    });

    let applier = Applier::new(core.apply.clone(), network, signals.clone(), core.instance);
    let worker_stop = stop.clone();
    let wake = signals.scanned(network);
    tasks.spawn(async move {
        reconcile("apply", &env, TICK, &wake, &worker_stop, || applier.tick()).await;
    });

    if let Some(endpoints) = core.chains.endpoints.get(&network) {
        spawn_watcher(core, endpoints, tasks, stop);
    }
    if let Some(chain) = simulated {
        let interval = Duration::from_secs(settings.block_seconds);
        tasks.spawn(chain.clone().run_miner(interval, stop.clone()));
    }
    Some(scan)
}

/// What looks at a network's nodes.
fn spawn_watcher(
    core: &Core,
    endpoints: &Arc<Endpoints>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let interval = endpoints.look_every();
    let watcher = EndpointWatcher::new(core.db.clone(), Arc::clone(endpoints), core.instance);
    let (env, stop, wake) = (core.env.clone(), stop.clone(), Notify::new());
    tasks.spawn(async move {
        reconcile("endpoints", &env, interval, &wake, &stop, || watcher.tick()).await;
    });
}

async fn spawn_pool(
    core: &Core,
    config: &Config,
    scanners: BTreeMap<Network, Arc<Notify>>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Some(signer) = &core.signer else { return Ok(()) };
    let public_key = hex::encode(core.apply.verifying_key.as_bytes());
    tracing::info!(wallet_id = signer.wallet_id(), public_key, "wallet open");
    let fill = Arc::new(FillPool {
        db: core.db.clone(),
        env: core.env.clone(),
        signer: Arc::clone(signer) as _,
        wallet_id: signer.wallet_id(),
        addresses_low: config.pool.addresses_low,
        addresses_batch: config.pool.addresses_batch,
    });
    let enabled: Vec<Network> = core.terms.keys().copied().collect();
    for (network, count) in fill.check_restored(&enabled).await? {
        tracing::warn!(%network, count, "database is older than its wallet: quarantined");
    }
    let keeper = PoolKeeper::new(fill, scanners, core.instance);
    let (env, stop, wake) = (core.env.clone(), stop.clone(), core.signals.pool.clone());
    tasks.spawn(async move {
        reconcile("pool", &env, TICK, &wake, &stop, || keeper.tick()).await;
    });
    Ok(())
}

/// The dispatcher and the deliverer.
fn spawn_telling(core: &Core, config: &Config, tasks: &TaskTracker, stop: &CancellationToken) {
    let (db, env, signals) = (core.db.clone(), core.env.clone(), core.signals.clone());
    let dispatcher = Dispatcher::new(db.clone(), env.clone(), signals.clone(), core.instance);
    let (worker_env, worker_stop, wake) = (env.clone(), stop.clone(), signals.dispatch.clone());
    tasks.spawn(async move {
        reconcile("dispatch", &worker_env, TICK, &wake, &worker_stop, || dispatcher.tick()).await;
    });

    let wake = signals.deliveries.clone();
    let deliverer = Deliverer::new(DelivererParts {
        db,
        env: env.clone(),
        counted: core.meters.attempts.clone(),
        client: core.client.clone(),
        bodies: core.bodies.clone(),
        secrets: Arc::clone(&core.secrets),
        signals,
        concurrency_max: config.webhook.concurrency_max,
        holder: core.instance,
    });
    let stop = stop.clone();
    tasks.spawn(async move {
        reconcile("deliver", &env, TICK, &wake, &stop, || deliverer.tick()).await;
    });
}

fn spawn_pruner(core: &Core, config: &Config, tasks: &TaskTracker, stop: &CancellationToken) {
    let (db, env, stop) = (core.db.clone(), core.env.clone(), stop.clone());
    let kept = Kept {
        idempotency_days: config.retention.idempotency_days,
        delivery_days: config.retention.delivery_days,
    };
    let pruner = Pruner::new(db, env.clone(), core.instance, kept);
    let wake = Notify::new();
    tasks.spawn(async move {
        reconcile("prune", &env, PRUNE_INTERVAL, &wake, &stop, || pruner.tick()).await;
    });
}

/// Reads the sandbox's business clock, in whatever role: another process may have moved it.
pub fn spawn_clock(core: &Core, tasks: &TaskTracker, stop: &CancellationToken) {
    let (db, env, stop) = (core.db.clone(), core.env.clone(), stop.clone());
    let wake = Notify::new();
    tasks.spawn(async move {
        let read = || async {
            env.set_business_offset(deployment::business_offset(&db).await?);
            Ok(Step::Idle)
        };
        reconcile("clock", &env, TICK, &wake, &stop, read).await;
    });
}
