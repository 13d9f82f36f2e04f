//! The addresses that this process may hand out: leased from the pool in blocks, checked against the
//! signer's signature before the first is used. The next block is leased before the last is empty; when
//! there is none after all, one caller leases for all that wait, and waits a moment for a pool that is
//! just being filled. Not here: filling the pool (`fill_pool`).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::domain::asset::Network;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::time::Micros;
use crate::env::Env;
use crate::signals::Signals;
use crate::store::addresses::{self, LeasedAddress};
use crate::store::{Db, StoreError};

/// How long a block of addresses is leased, by the database's clock.
const LEASE_SECONDS: i64 = 600;
/// How long this process uses it: well before another may take it over.
const LEASE_USED_SECONDS: u64 = 300;
/// How long a caller waits for an empty pool to be filled and watched.
const POOL_WAIT_MILLISECONDS_MAX: u64 = 5_000;
/// The next block is leased when less than this part of one is left.
const BLOCK_PARTS_LOW: usize = 2;
/// How often the pool is looked at meanwhile, or ahead of need.
const POOL_LOOK: Duration = Duration::from_millis(25);

/// This process's addresses.
pub struct AddressLeases {
    db: Db,
    env: Env,
    signals: Signals,
    holder: Uuid,
    verifying_key: VerifyingKey,
    environment: String,
    block: u32,
    ready: Mutex<BTreeMap<Network, Ready>>,
}

/// An address that is this process's for a while.
#[derive(Debug)]
pub struct TakenAddress {
    /// The address.
    pub leased: LeasedAddress,
    /// When this process stops using it, by the system's clock.
    usable_until: Micros,
}

#[derive(Default)]
struct Ready {
    /// Those that may be used for the shortest time come first.
    addresses: VecDeque<TakenAddress>,
    /// When the pool was last looked at ahead of need.
    looked_at: Micros,
    /// Held by the one caller that leases: many at once would take the whole pool for one process.
    leasing: Arc<tokio::sync::Mutex<()>>,
}

impl AddressLeases {
    /// Addresses that `verifying_key` vouches for in `environment`, leased `block` at a time.
    pub fn new(
        db: Db,
        env: Env,
        signals: Signals,
        verifying_key: VerifyingKey,
        environment: &str,
        block: u32,
        holder: Uuid,
    ) -> Self {
        let environment = environment.to_owned();
        let ready = Mutex::default();
        Self { db, env, signals, holder, verifying_key, environment, block, ready }
    }

    /// Who holds the leases.
    pub fn holder(&self) -> Uuid {
        self.holder
    }

    /// Takes an address that was never handed out; `ADDRESS_POOL_EMPTY` when there is none, also
    /// after a moment in which the pool could have been filled.
    pub async fn take(self: &Arc<Self>, network: Network) -> Result<TakenAddress, Failure> {
        if let Some(address) = self.pop(network) {
            self.lease_ahead(network);
            return Ok(address);
        }
        let wait = Duration::from_millis(POOL_WAIT_MILLISECONDS_MAX);
        let deadline = self.env.system_now().plus(wait);
        let leasing = Arc::clone(&self.lock().entry(network).or_default().leasing);
        let mut one_at_a_time = leasing.lock_owned().await;
        loop {
            // Whoever leased before may have left some.
            if let Some(address) = self.pop(network) {
                return Ok(address);
            }
            let refilling = tokio::spawn(Arc::clone(self).refilled(network, one_at_a_time)).await;
            one_at_a_time = refilling
                .map_err(|error| Failure::internal(format!("no addresses leased: {error}")))??;
            if let Some(address) = self.pop(network) {
                return Ok(address);
            }
            if self.env.system_now() >= deadline {
                return Err(Failure::new(
                    Class::Unavailable,
                    Reason::AddressPoolEmpty,
                    format!("no {network} address is ready, try again in a moment"),
                ));
            }
            self.env.sleep(POOL_LOOK).await;
        }
    }

    /// Puts an address back that was not handed out after all.
    pub fn give_back(&self, address: TakenAddress) {
        let mut ready = self.lock();
        let network = address.leased.signed.address.network;
        ready.entry(network).or_default().addresses.push_front(address);
    }

    /// Which of these addresses this process leases still. It forgets those among the ones it has ready
    /// that it does not: what took one away may have taken many.
    pub async fn still_leased(&self, ids: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
        let mut asked = ids.to_vec();
        asked.extend(
            self.lock().values().flat_map(|ready| &ready.addresses).map(|one| one.leased.id),
        );
        let leased = addresses::leased_by(&self.db, self.holder, &asked).await?;
        let lost: HashSet<Uuid> = asked.into_iter().filter(|id| !leased.contains(id)).collect();
        for ready in self.lock().values_mut() {
            ready.addresses.retain(|address| !lost.contains(&address.leased.id));
        }
        Ok(leased)
    }

    fn pop(&self, network: Network) -> Option<TakenAddress> {
        let now = self.env.system_now();
        let mut ready = self.lock();
        let addresses = &mut ready.entry(network).or_default().addresses;
        std::iter::from_fn(|| addresses.pop_front()).find(|address| now < address.usable_until)
    }

    /// Leases the next block beside the callers if little is left of the last.
    fn lease_ahead(self: &Arc<Self>, network: Network) {
        let now = self.env.system_now();
        let leasing = {
            let mut ready = self.lock();
            let entry = ready.entry(network).or_default();
            let low = usize::try_from(self.block).unwrap_or(usize::MAX) / BLOCK_PARTS_LOW;
            if entry.addresses.len() >= low || now < entry.looked_at.plus(POOL_LOOK) {
                return;
            }
            let Ok(leasing) = Arc::clone(&entry.leasing).try_lock_owned() else { return };
            entry.looked_at = now;
            leasing
        };
        let refilling = Arc::clone(self).refilled(network, leasing);
        tokio::spawn(async move {
            if let Err(failure) = refilling.await {
                tracing::warn!(%network, %failure, "no addresses leased ahead");
            }
        });
    }

    /// Leases the next block and gives back the right to lease. To be run as a task of its own: a caller that
    /// goes away in the middle would take the whole block along, until its lease is over.
    async fn refilled(
        self: Arc<Self>,
        network: Network,
        leasing: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, Failure> {
        let refilled = self.refill(network).await;
        self.signals.pool.notify_one();
        refilled.map(|()| leasing)
    }

    async fn refill(&self, network: Network) -> Result<(), Failure> {
        let usable_until = self.env.system_now().plus(Duration::from_secs(LEASE_USED_SECONDS));
        let leased =
            addresses::lease(&self.db, network, self.holder, self.block, LEASE_SECONDS).await?;
        let (authentic, others) = self.checked(leased).await?;
        for address in others {
            tracing::error!(
                alarm = "address_signature",
                address = address.signed.address.text,
                %network,
                "address is not the signer's: quarantined"
            );
            addresses::quarantine(&self.db, address.id).await?;
        }
        let taken = |leased| TakenAddress { leased, usable_until };
        let mut authentic: VecDeque<_> = authentic.into_iter().map(taken).collect();
        let mut ready = self.lock();
        ready.entry(network).or_default().addresses.append(&mut authentic);
        Ok(())
    }

    /// Those that the signer vouched for, and the others. On a thread of its own: a large block takes
    /// longer than anything else may keep a thread that answers requests.
    async fn checked(
        &self,
        leased: Vec<LeasedAddress>,
    ) -> Result<(Vec<LeasedAddress>, Vec<LeasedAddress>), Failure> {
        let (key, environment) = (self.verifying_key, self.environment.clone());
        let check =
            move || leased.into_iter().partition(|one| one.signed.is_authentic(&key, &environment));
        let checked = tokio::task::spawn_blocking(check).await;
        checked.map_err(|error| Failure::internal(format!("addresses not checked: {error}")))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Network, Ready>> {
        self.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
