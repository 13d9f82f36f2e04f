//! A private EVM node, anvil, started from `ANVIL` or npm's package, with a driver that implements
//! `SandboxControl` on it. The driver signs with keys of its own and pays from many accounts in turn,
//! so that a forgotten transaction holds nobody up. Not here: contracts' sources, assertions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, Bytes, Signature, TxKind, U256, hex, keccak256};
use async_trait::async_trait;
use bitcoin::bip32::{DerivationPath, Xpriv};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use cryptopayment::chain::bitcoin::rpc::{Dialect, Rpc};
use cryptopayment::chain::bitcoin::{RpcAuth, RpcSettings};
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::time::Micros;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::parts;

const START_DEADLINE_SECONDS: u64 = 60;
const POLL_MILLIS: u64 = 20;
const CALL_TIMEOUT_SECONDS: u64 = 30;
/// The words that anvil derives its funded accounts from.
const WORDS: &str = "test test test test test test test test test test test junk";
/// Accounts that pay in turn; the first one also makes the contracts.
const PAYERS: u32 = 60;
/// Many more than one block of any test takes.
const BLOCK_GAS: u64 = 200_000_000;
const PLAIN_GAS: u64 = 21_000;
const CALL_GAS: u64 = 150_000;
const CALL_GAS_PER_OUTPUT: u64 = 100_000;
const CREATION_GAS: u64 = 3_000_000;
const FEE_PER_GAS: u128 = 20_000_000_000;
const TIP_PER_GAS: u128 = 1_000_000_000;
const TOKENS_PER_PAYER: u128 = 1_000_000_000 * 1_000_000_000_000_000_000;

const CONTRACTS: &str = include_str!("../fixtures/evm/tokens.json");

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

struct Payer {
    secret: SecretKey,
    account: Address,
    nonce: AtomicU64,
}

#[derive(Clone)]
struct Sent {
    raw: Vec<u8>,
    payer: usize,
    nonce: u64,
    fee: u128,
}

/// An argument of a contract's function.
pub enum Argument {
    Word(U256),
    Words(Vec<U256>),
}

/// An account as an argument.
pub fn account(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}

/// What calls a contract's function, as the ABI has it.
pub fn call_data(signature: &str, arguments: &[Argument]) -> Vec<u8> {
    let mut head = Vec::new();
    let mut tail: Vec<u8> = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Word(word) => head.push(*word),
            Argument::Words(words) => {
                head.push(U256::from(32 * arguments.len() + tail.len()));
                let length = U256::from(words.len());
                for word in std::iter::once(&length).chain(words) {
                    tail.extend(word.to_be_bytes::<32>());
                }
            }
        }
    }
    let head = head.iter().flat_map(|word| word.to_be_bytes::<32>());
    keccak256(signature)[..4].iter().copied().chain(head).chain(tail).collect()
}

/// The call of a token's `transfer`.
pub fn transfer_data(to: Address, units: U256) -> Vec<u8> {
    let arguments = [Argument::Word(account(to)), Argument::Word(units)];
    call_data("transfer(address,uint256)", &arguments)
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
        let mut node = Self {
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
        };
        node.run().await;
        node.crowd = node.create("Payer").await;
        node.token = node.create(token).await;
        if network == Network::Bep20 {
            node.hand_out().await;
        }
        node.mine(1).await.unwrap();
        node
    }

    /// How a reader or writer reaches the node.
    pub fn settings(&self) -> RpcSettings {
        settings_for(self.port)
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
        while self.call::<String>("eth_chainId", json!([])).await.is_err() {
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
        std::fs::remove_file(self.directory.path().join("state.json")).unwrap();
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

    /// Makes a contract of the fixtures, in a block of its own.
    pub async fn create(&self, name: &str) -> Address {
        let contracts: HashMap<String, String> = serde_json::from_str(CONTRACTS).unwrap();
        let code = hex::decode(&contracts[name]).unwrap();
        let (payer, nonce) = self.place(0);
        let sent =
            self.sign(payer, nonce, FEE_PER_GAS, TxKind::Create, U256::ZERO, code, CREATION_GAS);
        self.send(sent).await.unwrap();
        self.mine(1).await.unwrap();
        self.payers[payer].account.create(nonce)
    }

    /// Calls a contract's function with coins, from the next payer; it waits in the pool.
    pub async fn invoke(&self, to: Address, value: u128, data: Vec<u8>) -> String {
        let gas = CALL_GAS + CALL_GAS_PER_OUTPUT * data.len() as u64 / 64;
        self.invoke_from(self.turn(), to, value, data, gas).await
    }

    /// The same from a payer, within so much gas.
    pub async fn invoke_from(
        &self,
        payer: usize,
        to: Address,
        value: u128,
        data: Vec<u8>,
        gas: u64,
    ) -> String {
        let (payer, nonce) = self.place(payer);
        let value = U256::from(value);
        let sent = self.sign(payer, nonce, FEE_PER_GAS, TxKind::Call(to), value, data, gas);
        self.send(sent).await.unwrap()
    }

    /// The account of a payer.
    pub fn payer(&self, index: usize) -> Address {
        self.payers[index].account
    }

    /// Signs a payment without sending it.
    pub fn sign_payment(&self, to: Address, units: u128) -> Vec<u8> {
        let (payer, nonce) = self.place(self.turn());
        self.sign_simple(payer, nonce, FEE_PER_GAS, to, units).raw
    }

    /// Signs a payment of another chain, from a payer's next place, which stays free.
    pub fn sign_for_chain(&self, chain_id: u64, to: Address, units: u128) -> Vec<u8> {
        let nonce = self.payers[0].nonce.load(Ordering::SeqCst);
        let call = TxKind::Call(to);
        let value = U256::from(units);
        self.sign_on(chain_id, 0, nonce, FEE_PER_GAS, call, value, Vec::new(), PLAIN_GAS).raw
    }

    /// Sends signed bytes.
    pub async fn send_raw(&self, raw: &[u8]) -> Result<String, ChainError> {
        self.call("eth_sendRawTransaction", json!([hex::encode_prefixed(raw)])).await
    }

    /// Lets a payer's tokens be moved by the contract that pays in every way.
    pub async fn approve(&self, payer: usize, token: Address) {
        let arguments = [Argument::Word(account(self.crowd)), Argument::Word(U256::MAX)];
        let data = call_data("approve(address,uint256)", &arguments);
        self.invoke_from(payer, token, 0, data, CALL_GAS).await;
    }

    /// Leaves a payer so many tokens; the rest goes to a stranger, in a block of its own.
    pub async fn keep_tokens(&self, payer: usize, units: u128) {
        let data = transfer_data(self.stranger(), U256::from(TOKENS_PER_PAYER - units));
        self.invoke_from(payer, self.token, 0, data, CALL_GAS).await;
        self.mine(1).await.unwrap();
    }

    /// Index of the payer whose turn it is.
    pub fn turn(&self) -> usize {
        // The first one makes contracts, and what they give it is its own.
        1 + self.next_payer.fetch_add(1, Ordering::SeqCst) % (self.payers.len() - 1)
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
            .arg(self.directory.path().join("state.json"));
        let output = File::create(self.directory.path().join("output")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        command.spawn().unwrap()
    }

    /// The last words of the node, for a failing test.
    fn log(&self) -> String {
        let text =
            std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
        text.lines().rev().take(8).collect::<Vec<_>>().join(" | ")
    }

    /// Gives every payer tokens.
    async fn hand_out(&self) {
        self.approve(0, self.token).await;
        let others = &self.payers[1..];
        let tokens = vec![account(self.token); others.len()];
        let accounts = others.iter().map(|payer| account(payer.account)).collect();
        let values = vec![U256::from(TOKENS_PER_PAYER); others.len()];
        let data = move_each(tokens, accounts, values);
        let gas = CALL_GAS_PER_OUTPUT * others.len() as u64;
        self.invoke_from(0, self.crowd, 0, data, gas).await;
    }

    /// A payer's next place in its own order.
    fn place(&self, payer: usize) -> (usize, u64) {
        (payer, self.payers[payer].nonce.fetch_add(1, Ordering::SeqCst))
    }

    /// One payment to one account, in the network's own asset.
    fn sign_simple(&self, payer: usize, nonce: u64, fee: u128, to: Address, units: u128) -> Sent {
        let units = U256::from(units);
        if self.network == Network::Eth {
            let call = TxKind::Call(to);
            return self.sign(payer, nonce, fee, call, units, Vec::new(), PLAIN_GAS);
        }
        let (call, data) = (TxKind::Call(self.token), transfer_data(to, units));
        self.sign(payer, nonce, fee, call, U256::ZERO, data, CALL_GAS)
    }

    #[expect(clippy::too_many_arguments, reason = "a transaction has as many fields")]
    fn sign(
        &self,
        payer: usize,
        nonce: u64,
        fee: u128,
        to: TxKind,
        value: U256,
        data: Vec<u8>,
        gas: u64,
    ) -> Sent {
        self.sign_on(self.chain_id, payer, nonce, fee, to, value, data, gas)
    }

    #[expect(clippy::too_many_arguments, reason = "a transaction has as many fields")]
    fn sign_on(
        &self,
        chain_id: u64,
        payer: usize,
        nonce: u64,
        fee: u128,
        to: TxKind,
        value: U256,
        data: Vec<u8>,
        gas_limit: u64,
    ) -> Sent {
        let unsigned = TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: TIP_PER_GAS * fee / FEE_PER_GAS,
            to,
            value,
            access_list: Default::default(),
            input: Bytes::from(data),
        };
        let message = Message::from_digest(unsigned.signature_hash().0);
        let signature = self.curve.sign_ecdsa_recoverable(&message, &self.payers[payer].secret);
        let (recovery, bytes) = signature.serialize_compact();
        let signature = Signature::from_bytes_and_parity(&bytes, recovery.to_i32() == 1);
        let signed = TxEnvelope::Eip1559(unsigned.into_signed(signature));
        Sent { raw: signed.encoded_2718(), payer, nonce, fee }
    }

    async fn send(&self, sent: Sent) -> Result<String, ChainError> {
        let txid = self.send_raw(&sent.raw).await?;
        self.sent.lock().unwrap().insert(txid.clone(), sent);
        Ok(txid)
    }

    fn sent(&self, txid: &str) -> Result<Sent, ChainError> {
        let sent = self.sent.lock().unwrap().get(txid).cloned();
        sent.ok_or_else(|| ChainError::Invalid(format!("{txid} is not the driver's")))
    }

    /// Only what waits can be replaced or forgotten.
    async fn check_waits(&self, txid: &str) -> Result<(), ChainError> {
        let found: Value = self.call("eth_getTransactionByHash", json!([txid])).await?;
        if found.is_object() && found["blockHash"].is_null() {
            return Ok(());
        }
        Err(ChainError::Invalid(format!("{txid} does not wait")))
    }

    /// A transaction in the place of another, for a higher fee; without outputs it pays a stranger.
    async fn conflicting(
        &self,
        old: &Sent,
        outputs: &[(String, u128)],
    ) -> Result<Sent, ChainError> {
        let fee = old.fee * 2;
        Ok(match outputs {
            [] => self.sign_simple(old.payer, old.nonce, fee, self.stranger(), 1),
            [(to, units)] => self.sign_simple(old.payer, old.nonce, fee, parse(to)?, *units),
            several => self.sign_several(old.payer, old.nonce, fee, several)?,
        })
    }

    /// Several payments by one transaction: through a contract, there is no other way.
    fn sign_several(
        &self,
        payer: usize,
        nonce: u64,
        fee: u128,
        outputs: &[(String, u128)],
    ) -> Result<Sent, ChainError> {
        let accounts = outputs.iter().map(|(to, _)| Ok(account(parse(to)?)));
        let accounts: Vec<U256> = accounts.collect::<Result<_, ChainError>>()?;
        let values: Vec<U256> = outputs.iter().map(|(_, units)| U256::from(*units)).collect();
        let gas = CALL_GAS + CALL_GAS_PER_OUTPUT * outputs.len() as u64;
        let call = TxKind::Call(self.crowd);
        if self.network == Network::Eth {
            let total = values.iter().sum();
            let arguments = [Argument::Words(accounts), Argument::Words(values)];
            let data = call_data("payEach(address[],uint256[])", &arguments);
            return Ok(self.sign(payer, nonce, fee, call, total, data, gas));
        }
        let data = move_each(vec![account(self.token); outputs.len()], accounts, values);
        Ok(self.sign(payer, nonce, fee, call, U256::ZERO, data, gas))
    }

    async fn waiting(&self) -> Result<Vec<Sent>, ChainError> {
        let pool: Value = self.call("txpool_content", json!([])).await?;
        let accounts = ["pending", "queued"].map(|part| pool[part].as_object().unwrap().clone());
        let mut waiting = Vec::new();
        for (_, transactions) in accounts.into_iter().flatten() {
            for transaction in transactions.as_object().unwrap().values() {
                waiting.push(self.sent(transaction["hash"].as_str().unwrap())?);
            }
        }
        waiting.sort_by_key(|sent| (sent.payer, sent.nonce));
        Ok(waiting)
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

#[async_trait]
impl SandboxControl for Anvil {
    async fn pay(&self, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        let payer = self.turn();
        let sent = match outputs {
            [(to, units)] => {
                let (payer, nonce) = self.place(payer);
                self.sign_simple(payer, nonce, FEE_PER_GAS, parse(to)?, *units)
            }
            several => {
                let is_new = self.approved.lock().unwrap().insert(self.payers[payer].account);
                if is_new && self.network == Network::Bep20 {
                    self.approve(payer, self.token).await;
                }
                let (payer, nonce) = self.place(payer);
                self.sign_several(payer, nonce, FEE_PER_GAS, several)?
            }
        };
        self.send(sent).await
    }

    async fn replace(&self, txid: &str, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        self.check_waits(txid).await?;
        let new = self.conflicting(&self.sent(txid)?, outputs).await?;
        self.send(new).await
    }

    async fn evict(&self, txid: &str) -> Result<(), ChainError> {
        self.check_waits(txid).await?;
        self.call::<Value>("anvil_dropTransaction", json!([txid])).await?;
        Ok(())
    }

    async fn mine(&self, blocks: u32) -> Result<BlockRef, ChainError> {
        self.call::<Value>("anvil_mine", json!([format!("{blocks:#x}")])).await?;
        self.tip().await
    }

    /// Transactions of an account whose earlier one lost its place are not kept: tests pay from
    /// accounts in turn.
    async fn fork(&self, depth: u32, fates: &[(String, ForkFate)]) -> Result<BlockRef, ChainError> {
        let fates: HashMap<&str, &ForkFate> =
            fates.iter().map(|(txid, fate)| (txid.as_str(), fate)).collect();
        let tip = self.tip().await?.height;
        let mut waiting = self.waiting().await?;
        let mut placed = Vec::new();
        for (index, height) in (tip + 1 - u64::from(depth)..=tip).enumerate() {
            let block = self.block(&format!("{height:#x}")).await?;
            for transaction in block["transactions"].as_array().unwrap() {
                let txid = transaction["hash"].as_str().unwrap();
                let sent = self.sent(txid)?;
                let new = match fates.get(txid).copied().unwrap_or(&ForkFate::Keep) {
                    ForkFate::Keep => sent,
                    ForkFate::DoubleSpend => self.conflicting(&sent, &[]).await?,
                    ForkFate::Unconfirm => {
                        waiting.push(sent);
                        continue;
                    }
                };
                placed.push(json!([hex::encode_prefixed(&new.raw), index]));
                let txid = hex::encode_prefixed(keccak256(&new.raw));
                self.sent.lock().unwrap().insert(txid, new);
            }
        }
        self.call::<Value>("anvil_dropAllTransactions", json!([])).await?;
        if depth > 0 {
            self.call::<Value>("anvil_reorg", json!([depth, placed])).await?;
        }
        let tip = self.mine(1).await?;
        for sent in waiting {
            // What the new blocks have no room for is gone.
            let _ = self.send(sent).await;
        }
        Ok(tip)
    }
}

fn parse(text: &str) -> Result<Address, ChainError> {
    text.parse().map_err(|_| ChainError::Invalid(format!("not an address: {text}")))
}

/// The call that moves something of each token to somebody.
pub fn move_each(tokens: Vec<U256>, accounts: Vec<U256>, values: Vec<U256>) -> Vec<u8> {
    let arguments = [tokens, accounts, values].map(Argument::Words);
    call_data("moveEach(address[],address[],uint256[])", &arguments)
}

fn settings_for(port: u16) -> RpcSettings {
    RpcSettings {
        url: format!("http://127.0.0.1:{port}/"),
        auth: RpcAuth::None,
        timeout: Duration::from_secs(CALL_TIMEOUT_SECONDS),
    }
}
