//! A private Litecoin Core or bitcoind in regtest, started from `LITECOIND` or `BITCOIND` or from where
//! `make test` puts it, with a driver that implements `SandboxControl` on it. The driver signs with a
//! key of its own and never uses the node's wallet: wallets resend what a test had the node forget.
//! Not here: what it signs (`coins`), assertions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(dead_code, reason = "not every test uses all of it")]

mod coins;
mod control;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitcoin::bech32::{Hrp, segwit};
use bitcoin::block::Header;
use bitcoin::consensus::deserialize;
use bitcoin::secp256k1::SecretKey;
use bitcoin::{Block, PrivateKey, ScriptBuf};
pub use coins::script_of;
use cryptopayment::chain::bitcoin::rpc::Rpc;
use cryptopayment::chain::bitcoin::{RpcAuth, RpcSettings};
use cryptopayment::chain::{BlockRef, ChainError};
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::time::Micros;
use serde_json::{Value, json};
use tempfile::TempDir;

const START_DEADLINE_SECONDS: u64 = 60;
const POLL_MILLIS: u64 = 20;
const CALL_TIMEOUT_SECONDS: u64 = 30;
/// Blocks mined at the start; their coins are spendable 100 blocks later. Stays below height 432,
/// where MWEB would activate.
pub const FIRST_BLOCKS: u64 = 350;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Litecoin Core 0.21, Debian's package.
    Litecoin,
    /// Bitcoin Core or Knots, 28 or later.
    Bitcoin,
}

impl Kind {
    /// The network that it is a node of.
    pub const fn network(self) -> Network {
        match self {
            Self::Litecoin => Network::Ltc,
            Self::Bitcoin => Network::Btc,
        }
    }

    /// The oldest version that a test's server believes: Debian's Litecoin Core is too old for money.
    pub const fn oldest_version(self) -> u64 {
        match self {
            Self::Litecoin => 210_201,
            Self::Bitcoin => 280_000,
        }
    }

    /// How segwit addresses begin in regtest.
    const fn hrp(self) -> &'static str {
        match self {
            Self::Litecoin => "rltc",
            Self::Bitcoin => "bcrt",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Litecoin => "LITECOIND",
            Self::Bitcoin => "BITCOIND",
        }
    }

    /// What the environment names, or where `make test` finds or puts it.
    fn program(self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let path = std::env::var_os(self.variable()).map_or_else(
            || match self {
                Self::Litecoin => PathBuf::from("/usr/lib/litecoin/litecoind"),
                Self::Bitcoin => root.join(".cache/test-parts/bitcoind/bitcoind"),
            },
            PathBuf::from,
        );
        let shown = path.display();
        assert!(path.exists(), "{}: {shown} is missing: run `make test`", self.variable());
        path
    }
}

/// How a node is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Without MWEB, with an index of all transactions.
    #[default]
    Plain,
    /// Litecoin: MWEB activates at height 432 (which must hold a peg-in) and the node has a wallet.
    Mweb,
    /// Bitcoin: forgets old blocks when it is asked to, in small files.
    Pruned,
}

/// A running node; killed when dropped.
pub struct UtxoNode {
    kind: Kind,
    mode: Mode,
    datadir: TempDir,
    rpc_port: u16,
    password: String,
    settings: RpcSettings,
    child: Mutex<Option<Child>>,
    rpc: Rpc,
    key: PrivateKey,
    /// The height of the next block whose coinbase is spent.
    next_coin: AtomicU64,
    /// Counts scripts that nobody owns.
    strangers: AtomicU64,
}

impl Drop for UtxoNode {
    fn drop(&mut self) {
        if let Some(child) = self.child.get_mut().unwrap().as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl UtxoNode {
    /// Starts a plain node and mines coins for its driver.
    pub async fn start(kind: Kind) -> Self {
        Self::start_in(kind, Mode::Plain).await
    }

    /// Starts a node and mines coins for its driver.
    pub async fn start_in(kind: Kind, mode: Mode) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let rpc_port = listener.local_addr().unwrap().port();
        drop(listener);
        let secret = SecretKey::from_slice(&[0x11; 32]).unwrap();
        let datadir = TempDir::new().unwrap();
        // Nobody else's: should another node have got the port, it does not answer for this one.
        let password = datadir.path().file_name().unwrap().to_string_lossy().into_owned();
        let settings = RpcSettings {
            url: format!("http://127.0.0.1:{rpc_port}/"),
            auth: RpcAuth::Password { user: "test".to_owned(), password: password.clone() },
            timeout: Duration::from_secs(CALL_TIMEOUT_SECONDS),
        };
        let node = Self {
            kind,
            mode,
            datadir,
            rpc_port,
            password,
            child: Mutex::default(),
            rpc: Rpc::new(&settings).unwrap(),
            settings,
            key: PrivateKey::new(secret, bitcoin::Network::Regtest),
            next_coin: AtomicU64::new(1),
            strangers: AtomicU64::default(),
        };
        node.run().await;
        node.generate(FIRST_BLOCKS).await.unwrap();
        node
    }

    /// Which program it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How a reader or writer reaches the node.
    pub fn settings(&self) -> RpcSettings {
        self.settings.clone()
    }

    /// The password of its only user, `test`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The key that the driver signs with.
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The port of the node's RPC on the loopback interface.
    pub const fn rpc_port(&self) -> u16 {
        self.rpc_port
    }

    /// Starts the program (again) and waits until it answers and has read back what waited.
    pub async fn run(&self) {
        let deadline = Instant::now() + Duration::from_secs(START_DEADLINE_SECONDS);
        let mut child = self.spawn();
        while self.call::<u64>("getblockcount", json!([])).await.is_err() {
            assert!(Instant::now() < deadline, "{:?} does not answer: {}", self.kind, self.log());
            if child.try_wait().unwrap().is_some() {
                // Most likely another process has the port for a moment.
                child = self.spawn();
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
        }
        *self.child.lock().unwrap() = Some(child);
        while self.call::<Value>("getmempoolinfo", json!([])).await.unwrap()["loaded"] != true {
            assert!(
                Instant::now() < deadline,
                "{:?} does not read back: {}",
                self.kind,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
        }
    }

    /// Stops the program in good order; what waits is saved and read back by [`Self::run`].
    pub async fn stop(&self) {
        self.call::<Value>("stop", json!([])).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(START_DEADLINE_SECONDS);
        let mut child = self.child.lock().unwrap().take().expect("the node runs");
        while child.try_wait().unwrap().is_none() {
            if Instant::now() >= deadline {
                let _ = child.kill();
                panic!("{:?} does not stop: {}", self.kind, self.log());
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
        }
    }

    /// One call of the node's RPC.
    pub async fn call<T>(&self, method: &str, params: Value) -> Result<T, ChainError>
    where
        T: serde::de::DeserializeOwned,
    {
        Ok(self.rpc.call(method, params).await?)
    }

    /// Takes a block and all after it off the best chain.
    pub async fn invalidate(&self, block_hash: &str) -> Result<(), ChainError> {
        self.call("invalidateblock", json!([block_hash])).await
    }

    /// Undoes [`Self::invalidate`].
    pub async fn reconsider(&self, block_hash: &str) -> Result<(), ChainError> {
        self.call("reconsiderblock", json!([block_hash])).await
    }

    /// A new script that nobody can spend from, and its address.
    pub fn stranger(&self) -> (ScriptBuf, String) {
        let script = self.strange_script();
        let hrp = Hrp::parse(self.kind.hrp()).unwrap();
        let address = segwit::encode_v0(hrp, &script.as_bytes()[2..]).unwrap();
        (script, address)
    }

    /// The bytes of a transaction that waits or is in a block.
    pub async fn raw_transaction(&self, txid: &str) -> Result<Vec<u8>, ChainError> {
        let text: String = self.call("getrawtransaction", json!([txid, false])).await?;
        hex::decode(text).map_err(|_| ChainError::Invalid("not hex".to_owned()))
    }

    /// Sends signed bytes; a fee of any height is fine.
    pub async fn send(&self, raw: &[u8]) -> Result<String, ChainError> {
        self.call("sendrawtransaction", json!([hex::encode(raw), 0])).await
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(self.kind.program());
        command
            .arg(format!("-datadir={}", self.datadir.path().display()))
            .arg(format!("-rpcport={}", self.rpc_port))
            .args(["-regtest", "-server=1", "-acceptnonstdtxn=1", "-printtoconsole=0"])
            .args(["-rpcuser=test", "-rpcbind=127.0.0.1"])
            .arg(format!("-rpcpassword={}", self.password))
            .args(["-rpcallowip=127.0.0.1", "-listen=0", "-dnsseed=0", "-discover=0"])
            .args(["-listenonion=0"]);
        match self.mode {
            Mode::Pruned => command.args(["-prune=1", "-fastprune", "-disablewallet"]),
            Mode::Mweb => command.args(["-txindex=1", "-fallbackfee=0.0002"]),
            Mode::Plain => command.args(["-txindex=1", "-disablewallet"]),
        };
        if self.kind == Kind::Litecoin {
            // Off by default, unlike Bitcoin's.
            command.arg("-mempoolreplacement=1");
            if self.mode == Mode::Plain {
                command.arg("-vbparams=mweb:-2:-2");
            }
        }
        let output = File::create(self.datadir.path().join("output")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        command.spawn().unwrap()
    }

    /// The last words of the node, for a failing test.
    fn log(&self) -> String {
        ["output", "regtest/debug.log"]
            .map(|name| std::fs::read_to_string(self.datadir.path().join(name)).unwrap_or_default())
            .map(|text| text.lines().rev().take(5).collect::<Vec<_>>().join(" | "))
            .join(" || ")
    }

    /// The script that the driver mines to and spends from.
    pub fn own_script(&self) -> ScriptBuf {
        script_of(&self.key)
    }

    pub fn strange_script(&self) -> ScriptBuf {
        let number = self.strangers.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        ScriptBuf::from_bytes([&[0, 20][..], &[0xee; 12], &number].concat())
    }

    /// Mines blocks with everything that waits; their coins are the driver's.
    async fn generate(&self, blocks: u64) -> Result<(), ChainError> {
        self.generate_to(blocks, &self.own_script()).await
    }

    /// Mines blocks with everything that waits; their coins go to this script.
    pub async fn generate_to(&self, blocks: u64, script: &ScriptBuf) -> Result<(), ChainError> {
        let miner = format!("raw({})", script.to_hex_string());
        self.call::<Value>("generatetodescriptor", json!([blocks, miner])).await?;
        Ok(())
    }

    /// Mines one block of exactly these transactions. Its coinbase pays a stranger of its own:
    /// otherwise an empty block could be the very one that was just invalidated.
    pub async fn generate_exactly(&self, transactions: &[String]) -> Result<(), ChainError> {
        let stranger = format!("raw({})", self.strange_script().to_hex_string());
        self.call::<Value>("generateblock", json!([stranger, transactions])).await?;
        Ok(())
    }

    pub async fn height(&self) -> Result<u64, ChainError> {
        self.call("getblockcount", json!([])).await
    }

    pub async fn block_hash(&self, height: u64) -> Result<String, ChainError> {
        self.call("getblockhash", json!([height])).await
    }

    /// A block as rust-bitcoin reads it, which is not how the code under test does.
    pub async fn block(&self, height: u64) -> Result<Block, ChainError> {
        let hash = self.block_hash(height).await?;
        let text: String = self.call("getblock", json!([hash, 0])).await?;
        Ok(deserialize(&hex::decode(text).unwrap()).unwrap())
    }

    async fn tip(&self) -> Result<BlockRef, ChainError> {
        let height = self.height().await?;
        let hash = self.block_hash(height).await?;
        let text: String = self.call("getblockheader", json!([hash, false])).await?;
        let header: Header = deserialize(&hex::decode(text).unwrap()).unwrap();
        Ok(BlockRef {
            height,
            hash: header.block_hash().to_string(),
            parent: header.prev_blockhash.to_string(),
            time: Micros::from_seconds(header.time.into()),
        })
    }
}
