//! A private Litecoin Core in regtest, started from `LITECOIND` or Debian's package, with a driver
//! that implements `SandboxControl` on it. The driver signs with a key of its own and never uses
//! the node's wallet: wallets resend what a test had the node forget. Not here: assertions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bitcoin::absolute::LockTime;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, CompressedPublicKey, OutPoint, PrivateKey, ScriptBuf, Sequence, Transaction,
    TxIn, TxOut, Txid, Witness,
};
use cryptopayment::chain::bitcoin::rpc::Rpc;
use cryptopayment::chain::bitcoin::{RpcAuth, RpcSettings};
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use cryptopayment::domain::time::Micros;
use serde_json::{Value, json};
use tempfile::TempDir;

const DEBIAN_PATH: &str = "/usr/lib/litecoin/litecoind";
const START_DEADLINE_SECONDS: u64 = 60;
const POLL_MILLIS: u64 = 20;
const CALL_TIMEOUT_SECONDS: u64 = 30;
/// Blocks mined at the start; their coins are spendable 100 blocks later. Stays below height 432,
/// where MWEB would activate.
const FIRST_BLOCKS: u64 = 350;
const MATURITY_BLOCKS: u64 = 100;
const FEE_BASE_UNITS: u64 = 100_000;
const FEE_UNITS_PER_OUTPUT: u64 = 1_000;
/// Smaller change goes to the fee.
const SMALLEST_CHANGE_UNITS: u64 = 100_000;

/// How a node is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct LitecoindOptions {
    /// MWEB activates at height 432 (which must hold a peg-in) and the node has a wallet.
    pub mweb: bool,
}

/// A running node; killed when dropped.
pub struct Litecoind {
    options: LitecoindOptions,
    datadir: TempDir,
    rpc_port: u16,
    child: Mutex<Option<Child>>,
    rpc: Rpc,
    key: PrivateKey,
    /// The height of the next block whose coinbase is spent.
    next_coin: AtomicU64,
    /// Counts scripts that nobody owns.
    strangers: AtomicU64,
}

impl Drop for Litecoind {
    fn drop(&mut self) {
        if let Some(child) = self.child.get_mut().unwrap().as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Litecoind {
    /// Starts a node without MWEB and mines coins for its driver.
    pub async fn start() -> Self {
        Self::start_with(LitecoindOptions::default()).await
    }

    /// Starts a node and mines coins for its driver.
    pub async fn start_with(options: LitecoindOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let rpc_port = listener.local_addr().unwrap().port();
        drop(listener);
        let secret = SecretKey::from_slice(&[0x11; 32]).unwrap();
        let node = Self {
            options,
            datadir: TempDir::new().unwrap(),
            rpc_port,
            child: Mutex::default(),
            rpc: Rpc::new(&settings_for(rpc_port)).unwrap(),
            key: PrivateKey::new(secret, bitcoin::Network::Regtest),
            next_coin: AtomicU64::new(1),
            strangers: AtomicU64::default(),
        };
        node.run().await;
        node.generate(FIRST_BLOCKS).await.unwrap();
        node
    }

    /// How a reader or writer reaches the node.
    pub fn settings(&self) -> RpcSettings {
        settings_for(self.rpc_port)
    }

    /// The port of the node's RPC on the loopback interface.
    pub const fn rpc_port(&self) -> u16 {
        self.rpc_port
    }

    /// Starts the program (again) and waits until it answers.
    pub async fn run(&self) {
        let deadline = Instant::now() + Duration::from_secs(START_DEADLINE_SECONDS);
        let mut child = self.spawn();
        while self.call::<u64>("getblockcount", json!([])).await.is_err() {
            assert!(Instant::now() < deadline, "litecoind does not answer: {}", self.log());
            if child.try_wait().unwrap().is_some() {
                // Most likely another process has the port for a moment.
                child = self.spawn();
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
        }
        *self.child.lock().unwrap() = Some(child);
    }

    /// Stops the program in good order; what waits is saved and read back by [`Self::run`].
    pub async fn stop(&self) {
        self.call::<Value>("stop", json!([])).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(START_DEADLINE_SECONDS);
        let mut child = self.child.lock().unwrap().take().expect("the node runs");
        while child.try_wait().unwrap().is_none() {
            if Instant::now() >= deadline {
                let _ = child.kill();
                panic!("litecoind does not stop: {}", self.log());
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
    pub async fn stranger(&self) -> Result<(ScriptBuf, String), ChainError> {
        let script = self.strange_script();
        let decoded: Value = self.call("decodescript", json!([script.to_hex_string()])).await?;
        let address = decoded["addresses"][0].as_str().expect("a witness program has an address");
        Ok((script, address.to_owned()))
    }

    /// The bytes of a transaction that waits or is in a block.
    pub async fn raw_transaction(&self, txid: &str) -> Result<Vec<u8>, ChainError> {
        let text: String = self.call("getrawtransaction", json!([txid, false])).await?;
        hex::decode(text).map_err(|_| ChainError::Invalid("not hex".to_owned()))
    }

    /// Makes and signs a payment without sending it.
    pub async fn sign_payment(&self, outputs: &[(String, u128)]) -> Result<Vec<u8>, ChainError> {
        let outputs = self.outputs(outputs).await?;
        let fee = FEE_BASE_UNITS + FEE_UNITS_PER_OUTPUT * outputs.len() as u64;
        let needed = total(&outputs) + fee;
        let mut coins = Vec::new();
        while coins.iter().map(|(_, coin): &(_, TxOut)| coin.value.to_sat()).sum::<u64>() < needed {
            coins.push(self.coin().await?);
        }
        Ok(serialize(&self.sign(&coins, outputs, fee)))
    }

    /// Sends signed bytes; a fee of any height is fine.
    pub async fn send(&self, raw: &[u8]) -> Result<String, ChainError> {
        self.call("sendrawtransaction", json!([hex::encode(raw), 0])).await
    }

    fn spawn(&self) -> Child {
        let program = std::env::var_os("LITECOIND").map_or(DEBIAN_PATH.into(), PathBuf::from);
        assert!(
            program.exists(),
            "{} is missing: install Debian's package `litecoind` or set LITECOIND",
            program.display()
        );
        let mut command = Command::new(program);
        command
            .arg(format!("-datadir={}", self.datadir.path().display()))
            .arg(format!("-rpcport={}", self.rpc_port))
            .args(["-regtest", "-server=1", "-txindex=1", "-fallbackfee=0.0002"])
            .args(["-rpcuser=test", "-rpcpassword=test", "-rpcbind=127.0.0.1"])
            .args(["-rpcallowip=127.0.0.1", "-printtoconsole=0", "-mempoolreplacement=1"])
            .args(["-listen=0", "-dnsseed=0", "-discover=0", "-listenonion=0"]);
        if !self.options.mweb {
            command.args(["-vbparams=mweb:-2:-2", "-disablewallet"]);
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

    fn own_script(&self) -> ScriptBuf {
        let public = CompressedPublicKey::from_private_key(&Secp256k1::new(), &self.key).unwrap();
        ScriptBuf::new_p2wpkh(&public.wpubkey_hash())
    }

    fn strange_script(&self) -> ScriptBuf {
        let number = self.strangers.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        ScriptBuf::from_bytes([&[0, 20][..], &[0xee; 12], &number].concat())
    }

    /// Mines blocks with everything that waits; their coins are the driver's.
    async fn generate(&self, blocks: u64) -> Result<(), ChainError> {
        let own = format!("raw({})", self.own_script().to_hex_string());
        self.call::<Value>("generatetodescriptor", json!([blocks, own])).await?;
        Ok(())
    }

    /// Mines one block of exactly these transactions. Its coinbase pays a stranger of its own:
    /// otherwise an empty block could be the very one that was just invalidated.
    async fn generate_exactly(&self, transactions: &[String]) -> Result<(), ChainError> {
        let stranger = format!("raw({})", self.strange_script().to_hex_string());
        self.call::<Value>("generateblock", json!([stranger, transactions])).await?;
        Ok(())
    }

    async fn height(&self) -> Result<u64, ChainError> {
        self.call("getblockcount", json!([])).await
    }

    async fn block_hash(&self, height: u64) -> Result<String, ChainError> {
        self.call("getblockhash", json!([height])).await
    }

    /// A block as rust-bitcoin reads it, which is not how the code under test does.
    async fn block(&self, height: u64) -> Result<Block, ChainError> {
        let hash = self.block_hash(height).await?;
        let text: String = self.call("getblock", json!([hash, 0])).await?;
        Ok(deserialize(&hex::decode(text).unwrap()).unwrap())
    }

    async fn tip(&self) -> Result<BlockRef, ChainError> {
        let height = self.height().await?;
        let header = self.block(height).await?.header;
        Ok(BlockRef {
            height,
            hash: header.block_hash().to_string(),
            parent: header.prev_blockhash.to_string(),
            time: Micros::from_seconds(header.time.into()),
        })
    }

    /// A coinbase not spent yet, the deepest first: forks of the newest blocks leave it alone.
    async fn coin(&self) -> Result<(OutPoint, TxOut), ChainError> {
        let own = self.own_script();
        loop {
            let height = self.next_coin.fetch_add(1, Ordering::Relaxed);
            if height + MATURITY_BLOCKS > self.height().await? {
                return Err(ChainError::Invalid("no spendable coin left: mine more".to_owned()));
            }
            let coinbase = self.block(height).await?.txdata.swap_remove(0);
            let outpoint = OutPoint { txid: coinbase.compute_txid(), vout: 0 };
            if coinbase.output[0].script_pubkey == own {
                return Ok((outpoint, coinbase.output[0].clone()));
            }
        }
    }

    async fn outputs(&self, wanted: &[(String, u128)]) -> Result<Vec<TxOut>, ChainError> {
        let mut outputs = Vec::new();
        for (address, units) in wanted {
            let answer: Value = self.call("validateaddress", json!([address])).await?;
            let script = answer["scriptPubKey"]
                .as_str()
                .and_then(|text| ScriptBuf::from_hex(text).ok())
                .ok_or_else(|| ChainError::Invalid(format!("not an address: {address}")))?;
            let units = u64::try_from(*units)
                .map_err(|_| ChainError::Invalid(format!("no such amount: {units}")))?;
            outputs.push(TxOut { value: Amount::from_sat(units), script_pubkey: script });
        }
        Ok(outputs)
    }

    /// What each input of a transaction spends.
    async fn spent_by(
        &self,
        transaction: &Transaction,
    ) -> Result<Vec<(OutPoint, TxOut)>, ChainError> {
        let mut coins = Vec::new();
        for input in &transaction.input {
            let OutPoint { txid, vout } = input.previous_output;
            let raw = self.raw_transaction(&txid.to_string()).await?;
            let before: Transaction = deserialize(&raw).unwrap();
            coins.push((input.previous_output, before.output[vout as usize].clone()));
        }
        Ok(coins)
    }

    /// A signed transaction that spends what `old` spends, for a higher fee and fee rate.
    async fn conflicting(
        &self,
        old: &Transaction,
        wanted: &[(String, u128)],
    ) -> Result<Transaction, ChainError> {
        let coins = self.spent_by(old).await?;
        let spent: u64 = coins.iter().map(|(_, coin)| coin.value.to_sat()).sum();
        let mut outputs = self.outputs(wanted).await?;
        if outputs.is_empty() {
            let value = Amount::from_sat(FEE_BASE_UNITS);
            outputs.push(TxOut { value, script_pubkey: self.strange_script() });
        }
        let old_fee = spent - total(&old.output);
        let fee = old_fee * (outputs.len() as u64 + 1) + FEE_BASE_UNITS;
        if spent < total(&outputs) + fee {
            return Err(ChainError::Invalid("the replaced inputs are worth too little".to_owned()));
        }
        Ok(self.sign(&coins, outputs, fee))
    }

    /// Spends `coins`, all of the driver's own script; signals that it may be replaced (BIP 125).
    fn sign(&self, coins: &[(OutPoint, TxOut)], mut output: Vec<TxOut>, fee: u64) -> Transaction {
        let secp = Secp256k1::new();
        let own = self.own_script();
        let spent: u64 = coins.iter().map(|(_, coin)| coin.value.to_sat()).sum();
        let change = spent - total(&output) - fee;
        if change >= SMALLEST_CHANGE_UNITS {
            output.push(TxOut { value: Amount::from_sat(change), script_pubkey: own.clone() });
        }
        let input = coins
            .iter()
            .map(|(outpoint, _)| TxIn {
                previous_output: *outpoint,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::new(),
            })
            .collect();
        let unsigned =
            Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output };
        let public = CompressedPublicKey::from_private_key(&secp, &self.key).unwrap();
        let mut cache = SighashCache::new(unsigned);
        for (index, (_, coin)) in coins.iter().enumerate() {
            let all = EcdsaSighashType::All;
            let hash = cache.p2wpkh_signature_hash(index, &own, coin.value, all).unwrap();
            let signature = secp.sign_ecdsa(&Message::from(hash), &self.key.inner);
            let signature = bitcoin::ecdsa::Signature { signature, sighash_type: all };
            *cache.witness_mut(index).unwrap() = Witness::p2wpkh(&signature, &public.0);
        }
        cache.into_transaction()
    }
}

#[async_trait]
impl SandboxControl for Litecoind {
    async fn pay(&self, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        let raw = self.sign_payment(outputs).await?;
        self.send(&raw).await
    }

    async fn replace(&self, txid: &str, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        self.call::<Value>("getmempoolentry", json!([txid])).await?;
        let old: Transaction = deserialize(&self.raw_transaction(txid).await?).unwrap();
        let new = self.conflicting(&old, outputs).await?;
        self.send(&serialize(&new)).await
    }

    /// Restarts the node without its saved mempool and sends it again what else waited (but for
    /// what spends the forgotten transaction, which cannot wait without it).
    async fn evict(&self, txid: &str) -> Result<(), ChainError> {
        self.call::<Value>("getmempoolentry", json!([txid])).await?;
        let entries: HashMap<String, Value> = self.call("getrawmempool", json!([true])).await?;
        let depth = |entry: &Value| entry["ancestorcount"].as_u64();
        let mut others: Vec<_> = entries.iter().filter(|(other, _)| *other != txid).collect();
        others.sort_by_key(|(_, entry)| depth(entry));
        let descends = |entry: &Value| entry["depends"].as_array().unwrap().clone();
        let mut gone = HashSet::from([txid.to_owned()]);
        let mut kept = Vec::new();
        for (other, entry) in others {
            if descends(entry).iter().any(|parent| gone.contains(parent.as_str().unwrap())) {
                gone.insert(other.clone());
            } else {
                kept.push(self.raw_transaction(other).await?);
            }
        }
        self.stop().await;
        std::fs::remove_file(self.datadir.path().join("regtest/mempool.dat")).unwrap();
        self.run().await;
        for raw in kept {
            self.send(&raw).await?;
        }
        Ok(())
    }

    async fn mine(&self, blocks: u32) -> Result<BlockRef, ChainError> {
        self.generate(blocks.into()).await?;
        self.tip().await
    }

    /// Only without MWEB (`generateblock` fails after its activation). Transactions that spend one
    /// that is no longer there are unconfirmed with it.
    async fn fork(&self, depth: u32, fates: &[(String, ForkFate)]) -> Result<BlockRef, ChainError> {
        let fates: HashMap<&str, &ForkFate> =
            fates.iter().map(|(txid, fate)| (txid.as_str(), fate)).collect();
        let tip = self.height().await?;
        let mut gone: HashSet<Txid> = HashSet::new();
        let mut replacements = Vec::new();
        for height in tip + 1 - u64::from(depth)..=tip {
            let mut included = Vec::new();
            for transaction in self.block(height).await?.txdata.into_iter().skip(1) {
                let txid = transaction.compute_txid();
                let lost = transaction.input.iter().any(|i| gone.contains(&i.previous_output.txid));
                let fate = fates.get(txid.to_string().as_str()).copied();
                let new = match fate.unwrap_or(&ForkFate::Keep) {
                    ForkFate::Keep if !lost => transaction,
                    ForkFate::DoubleSpend => {
                        gone.insert(txid);
                        self.conflicting(&transaction, &[]).await?
                    }
                    ForkFate::Keep | ForkFate::Unconfirm => {
                        gone.insert(txid);
                        continue;
                    }
                };
                included.push(hex::encode(serialize(&new)));
            }
            replacements.push(included);
        }
        replacements.push(Vec::new());
        if depth > 0 {
            self.invalidate(&self.block_hash(tip + 1 - u64::from(depth)).await?).await?;
        }
        for included in &replacements {
            self.generate_exactly(included).await?;
        }
        self.tip().await
    }
}

fn settings_for(rpc_port: u16) -> RpcSettings {
    RpcSettings {
        url: format!("http://127.0.0.1:{rpc_port}/"),
        auth: RpcAuth::Password { user: "test".to_owned(), password: "test".to_owned() },
        timeout: Duration::from_secs(CALL_TIMEOUT_SECONDS),
    }
}

fn total(outputs: &[TxOut]) -> u64 {
    outputs.iter().map(|output| output.value.to_sat()).sum()
}
