//! What the driver signs and sends: payments and calls of contracts from many accounts in turn, and what
//! takes the place of another transaction. Not here: what a call is made of (`abi`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, Bytes, Signature, TxKind, U256, hex};
use bitcoin::secp256k1::{Message, SecretKey};
use cryptopayment::chain::{ChainError, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use serde_json::{Value, json};

use super::abi::{Argument, account, call_data, move_each, parse, transfer_data};
use super::{Anvil, CONTRACTS};

pub(super) const PLAIN_GAS: u64 = 21_000;
pub(super) const CALL_GAS: u64 = 150_000;
const CALL_GAS_PER_OUTPUT: u64 = 100_000;
const TIP_PER_GAS: u128 = 1_000_000_000;
const TOKENS_PER_PAYER: u128 = 1_000_000_000 * 1_000_000_000_000_000_000;
pub(super) const FEE_PER_GAS: u128 = 20_000_000_000;
const CREATION_GAS: u64 = 3_000_000;

/// An account that pays.
pub(super) struct Payer {
    pub(super) secret: SecretKey,
    pub(super) account: Address,
    pub(super) nonce: AtomicU64,
}

/// A transaction that was signed.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) raw: Vec<u8>,
    pub(super) payer: usize,
    pub(super) nonce: u64,
    pub(super) fee: u128,
}

impl Anvil {
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
        let here = self.unsigned(nonce, FEE_PER_GAS, call, value, Vec::new(), PLAIN_GAS);
        self.signed(0, TxEip1559 { chain_id, ..here }).raw
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

    /// Gives every payer tokens.
    pub(super) async fn hand_out(&self) {
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
    pub(super) fn place(&self, payer: usize) -> (usize, u64) {
        (payer, self.payers[payer].nonce.fetch_add(1, Ordering::SeqCst))
    }

    /// One payment to one account, in the network's own asset.
    pub(super) fn sign_simple(
        &self,
        payer: usize,
        nonce: u64,
        fee: u128,
        to: Address,
        units: u128,
    ) -> Sent {
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
        self.signed(payer, self.unsigned(nonce, fee, to, value, data, gas))
    }

    fn unsigned(
        &self,
        nonce: u64,
        fee: u128,
        to: TxKind,
        value: U256,
        data: Vec<u8>,
        gas_limit: u64,
    ) -> TxEip1559 {
        TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: TIP_PER_GAS * fee / FEE_PER_GAS,
            to,
            value,
            access_list: Default::default(),
            input: Bytes::from(data),
        }
    }

    fn signed(&self, payer: usize, unsigned: TxEip1559) -> Sent {
        let (nonce, fee) = (unsigned.nonce, unsigned.max_fee_per_gas);
        let message = Message::from_digest(unsigned.signature_hash().0);
        let signature = self.curve.sign_ecdsa_recoverable(&message, &self.payers[payer].secret);
        let (recovery, bytes) = signature.serialize_compact();
        let signature = Signature::from_bytes_and_parity(&bytes, recovery.to_i32() == 1);
        let signed = TxEnvelope::Eip1559(unsigned.into_signed(signature));
        Sent { raw: signed.encoded_2718(), payer, nonce, fee }
    }

    pub(super) async fn send(&self, sent: Sent) -> Result<String, ChainError> {
        let txid = self.send_raw(&sent.raw).await?;
        self.sent.lock().unwrap().insert(txid.clone(), sent);
        Ok(txid)
    }

    pub(super) fn sent(&self, txid: &str) -> Result<Sent, ChainError> {
        let sent = self.sent.lock().unwrap().get(txid).cloned();
        sent.ok_or_else(|| ChainError::Invalid(format!("{txid} is not the driver's")))
    }

    /// Only what waits can be replaced or forgotten.
    pub(super) async fn check_waits(&self, txid: &str) -> Result<(), ChainError> {
        let found: Value = self.call("eth_getTransactionByHash", json!([txid])).await?;
        if found.is_object() && found["blockHash"].is_null() {
            return Ok(());
        }
        Err(ChainError::Invalid(format!("{txid} does not wait")))
    }

    /// A transaction in the place of another, for a higher fee; without outputs it pays a stranger.
    pub(super) async fn conflicting(
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
    pub(super) fn sign_several(
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

    pub(super) async fn waiting(&self) -> Result<Vec<Sent>, ChainError> {
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
}
