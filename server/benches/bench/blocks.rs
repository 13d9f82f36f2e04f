//! Scale: a watch set of ten million addresses, finding what is ours in a full block beside parsing that
//! block, and receipts of a token beside bare parsing of the same bytes. Not here: any node or database
//! (`scan`).

use std::collections::HashSet;
use std::hint::black_box;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version as BlockVersion};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, WPubkeyHash, Witness,
};
use cryptopayment::chain::Watch;
use cryptopayment::chain::bitcoin::block::{Format, read_block};
use cryptopayment::chain::bitcoin::matching::look_through;
use cryptopayment::chain::bitcoin::{RpcAuth, RpcSettings};
use cryptopayment::chain::evm::{EvmReader, EvmSettings};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::asset::Network;
use cryptopayment::worker::watch_set::WatchSet;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::measure::{Series, figure, goal, heading};

/// Watched addresses.
const ADDRESSES: u64 = 10_000_000;
/// Bytes that one may take.
const ADDRESS_BYTES_GOAL: f64 = 16.0;
/// What matching may cost, of parsing the block and computing its transactions' ids.
const MATCHING_GOAL: f64 = 0.25;
/// What is to be reached of the rate of bare parsing.
const RECEIPTS_GOAL: f64 = 0.5;
/// Rounds of each.
const ROUNDS: usize = 15;
/// Times that a block is read in a round.
const READS: u64 = 40;
/// The largest weight of a block (BIP 141).
const WEIGHT_MAX: u64 = 4_000_000;
/// One output of so many is ours.
const OURS_EVERY: u64 = 1_000;
/// Transactions of a block of BNB Smart Chain, and logs of each.
const EVM_TRANSACTIONS: u64 = 200;
const EVM_LOGS: u64 = 5;
/// The pinned contract, and somebody else's.
const TOKEN: &str = "0x55d398326f99059ff775485246999027b3197955";
const OTHER: &str = "0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c";
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// Runs it.
pub async fn run() {
    heading("Ten million addresses and full blocks");
    let set = WatchSet::of((0..ADDRESSES).map(|n| account(n).to_vec()));
    let bytes = set.bytes() as f64 / ADDRESSES as f64;
    goal("bytes of memory an address", bytes, ADDRESS_BYTES_GOAL, true);
    drop(set);
    let set = WatchSet::of((0..ADDRESSES).map(|n| script(n).into_bytes()));
    for (name, witness_bytes) in [("payments alone", 72), ("witnesses of 4 MB", 3_000)] {
        bitcoin_block(&set, name, witness_bytes).await;
    }
    drop(set);
    let set = WatchSet::of((0..ADDRESSES).map(|n| account(n).to_vec()));
    receipts(&set).await;
}

/// Twenty bytes of their own for each number (SplitMix64).
fn account(n: u64) -> [u8; 20] {
    let mut account = [0; 20];
    for (place, part) in account.chunks_mut(8).enumerate() {
        let mut mixed = (n * 3 + place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..part.len()]);
    }
    account
}

/// A watched one where it is its turn, else a stranger's.
fn somebody(n: u64) -> u64 {
    if n.is_multiple_of(OURS_EVERY) { n } else { ADDRESSES + n }
}

fn script(n: u64) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array(account(n)))
}

async fn bitcoin_block(set: &WatchSet, name: &str, witness_bytes: usize) {
    let raw = full_block(witness_bytes);
    let consumed = HashSet::new();
    let watch = Watch { addresses: set, consumed: &consumed };
    let block = read_block(&raw, Format::Bitcoin).unwrap();
    let outputs: usize = block.transactions.iter().map(|one| one.outputs.len()).sum();
    let found = look_through(Network::Btc, 1, &block.transactions, watch).transfers.len();
    assert_eq!(found, outputs.div_ceil(OURS_EVERY as usize));
    let mut parsing = Series::new(format!("parsing and ids, {name}"), "blocks/s");
    let mut matching = Series::new(format!("matching, {name}"), "blocks/s");
    for _ in 0..ROUNDS {
        let parse = async {
            for _ in 0..READS {
                black_box(read_block(black_box(&raw), Format::Bitcoin).unwrap());
            }
        };
        parsing.round(READS, parse).await;
        let look = async {
            for _ in 0..READS {
                black_box(look_through(Network::Btc, 1, black_box(&block.transactions), watch));
            }
        };
        matching.round(READS, look).await;
    }
    parsing.print();
    matching.print();
    figure("megabytes of the block", raw.len() as f64 / 1e6, "");
    figure("outputs in it", outputs as f64, "");
    goal("matching / parsing and ids", parsing.rate_beside(&matching), MATCHING_GOAL, true);
}

/// As many transactions of one input and two outputs as a block holds.
fn full_block(witness_bytes: usize) -> Vec<u8> {
    let mut block = Block {
        header: Header {
            version: BlockVersion::TWO,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 1,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        },
        txdata: vec![transaction(OutPoint::null(), &[], Vec::new())],
    };
    let (mut weight, mut outputs) = (block.weight().to_wu(), 0);
    loop {
        let paid = [outputs, outputs + 1].map(|n| TxOut {
            value: Amount::from_sat(1_000 + n),
            script_pubkey: script(somebody(n)),
        });
        let txid = Txid::from_byte_array([7; 32]);
        let vout = u32::try_from(outputs).unwrap();
        let witness = [vec![1; witness_bytes], vec![2; 33]];
        let one = transaction(OutPoint { txid, vout }, &witness, paid.to_vec());
        // Each count may grow by two bytes, of weight four.
        weight += one.weight().to_wu();
        if weight + 16 > WEIGHT_MAX {
            break;
        }
        outputs += 2;
        block.txdata.push(one);
    }
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    serialize(&block)
}

fn transaction(from: OutPoint, witness: &[Vec<u8>], output: Vec<TxOut>) -> Transaction {
    let input = TxIn {
        previous_output: from,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(witness),
    };
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output }
}

async fn receipts(set: &WatchSet) {
    let (block, receipts) = token_block();
    let consumed = HashSet::new();
    let watch = Watch { addresses: set, consumed: &consumed };
    let reader = EvmReader::new(&EvmSettings {
        network: Network::Bep20,
        chain: ChainKind::Mainnet,
        private_chain_id: None,
        contract: None,
        rpc: RpcSettings {
            url: "http://127.0.0.1:1".to_owned(),
            auth: RpcAuth::None,
            timeout: std::time::Duration::from_secs(1),
        },
    })
    .unwrap();
    let found = reader.token_transfers_of(&block, &receipts, watch).unwrap();
    assert!(!found.is_empty());
    let mut bare = Series::new("bare parsing of block and receipts", "blocks/s");
    let mut whole = Series::new("reading, checking and matching them", "blocks/s");
    for _ in 0..ROUNDS {
        let parse = async {
            for _ in 0..READS {
                black_box(serde_json::from_str::<IgnoredAny>(black_box(block.get())).unwrap());
                black_box(serde_json::from_str::<IgnoredAny>(black_box(receipts.get())).unwrap());
            }
        };
        bare.round(READS, parse).await;
        let read = async {
            for _ in 0..READS {
                black_box(reader.token_transfers_of(black_box(&block), &receipts, watch).unwrap());
            }
        };
        whole.round(READS, read).await;
    }
    bare.print();
    whole.print();
    figure("kilobytes of both", (block.get().len() + receipts.get().len()) as f64 / 1e3, "");
    figure("payments found", found.len() as f64, "");
    goal("reading / bare parsing", whole.rate_beside(&bare), RECEIPTS_GOAL, false);
}

/// A block and its receipts as a node writes them, every other log one of the token.
fn token_block() -> (Box<RawValue>, Box<RawValue>) {
    let word = |n: u64| format!("0x{n:064x}");
    let address = |n: u64| format!("0x{}", hex::encode(account(n)));
    let padded = |n: u64| format!("0x{:0>64}", hex::encode(account(n)));
    let block_hash = word(1);
    let (mut transactions, mut receipts) = (Vec::new(), Vec::new());
    for n in 0..EVM_TRANSACTIONS {
        let (hash, from) = (word(1_000 + n), address(ADDRESSES * 2 + n));
        transactions.push(json!({
            "blockHash": block_hash, "blockNumber": "0x5", "from": from, "gas": "0x186a0",
            "gasPrice": "0x3b9aca00", "hash": hash, "input": format!("0xa9059cbb{:0>136}", ""),
            "nonce": format!("{n:#x}"), "to": TOKEN, "transactionIndex": format!("{n:#x}"),
            "value": "0x0", "type": "0x0", "chainId": "0x38", "v": "0x94", "r": word(n), "s": word(n)
        }));
        let logs: Vec<Value> = (0..EVM_LOGS)
            .map(|log| {
                let place = n * EVM_LOGS + log;
                let contract = if place.is_multiple_of(2) { TOKEN } else { OTHER };
                let payer = padded(3 * ADDRESSES + n);
                json!({
                    "address": contract, "topics": [TRANSFER, payer, padded(somebody(place))],
                    "data": word(1_000_000), "blockNumber": "0x5", "transactionHash": hash,
                    "transactionIndex": format!("{n:#x}"), "blockHash": block_hash,
                    "logIndex": format!("{place:#x}"), "removed": false
                })
            })
            .collect();
        receipts.push(json!({
            "blockHash": block_hash, "blockNumber": "0x5", "contractAddress": null,
            "cumulativeGasUsed": "0x5208", "effectiveGasPrice": "0x3b9aca00", "from": from,
            "gasUsed": "0x5208", "logs": logs, "logsBloom": format!("0x{:0>512}", "1"),
            "status": "0x1", "to": TOKEN, "transactionHash": hash,
            "transactionIndex": format!("{n:#x}"), "type": "0x0"
        }));
    }
    let block = json!({
        "hash": block_hash, "parentHash": word(0), "number": "0x5", "timestamp": "0x68000000",
        "logsBloom": format!("0x{:0>512}", "1"), "transactions": transactions
    });
    let raw = |value: &Value| serde_json::value::to_raw_value(value).unwrap();
    (raw(&block), raw(&Value::Array(receipts)))
}
