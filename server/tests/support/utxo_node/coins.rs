//! The driver's coins: which are left, what they pay, and transactions signed with its own key. Not here:
//! the node (`mod.rs`), what a driver does with them (`control.rs`).

use std::sync::atomic::Ordering;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, CompressedPublicKey, OutPoint, PrivateKey, ScriptBuf, Sequence, Transaction, TxIn,
    TxOut, Witness,
};
use cryptopayment::chain::ChainError;
use serde_json::{Value, json};

use super::UtxoNode;

const MATURITY_BLOCKS: u64 = 100;
const FEE_BASE_UNITS: u64 = 100_000;
const FEE_UNITS_PER_OUTPUT: u64 = 1_000;
/// Smaller change goes to the fee.
const SMALLEST_CHANGE_UNITS: u64 = 100_000;

impl UtxoNode {
    /// Makes and signs a payment without sending it.
    pub async fn sign_payment(&self, outputs: &[(String, u128)]) -> Result<Vec<u8>, ChainError> {
        let outputs = self.outputs(outputs).await?;
        Ok(serialize(&self.payment(outputs).await?))
    }

    /// Makes and signs a transaction with these outputs, whatever their scripts.
    pub async fn payment(&self, outputs: Vec<TxOut>) -> Result<Transaction, ChainError> {
        let fee = FEE_BASE_UNITS + FEE_UNITS_PER_OUTPUT * outputs.len() as u64;
        let needed = total(&outputs) + fee;
        let mut coins = Vec::new();
        while coins.iter().map(|(_, coin): &(_, TxOut)| coin.value.to_sat()).sum::<u64>() < needed {
            coins.push(self.coin().await?);
        }
        Ok(self.sign(&coins, outputs, fee))
    }

    /// A coinbase not spent yet, the deepest first: forks of the newest blocks leave it alone.
    pub async fn coin(&self) -> Result<(OutPoint, TxOut), ChainError> {
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
    pub async fn conflicting(
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
    pub fn sign(&self, coins: &[(OutPoint, TxOut)], output: Vec<TxOut>, fee: u64) -> Transaction {
        self.sign_in_sequence(coins, output, fee, Sequence::ENABLE_RBF_NO_LOCKTIME)
    }

    /// The same with a sequence of the caller's for every input.
    pub fn sign_in_sequence(
        &self,
        coins: &[(OutPoint, TxOut)],
        output: Vec<TxOut>,
        fee: u64,
        sequence: Sequence,
    ) -> Transaction {
        Self::sign_by(&self.key, coins, output, fee, sequence)
    }

    /// The same for coins of another key, which also has the change.
    pub fn sign_by(
        key: &PrivateKey,
        coins: &[(OutPoint, TxOut)],
        mut output: Vec<TxOut>,
        fee: u64,
        sequence: Sequence,
    ) -> Transaction {
        let secp = Secp256k1::new();
        let own = script_of(key);
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
                sequence,
                witness: Witness::new(),
            })
            .collect();
        let unsigned =
            Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output };
        let public = CompressedPublicKey::from_private_key(&secp, key).unwrap();
        let mut cache = SighashCache::new(unsigned);
        for (index, (_, coin)) in coins.iter().enumerate() {
            let all = EcdsaSighashType::All;
            let hash = cache.p2wpkh_signature_hash(index, &own, coin.value, all).unwrap();
            let signature = secp.sign_ecdsa(&Message::from(hash), &key.inner);
            let signature = bitcoin::ecdsa::Signature { signature, sighash_type: all };
            *cache.witness_mut(index).unwrap() = Witness::p2wpkh(&signature, &public.0);
        }
        cache.into_transaction()
    }
}

/// The script that a key's coins have: P2WPKH.
pub fn script_of(key: &PrivateKey) -> ScriptBuf {
    let public = CompressedPublicKey::from_private_key(&Secp256k1::new(), key).unwrap();
    ScriptBuf::new_p2wpkh(&public.wpubkey_hash())
}

fn total(outputs: &[TxOut]) -> u64 {
    outputs.iter().map(|output| output.value.to_sat()).sum()
}
