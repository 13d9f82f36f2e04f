//! The node as something that a test controls: pays, mines, forks. Not here: how transactions are made.

use std::collections::HashMap;

use alloy::primitives::{hex, keccak256};
use async_trait::async_trait;
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use cryptopayment::domain::asset::Network;
use serde_json::{Value, json};

use super::Anvil;
use super::abi::parse;
use super::pay::FEE_PER_GAS;

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
