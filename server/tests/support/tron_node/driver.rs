//! Pays, mines and forks on a TRON chain as a test wants: the simulated one, or a real node named in
//! the environment. Transactions are encoded by the program's own code, signed here, and broadcast
//! by its own writer over HTTP. Not here: assertions.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bitcoin::secp256k1::SecretKey;
use cryptopayment::chain::tron::http::{Api, Client};
use cryptopayment::chain::tron::transaction::{Frame, Raw, Transaction, token_transfer};
use cryptopayment::chain::tron::{NodeSettings, TronWriter};
use cryptopayment::chain::{
    BlockRef, Broadcast, ChainError, ChainWriter, ForkFate, SandboxControl,
};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text;
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::time::Micros;
use cryptopayment::env::Env;
use prost::Message as _;
use serde_json::{Value, json};

use super::TronNode;
use super::chain::{account_of, key_named, sign};
use super::contracts::{Code, pay_call};
use super::wire::{Account, Action, CreateSmartContract, Tx, contract_made_by};

/// A deployment that a live node took: its token is deployed anew by whoever drives a chain.
const DEPLOYMENT: &str =
    include_str!("../../fixtures/tron/javatron-4.8.0-live/19-broadcast-deploy.json");
const FEE_LIMIT: i64 = 1_000_000_000;
const EXPIRATION_MILLIS: i64 = 60_000;
/// TRX for an account that has to pay fees, sun.
const FEES: i64 = 1_000_000_000;
const LOOK: Duration = Duration::from_millis(200);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a real node may take for a block.
const LOOKS_MAX: u32 = 900;

/// The variables that name a real node.
pub const VARIABLES: [&str; 3] = ["TRON_FULL_URL", "TRON_SOLIDITY_URL", "TRON_KEY"];

/// A hand on one chain.
pub struct Driver {
    /// The simulated node; none when a real one is driven.
    pub node: Option<Arc<TronNode>>,
    pub full_url: String,
    pub solidity_url: String,
    pub key: SecretKey,
    pub token: Account,
    /// Pays many at once; on the simulated chain alone.
    payer: Option<Account>,
    client: Client,
    writer: TronWriter,
    /// Makes ids differ.
    counter: AtomicI64,
    /// A node that is driven like a real one.
    foreign: Option<Arc<TronNode>>,
}

impl Driver {
    /// The real node of the environment, or else a simulated one. Says which, and what a real node
    /// cannot be made to do.
    pub async fn start() -> Self {
        match VARIABLES.map(|name| std::env::var(name).ok()) {
            [Some(full), Some(solidity), Some(key)] => {
                println!(
                    "TRON: a real node at {full}; what needs forks or many payees is left out by name"
                );
                let key = SecretKey::from_slice(&hex::decode(key.trim()).unwrap()).unwrap();
                Self::on(None, full, solidity, key).await
            }
            [None, None, None] => Self::simulated().await,
            _ => panic!("{VARIABLES:?} name a real node together"),
        }
    }

    /// A simulated node.
    pub async fn simulated() -> Self {
        let key = key_named("the driver of tests");
        let node = Arc::new(TronNode::start(account_of(&key)).await);
        let (full, solidity) = (node.full_url(), node.solidity_url());
        Self::on(Some(node), full, solidity, key).await
    }

    /// A simulated node that is driven by its API alone and makes its blocks itself, as a real one
    /// does.
    pub async fn foreign(block_time: Duration) -> Self {
        let key = key_named("the driver of tests");
        let node = Arc::new(TronNode::start(account_of(&key)).await);
        node.mine_every(block_time);
        let (full, solidity) = (node.full_url(), node.solidity_url());
        Self { foreign: Some(node), ..Self::on(None, full, solidity, key).await }
    }

    async fn on(
        node: Option<Arc<TronNode>>,
        full_url: String,
        solidity_url: String,
        key: SecretKey,
    ) -> Self {
        crate::support::server::install_tls();
        let settings = NodeSettings {
            url: full_url.clone(),
            solidity_url: solidity_url.clone(),
            api_key: std::env::var("TRON_API_KEY").ok(),
            // Any address will do for who only writes.
            contract: address_text::tron([1; 20]),
            requests_per_second: 0,
            timeout: CALL_TIMEOUT,
        };
        let client = Client::new(&settings, Env::system()).unwrap();
        let writer = TronWriter::new(ChainKind::Regtest, &settings, Env::system()).unwrap();
        let counter = AtomicI64::default();
        let mut driver = Self {
            node,
            full_url,
            solidity_url,
            key,
            token: [0; 20],
            payer: None,
            client,
            writer,
            counter,
            foreign: None,
        };
        driver.token = driver.deploy().await;
        if let Some(node) = driver.node.clone() {
            let payer = node.place("the payer of many", Code::Payer);
            driver
                .send(driver.token_payment(driver.own(), payer, 1_000_000_000_000).await)
                .await
                .unwrap();
            let stranger = account_of(&stranger());
            let frame = driver.frame().await.unwrap();
            driver
                .send(driver.signed(&Raw::transfer(&frame, driver.own(), stranger, FEES)))
                .await
                .unwrap();
            node.mine(1);
            driver.payer = Some(payer);
        }
        driver
    }

    pub fn own(&self) -> Account {
        account_of(&self.key)
    }

    /// The simulated node, where there is one.
    pub fn simulator(&self) -> Result<&Arc<TronNode>, ChainError> {
        let real = || ChainError::Unsupported("a real node cannot be made to do this".to_owned());
        self.node.as_ref().ok_or_else(real)
    }

    /// Deploys the captured token for the driver and waits until it is there.
    async fn deploy(&self) -> Account {
        let capture: Value = serde_json::from_str(DEPLOYMENT).unwrap();
        let raw =
            hex::decode(capture["request"]["body"]["raw_data_hex"].as_str().unwrap()).unwrap();
        let raw = cryptopayment::chain::tron::transaction::read_raw(&raw).unwrap();
        let Some(Action::Create(CreateSmartContract { new_contract, .. })) =
            Action::of(&raw.contract[0])
        else {
            panic!("the capture is a deployment")
        };
        let owner_address = cryptopayment::chain::tron::transaction::address(self.own());
        let mut contract = new_contract.unwrap();
        contract.origin_address = owner_address.clone();
        let action =
            Action::Create(CreateSmartContract { owner_address, new_contract: Some(contract) });
        let tx = self.signed(&action.raw(&self.frame().await.unwrap()));
        let token = contract_made_by(tx.id, self.own());
        self.send(tx).await.unwrap();
        self.mine(2).await.unwrap();
        token
    }

    /// What a new transaction is built upon: the solidified block, so that a fork does not undo it.
    pub async fn frame(&self) -> Result<Frame, ChainError> {
        let tip = self.block(Api::Full).await?;
        let solid = self.block(Api::Solidity).await?;
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        Ok(Frame {
            block_height: solid.height,
            block_id: hex::decode(&solid.hash).unwrap().try_into().unwrap(),
            expiration: tip.time.0 / 1_000 + EXPIRATION_MILLIS,
            timestamp: tip.time.0 / 1_000 + count,
            fee_limit: FEE_LIMIT,
        })
    }

    /// The newest block, read by other code than the program's.
    async fn block(&self, api: Api) -> Result<BlockRef, ChainError> {
        let block: Value = self.client.call_known(api, "getnowblock", &json!({})).await?;
        let raw = &block["block_header"]["raw_data"];
        Ok(BlockRef {
            height: raw["number"].as_u64().unwrap_or_default(),
            hash: block["blockID"].as_str().unwrap().to_owned(),
            parent: raw["parentHash"].as_str().unwrap().to_owned(),
            time: Micros(raw["timestamp"].as_i64().unwrap_or_default() * 1_000),
        })
    }

    /// Signs with the driver's key.
    pub fn signed(&self, raw: &Raw) -> Tx {
        signed_by(&self.key, raw)
    }

    /// A signed payment of the token.
    pub async fn token_payment(&self, from: Account, to: Account, units: u128) -> Tx {
        let frame = self.frame().await.unwrap();
        self.signed(&Raw::trigger(&frame, from, self.token, token_transfer(to, units)))
    }

    /// A signed call of any contract.
    pub async fn call(&self, contract: Account, data: Vec<u8>) -> Tx {
        let frame = self.frame().await.unwrap();
        self.signed(&Raw::trigger(&frame, self.own(), contract, data))
    }

    /// Broadcasts by the program's writer.
    pub async fn send(&self, tx: Tx) -> Result<String, ChainError> {
        match self.writer.broadcast(&tx.signed.encode_to_vec()).await? {
            Broadcast::Accepted | Broadcast::AlreadyKnown => Ok(tx.txid()),
            Broadcast::Rejected(why) => Err(ChainError::Invalid(why)),
        }
    }

    pub fn writer(&self) -> &TronWriter {
        &self.writer
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The settings of a server that reads this chain, through other ports if told so, with more lines in
    /// the network's table.
    pub fn settings(&self, full_url: &str, solidity_url: &str, lines: &str) -> String {
        format!(
            "[networks.trc20]\nbackend = \"node\"\nchain = \"regtest\"\npoll_milliseconds = 50\n\
             confirmations = 3\n{lines}\nnode = {{ url = \"{full_url}\", solidity_url = \"{solidity_url}\", \
             contract = \"{}\" }}",
            address_text::tron(self.token)
        )
    }
}

/// Signs a transaction with any key.
pub fn signed_by(key: &SecretKey, raw: &Raw) -> Tx {
    let raw_data = raw.bytes();
    let signature = sign(key, cryptopayment::chain::tron::transaction::id_of(&raw_data));
    let signed = Transaction { raw_data, signature: vec![signature] };
    Tx::read(&signed.encode_to_vec()).unwrap()
}

/// Somebody whom a double spend pays instead.
fn stranger() -> SecretKey {
    key_named("a stranger")
}

fn account(text: &str) -> Result<Account, ChainError> {
    let key = address_text::parse(Network::Trc20, ChainKind::Regtest, text);
    let key = key.map_err(|_| ChainError::Invalid(format!("not an address: {text}")))?;
    Ok(key.try_into().unwrap())
}

#[async_trait]
impl SandboxControl for Driver {
    async fn pay(&self, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        let mut payments = Vec::new();
        for (text, units) in outputs {
            payments.push((account(text)?, *units));
        }
        let tx = match (payments.as_slice(), self.payer) {
            ([(to, units)], _) => self.token_payment(self.own(), *to, *units).await,
            (_, Some(payer)) => self.call(payer, pay_call(self.token, &payments)).await,
            (_, None) => {
                return Err(ChainError::Unsupported("no contract that pays many".to_owned()));
            }
        };
        self.send(tx).await
    }

    /// On TRON nobody can: accounts have no nonce, so that nothing replaces what waits.
    async fn replace(&self, _: &str, _: &[(String, u128)]) -> Result<String, ChainError> {
        Err(ChainError::Unsupported("TRON replaces no waiting transaction".to_owned()))
    }

    async fn evict(&self, txid: &str) -> Result<(), ChainError> {
        self.simulator()?.chain().forget(Some(txid));
        Ok(())
    }

    /// A real node makes its blocks itself: they are waited for.
    async fn mine(&self, blocks: u32) -> Result<BlockRef, ChainError> {
        if let Some(node) = &self.node {
            node.mine(blocks);
            return self.block(Api::Full).await;
        }
        let wanted = self.block(Api::Full).await?.height + u64::from(blocks);
        for _ in 0..LOOKS_MAX {
            let tip = self.block(Api::Full).await?;
            if tip.height >= wanted {
                return Ok(tip);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(ChainError::Transient("the node makes no blocks".to_owned()))
    }

    /// A double spend: the payer's money goes to a stranger first, so that the payment fails in the
    /// very block; later the stranger gives it back.
    async fn fork(&self, depth: u32, fates: &[(String, ForkFate)]) -> Result<BlockRef, ChainError> {
        let node = self.simulator()?;
        let solid = || ChainError::Unsupported("below the solidified block".to_owned());
        let popped = node.chain().pop(depth).ok_or_else(solid)?;
        let frame = self.frame().await?;
        for block in popped {
            let mut wanted = Vec::new();
            for tx in block.included.into_iter().map(|included| included.tx) {
                let fate = fates.iter().find(|(txid, _)| *txid == tx.txid()).map(|(_, fate)| fate);
                match fate.unwrap_or(&ForkFate::Keep) {
                    ForkFate::Keep => wanted.push(tx),
                    ForkFate::Unconfirm => {}
                    ForkFate::DoubleSpend => {
                        let state = node.chain().tip().after.clone();
                        let all =
                            super::contracts::balance(&state.contracts, self.token, self.own());
                        let to = account_of(&stranger());
                        let take =
                            Raw::trigger(&frame, self.own(), self.token, token_transfer(to, all));
                        let back = token_transfer(self.own(), all);
                        let back = Raw::trigger(&frame, to, self.token, back);
                        wanted.extend([self.signed(&take), tx, signed_by(&stranger(), &back)]);
                    }
                }
            }
            node.mine_exactly(wanted);
        }
        node.mine_exactly(Vec::new());
        self.block(Api::Full).await
    }
}
