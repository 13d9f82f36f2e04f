//! A private EVM node, anvil, started from `ANVIL` or npm's package, with a driver that implements
//! `SandboxControl` on it. The driver signs with keys of its own and pays from many accounts in turn,
//! so that a forgotten transaction holds nobody up. Not here: contracts' sources, assertions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(dead_code, reason = "not every test uses all of it")]

pub mod abi;
mod control;
mod pay;
mod take;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use bitcoin::bip32::{DerivationPath, Xpriv};
use bitcoin::secp256k1::{All, Secp256k1};
use cryptopayment::chain::bitcoin::rpc::{Dialect, Rpc};
use cryptopayment::chain::bitcoin::{RpcAuth, RpcSettings};
use cryptopayment::chain::{BlockRef, ChainError, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::time::Micros;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::parts;
use pay::{Payer, Sent};

const START_DEADLINE_SECONDS: u64 = 60;
const POLL_MILLIS: u64 = 20;
const CALL_TIMEOUT_SECONDS: u64 = 30;
/// The words that anvil derives its funded accounts from.
const WORDS: &str = "test test test test test test test test test test test junk";
/// Accounts that pay in turn; the first one also makes the contracts.
const PAYERS: u32 = 60;
/// Many more than one block of any test takes.
const BLOCK_GAS: u64 = 200_000_000;

const CONTRACTS: &str = include_str!("../../fixtures/evm/tokens.json");

/// A running node; killed when dropped.
pub struct Anvil {
    network: Network,
    chain_id: u64,
    directory: TempDir,
    port: u16,
    child: Mutex<Option<Child>>,
    rpc: Rpc,
    curve: Secp256k1<All>,
    payers: Vec<Payer>,
    next_payer: AtomicUsize,
    /// Counts accounts that nobody owns.
    strangers: AtomicU64,
    /// The token of ours.
    pub token: Address,
    /// The contract that pays in every way.
    pub crowd: Address,
    /// Everything that was signed, by its hash.
    sent: Mutex<HashMap<String, Sent>>,
    /// What waited when it was stopped.
    waited: Mutex<Vec<Sent>>,
    /// Payers whose tokens the contract may move.
    approved: Mutex<HashSet<Address>>,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        if let Some(child) = self.child.get_mut().unwrap().as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Anvil {
    /// Starts a node as one of a network's main chain, with contracts and payers that own tokens.
    pub async fn start(network: Network) -> Self {
        Self::start_with(network, "Token").await
    }

    /// The same with another contract of the fixtures as the token.
    pub async fn start_with(network: Network, token: &str) -> Self {
        let mut node = Self::prepared(network);
        node.run().await;
        node.crowd = node.create("Payer").await;
        node.token = node.create(token).await;
        if network == Network::Bep20 {
            node.hand_out().await;
        }
        node.mine(1).await.unwrap();
        node
    }

    /// A node of its own whose chain is the same up to now. Nothing is told between the two.
    pub async fn twin(&self) -> Self {
        let twin = Self::prepared(self.network);
        self.stop().await;
        std::fs::copy(self.state(), twin.state()).unwrap();
        self.run().await;
        twin.run().await;
        twin
    }

    /// Gives up its chain for another node's, as after a long reorganisation.
    pub async fn follow(&self, other: &Self) {
        self.stop().await;
        other.stop().await;
        std::fs::copy(other.state(), self.state()).unwrap();
        other.run().await;
        self.run().await;
    }

    /// A node that does not run yet.
    fn prepared(network: Network) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let curve = Secp256k1::new();
        let seed = bip39::Mnemonic::parse(WORDS).unwrap().to_seed("");
        let master = Xpriv::new_master(bitcoin::Network::Bitcoin, &seed).unwrap();
        let payer = |index: u32| {
            let path: DerivationPath = format!("m/44'/60'/0'/0/{index}").parse().unwrap();
            let secret = master.derive_priv(&curve, &path).unwrap().private_key;
            let public = secret.public_key(&curve).serialize_uncompressed();
            let account = Address::from_raw_public_key(&public[1..]);
            Payer { secret, account, nonce: AtomicU64::new(0) }
        };
        Self {
            network,
            chain_id: if network == Network::Eth { 1 } else { 56 },
            directory: TempDir::new().unwrap(),
            port,
            child: Mutex::default(),
            rpc: Rpc::speaking(Dialect::V2, &settings_for(port)).unwrap(),
            payers: (0..PAYERS).map(payer).collect(),
            curve,
            next_payer: AtomicUsize::new(1),
            strangers: AtomicU64::default(),
            token: Address::ZERO,
            crowd: Address::ZERO,
            sent: Mutex::default(),
            waited: Mutex::default(),
            approved: Mutex::default(),
        }
    }

    /// The file in which the program keeps its chain while it is stopped.
    fn state(&self) -> PathBuf {
        self.directory.path().join("state.json")
    }

    /// How a reader or writer reaches the node.
    pub fn settings(&self) -> RpcSettings {
        settings_for(self.port)
    }

    /// The table of its network in the settings of a server that reaches it at this port.
    pub fn table(&self, port: u16) -> String {
        let Self { network, chain_id, token, .. } = self;
        let contract = match network {
            Network::Bep20 => format!(", contract = \"{token}\""),
            _ => String::new(),
        };
        format!(
            "[networks.{network}]\nbackend = \"node\"\nchain = \"regtest\"\npoll_milliseconds = 50\n\
             node = {{ url = \"http://127.0.0.1:{port}\", chain_id = {chain_id}{contract} }}",
        )
    }

    /// The port of the node's RPC on the loopback interface.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// EIP-155.
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Starts the program (again), with the chain that it saved, and waits until it answers.
    pub async fn run(&self) {
        let deadline = Instant::now() + Duration::from_secs(START_DEADLINE_SECONDS);
        let mut child = self.spawn();
        // What else answers at this port may be the node of another test: only our own says that it listens.
        while !self.listens() || self.call::<String>("eth_chainId", json!([])).await.is_err() {
            assert!(Instant::now() < deadline, "anvil does not answer: {}", self.log());
            if child.try_wait().unwrap().is_some() {
                // Most likely another process has the port for a moment.
                child = self.spawn();
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
        }
        *self.child.lock().unwrap() = Some(child);
        let waited = std::mem::take(&mut *self.waited.lock().unwrap());
        for sent in waited {
            self.send(sent).await.unwrap();
        }
    }

    /// Stops the program in good order. Its chain is saved by itself, and what waits by us, as geth
    /// does with its own transactions: [`Self::run`] has both again.
    pub async fn stop(&self) {
        *self.waited.lock().unwrap() = self.waiting().await.unwrap();
        let mut child = self.child.lock().unwrap().take().expect("the node runs");
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let deadline = Instant::now() + Duration::from_secs(START_DEADLINE_SECONDS);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() >= deadline {
                let _ = child.kill();
                panic!("anvil does not stop: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
        }
    }

    /// Forgets the chain: the next start begins another one.
    pub fn wipe(&self) {
        std::fs::remove_file(self.state()).unwrap();
    }

    /// One call of the node's RPC.
    pub async fn call<T>(&self, method: &str, params: Value) -> Result<T, ChainError>
    where
        T: serde::de::DeserializeOwned,
    {
        let text =
            |error: &dyn std::fmt::Display| ChainError::Invalid(format!("{method}: {error}"));
        self.rpc.call(method, params).await.map_err(|error| text(&error))
    }

    /// A new account that nobody can spend from.
    pub fn stranger(&self) -> Address {
        let number = self.strangers.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Address::from_slice(&[&[0xee; 12][..], &number].concat())
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(parts::anvil());
        command
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--chain-id", &self.chain_id.to_string(), "--hardfork", "prague"])
            .args(["--no-mining", "--slots-in-an-epoch", "1", "--accounts", &PAYERS.to_string()])
            .args(["--gas-limit", &BLOCK_GAS.to_string(), "--mnemonic", WORDS, "--threads", "1"])
            .arg("--preserve-historical-states")
            .arg("--state")
            .arg(self.state());
        let output = File::create(self.directory.path().join("output")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        command.spawn().unwrap()
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }

    /// Whether the program says that it has its port.
    fn listens(&self) -> bool {
        self.output().contains(&format!("Listening on 127.0.0.1:{}", self.port))
    }

    /// The last words of the node, for a failing test.
    fn log(&self) -> String {
        self.output().lines().rev().take(8).collect::<Vec<_>>().join(" | ")
    }

    /// A block by number or tag, with its transactions.
    pub async fn block(&self, which: &str) -> Result<Value, ChainError> {
        self.call("eth_getBlockByNumber", json!([which, true])).await
    }

    async fn tip(&self) -> Result<BlockRef, ChainError> {
        let block = self.block("latest").await?;
        let text = |key: &str| block[key].as_str().unwrap().to_owned();
        let number = |key: &str| u64::from_str_radix(&text(key)[2..], 16).unwrap();
        Ok(BlockRef {
            height: number("number"),
            hash: text("hash"),
            parent: text("parentHash"),
            time: Micros::from_seconds(number("timestamp").try_into().unwrap()),
        })
    }
}

fn settings_for(port: u16) -> RpcSettings {
    RpcSettings {
        url: format!("http://127.0.0.1:{port}/"),
        auth: RpcAuth::None,
        timeout: Duration::from_secs(CALL_TIMEOUT_SECONDS),
    }
}
