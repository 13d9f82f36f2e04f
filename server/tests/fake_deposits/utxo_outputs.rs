//! Fake and odd deposits on a real bitcoind that are decided by what an output is: outputs to our script of
//! odd amounts and among others, outputs to scripts with our key or our script in them, and a coinbase. Each
//! is mined as it is, whatever a mempool would say of it. Not here: what becomes of a transaction (`utxo`).

use bitcoin::opcodes::all::{OP_CHECKMULTISIG, OP_CHECKSIG, OP_PUSHNUM_1, OP_PUSHNUM_2, OP_RETURN};
use bitcoin::script::{Builder, PushBytesBuf, ScriptBuf};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Amount, PrivateKey, PublicKey, Transaction, TxOut};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text::parse;
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{Invoice, InvoiceStatus as Status};

use crate::conformance::world::{World, asked};
use crate::keys::keys_of;
use crate::table::{Verdict, row};
use crate::utxo::{everything_was_read, mine_exactly, now, start};
use crate::utxo_node::script_of;
use crate::world::NodeWorld;

/// What Bitcoin Core calls dust for our kind of output, less one.
const DUST_UNITS: u64 = 293;

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
    key: &'static str,
    /// The transaction's outputs.
    make: fn(&Ours) -> Vec<TxOut>,
    /// How much of what the invoice asks is paid.
    paid: fn(u64) -> u64,
}

impl Outputs {
    /// The transaction has these outputs, and what is refused for its script has another than ours.
    fn check(&self, ours: &Ours, transaction: &Transaction) {
        for output in (self.make)(ours) {
            assert!(transaction.output.contains(&output), "{}: {output:?}", self.key);
            let is_ours = output.script_pubkey == ours.script && output.value > Amount::ZERO;
            let refused = row(self.key).verdict == Verdict::Refused;
            assert!(!(refused && is_ours), "{}: that is ours", self.key);
        }
        assert_eq!(row(self.key).verdict == Verdict::Refused, (self.paid)(ours.units) == 0);
    }
}

pub fn pays(units: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(units), script_pubkey }
}

/// Outputs that are no money of ours.
fn fake(key: &'static str, make: fn(&Ours) -> Vec<TxOut>) -> Outputs {
    Outputs { key, make, paid: |_| 0 }
}

/// An output to a script that is built from ours, worth what is asked.
fn scripted(ours: &Ours, script: ScriptBuf) -> Vec<TxOut> {
    vec![pays(ours.units, script)]
}

/// Outputs to our script, among others and of odd amounts.
fn amounts() -> Vec<Outputs> {
    vec![
        Outputs {
            key: "two_outputs",
            make: |ours| {
                let half = ours.units / 2;
                vec![pays(half, ours.script.clone()), pays(ours.units - half, ours.script.clone())]
            },
            paid: |asked| asked,
        },
        Outputs {
            key: "beside_strangers",
            make: |ours| {
                let stranger = ScriptBuf::from_bytes([&[0, 20][..], &[0xdd; 20]].concat());
                vec![pays(ours.units, stranger.clone()), pays(ours.units, ours.script.clone())]
            },
            paid: |asked| asked,
        },
        fake("zero_output", |ours| vec![pays(0, ours.script.clone())]),
        Outputs {
            key: "dust",
            make: |ours| vec![pays(DUST_UNITS, ours.script.clone())],
            paid: |_| DUST_UNITS,
        },
        Outputs { key: "one_unit", make: |ours| vec![pays(1, ours.script.clone())], paid: |_| 1 },
    ]
}

/// Outputs to other scripts, with our key or our script in them.
fn lookalikes() -> Vec<Outputs> {
    vec![
        fake("op_return", |ours| {
            let data = PushBytesBuf::try_from(ours.script.to_bytes()).unwrap();
            let script = Builder::new().push_opcode(OP_RETURN).push_slice(data).into_script();
            scripted(ours, script)
        }),
        fake("bare_multisig", |ours| {
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
        fake("p2pk", |ours| {
            let script =
                Builder::new().push_key(&ours.public).push_opcode(OP_CHECKSIG).into_script();
            scripted(ours, script)
        }),
        fake("p2pkh", |ours| scripted(ours, ScriptBuf::new_p2pkh(&ours.public.pubkey_hash()))),
        fake("p2sh", |ours| scripted(ours, ScriptBuf::new_p2sh(&ours.script.script_hash()))),
        fake("p2wsh", |ours| {
            let inner =
                Builder::new().push_key(&ours.public).push_opcode(OP_CHECKSIG).into_script();
            scripted(ours, ScriptBuf::new_p2wsh(&inner.wscript_hash()))
        }),
        fake("p2tr", |ours| {
            let key = &ours.public.to_bytes()[1..33];
            scripted(ours, ScriptBuf::from_bytes([&[0x51, 32][..], key].concat()))
        }),
        fake("witness_version_1", |ours| {
            let program = &ours.script.as_bytes()[2..];
            scripted(ours, ScriptBuf::from_bytes([&[0x51, 20][..], program].concat()))
        }),
        fake("byte_behind", |ours| {
            scripted(ours, ScriptBuf::from_bytes([ours.script.as_bytes(), &[0x61]].concat()))
        }),
        fake("longer_push", |ours| {
            let hash = ours.key_hash();
            scripted(ours, ScriptBuf::from_bytes([&[0, 0x4c, 20][..], hash.as_bytes()].concat()))
        }),
    ]
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
    let block = node.block(node.height().await.unwrap()).await.unwrap();
    for ((case, ours), transaction) in cases.iter().zip(&keys).zip(&transactions) {
        assert!(block.txdata.contains(transaction), "{}", case.key);
        case.check(ours, transaction);
    }
    let miner = parse(Network::Btc, ChainKind::Regtest, &mined_to.address).unwrap();
    let miner = ScriptBuf::from_bytes(miner);
    node.generate_to(1, &miner).await.unwrap();
    let block = node.block(node.height().await.unwrap()).await.unwrap();
    assert_eq!(block.txdata[0].output[0].script_pubkey, miner, "coinbase");
    // Deep enough for everything, and for the coinbase to be spendable.
    node.generate_to(100, &node.strange_script()).await.unwrap();
    let mut credited = everything_was_read(&world).await;
    for ((case, ours), invoice) in cases.iter().zip(&keys).zip(&invoices) {
        let paid = (case.paid)(ours.units);
        let status = if paid == ours.units { Status::Confirmed } else { Status::Pending };
        let stands = |now: &Invoice| now.paid_units == paid.to_string() && now.status() == status;
        let after = world.wait_until(invoice, case.key, stands).await;
        assert_eq!(after.payments.is_empty(), paid == 0, "{}", case.key);
        credited += u128::from(paid);
    }
    let after = now(&world, &mined_to).await;
    assert_eq!((after.status(), after.payments.len()), (Status::Pending, 0));
    world.wait_available(credited).await;
    world.finish().await;
    cases.iter().for_each(|case| row(case.key).held());
    row("coinbase").held();
}
