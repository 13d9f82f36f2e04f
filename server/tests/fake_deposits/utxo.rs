//! Fake and odd deposits on a real bitcoind: outputs that look like ours, transactions that are replaced,
//! malleated or lost, and a node that has forgotten the block. What Litecoin adds is with its MWEB tests.

use std::sync::Arc;

use bitcoin::consensus::serialize;
use bitcoin::opcodes::all::{OP_CHECKMULTISIG, OP_CHECKSIG, OP_PUSHNUM_1, OP_PUSHNUM_2, OP_RETURN};
use bitcoin::script::{Builder, PushBytesBuf, ScriptBuf};
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{
    Amount, CompressedPublicKey, OutPoint, PrivateKey, PublicKey, Sequence, Transaction, TxIn,
    TxOut, Witness,
};
use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text::{AddressError, parse};
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{
    Invoice, InvoiceException as Exception, InvoiceStatus as Status, PaymentState,
};
use serde_json::{Value, json};

use crate::conformance::world::{World, asked, share};
use crate::keys::keys_of;
use crate::support::server::{Engine, eventually};
use crate::table::{Row, Verdict};
use crate::utxo_node::{FIRST_BLOCKS, Kind, Mode, UtxoNode, script_of};
use crate::world::NodeWorld;

/// What Bitcoin Core calls dust for our kind of output, less one.
const DUST_UNITS: u64 = 293;
const FEE_UNITS: u64 = 100_000;

/// What stands behind an invoice's address, and what the invoice asks.
struct Ours {
    public: PublicKey,
    script: ScriptBuf,
    units: u64,
}

impl Ours {
    fn key_hash(&self) -> PushBytesBuf {
        PushBytesBuf::try_from(self.script.as_bytes()[2..].to_vec()).unwrap()
    }
}

/// A case that is decided by what the outputs are.
struct Outputs {
    row: Row,
    /// The transaction's outputs.
    make: fn(&Ours) -> Vec<TxOut>,
    /// How much of what the invoice asks is paid.
    paid: fn(u64) -> u64,
}

fn pays(units: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(units), script_pubkey }
}

fn fake(
    id: &'static str,
    case: &'static str,
    why: &'static str,
    make: fn(&Ours) -> Vec<TxOut>,
) -> Outputs {
    Outputs { row: Row::new(id, case, Verdict::Refused, why), make, paid: |_| 0 }
}

fn money(
    id: &'static str,
    case: &'static str,
    why: &'static str,
    make: fn(&Ours) -> Vec<TxOut>,
    paid: fn(u64) -> u64,
) -> Outputs {
    Outputs { row: Row::new(id, case, Verdict::Credited, why), make, paid }
}

/// An output to a script that is built from ours, worth what is asked.
fn scripted(ours: &Ours, script: ScriptBuf) -> Vec<TxOut> {
    vec![pays(ours.units, script)]
}

/// Outputs to our script, among others and of odd amounts.
fn amounts() -> Vec<Outputs> {
    vec![
        money(
            "U-04",
            "two outputs to one address",
            "each output is a payment of its own",
            |ours| {
                let half = ours.units / 2;
                vec![pays(half, ours.script.clone()), pays(ours.units - half, ours.script.clone())]
            },
            |asked| asked,
        ),
        money(
            "U-04",
            "beside outputs to strangers",
            "the others are nobody's here",
            |ours| {
                let stranger = ScriptBuf::from_bytes([&[0, 20][..], &[0xdd; 20]].concat());
                vec![pays(ours.units, stranger.clone()), pays(ours.units, ours.script.clone())]
            },
            |asked| asked,
        ),
        fake("U-04", "an output of zero to our address", "zero is no payment", |ours| {
            vec![pays(0, ours.script.clone())]
        }),
        money(
            "U-08",
            "dust",
            "counts as the part that it is",
            |ours| vec![pays(DUST_UNITS, ours.script.clone())],
            |_| DUST_UNITS,
        ),
        money(
            "U-08",
            "one base unit",
            "counts as the part that it is",
            |ours| vec![pays(1, ours.script.clone())],
            |_| 1,
        ),
    ]
}

/// Outputs to other scripts, with our key or our script in them.
fn lookalikes() -> Vec<Outputs> {
    const OTHER_SCRIPT: &str = "another script: who holds its key is not asked";
    vec![
        fake("U-04", "OP_RETURN that holds our script, and coins", "unspendable", |ours| {
            let data = PushBytesBuf::try_from(ours.script.to_bytes()).unwrap();
            let script = Builder::new().push_opcode(OP_RETURN).push_slice(data).into_script();
            scripted(ours, script)
        }),
        fake("U-05", "bare 1-of-2 multisig with our key", OTHER_SCRIPT, |ours| {
            let other = [&[2_u8][..], &[0x55; 32]].concat();
            let other = PushBytesBuf::try_from(other).unwrap();
            let script = Builder::new()
                .push_opcode(OP_PUSHNUM_1)
                .push_key(&ours.public)
                .push_slice(other)
                .push_opcode(OP_PUSHNUM_2)
                .push_opcode(OP_CHECKMULTISIG)
                .into_script();
            scripted(ours, script)
        }),
        fake("U-05", "pay to our public key (P2PK)", OTHER_SCRIPT, |ours| {
            let script =
                Builder::new().push_key(&ours.public).push_opcode(OP_CHECKSIG).into_script();
            scripted(ours, script)
        }),
        fake("U-05", "pay to our key's hash in the old form (P2PKH)", OTHER_SCRIPT, |ours| {
            scripted(ours, ScriptBuf::new_p2pkh(&ours.public.pubkey_hash()))
        }),
        fake("U-05", "our script wrapped (P2SH)", OTHER_SCRIPT, |ours| {
            scripted(ours, ScriptBuf::new_p2sh(&ours.script.script_hash()))
        }),
        fake("U-05", "our key as a script (P2WSH)", OTHER_SCRIPT, |ours| {
            let inner =
                Builder::new().push_key(&ours.public).push_opcode(OP_CHECKSIG).into_script();
            scripted(ours, ScriptBuf::new_p2wsh(&inner.wscript_hash()))
        }),
        fake("U-05", "our key as Taproot's output key (P2TR)", OTHER_SCRIPT, |ours| {
            let key = &ours.public.to_bytes()[1..33];
            scripted(ours, ScriptBuf::from_bytes([&[0x51, 32][..], key].concat()))
        }),
        fake("U-05", "our program under witness version 1", OTHER_SCRIPT, |ours| {
            let program = &ours.script.as_bytes()[2..];
            scripted(ours, ScriptBuf::from_bytes([&[0x51, 20][..], program].concat()))
        }),
        fake("U-05", "our script with a byte behind it", OTHER_SCRIPT, |ours| {
            scripted(ours, ScriptBuf::from_bytes([ours.script.as_bytes(), &[0x61]].concat()))
        }),
        fake("U-05", "our script with a longer form of its push", OTHER_SCRIPT, |ours| {
            let hash = ours.key_hash();
            scripted(ours, ScriptBuf::from_bytes([&[0, 0x4c, 20][..], hash.as_bytes()].concat()))
        }),
    ]
}

/// A world on bitcoind.
async fn start() -> NodeWorld {
    NodeWorld::start(Kind::Bitcoin, Engine::Sqlite).await
}

/// What stands behind invoices' addresses.
async fn behind(world: &mut World, invoices: &[&Invoice]) -> Vec<Ours> {
    world.server.stop().await;
    let keys = keys_of(world, invoices);
    world.server.run().await;
    world.client = world.server.client();
    let curve = Secp256k1::new();
    let ours = |(key, invoice): (&PrivateKey, &&Invoice)| Ours {
        public: key.public_key(&curve),
        script: script_of(key),
        units: u64::try_from(asked(invoice)).unwrap(),
    };
    keys.iter().zip(invoices).map(ours).collect()
}

/// Mines one block of exactly these transactions, whatever a mempool would say of them.
async fn mine_exactly(node: &UtxoNode, transactions: &[&Transaction]) {
    let raw: Vec<String> = transactions.iter().map(|tx| hex::encode(serialize(*tx))).collect();
    node.generate_exactly(&raw).await.unwrap();
}

/// Waits until everything mined and waiting by now was read: a payment made now is confirmed. Returns
/// what that payment was worth.
async fn everything_was_read(world: &World) -> u128 {
    let other = world.invoice().await;
    let txid = world.pay(&other, 1, 1).await;
    world.wait_seen(&other, &txid).await;
    world.mine_deep(&other).await;
    world.wait(&other, Status::Confirmed, Exception::None).await;
    asked(&other)
}

async fn now(world: &World, invoice: &Invoice) -> Invoice {
    world.client.get_invoice(&invoice.id).await.unwrap()
}

/// The payments of an invoice by their transactions.
fn payments(invoice: &Invoice) -> Vec<(&str, PaymentState)> {
    invoice.payments.iter().map(|payment| (payment.txid.as_str(), payment.state())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_output_is_decides() {
    let NodeWorld { mut world, node, .. } = start().await;
    let cases: Vec<Outputs> = amounts().into_iter().chain(lookalikes()).collect();
    let mut invoices = Vec::new();
    for _ in &cases {
        invoices.push(world.invoice().await);
    }
    let mined_to = world.invoice().await;
    let keys = behind(&mut world, &invoices.iter().collect::<Vec<_>>()).await;
    let mut transactions = Vec::new();
    for (case, ours) in cases.iter().zip(&keys) {
        transactions.push(node.payment((case.make)(ours)).await.unwrap());
    }
    mine_exactly(&node, &transactions.iter().collect::<Vec<_>>()).await;
    let miner = parse(Network::Btc, ChainKind::Regtest, &mined_to.address).unwrap();
    node.generate_to(1, &ScriptBuf::from_bytes(miner)).await.unwrap();
    // Deep enough for everything, and for the coinbase to be spendable.
    node.generate_to(100, &node.strange_script()).await.unwrap();
    let mut credited = everything_was_read(&world).await;
    for ((case, ours), invoice) in cases.iter().zip(&keys).zip(&invoices) {
        let paid = (case.paid)(ours.units);
        let what = format!("{} {}", case.row.id, case.row.case);
        let status = if paid == ours.units { Status::Confirmed } else { Status::Pending };
        let stands = |now: &Invoice| now.paid_units == paid.to_string() && now.status() == status;
        let after = world.wait_until(invoice, &what, stands).await;
        assert_eq!(after.payments.is_empty(), paid == 0, "{what}");
        credited += u128::from(paid);
    }
    let after = now(&world, &mined_to).await;
    assert_eq!((after.status(), after.payments.len()), (Status::Pending, 0));
    world.wait_available(credited).await;
    world.finish().await;
    cases.iter().for_each(|case| case.row.held());
    let why = "a payer is no miner, and such coins cannot be spent for 100 blocks";
    Row::new("U-06", "a coinbase that pays our address", Verdict::Refused, why).held();
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
    world.wait_available_and_pending(0, asked(&invoice)).await;
    let why = "worth nothing before it is in blocks";
    Row::new("U-01", "waits in the mempool", Verdict::Held, why).held();

    node.replace(&waiting.compute_txid().to_string(), &[]).await.unwrap();
    world.wait(&invoice, Status::Pending, Exception::Reorged).await;
    world.wait_available_and_pending(0, 0).await;
    let why = "replaced: full RBF asks nobody";
    Row::new("U-01", "replaced without having signalled it", Verdict::Refused, why).held();

    let invoice = world.invoice().await;
    let waiting = final_payment(world, node, &invoice).await;
    let conflict = node.conflicting(&waiting, &[]).await.unwrap();
    mine_exactly(node, &[&conflict]).await;
    world.wait(&invoice, Status::Pending, Exception::Reorged).await;
    world.wait_available_and_pending(0, 0).await;
    let why = "its input was consumed in a block";
    Row::new("U-01", "double spent in a block, unseen before", Verdict::Refused, why).held();
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
    let why = "once: of what conflicts one counts";
    Row::new("U-02", "replaced by the same payment, both seen", Verdict::Credited, why).held();

    let unseen = world.invoice().await;
    let first = final_payment(world, node, &unseen).await;
    let second = node.conflicting(&first, &[share(&unseen, 1, 1)]).await.unwrap();
    mine_exactly(node, &[&second]).await;
    world.mine_deep(&unseen).await;
    let paid = world.wait(&unseen, Status::Confirmed, Exception::None).await;
    let txids = [first, second].map(|transaction| transaction.compute_txid().to_string());
    assert_eq!(paid.txid.as_deref(), Some(txids[1].as_str()));
    assert_eq!((paid.payments.len(), &paid.paid_units), (2, &unseen.amount_units));
    Row::new("U-02", "mined in another version than was seen", Verdict::Credited, why).held();
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
    let why = "once, under the id that is in the block";
    Row::new("U-03", "malleated between mempool and block", Verdict::Credited, why).held();
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
    let why = "never in a block, so never credited";
    Row::new("U-01", "spends a payment that was replaced", Verdict::Held, why).held();
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
    let why = "credited payments are watched on";
    let case = "double spent by a fork of 13 blocks, after its credit";
    Row::new("U-07", case, Verdict::TakenBack, why).held();
    let kept = now(&world, &moved).await;
    assert_eq!((kept.status(), kept.exception()), (Status::Confirmed, Exception::None));
    Row::new("U-07", "moved by that fork", Verdict::Credited, "once, in its new block").held();
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
    let why = "the script is what counts";
    Row::new("U-10", "our address in capitals, as QR codes have it", Verdict::Credited, why).held();

    let read = |text: &str| parse(Network::Ltc, ChainKind::Mainnet, text);
    let old = read("3P14159f73E4gFr7JterCCQh9QjiTjiZrG").unwrap();
    assert_eq!(read("MVDCJxZd4A5VUm81QmeC1qf6U7LASsr7LT").unwrap(), old);
    let why = "one script, two texts";
    Row::new("U-10", "ltc: a script's address as 3... and as M...", Verdict::Credited, why).held();
    let mweb = "ltcmweb1qqvudqut46ah3kvk80uqehsfwpvs6hh0vv8p5ytv42d5cau6mqlequqs9u0ganz4fegr8z9q3hxwaeunnlyl6zlmcvr4xjkp3egew8p0v3uk3r05f";
    assert_eq!(read(mweb), Err(AddressError::Malformed));
    let why = "no output on the main chain";
    Row::new("U-10", "ltc: an address inside MWEB", Verdict::Refused, why).held();
    let mixed = "bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    assert!(parse(Network::Btc, ChainKind::Mainnet, mixed).is_err());
    let why = "BIP 173 has no such text";
    Row::new("U-10", "an address of mixed case", Verdict::Refused, why).held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_the_node_forgot_stops_the_reading() {
    const BLOCKS: u64 = 600;
    let NodeWorld { mut world, node, .. } =
        NodeWorld::start_in(Kind::Bitcoin, Mode::Pruned, Engine::Sqlite).await;
    let invoice = world.invoice().await;
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
    let why = "reading waits for the block, and nobody is late";
    Row::new("U-09", "in a block that a pruned node forgot", Verdict::Held, why).held();
    let why = "once the node has it again";
    Row::new("U-09", "in a block that comes back", Verdict::Credited, why).held();
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
