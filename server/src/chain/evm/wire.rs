//! The JSON of an EVM node as far as this room reads it: blocks, receipts, logs, waiting transactions.
//! Texts are borrowed from the answer and hex is decoded where it is needed, so that reading a block
//! costs little more than scanning its bytes. Not here: what any of it means.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256, hex};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Hex digits of the largest quantity, 256 bits.
const QUANTITY_DIGITS_MAX: usize = 64;

/// Hex digits of the largest 64-bit number.
const U64_DIGITS_MAX: usize = 16;

/// A block with its transactions, or with their hashes alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Block<T> {
    #[serde(deserialize_with = "hash")]
    pub hash: B256,
    #[serde(deserialize_with = "hash")]
    pub parent_hash: B256,
    #[serde(deserialize_with = "count")]
    pub number: u64,
    #[serde(deserialize_with = "count")]
    pub timestamp: u64,
    pub transactions: Vec<T>,
}

/// A transaction of a block, or one that waits (then without a place).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction<'a> {
    #[serde(deserialize_with = "hash")]
    pub hash: B256,
    #[serde(deserialize_with = "address")]
    pub from: Address,
    /// Nobody where a contract is created.
    #[serde(default, deserialize_with = "maybe_address")]
    pub to: Option<Address>,
    #[serde(deserialize_with = "count")]
    pub nonce: u64,
    #[serde(deserialize_with = "quantity")]
    pub value: U256,
    /// The most it may use.
    #[serde(deserialize_with = "count")]
    pub gas: u64,
    #[serde(borrow)]
    pub input: &'a str,
    #[serde(default, deserialize_with = "maybe_hash")]
    pub block_hash: Option<B256>,
    #[serde(default, deserialize_with = "maybe_count")]
    pub transaction_index: Option<u64>,
}

/// What became of a transaction of a block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt<'a> {
    #[serde(deserialize_with = "hash")]
    pub transaction_hash: B256,
    #[serde(deserialize_with = "count")]
    pub transaction_index: u64,
    #[serde(deserialize_with = "hash")]
    pub block_hash: B256,
    /// 1 when it succeeded; blocks before Byzantium (2017) have none.
    #[serde(default, deserialize_with = "maybe_count")]
    pub status: Option<u64>,
    #[serde(borrow)]
    pub logs: Vec<Log<'a>>,
}

/// One log, as text until its contract is known to be ours.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log<'a> {
    pub address: &'a str,
    #[serde(borrow)]
    pub topics: Topics<'a>,
    pub data: &'a str,
    pub block_hash: &'a str,
    pub transaction_hash: &'a str,
    /// Its place among all logs of the block.
    #[serde(deserialize_with = "count")]
    pub log_index: u64,
    #[serde(default)]
    pub removed: bool,
}

/// A log's topics: the first three, and how many there are. In place, as a block has thousands of logs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Topics<'a> {
    first: [&'a str; 3],
    count: usize,
}

impl<'a> Topics<'a> {
    /// The three of a log that has just three.
    pub fn three(&self) -> Option<[&'a str; 3]> {
        (self.count == 3).then_some(self.first)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Topics<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(TopicsVisitor)
    }
}

struct TopicsVisitor;

impl<'de> Visitor<'de> for TopicsVisitor {
    type Value = Topics<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("topics")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut topics: A) -> Result<Self::Value, A::Error> {
        let mut read = Topics { first: [""; 3], count: 0 };
        while let Some(topic) = topics.next_element()? {
            if let Some(place) = read.first.get_mut(read.count) {
                *place = topic;
            }
            read.count += 1;
        }
        Ok(read)
    }
}

/// What waits, by account and nonce.
#[derive(Debug, Deserialize)]
pub(super) struct Pool<'a> {
    /// Can be included next.
    #[serde(borrow)]
    pub pending: BTreeMap<&'a str, BTreeMap<&'a str, Transaction<'a>>>,
    /// Waits for an earlier one of the same account.
    #[serde(borrow)]
    pub queued: BTreeMap<&'a str, BTreeMap<&'a str, Transaction<'a>>>,
}

/// How much waits.
#[derive(Debug, Deserialize)]
pub(super) struct PoolStatus {
    #[serde(deserialize_with = "count")]
    pub pending: u64,
    #[serde(deserialize_with = "count")]
    pub queued: u64,
}

impl Receipt<'_> {
    pub fn succeeded(&self) -> bool {
        self.status == Some(1)
    }
}

/// A hash as this room writes it: lower-case hex with its prefix.
pub(super) fn hash_text(hash: &B256) -> String {
    hex::encode_prefixed(hash)
}

/// A hash, an address or a word from hex of exactly its length.
pub(super) fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x")?;
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    (digits.len() == 2 * N).then_some(bytes)
}

/// A number of at most 256 bits, as JSON-RPC writes quantities. Leading zeros are let pass.
pub(super) fn number(text: &str) -> Option<U256> {
    let digits = quantity_digits(text)?;
    let mut padded = [b'0'; QUANTITY_DIGITS_MAX];
    padded.get_mut(QUANTITY_DIGITS_MAX - digits.len()..)?.copy_from_slice(digits.as_bytes());
    let mut bytes = [0; QUANTITY_DIGITS_MAX / 2];
    hex::decode_to_slice(padded, &mut bytes).ok()?;
    Some(U256::from_be_bytes(bytes))
}

fn quantity_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x")?;
    (!digits.is_empty() && digits.len() <= QUANTITY_DIGITS_MAX).then_some(digits)
}

/// What a text should be, and how it is read.
struct Text<T>(&'static str, fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::custom(self.0))
    }
}

/// The same where null stands for nothing.
struct MaybeText<T>(&'static str, fn(&str) -> Option<T>);

impl<'de, T> Visitor<'de> for MaybeText<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, text: D) -> Result<Option<T>, D::Error> {
        text.deserialize_str(Text(self.0, self.1)).map(Some)
    }
}

const HASH: &str = "a hash";
const ADDRESS: &str = "an address";
const COUNT: &str = "a quantity of 64 bits";
const QUANTITY: &str = "a quantity";

fn read_hash(text: &str) -> Option<B256> {
    fixed(text).map(B256::new)
}

/// An address as nodes write it, with or without EIP-55's capitals.
pub(super) fn read_address(text: &str) -> Option<Address> {
    fixed(text).map(Address::new)
}

fn read_count(text: &str) -> Option<u64> {
    // Most counts are short, and a block has thousands of them.
    let digits = quantity_digits(text)?;
    if digits.len() > U64_DIGITS_MAX {
        return number(text)?.try_into().ok();
    }
    digits.bytes().try_fold(0, |count, digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(count << 4 | u64::from(value))
    })
}

pub(super) fn hash<'de, D: Deserializer<'de>>(from: D) -> Result<B256, D::Error> {
    from.deserialize_str(Text(HASH, read_hash))
}

pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
    from.deserialize_str(Text(ADDRESS, read_address))
}

pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_str(Text(COUNT, read_count))
}

pub(super) fn quantity<'de, D: Deserializer<'de>>(from: D) -> Result<U256, D::Error> {
    from.deserialize_str(Text(QUANTITY, number))
}

pub(super) fn maybe_hash<'de, D: Deserializer<'de>>(from: D) -> Result<Option<B256>, D::Error> {
    from.deserialize_option(MaybeText(HASH, read_hash))
}

pub(super) fn maybe_address<'de, D>(from: D) -> Result<Option<Address>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_option(MaybeText(ADDRESS, read_address))
}

pub(super) fn maybe_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    from.deserialize_option(MaybeText(COUNT, read_count))
}

pub(super) fn maybe_quantity<'de, D: Deserializer<'de>>(from: D) -> Result<Option<U256>, D::Error> {
    from.deserialize_option(MaybeText(QUANTITY, number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_hex_of_at_most_256_bits() {
        let ones = format!("0x{}", "f".repeat(64));
        assert_eq!(number(&ones), Some(U256::MAX));
        assert_eq!(number("0x0"), Some(U256::ZERO));
        assert_eq!(number("0x00ff"), Some(U256::from(255)));
        let twice = format!("0x0x{}", "1".repeat(62));
        let longer = format!("{ones}0");
        for bad in ["", "0x", "12", "0x-1", "0x+1", "0x1_0", "0xg", &longer, "0X1", &twice] {
            assert_eq!(number(bad), None, "{bad}");
        }
        assert_eq!(read_count("0xffffffffffffffff"), Some(u64::MAX));
        assert_eq!(read_count("0x10000000000000000"), None);
        assert_eq!(read_count("0x00000000000000000007"), Some(7));
        for bad in ["", "0x", "7", "0x-1", "0x+1", "0x1_0", "0xg", "0X1", &format!("{ones}0")] {
            assert_eq!(read_count(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_log_of_any_number_of_topics_is_read_and_three_are_told() {
        let topics = |count: usize| {
            let json = serde_json::to_string(&vec!["0x01"; count]).unwrap();
            serde_json::from_str::<Topics<'_>>(&json).unwrap().three().map(|three| three.len())
        };
        assert_eq!((0..6).map(topics).collect::<Vec<_>>(), [None, None, None, Some(3), None, None]);
    }

    #[test]
    fn hashes_and_addresses_have_their_length() {
        let address = format!("0x{}", "aB".repeat(20));
        assert_eq!(read_address(&address), Some(Address::repeat_byte(0xab)));
        for bad in ["0xab", "abababababababababababababababababababab", "0x", ""] {
            assert_eq!(read_address(bad), None, "{bad}");
        }
        assert_eq!(read_hash(&format!("0x{}", "1".repeat(63))), None);
        assert_eq!(hash_text(&B256::repeat_byte(0xAB)), format!("0x{}", "ab".repeat(32)));
    }

    proptest! {
        #[test]
        fn whatever_a_node_writes_nothing_panics(text in ".{0,80}", digits in "0x[0-9a-fA-F]{0,80}") {
            for text in [text.as_str(), digits.as_str()] {
                let _ = (number(text), read_count(text), read_hash(text), read_address(text));
            }
            let body = serde_json::json!({ "transactionHash": text, "logs": digits }).to_string();
            let _ = serde_json::from_str::<Receipt<'_>>(&body);
        }
    }
}
