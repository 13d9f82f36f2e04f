//! What `SandboxControl` asks of a private node: pays, replaces, forgets, mines and forks. Not here: how
//! its transactions are signed (`coins.rs`).

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Transaction, Txid};
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use serde_json::{Value, json};

use super::UtxoNode;

#[async_trait]
impl SandboxControl for UtxoNode {
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
