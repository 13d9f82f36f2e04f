//! Blocks of a real Litecoin node against that node's own JSON, generated blocks against
//! rust-bitcoin, damaged bytes against panics.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use super::*;
use bitcoin::consensus::serialize;
use bitcoin::{Amount, Block, ScriptBuf, Sequence, TxIn, TxMerkleNode, TxOut, Witness};
use proptest::prelude::*;
use serde::Deserialize;

const RAW_431: &str = include_str!("../../../tests/fixtures/ltc/getblock0-431.hex");
const RAW_432: &str = include_str!("../../../tests/fixtures/ltc/getblock0-432.hex");
const RAW_438: &str = include_str!("../../../tests/fixtures/ltc/getblock0-438.hex");
const JSON_431: &str = include_str!("../../../tests/fixtures/ltc/getblock2-431.json");
const JSON_432: &str = include_str!("../../../tests/fixtures/ltc/getblock2-432.json");
const JSON_438: &str = include_str!("../../../tests/fixtures/ltc/getblock2-438.json");
const PEG_IN: &str = include_str!("../../../tests/fixtures/ltc/tx-peg-in.hex");
const PEG_OUT: &str = include_str!("../../../tests/fixtures/ltc/tx-peg-out.hex");

#[derive(Deserialize)]
struct JsonBlock {
    hash: String,
    tx: Vec<JsonTransaction>,
}

#[derive(Deserialize)]
struct JsonTransaction {
    txid: String,
    vin: Vec<JsonInput>,
    vout: Vec<JsonOutput>,
}

#[derive(Deserialize)]
struct JsonInput {
    ismweb: bool,
    txid: Option<String>,
    vout: Option<u32>,
}

#[derive(Deserialize)]
struct JsonOutput {
    ismweb: bool,
    value: Option<Box<serde_json::value::RawValue>>,
    #[serde(rename = "scriptPubKey")]
    script: Option<JsonScript>,
}

#[derive(Deserialize)]
struct JsonScript {
    hex: String,
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.trim()).unwrap()
}

#[test]
fn blocks_around_mweb_activation_read_as_the_node_tells_them() {
    for (raw, json) in [(RAW_431, JSON_431), (RAW_432, JSON_432), (RAW_438, JSON_438)] {
        let block = read_block(&bytes(raw), Format::Litecoin).unwrap();
        let told: JsonBlock = serde_json::from_str(json).unwrap();
        assert_eq!(block.header.block_hash().to_string(), told.hash);
        assert_eq!(block.transactions.len(), told.tx.len());
        for (read, told) in block.transactions.iter().zip(&told.tx) {
            assert_eq!(read.txid.to_string(), told.txid);
            let inputs: Vec<String> = told
                .vin
                .iter()
                .filter(|input| !input.ismweb)
                .filter_map(|input| Some(format!("{}:{}", input.txid.as_ref()?, input.vout?)))
                .collect();
            let read_inputs: Vec<String> = read.inputs.iter().map(ToString::to_string).collect();
            assert_eq!(read_inputs, inputs);
            let outputs: Vec<(u64, String)> = told
                .vout
                .iter()
                .filter(|output| !output.ismweb)
                .map(|output| {
                    // Eight decimals always: without its point the number counts base units.
                    let value = output.value.as_ref().unwrap().get().replace('.', "");
                    (value.parse().unwrap(), output.script.as_ref().unwrap().hex.clone())
                })
                .collect();
            let read_outputs: Vec<(u64, String)> =
                read.outputs.iter().map(|o| (o.units, hex::encode(&o.script))).collect();
            assert_eq!(read_outputs, outputs);
        }
    }
}

#[test]
fn a_peg_out_is_an_output_of_the_hogex() {
    let block = read_block(&bytes(RAW_438), Format::Litecoin).unwrap();
    let kinds: Vec<_> = block.transactions.iter().map(|transaction| transaction.kind).collect();
    assert_eq!(kinds, [TransactionKind::Coinbase, TransactionKind::HogEx]);
    let peg_out = &block.transactions[1].outputs[1];
    assert_eq!(peg_out.units, 200_000_000);
    assert_eq!(hex::encode(&peg_out.script), "0014c8729d5171c9761d093f816aacc3655ac18c5afb");
}

#[test]
fn waiting_transactions_with_mweb_parts_read_by_their_main_chain_part() {
    let peg_in = read_transaction(&bytes(PEG_IN), Format::Litecoin).unwrap().unwrap();
    let txid = "d558e08d4244fa8e801242b14d285c4252dd5bea55b721fb54ce503d305bff28";
    assert_eq!(peg_in.txid.to_string(), txid, "the id the node gave it");
    assert_eq!((peg_in.inputs.len(), peg_in.outputs.len()), (1, 1));
    assert_eq!(read_transaction(&bytes(PEG_OUT), Format::Litecoin), Ok(None));
}

#[test]
fn bitcoin_knows_no_mweb() {
    let refused = Err(Malformed::UnknownFlag(FLAG_MWEB));
    assert_eq!(read_block(&bytes(RAW_438), Format::Bitcoin).map(|_| ()), refused);
    assert!(read_block(&bytes(RAW_431), Format::Bitcoin).is_ok());
}

#[test]
fn damaged_blocks_are_refused() {
    let good = bytes(RAW_431);
    let read = |bytes: &[u8]| read_block(bytes, Format::Litecoin).map(|_| ());
    for length in 0..good.len() {
        assert_eq!(read(&good[..length]), Err(Malformed::Truncated), "cut at {length}");
    }
    assert_eq!(read(&[&good[..], &[0]].concat()), Err(Malformed::Trailing(1)));
    let mut paid_more = good.clone();
    let units = good.windows(4).position(|window| window == [0x80, 0x7c, 0x81, 0x4a]).unwrap();
    paid_more[units] += 1;
    assert_eq!(read(&paid_more), Err(Malformed::MerkleRoot));
    let mut long_form = good.clone();
    long_form.splice(HEADER_BYTES..=HEADER_BYTES, [0xfd, 1, 0]);
    assert_eq!(read(&long_form), Err(Malformed::LongForm));
    let mut endless = good;
    endless.splice(HEADER_BYTES..=HEADER_BYTES, [0xff; 9]);
    assert_eq!(read(&endless), Err(Malformed::Truncated));
}

#[test]
fn a_hogex_or_a_coinbase_out_of_place_is_refused() {
    let pair = bytes(RAW_438);
    let transactions = HEADER_BYTES + 1;
    let coinbase = &pair[transactions..transactions + 170];
    let hogex = &pair[transactions + 170..transactions + 298];
    let header = &pair[..HEADER_BYTES];
    let read = |parts: &[&[u8]]| {
        read_block(&[&[header][..], parts].concat().concat(), Format::Litecoin).map(|_| ())
    };
    let out_of_place = |kind| Err(Malformed::OutOfPlace(kind));
    let hogex_kind = TransactionKind::HogEx;
    assert_eq!(read(&[&[2], hogex, coinbase]), out_of_place(hogex_kind));
    assert_eq!(read(&[&[3], coinbase, hogex, hogex]), out_of_place(hogex_kind));
    assert_eq!(read(&[&[2], coinbase, coinbase]), out_of_place(TransactionKind::Coinbase));
    assert_eq!(read(&[&[2], coinbase, &bytes(PEG_IN)]), Err(Malformed::MwebInBlock));
    for never_waits in [coinbase, hogex] {
        assert!(read_transaction(never_waits, Format::Litecoin).is_err());
    }
}

fn script() -> impl Strategy<Value = ScriptBuf> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(ScriptBuf::from_bytes)
}

fn transaction() -> impl Strategy<Value = bitcoin::Transaction> {
    let witness = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..3);
    let input = (any::<[u8; 32]>(), any::<u32>(), script(), any::<u32>(), witness).prop_map(
        |(txid, vout, script_sig, sequence, witness)| TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array(txid), vout },
            script_sig,
            sequence: Sequence(sequence),
            witness: Witness::from_slice(&witness),
        },
    );
    let output = (0..=2_100_000_000_000_000u64, script())
        .prop_map(|(units, script_pubkey)| TxOut { value: Amount::from_sat(units), script_pubkey });
    let inputs = prop::collection::vec(input, 1..4);
    (any::<i32>(), any::<u32>(), inputs, prop::collection::vec(output, 0..4)).prop_map(
        |(version, lock_time, input, output)| bitcoin::Transaction {
            version: bitcoin::transaction::Version(version),
            lock_time: bitcoin::absolute::LockTime::from_consensus(lock_time),
            input,
            output,
        },
    )
}

fn block() -> impl Strategy<Value = Block> {
    (transaction(), prop::collection::vec(transaction(), 0..6)).prop_map(|(mut first, others)| {
        first.input.truncate(1);
        first.input[0].previous_output = OutPoint::null();
        let mut block = bitcoin::blockdata::constants::genesis_block(bitcoin::Network::Regtest);
        block.txdata = std::iter::once(first).chain(others).collect();
        let root = block.compute_merkle_root();
        block.header.merkle_root = root.unwrap_or(TxMerkleNode::all_zeros());
        block
    })
}

fn assert_same(read: &Transaction, told: &bitcoin::Transaction) {
    assert_eq!(read.txid, told.compute_txid());
    let outputs: Vec<(u64, &[u8])> =
        told.output.iter().map(|o| (o.value.to_sat(), o.script_pubkey.as_bytes())).collect();
    let read_outputs: Vec<(u64, &[u8])> =
        read.outputs.iter().map(|output| (output.units, &*output.script)).collect();
    assert_eq!(read_outputs, outputs);
    if told.is_coinbase() {
        assert_eq!((read.kind, read.inputs.len()), (TransactionKind::Coinbase, 0));
    } else {
        let inputs: Vec<OutPoint> = told.input.iter().map(|i| i.previous_output).collect();
        assert_eq!((read.kind, &read.inputs), (TransactionKind::Ordinary, &inputs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn generated_blocks_read_as_rust_bitcoin_reads_them(block in block(), cut in any::<usize>()) {
        let raw = serialize(&block);
        for format in [Format::Bitcoin, Format::Litecoin] {
            let read = read_block(&raw, format).unwrap();
            prop_assert_eq!(read.header.block_hash(), block.block_hash());
            prop_assert_eq!(read.transactions.len(), block.txdata.len());
            for (read, told) in read.transactions.iter().zip(&block.txdata) {
                assert_same(read, told);
            }
            prop_assert!(read_block(&raw[..cut % raw.len()], format).is_err());
        }
        for told in block.txdata.iter().skip(1) {
            let read = read_transaction(&serialize(told), Format::Litecoin).unwrap().unwrap();
            assert_same(&read, told);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in [Format::Bitcoin, Format::Litecoin] {
            let _ = read_transaction(&noise, format);
            prop_assert!(read_block(&noise, format).is_err(), "no merkle root by chance");
        }
    }

    #[test]
    fn damaged_real_bytes_never_panic(at in any::<usize>(), byte in any::<u8>(), which in 0..4) {
        let source = [RAW_432, RAW_438, PEG_IN, PEG_OUT][usize::try_from(which).unwrap()];
        let mut raw = bytes(source);
        let at = at % raw.len().min(600);
        raw[at] = byte;
        let _ = read_block(&raw, Format::Litecoin);
        let _ = read_transaction(&raw, Format::Litecoin);
    }
}
