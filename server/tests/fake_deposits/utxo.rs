//! Fake and odd deposits on a real bitcoind: transactions that are replaced, malleated or lost, addresses of
//! more than one text, and a node that has forgotten the block. Not here: what the outputs are
//! (`utxo_outputs`), and what Litecoin adds, which is with its MWEB tests.

use std::sync::Arc;

use bitcoin::consensus::serialize;
use bitcoin::script::ScriptBuf;
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{CompressedPublicKey, OutPoint, Sequence, Transaction, TxIn, TxOut, Witness};
use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text::{AddressError, parse};
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{
    Invoice, InvoiceException as Exception, InvoiceStatus as Status, PaymentState,
};
use serde_json::{Value, json};

use crate::conformance::world::{World, asked, share};
use crate::support::server::{Engine, eventually};
use crate::table::row;
use crate::utxo_node::{FIRST_BLOCKS, Kind, Mode, UtxoNode};
use crate::utxo_outputs::pays;
use crate::world::NodeWorld;

const FEE_UNITS: u64 = 100_000;

/// A world on bitcoind.
pub async fn start() -> NodeWorld {
    NodeWorld::start(Kind::Bitcoin, Engine::Sqlite).await
}

/// Mines one block of exactly these transactions, whatever a mempool would say of them.
pub async fn mine_exactly(node: &UtxoNode, transactions: &[&Transaction]) {
    let raw: Vec<String> = transactions.iter().map(|tx| hex::encode(serialize(*tx))).collect();
    node.generate_exactly(&raw).await.unwrap();
}

/// Waits until everything mined and waiting by now was read: a payment made now is confirmed. Returns
/// what that payment was worth.
pub async fn everything_was_read(world: &World) -> u128 {
    let other = world.invoice().await;
    let txid = world.pay(&other, 1, 1).await;
    world.wait_seen(&other, &txid).await;
    world.mine_deep(&other).await;
    world.wait(&other, Status::Confirmed, Exception::None).await;
    asked(&other)
}

pub async fn now(world: &World, invoice: &Invoice) -> Invoice {
    world.client.get_invoice(&invoice.id).await.unwrap()
}

/// The payments of an invoice by their transactions.
fn payments(invoice: &Invoice) -> Vec<(&str, PaymentState)> {
    invoice.payments.iter().map(|payment| (payment.txid.as_str(), payment.state())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_worth_nothing() {
    let NodeWorld { world, node, .. } = start().await;
    unconfirmed_and_replaced(&world, &node).await;
    let once = replaced_by_the_same_payment(&world, &node).await;
    let malleated = malleated_on_its_way(&world, &node).await;
    world.wait_available_and_pending(once + malleated, 0).await;
    let (other, held) = a_parent_that_never_comes(&world, &node).await;
    world.wait_available_and_pending(once + malleated + other, held).await;
    world.finish().await;
}

/// A payment that does not say that it may be replaced (BIP 125), as seen by the scanner.
async fn final_payment(world: &World, node: &UtxoNode, invoice: &Invoice) -> Transaction {
    let coin = node.coin().await.unwrap();
    let script = parse(Network::Btc, ChainKind::Regtest, &invoice.address).unwrap();
    let units = u64::try_from(asked(invoice)).unwrap();
    let output = vec![pays(units, ScriptBuf::from_bytes(script))];
    let transaction = node.sign_in_sequence(&[coin], output, FEE_UNITS, Sequence::MAX);
    let txid = node.send(&serialize(&transaction)).await.unwrap();
    world.wait_seen(invoice, &txid).await;
    transaction
}

async fn unconfirmed_and_replaced(world: &World, node: &UtxoNode) {
    let invoice = world.invoice().await;
    let waiting = final_payment(world, node, &invoice).await;
    let seen = world.wait(&invoice, Status::Confirming, Exception::None).await;
    assert_eq!(seen.confirmations.unwrap().received, 0);
    assert_eq!(payments(&seen)[0].1, PaymentState::Seen);
    let waits = json!([waiting.compute_txid().to_string()]);
    node.call::<Value>("getmempoolentry", waits).await.expect("it waits");
    world.wait_available_and_pending(0, asked(&invoice)).await;
    row("in_mempool").held();

    node.replace(&waiting.compute_txid().to_string(), &[]).await.unwrap();
    world.wait(&invoice, Status::Pending, Exception::Reorged).await;
    world.wait_available_and_pending(0, 0).await;
    row("replaced_unsignalled").held();

    let invoice = world.invoice().await;
    let waiting = final_payment(world, node, &invoice).await;
    // Only what was told to the merchant is taken back: seeing and judging are two units of work.
    world.wait(&invoice, Status::Confirming, Exception::None).await;
    let conflict = node.conflicting(&waiting, &[]).await.unwrap();
    mine_exactly(node, &[&conflict]).await;
    world.wait(&invoice, Status::Pending, Exception::Reorged).await;
    world.wait_available_and_pending(0, 0).await;
    row("double_spent_unseen").held();
}

async fn replaced_by_the_same_payment(world: &World, node: &UtxoNode) -> u128 {
    let invoice = world.invoice().await;
    let first = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &first).await;
    let second = node.replace(&first, &[share(&invoice, 1, 1)]).await.unwrap();
    world.wait_seen(&invoice, &second).await;
    world.mine_deep(&invoice).await;
    let paid = world.wait(&invoice, Status::Confirmed, Exception::None).await;
    assert_eq!(paid.paid_units, invoice.amount_units);
    let states = payments(&paid);
    assert!(states.contains(&(&first, PaymentState::Replaced)), "{states:?}");
    assert!(states.contains(&(&second, PaymentState::Credited)), "{states:?}");
    row("replaced_by_same").held();

    let unseen = world.invoice().await;
    let first = final_payment(world, node, &unseen).await;
    let second = node.conflicting(&first, &[share(&unseen, 1, 1)]).await.unwrap();
    mine_exactly(node, &[&second]).await;
    world.mine_deep(&unseen).await;
    let paid = world.wait(&unseen, Status::Confirmed, Exception::None).await;
    let txids = [first, second].map(|transaction| transaction.compute_txid().to_string());
    assert_eq!(paid.txid.as_deref(), Some(txids[1].as_str()));
    assert_eq!((paid.payments.len(), &paid.paid_units), (2, &unseen.amount_units));
    row("mined_in_other_version").held();
    asked(&invoice) + asked(&unseen)
}

/// A transaction that spends an output of the old kind, and the same with its signature pushed in
/// another form: as valid, and of another txid.
fn malleable(
    node: &UtxoNode,
    coin: OutPoint,
    old: &ScriptBuf,
    output: TxOut,
) -> (Transaction, Transaction) {
    let secp = Secp256k1::new();
    let mut unsigned = Transaction {
        version: bitcoin::transaction::Version::ONE,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: coin,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![output],
    };
    let all = EcdsaSighashType::All;
    let hash = SighashCache::new(&unsigned).legacy_signature_hash(0, old, all.to_u32()).unwrap();
    let signature = bitcoin::ecdsa::Signature {
        signature: secp.sign_ecdsa(&Message::from(hash), &node.key().inner),
        sighash_type: all,
    };
    let public = CompressedPublicKey::from_private_key(&secp, node.key()).unwrap().to_bytes();
    let signature = signature.to_vec();
    let length = u8::try_from(signature.len()).unwrap();
    let script_sig =
        |push: &[u8]| ScriptBuf::from_bytes([push, &signature, &[33], public.as_slice()].concat());
    unsigned.input[0].script_sig = script_sig(&[length]);
    let mut other = unsigned.clone();
    // OP_PUSHDATA1, where the length alone would do.
    other.input[0].script_sig = script_sig(&[0x4c, length]);
    (unsigned, other)
}

async fn malleated_on_its_way(world: &World, node: &UtxoNode) -> u128 {
    let invoice = world.invoice().await;
    let units = u64::try_from(asked(&invoice)).unwrap();
    let public = CompressedPublicKey::from_private_key(&Secp256k1::new(), node.key()).unwrap();
    let old = ScriptBuf::new_p2pkh(&public.pubkey_hash());
    let funding = node.payment(vec![pays(units + FEE_UNITS, old.clone())]).await.unwrap();
    mine_exactly(node, &[&funding]).await;
    let coin = OutPoint { txid: funding.compute_txid(), vout: 0 };
    let script = parse(Network::Btc, ChainKind::Regtest, &invoice.address).unwrap();
    let output = pays(units, ScriptBuf::from_bytes(script));
    let (sent, mined) = malleable(node, coin, &old, output);
    let seen = node.send(&serialize(&sent)).await.unwrap();
    world.wait_seen(&invoice, &seen).await;
    mine_exactly(node, &[&mined]).await;
    world.mine_deep(&invoice).await;
    let paid = world.wait(&invoice, Status::Confirmed, Exception::None).await;
    let other = mined.compute_txid().to_string();
    assert_ne!(seen, other);
    assert_eq!(paid.txid.as_deref(), Some(other.as_str()));
    assert_eq!(paid.paid_units, invoice.amount_units);
    row("malleated").held();
    asked(&invoice)
}

/// What was credited meanwhile, and what stays pending.
async fn a_parent_that_never_comes(world: &World, node: &UtxoNode) -> (u128, u128) {
    let invoice = world.invoice().await;
    let units = u64::try_from(asked(&invoice)).unwrap();
    let parent_output = pays(units + 2 * FEE_UNITS, node.own_script());
    let parent = node.payment(vec![parent_output.clone()]).await.unwrap();
    let parent_id = node.send(&serialize(&parent)).await.unwrap();
    let coin = (OutPoint { txid: parent.compute_txid(), vout: 0 }, parent_output);
    let script = parse(Network::Btc, ChainKind::Regtest, &invoice.address).unwrap();
    let output = vec![pays(units, ScriptBuf::from_bytes(script))];
    let child = node.sign(&[coin], output, FEE_UNITS);
    let child_id = node.send(&serialize(&child)).await.unwrap();
    world.wait_seen(&invoice, &child_id).await;
    node.replace(&parent_id, &[]).await.unwrap();
    world.mine_deep(&invoice).await;
    let other = everything_was_read(world).await;
    let held = now(world, &invoice).await;
    assert_eq!(held.confirmations.unwrap().received, 0);
    assert!(payments(&held).iter().all(|(_, state)| *state != PaymentState::Credited));
    row("child_of_replaced").held();
    (other, asked(&invoice))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deep_may_still_be_lost() {
    let NodeWorld { world, .. } = start().await;
    let (lost, moved) = (world.invoice().await, world.invoice().await);
    let bad = world.pay(&lost, 1, 1).await;
    let good = world.pay(&moved, 1, 1).await;
    world.wait_seen(&lost, &bad).await;
    world.wait_seen(&moved, &good).await;
    let depth = lost.confirmations.unwrap().required + 11;
    world.chain.mine(depth).await.unwrap();
    for invoice in [&lost, &moved] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    world.wait_available(asked(&lost) + asked(&moved)).await;
    world.fork(depth, &bad, ForkFate::DoubleSpend).await;
    let back = world.wait(&lost, Status::Pending, Exception::Reorged).await;
    assert_eq!(back.paid_units, "0");
    world.wait_available(asked(&moved)).await;
    row("deep_double_spend").held();
    let kept = now(&world, &moved).await;
    assert_eq!((kept.status(), kept.exception()), (Status::Confirmed, Exception::None));
    row("moved_by_deep_fork").held();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_more_than_one_text() {
    let NodeWorld { world, .. } = start().await;
    let invoice = world.invoice().await;
    let loud = invoice.address.to_uppercase();
    world.chain.pay(&[(loud, asked(&invoice))]).await.unwrap();
    world.mine_deep(&invoice).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    world.finish().await;
    row("capitals").held();

    let read = |text: &str| parse(Network::Ltc, ChainKind::Mainnet, text);
    let old = read("3P14159f73E4gFr7JterCCQh9QjiTjiZrG").unwrap();
    assert_eq!(read("MVDCJxZd4A5VUm81QmeC1qf6U7LASsr7LT").unwrap(), old);
    row("two_texts").held();
    let mweb = "ltcmweb1qqvudqut46ah3kvk80uqehsfwpvs6hh0vv8p5ytv42d5cau6mqlequqs9u0ganz4fegr8z9q3hxwaeunnlyl6zlmcvr4xjkp3egew8p0v3uk3r05f";
    assert_eq!(read(mweb), Err(AddressError::Malformed));
    row("mweb_address").held();
    let mixed = "bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    assert!(parse(Network::Btc, ChainKind::Mainnet, mixed).is_err());
    row("mixed_case").held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_the_node_forgot_stops_the_reading() {
    const BLOCKS: u64 = 600;
    let NodeWorld { mut world, node, .. } =
        NodeWorld::start_in(Kind::Bitcoin, Mode::Pruned, Engine::Sqlite).await;
    let invoice = world.invoice().await;
    eventually("everything was read", || async {
        let networks = world.client.networks().await.unwrap();
        let own = networks.into_iter().find(|network| network.network == "btc").unwrap();
        (own.scanned_height == FIRST_BLOCKS).then_some(())
    })
    .await;
    world.server.stop().await;
    world.pay(&invoice, 1, 1).await;
    node.generate_to(BLOCKS, &node.strange_script()).await.unwrap();
    let kept = blocks_above(&node, FIRST_BLOCKS).await;
    let forgotten: u64 =
        node.call("pruneblockchain", json!([FIRST_BLOCKS + BLOCKS - 300])).await.unwrap();
    assert!(forgotten > FIRST_BLOCKS, "up to {forgotten}");

    world.server.run().await;
    world.client = world.server.client();
    world.expire().await;
    let told = eventually("the lag is told", || async {
        let networks = world.client.networks().await.unwrap();
        let own = networks.into_iter().find(|network| network.network == "btc").unwrap();
        (own.lag_seconds >= 31 * 60).then_some(own)
    })
    .await;
    assert_eq!(told.scanned_height, FIRST_BLOCKS, "no block is passed over");
    let waiting = now(&world, &invoice).await;
    assert_eq!((waiting.status(), waiting.payments.len()), (Status::Pending, 0));

    give_back(&node, &kept).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    world.finish().await;
    row("pruned").held();
    row("pruned_comes_back").held();
}

/// The raw blocks above a height, as hex.
async fn blocks_above(node: &Arc<UtxoNode>, height: u64) -> Vec<String> {
    let mut blocks = Vec::new();
    for height in height + 1..=node.height().await.unwrap() {
        let hash = node.block_hash(height).await.unwrap();
        blocks.push(node.call("getblock", json!([hash, 0])).await.unwrap());
    }
    blocks
}

/// Hands the node blocks that it once had.
async fn give_back(node: &Arc<UtxoNode>, blocks: &[String]) {
    for block in blocks {
        let _: Value = node.call("submitblock", json!([block])).await.unwrap();
    }
}
