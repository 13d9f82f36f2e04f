//! The writer and the reader against prost-reflect's JSON, on random messages and random bytes.

use std::sync::LazyLock;

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::value::Kind;
use prost_types::{Duration, ListValue, Struct, Timestamp, Value as AnyValue};
use rpc_gateway::{MessageWriter, View, WriteError};
use serde_json::Value;

use crate::contract::DESCRIPTOR_SET;
use crate::contract::library_v1::{Book, Everything, GetStockResponse, Size, Stock, everything};
use crate::library;
use crate::support::house;

const BYTES_MAX: usize = 1 << 20;

static WRITER: LazyLock<MessageWriter> = LazyLock::new(|| writer("library.v1.Everything"));
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET.as_slice()).unwrap());

fn writer(name: &str) -> MessageWriter {
    MessageWriter::new(&DESCRIPTOR_SET, name, BYTES_MAX).unwrap()
}

/// prost-reflect's opinion, or none if it cannot decode or write the bytes.
fn reflected(bytes: &[u8]) -> Option<Value> {
    let desc = POOL.get_message_by_name("library.v1.Everything").unwrap();
    let message = DynamicMessage::decode(desc, bytes).ok()?;
    let mut text = Vec::new();
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// Ours prints unset fields as `null`, where prost-reflect leaves them out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn same(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = WRITER.write(bytes, View::Basic);
    let ours = ours.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let ours: Value = serde_json::from_slice(&ours).unwrap();
    let theirs = reflected(bytes).unwrap();
    prop_assert_eq!(without_nulls(ours), without_nulls(theirs));
    Ok(())
}

/// What bytes that nobody meant come to: an error, or JSON all the same. prost-reflect is no
/// measure here: it takes a map's entry for what it is even when its tag opens a group.
fn json_or_error(bytes: &[u8]) -> Result<(), TestCaseError> {
    for view in [View::Basic, View::Full] {
        if let Ok(text) = WRITER.write(bytes, view) {
            prop_assert!(serde_json::from_slice::<Value>(&text).is_ok());
        }
    }
    Ok(())
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        "\\PC{0,5}".prop_map(Kind::StringValue),
        prop::num::f64::NORMAL.prop_map(Kind::NumberValue),
    ];
    let kind = leaf.prop_recursive(3, 12, 3, |inner| {
        let value = inner.prop_map(|kind| AnyValue { kind: Some(kind) });
        prop_oneof![
            vec(value.clone(), 0..3).prop_map(|values| Kind::ListValue(ListValue { values })),
            prop::collection::btree_map("[a-z]{0,3}", value, 0..3)
                .prop_map(|fields| Kind::StructValue(Struct { fields })),
        ]
    });
    kind.prop_map(|kind| AnyValue { kind: Some(kind) })
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800..=253_402_300_799_i64, 0..1_000_000_000)
        .prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..=315_576_000_000_i64, 0..1_000_000_000, any::<bool>()).prop_map(|(s, n, negative)| {
        let sign = if negative { -1 } else { 1 };
        Duration { seconds: s * i64::from(sign), nanos: n * sign }
    })
}

/// Strings as JSON can carry them: U+0000 is refused on the way in, so it is left out.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,8}", "[\\x01-\\x1f\"\\\\é\u{10ffff}\u{2028}]{0,8}"]
}

fn size() -> impl Strategy<Value = Size> {
    any::<(u32, u32)>().prop_map(|(width, height)| Size { width, height })
}

fn choice() -> impl Strategy<Value = everything::Choice> {
    prop_oneof![
        text().prop_map(everything::Choice::ChoiceString),
        size().prop_map(everything::Choice::ChoiceSize),
        any::<bool>().prop_map(everything::Choice::ChoiceBool),
    ]
}

fn scalars() -> impl Strategy<Value = Everything> {
    let small = (any::<bool>(), any::<[i32; 3]>(), any::<[u32; 2]>(), -1..3i32);
    let wide = (any::<[i64; 3]>(), any::<[u64; 2]>(), any::<f32>(), any::<f64>());
    let texts = (text(), vec(any::<u8>(), 0..5), any::<Option<i32>>(), prop::option::of(text()));
    (small, wide, texts).prop_map(|(small, wide, texts)| Everything {
        a_bool: small.0,
        an_int32: small.1[0],
        a_sint32: small.1[1],
        a_sfixed32: small.1[2],
        a_uint32: small.2[0],
        a_fixed32: small.2[1],
        a_sorting: small.3,
        an_int64: wide.0[0],
        a_sint64: wide.0[1],
        a_sfixed64: wide.0[2],
        a_uint64: wide.1[0],
        a_fixed64: wide.1[1],
        a_float: if wide.2.is_nan() { f32::NAN } else { wide.2 },
        a_double: if wide.3.is_nan() { f64::NAN } else { wide.3 },
        a_string: texts.0,
        a_bytes: texts.1,
        maybe_int32: texts.2,
        maybe_string: texts.3,
        ..Default::default()
    })
}

fn lists(base: Everything) -> impl Strategy<Value = Everything> {
    let numbers = (vec(any::<i32>(), 0..3), vec(any::<i64>(), 0..3), vec(any::<u32>(), 0..3));
    let others = (vec(text(), 0..3), vec(0..2i32, 0..3), vec(prop::num::f64::NORMAL, 0..3));
    let bytes = (vec(vec(any::<u8>(), 0..4), 0..3), vec(any::<bool>(), 0..3));
    let maps = (
        hash_map(text(), text(), 0..3),
        hash_map(any::<i32>(), size(), 0..3),
        hash_map(any::<bool>(), any::<i64>(), 0..3),
        hash_map(any::<u64>(), 0..2i32, 0..3),
    );
    (numbers, others, bytes, maps).prop_map(move |(numbers, others, bytes, maps)| Everything {
        int32s: numbers.0,
        sint64s: numbers.1,
        fixed32s: numbers.2,
        strings: others.0,
        sortings: others.1,
        doubles: others.2,
        byteses: bytes.0,
        bools: bytes.1,
        by_string: maps.0,
        by_int32: maps.1,
        by_bool: maps.2,
        by_uint64: maps.3,
        ..base.clone()
    })
}

fn known_types(base: Everything) -> impl Strategy<Value = Everything> {
    use prop::option::of;
    let times = (of(timestamp()), of(duration()), of(any_value()), of(choice()));
    let wrapped = (of(any::<i64>()), of(text()), of(any::<bool>()), of(prop::num::f64::NORMAL));
    let free = prop::collection::btree_map("[a-z]{0,3}", any_value(), 0..3);
    let empty = any::<Option<()>>();
    (times, wrapped, of(free), empty).prop_map(move |(times, wrapped, free, an_empty)| Everything {
        a_timestamp: times.0,
        a_duration: times.1,
        a_value: times.2.clone(),
        a_list: times.2.map(|value| ListValue { values: vec![value.clone(), value] }),
        choice: times.3,
        a_wrapped_int64: wrapped.0,
        a_wrapped_string: wrapped.1,
        a_wrapped_bool: wrapped.2,
        a_wrapped_double: wrapped.3,
        a_struct: free.map(|fields| Struct { fields }),
        an_empty,
        ..base.clone()
    })
}

fn everything() -> impl Strategy<Value = Everything> {
    let flat = || scalars().boxed().prop_flat_map(lists).boxed().prop_flat_map(known_types).boxed();
    (flat(), prop::option::of(flat()), vec(flat(), 0..2)).prop_map(|(outer, inner, inners)| {
        Everything { inner: inner.map(Box::new), inners, ..outer }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn writes_what_prost_reflect_writes(message in everything()) {
        same(&message.encode_to_vec())?;
    }

    #[test]
    fn bytes_in_any_order_come_out_the_same(
        first in everything(),
        second in everything(),
    ) {
        // Two messages in a row are one: lists join, scalars are replaced, messages merge.
        let both = [first.encode_to_vec(), second.encode_to_vec()].concat();
        same(&both)?;
        let merged = Everything::decode(both.as_slice()).unwrap();
        prop_assert_eq!(
            WRITER.write(&both, View::Full),
            WRITER.write(&merged.encode_to_vec(), View::Full)
        );
    }

    #[test]
    fn damaged_bytes_never_panic(
        message in everything(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = message.encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            json_or_error(&bytes[..at])?;
            json_or_error(&bytes)?;
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..64)) {
        json_or_error(&bytes)?;
    }

    #[test]
    fn what_was_written_is_read_back(message in everything()) {
        // `null` is absent on the way in, so a bare null value cannot come back.
        let mut message = message;
        clear_null(&mut message);
        let text = WRITER.write(&message.encode_to_vec(), View::Full).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(house().post("/plain/echo", text.clone()));
        prop_assert_eq!(answer.text.as_bytes(), text.as_slice());
    }

    #[test]
    fn random_bodies_never_panic(body in "[\\[\\]{}\":,a-z_0-9.eE+\\-\\\\u ]{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(house().post("/plain/echo", body));
        prop_assert!(matches!(answer.status.as_u16(), 200 | 400));
    }

    #[test]
    fn random_requests_never_panic(
        path in "(/api/v1/books|/api/v1/archive/files)?/?[/%:a-z0-9.~]{0,20}",
        query in "(\\?[a-z_.=&%+0-9]{0,40})?",
        body in vec(any::<u8>(), 0..40),
    ) {
        let path = path + &query;
        if !path.starts_with('/') || path.parse::<http::Uri>().is_err() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for method in ["GET", "POST", "PATCH"] {
            let json = [("content-type", "application/json")];
            let answer = runtime.block_on(house().with(method, &path, &json, body.clone()));
            prop_assert!(matches!(answer.status.as_u16(), 200 | 400 | 404 | 405 | 501));
        }
    }
}

fn clear_null(message: &mut Everything) {
    let is_null = |value: &AnyValue| matches!(value.kind, Some(Kind::NullValue(_)));
    message.a_value = message.a_value.take().filter(|value| !is_null(value));
    message.inner.iter_mut().for_each(|inner| clear_null(inner));
    message.inners.iter_mut().for_each(clear_null);
}

#[test]
fn a_message_can_be_written_on_its_own() {
    let writer = writer("library.v1.Book");
    let bytes = library::book("1").encode_to_vec();
    let basic = writer.write(&bytes, View::Basic).unwrap();
    let full = writer.write(&bytes, View::Full).unwrap();
    assert!(basic.starts_with(br#"{"id":"1","title":"#) && full.len() > basic.len());
    let book = Book { weight: "1e5".to_owned(), ..library::book("1") };
    let refused = writer.write(&book.encode_to_vec(), View::Basic);
    assert_eq!(refused, Err(WriteError::Number("weight".to_owned())));
    let book = Book { notes: r#"{"a":1,"a":2}"#.to_owned(), ..library::book("1") };
    let refused = writer.write(&book.encode_to_vec(), View::Full);
    assert_eq!(refused, Err(WriteError::Text("notes".to_owned())));
    assert!(writer.write(&book.encode_to_vec(), View::Basic).is_ok(), "notes are not in this view");
    let notes = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let book = Book { notes: notes.clone(), ..library::book("1") };
    let text = writer.write(&book.encode_to_vec(), View::Full).unwrap();
    assert!(String::from_utf8(text).unwrap().contains(&notes), "deep, but not too deep");
    assert!(MessageWriter::new(&DESCRIPTOR_SET, "library.v1.Nothing", 1).is_err());
}

#[test]
fn keys_of_a_keyed_list_are_unique() {
    let stock = |place: &str| Stock {
        place: place.to_owned(),
        shelved: "1".to_owned(),
        lent: "1".to_owned(),
        ..Default::default()
    };
    let stocks = GetStockResponse { stocks: vec![stock("a"), stock("b"), stock("a")] };
    let refused = writer("library.v1.GetStockResponse").write(&stocks.encode_to_vec(), View::Basic);
    assert_eq!(refused, Err(WriteError::DuplicateKey("place".to_owned())));
}

#[test]
fn length_and_depth_are_bounded() {
    let small = MessageWriter::new(&DESCRIPTOR_SET, "library.v1.Everything", 2_000).unwrap();
    let bomb = Everything { inners: vec![Everything::default(); 500], ..Default::default() };
    let refused = small.write(&bomb.encode_to_vec(), View::Basic);
    assert_eq!(refused, Err(WriteError::TooLong(2_000)));
    let mut deep = Vec::new();
    for _ in 0..5_000 {
        let mut outer = Vec::new();
        // Field 19, length-delimited.
        prost::encoding::encode_varint(19 << 3 | 2, &mut outer);
        prost::encoding::encode_varint(deep.len() as u64, &mut outer);
        outer.extend_from_slice(&deep);
        deep = outer;
    }
    assert_eq!(WRITER.write(&deep, View::Full), Err(WriteError::TooDeep));
}
