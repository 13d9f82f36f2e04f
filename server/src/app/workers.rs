//! Starts the workers: one scanner and one applier per network, one dispatcher, deliverer and pool
//! keeper, and the miners of simulated chains.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::networks::Chains;
use crate::config::Config;
use crate::env::Env;
use crate::secret_box::SecretBox;
use crate::signals::Signals;
use crate::store::{Db, deployment};
use crate::usecase::apply_deposits::ApplyDeposits;
use crate::usecase::fill_pool::FillPool;
use crate::webhook::WebhookClient;
use crate::webhook::body::BodyWriter;
use crate::worker::apply::Applier;
use crate::worker::deliver::{Deliverer, DelivererParts};
use crate::worker::dispatch::Dispatcher;
use crate::worker::pool::PoolKeeper;
use crate::worker::scan::Scanner;
use crate::worker::{Step, reconcile};

/// How often a worker looks without a signal.
const TICK: Duration = Duration::from_millis(500);

/// What workers are made of.
pub struct Parts<'a> {
    pub config: &'a Config,
    pub db: Db,
    pub env: Env,
    pub signals: Signals,
    pub apply: ApplyDeposits,
    pub fill: Arc<FillPool>,
    pub client: WebhookClient,
    pub bodies: BodyWriter,
    pub secrets: Arc<SecretBox>,
    pub chains: &'a Chains,
}

/// Starts every worker.
pub fn spawn(parts: Parts<'_>, tasks: &TaskTracker, stop: &CancellationToken) {
    spawn_chains(&parts, tasks, stop);
    let Parts { config, db, env, signals, fill, client, bodies, secrets, chains, .. } = parts;
    let networks = chains.readers.keys().copied().collect();
    let keeper = PoolKeeper::new(fill, networks);
    let (worker_env, worker_stop, wake) = (env.clone(), stop.clone(), signals.pool.clone());
    tasks.spawn(async move {
        reconcile("pool", &worker_env, TICK, &wake, &worker_stop, || keeper.tick()).await;
    });

    let dispatcher = Dispatcher::new(db.clone(), env.clone(), signals.clone());
    let (worker_env, worker_stop, wake) = (env.clone(), stop.clone(), signals.dispatch.clone());
    tasks.spawn(async move {
        reconcile("dispatch", &worker_env, TICK, &wake, &worker_stop, || dispatcher.tick()).await;
    });

    let (wake, worker_stop, worker_env) = (signals.deliveries.clone(), stop.clone(), env.clone());
    let deliverer = Deliverer::new(DelivererParts {
        db: db.clone(),
        env: env.clone(),
        client,
        bodies,
        secrets,
        signals,
        concurrency: config.webhook.concurrency_max,
    });
    tasks.spawn(async move {
        reconcile("deliver", &worker_env, TICK, &wake, &worker_stop, || deliverer.tick()).await;
    });

    if config.is_sandbox() {
        let (worker_env, worker_stop) = (env.clone(), stop.clone());
        let wake = tokio::sync::Notify::new();
        tasks.spawn(async move {
            // Another process may have moved the business clock.
            let read = || async {
                worker_env.set_business_offset(deployment::business_offset(&db).await?);
                Ok(Step::Idle)
            };
            reconcile("clock", &worker_env, TICK, &wake, &worker_stop, read).await;
        });
    }
}

fn spawn_chains(parts: &Parts<'_>, tasks: &TaskTracker, stop: &CancellationToken) {
    for (network, reader) in &parts.chains.readers {
        let settings = parts.config.enabled().get(network).copied().cloned();
        let Some(settings) = settings else { continue };
        let poll = Duration::from_millis(settings.poll_milliseconds);
        let simulated = parts.chains.simulated.get(network);
        let wake = simulated.map_or_else(Default::default, |chain| chain.changed());
        let (db, env, signals) = (parts.db.clone(), parts.env.clone(), parts.signals.clone());
        let scanner = Scanner::new(db, env.clone(), Arc::clone(reader), signals.clone());
        let scanner = Arc::new(Mutex::new(scanner));
        let (worker_env, worker_stop) = (env.clone(), stop.clone());
        tasks.spawn(async move {
            let step = || {
                let scanner = Arc::clone(&scanner);
                async move { scanner.lock().await.tick().await }
            };
            reconcile("scan", &worker_env, poll, &wake, &worker_stop, step).await;
        });

        let applier = Applier::new(parts.apply.clone(), *network, signals.clone());
        let worker_stop = stop.clone();
        let wake = signals.scanned(*network);
        tasks.spawn(async move {
            reconcile("apply", &env, TICK, &wake, &worker_stop, || applier.tick()).await;
        });

        if let Some(chain) = simulated {
            let interval = Duration::from_secs(settings.block_seconds);
            tasks.spawn(chain.clone().run_miner(interval, stop.clone()));
        }
    }
}
