//! The use case that creates invoices without a server around it: a database, a wallet, a pool of
//! addresses that are watched, a merchant. For what can not be said through the API, and for benches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::asset::{Asset, Network};
use cryptopayment::domain::policy::{Finality, FinalityPolicy};
use cryptopayment::env::Env;
use cryptopayment::rates::FixedRates;
use cryptopayment::secret_box::SecretBox;
use cryptopayment::signals::Signals;
use cryptopayment::signer::Signer as _;
use cryptopayment::signer::local::{KeystoreSettings, LocalSigner};
use cryptopayment::store::addresses::POOL_LEASE;
use cryptopayment::store::cursor::{self, ScannedBlock};
use cryptopayment::store::{Db, leases, merchants};
use cryptopayment::usecase::Caller;
use cryptopayment::usecase::address_leases::AddressLeases;
use cryptopayment::usecase::apply_deposits::ApplyDeposits;
use cryptopayment::usecase::create_invoice::{CreateInvoice, Groups, NetworkTerms, Request};
use cryptopayment::usecase::fill_pool::FillPool;
use cryptopayment::usecase::manage_keys::ManageKeys;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The network of everything here.
pub const NETWORK: Network = Network::Ltc;
/// Connections to PostgreSQL.
const CONNECTIONS_MAX: u32 = 8;

/// The parts.
pub struct Core {
    pub db: Db,
    pub env: Env,
    pub signer: Arc<LocalSigner>,
    pub caller: Caller,
    /// Where groups run.
    pub tasks: TaskTracker,
}

impl Core {
    /// A migrated database at `url` with a merchant and a wallet in `directory`.
    pub async fn new(url: &str, directory: &Path) -> Self {
        let env = Env::system();
        let db = Db::open(url, CONNECTIONS_MAX).await.unwrap();
        db.migrate().await.unwrap();
        let settings = KeystoreSettings {
            directory: directory.join("wallet"),
            environment: "sandbox".to_owned(),
            chains: BTreeMap::from([(NETWORK, ChainKind::Sandbox)]),
        };
        let passphrase = Zeroizing::new("of no value".to_owned());
        let signer = Arc::new(LocalSigner::open(settings, &passphrase, env.clone()).unwrap());
        let caller = merchant(&db, &env, directory).await;
        Self { db, env, signer, caller, tasks: TaskTracker::new() }
    }

    /// Adds addresses. Without a scanner that came before, they are watched at once, and all later
    /// ones too.
    pub async fn fill(&self, addresses: u32) {
        assert!(self.pool(addresses).run(NETWORK).await.unwrap());
        self.keep_pool().await;
        if cursor::get(&self.db, NETWORK).await.unwrap().is_some() {
            return;
        }
        let now = self.env.now();
        let (hash, parent) = ("00".repeat(32), "ff".repeat(32));
        let unit = self.db.begin("start_cursor").await.unwrap();
        let block = ScannedBlock { height: 1, hash, parent, time: now };
        cursor::start(&unit, NETWORK, &block, now).await.unwrap();
        assert!(cursor::mark_watched(&unit, NETWORK, 0, i64::MAX).await.unwrap());
        unit.commit().await.unwrap();
    }

    /// What fills the pool, always and `addresses` at a time.
    pub fn pool(&self, addresses: u32) -> FillPool {
        FillPool {
            db: self.db.clone(),
            env: self.env.clone(),
            signer: Arc::clone(&self.signer) as _,
            wallet_id: self.signer.wallet_id(),
            addresses_low: u64::MAX >> 1,
            addresses_batch: addresses,
        }
    }

    /// Lets addresses be leased from here on, as a worker does all the time.
    async fn keep_pool(&self) {
        let (holder, seconds) = (self.env.new_id(), 86_400);
        if self.number("SELECT COUNT(*) FROM lease WHERE name = 'pool'").await == 0 {
            leases::acquire(&self.db, POOL_LEASE, holder, seconds).await.unwrap().unwrap();
        }
    }

    /// The use case, as one process has it, leasing `block` addresses at a time.
    pub fn create(&self, block: u32) -> Arc<CreateInvoice> {
        let (db, env) = (self.db.clone(), self.env.clone());
        let key = self.signer.verifying_key();
        let holder = env.new_id();
        let signals = Signals::default();
        let leases =
            AddressLeases::new(db.clone(), env.clone(), signals, key, "sandbox", block, holder);
        let prices = BTreeMap::from([(Asset::Ltc, "80.00".to_owned())]);
        let least = Finality { confirmations: 6, requires_finality: false };
        let finality = FinalityPolicy::new(least, Vec::new()).unwrap();
        let terms = NetworkTerms { finality, shortfall_units: 0 };
        Arc::new(CreateInvoice {
            leases: Arc::new(leases),
            groups: Groups::new(db.is_sqlite(), self.tasks.clone()),
            rates: Arc::new(FixedRates::new(prices, env.clone())),
            networks: BTreeMap::from([(NETWORK, terms)]),
            lifetime: Duration::from_secs(1_800),
            inclusion_window: Duration::from_secs(86_400),
            scenarios: None,
            db,
            env,
        })
    }

    /// What judges invoices by what was paid, asking for no more than each of them does.
    pub fn apply(&self) -> ApplyDeposits {
        ApplyDeposits {
            db: self.db.clone(),
            env: self.env.clone(),
            verifying_key: self.signer.verifying_key(),
            environment: "sandbox".to_owned(),
            finality: Arc::default(),
        }
    }

    /// Waits until no group is under way.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Runs a statement as another process would, and returns how many rows it changed.
    pub async fn execute(&self, sql: &str) -> u64 {
        use sea_orm::ConnectionTrait as _;
        self.db.reader().execute_unprepared(sql).await.unwrap().rows_affected()
    }

    /// The number that a query of one row and one column yields.
    pub async fn number(&self, sql: &str) -> i64 {
        use sea_orm::ConnectionTrait as _;
        let statement = sea_orm::Statement::from_string(self.db.backend(), sql);
        let row = self.db.reader().query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }
}

async fn merchant(db: &Db, env: &Env, directory: &Path) -> Caller {
    let secrets = SecretBox::open_or_create(&directory.join("secrets.key"), env).unwrap();
    let manage = ManageKeys {
        db: db.clone(),
        env: env.clone(),
        secrets: Arc::new(secrets),
        is_sandbox: true,
        check_url: |_, _| Ok(()),
    };
    let merchant = manage.create_merchant("Core", "test").await.unwrap();
    manage.approve_merchant(merchant.id, "test").await.unwrap();
    let key = manage.create_key(merchant.id, "Core", false, "test").await.unwrap().key;
    assert!(merchants::get(db, merchant.id).await.unwrap().is_some());
    Caller {
        merchant_id: merchant.id,
        api_key_id: key.id,
        public_id: key.public_id,
        honors_late: false,
        shortfall_basis_points: 0,
    }
}

/// A request that is in order.
pub fn request(request_id: Option<&str>) -> Request {
    Request {
        network: NETWORK.as_str().to_owned(),
        amount_usd: "5".to_owned(),
        request_id: request_id.map(str::to_owned),
        ..Request::default()
    }
}

/// A caller whom the database does not know: its invoices are refused there.
pub fn stranger(caller: &Caller) -> Caller {
    Caller { merchant_id: Uuid::new_v4(), ..caller.clone() }
}
