//! The keys behind invoices' addresses, derived from the wallet's seed outside of the program, and what
//! whoever has one does with it: spends what its address got. Not here: the driver's own key
//! (`support/utxo_node`).

use bitcoin::bip32::{DerivationPath, Xpriv};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Amount, OutPoint, PrivateKey, Sequence, Transaction, TxOut};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text::parse;
use cryptopayment::env::Env;
use cryptopayment::signer::keystore::Keystore;
use cryptopayment_sdk::v1::Invoice;

use crate::conformance::world::World;
use crate::utxo_node::{UtxoNode, script_of};

/// Addresses among which an invoice's key is looked for.
const INDEXES: u32 = 1_000;
/// Above the least that a node relays for one input and one output.
const FEE_UNITS: u64 = 1_000;

/// The keys of invoices. The server is stopped meanwhile: one program at a time has the wallet.
pub fn keys_of(world: &World, invoices: &[&Invoice]) -> Vec<PrivateKey> {
    let wallet = world.server.directory.path().join("data/wallet");
    let passphrase = std::fs::read_to_string(wallet.join("keystore.passphrase")).unwrap();
    let keystore = Keystore::open(&wallet, "sandbox", passphrase.trim(), &Env::system()).unwrap();
    let seed = keystore.seed().unwrap();
    let curve = Secp256k1::new();
    let master = Xpriv::new_master(bitcoin::Network::Regtest, seed.as_slice()).unwrap();
    let derived: Vec<PrivateKey> = (0..INDEXES)
        .map(|index| {
            // On test chains every coin has the type 1.
            let path: DerivationPath = format!("m/84'/1'/0'/0'/{index}'").parse().unwrap();
            let secret = master.derive_priv(&curve, &path).unwrap().private_key;
            PrivateKey::new(secret, bitcoin::Network::Regtest)
        })
        .collect();
    let find = |invoice: &&Invoice| {
        let script = parse(world.network, ChainKind::Regtest, &invoice.address).unwrap();
        let ours = |key: &&PrivateKey| script_of(key).as_bytes() == script;
        *derived.iter().find(ours).expect("the key of the address")
    };
    invoices.iter().map(find).collect()
}

/// Spends what a transaction paid to a key: to a stranger, all of it. It waits in the mempool.
pub async fn spend(node: &UtxoNode, key: &PrivateKey, txid: &str) {
    let own = script_of(key);
    let paid: Transaction = deserialize(&node.raw_transaction(txid).await.unwrap()).unwrap();
    let txid = paid.compute_txid();
    let coins: Vec<(OutPoint, TxOut)> = (0..)
        .zip(paid.output)
        .filter(|(_, output)| output.script_pubkey == own)
        .map(|(vout, output)| (OutPoint { txid, vout }, output))
        .collect();
    let units: u64 = coins.iter().map(|(_, coin)| coin.value.to_sat()).sum();
    let value = Amount::from_sat(units - FEE_UNITS);
    let output = TxOut { value, script_pubkey: node.strange_script() };
    let spending = UtxoNode::sign_by(key, &coins, vec![output], FEE_UNITS, Sequence::MAX);
    node.send(&serialize(&spending)).await.unwrap();
}
