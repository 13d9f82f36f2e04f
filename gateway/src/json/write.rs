//! Writes JSON straight from protobuf bytes by a compiled shape. One pass notes where each field
//! stands, a second writes them in the order of their numbers; so bytes in any order, with split
//! lists, repeated scalars or merged messages, come out as their canonical form would.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::value::utf8;
use super::{escape, value};
use crate::shape::{Field, Kind, Message, Presence, Scalar, Shapes};
use crate::wire::{Cursor, Malformed, NESTING_MAX, WireType};

/// Why protobuf bytes could not be written as JSON. All of these are faults of whoever made the
/// bytes; nothing of the value itself is in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The bytes are not the message they should be.
    #[error("not a protobuf message: {0}")]
    Malformed(&'static str),
    /// A JSON_FORM_NUMBER field holds no plain decimal.
    #[error("`{0}` holds no plain decimal")]
    Number(String),
    /// A JSON_FORM_TEXT field holds no strict JSON text.
    #[error("`{0}` holds no JSON text")]
    Text(String),
    /// A timestamp, duration or number lies outside of what its JSON form can express.
    #[error("`{0}` is out of range")]
    Range(String),
    /// Two elements of an object-keyed list have the same key.
    #[error("two elements of `{0}` have the same key")]
    DuplicateKey(String),
    /// Messages nested deeper than 100.
    #[error("nested too deep")]
    TooDeep,
    /// The JSON text would be longer than this many bytes.
    #[error("longer than {0} bytes")]
    TooLong(usize),
}

impl From<Malformed> for WriteError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.0)
    }
}

/// Fields of a usual answer, all its open messages together: a kilobyte of [`Slot`]s, which allocators hand
/// out without a search.
const SLOTS: usize = 32;

/// Where the occurrences of one field lie within their message.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    count: u32,
    /// Start of the first occurrence's tag.
    first: usize,
    /// Start of the last occurrence's value.
    value: usize,
    /// End of the last occurrence.
    end: usize,
}

/// A message's bytes with the place of each of its fields.
struct Scanned<'b> {
    bytes: &'b [u8],
    /// Index in [`Writer::slots`] of the first field's slot.
    base: usize,
}

/// The key of a map entry, in an order that makes the text deterministic.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum MapKey<'b> {
    Signed(i64),
    Unsigned(u64),
    Bool(bool),
    Text(&'b str),
}

/// Writes one JSON text.
pub(crate) struct Writer<'p> {
    shapes: &'p Shapes,
    pub(super) out: Vec<u8>,
    slots: Vec<Slot>,
    bytes_max: usize,
}

pub(super) type Written = Result<(), WriteError>;

impl<'p> Writer<'p> {
    pub(crate) fn new(shapes: &'p Shapes, capacity: usize, bytes_max: usize) -> Self {
        Self {
            shapes,
            out: Vec::with_capacity(capacity),
            slots: Vec::with_capacity(SLOTS),
            bytes_max,
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Writes a message that stands alone; `head` goes first in its object.
    pub(crate) fn root(&mut self, kind: &Kind, bytes: &[u8], head: &[u8]) -> Written {
        match kind {
            Kind::Message(index) => self.object(*index, bytes, head, None, 0),
            other => self.payload(other, bytes, "", 0),
        }
    }

    /// Writes only one field of a message, as `response_body` asks; `head` goes first in it.
    pub(crate) fn only(
        &mut self,
        index: usize,
        field: usize,
        bytes: &[u8],
        head: &[u8],
    ) -> Written {
        let message = self.shapes.message(index);
        let scanned = self.scan(message, bytes)?;
        let field_shape = &message.fields[field];
        let slot = self.slots[scanned.base + field];
        match (&field_shape.kind, field_shape.presence) {
            (Kind::Message(inner), Presence::Explicit | Presence::Implicit) => {
                let payload = merged(&scanned, field_shape, slot)?;
                self.object(*inner, &payload, head, None, 1)
            }
            _ => self.field(&scanned, field_shape, slot, head, 0),
        }
    }

    pub(super) fn object(
        &mut self,
        index: usize,
        bytes: &[u8],
        head: &[u8],
        omit: Option<usize>,
        depth: u32,
    ) -> Written {
        if depth > NESTING_MAX {
            return Err(WriteError::TooDeep);
        }
        let message = self.shapes.message(index);
        let scanned = self.scan(message, bytes)?;
        self.out.push(b'{');
        self.out.extend_from_slice(head);
        let mut comma = !head.is_empty();
        for (n, field) in message.fields.iter().enumerate() {
            if omit == Some(n) {
                continue;
            }
            if comma {
                self.out.push(b',');
            }
            comma = true;
            self.out.extend_from_slice(&field.key);
            let slot = self.slots[scanned.base + n];
            self.field(&scanned, field, slot, &[], depth)?;
        }
        self.out.push(b'}');
        self.slots.truncate(scanned.base);
        Ok(())
    }

    /// Notes where each field stands. The last occurrence of a scalar counts, and the last member
    /// of a oneof drops the others.
    fn scan<'b>(&mut self, message: &Message, bytes: &'b [u8]) -> Result<Scanned<'b>, WriteError> {
        if self.out.len() > self.bytes_max {
            return Err(WriteError::TooLong(self.bytes_max));
        }
        let base = self.slots.len();
        self.slots.resize(base + message.fields.len(), Slot::default());
        let mut cursor = Cursor::new(bytes);
        let mut hint = 0;
        while !cursor.is_empty() {
            let first = cursor.pos();
            let (number, wire) = cursor.tag()?;
            let value = cursor.pos();
            cursor.skip(number, wire)?;
            let Some(n) = message.field_numbered(number, hint) else { continue };
            let field = &message.fields[n];
            hint = if field.presence == Presence::Repeated { n } else { n + 1 };
            let wanted = field.kind.wire();
            let packed = field.presence == Presence::Repeated && wire == WireType::Len;
            if wire != wanted && !packed {
                return Err(WriteError::Malformed("a field of another wire type"));
            }
            if let Some(oneof) = field.oneof {
                for (other, shape) in message.fields.iter().enumerate() {
                    if shape.oneof == Some(oneof) && other != n {
                        self.slots[base + other] = Slot::default();
                    }
                }
            }
            let slot = &mut self.slots[base + n];
            if slot.count == 0 {
                slot.first = first;
            }
            slot.count = slot.count.saturating_add(1);
            slot.value = value;
            slot.end = cursor.pos();
        }
        Ok(Scanned { bytes, base })
    }

    fn field(
        &mut self,
        scanned: &Scanned<'_>,
        field: &Field,
        slot: Slot,
        head: &[u8],
        depth: u32,
    ) -> Written {
        match field.presence {
            Presence::Repeated if field.object_key.is_some() => {
                self.keyed(scanned, field, slot, head, depth)
            }
            Presence::Repeated => self.list(scanned, field, slot, depth),
            Presence::Map => self.map(scanned, field, slot, head, depth),
            Presence::Explicit if slot.count == 0 => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
            Presence::Implicit if slot.count == 0 => self.default(field),
            _ => self.single(scanned, field, slot, depth),
        }
    }

    fn single(&mut self, scanned: &Scanned<'_>, field: &Field, slot: Slot, depth: u32) -> Written {
        if field.kind.is_message() {
            let payload = merged(scanned, field, slot)?;
            return self.payload(&field.kind, &payload, &field.name, depth + 1);
        }
        let mut cursor = Cursor::at(scanned.bytes, slot.value);
        self.value(&field.kind, &mut cursor, &field.name, depth)
    }

    /// What an absent field without presence stands for.
    fn default(&mut self, field: &Field) -> Written {
        match &field.kind {
            // A varint 0, an empty string and zero bytes are the defaults of all these.
            Kind::Scalar(scalar) | Kind::WideNumber(scalar) => {
                let wide_number = matches!(field.kind, Kind::WideNumber(_));
                self.scalar(*scalar, wide_number, &mut Cursor::new(&[0; 8]))
            }
            Kind::Enum(_) => self.value(&field.kind, &mut Cursor::new(&[0]), &field.name, 0),
            // An empty string is no decimal, and zero must not be made up.
            Kind::Number { .. } => Err(WriteError::Number(field.name.to_string())),
            _ => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    fn list(&mut self, scanned: &Scanned<'_>, field: &Field, slot: Slot, depth: u32) -> Written {
        self.out.push(b'[');
        let mut comma = false;
        let mut occurrences = Occurrences::new(scanned, field, slot);
        while let Some((wire, mut cursor)) = occurrences.next()? {
            if wire == WireType::Len && field.kind.wire() != WireType::Len {
                let packed = cursor.len_delimited()?;
                let mut cursor = Cursor::new(packed);
                while !cursor.is_empty() {
                    self.separate(&mut comma)?;
                    self.value(&field.kind, &mut cursor, &field.name, depth)?;
                }
                continue;
            }
            self.separate(&mut comma)?;
            self.value(&field.kind, &mut cursor, &field.name, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn separate(&mut self, comma: &mut bool) -> Written {
        if self.out.len() > self.bytes_max {
            return Err(WriteError::TooLong(self.bytes_max));
        }
        if std::mem::replace(comma, true) {
            self.out.push(b',');
        }
        Ok(())
    }

    /// A repeated message as one object, in the order of its elements.
    fn keyed(
        &mut self,
        scanned: &Scanned<'_>,
        field: &Field,
        slot: Slot,
        head: &[u8],
        depth: u32,
    ) -> Written {
        let (Kind::Message(index), Some(key)) = (&field.kind, field.object_key) else {
            return Err(WriteError::Malformed("a keyed field of no message"));
        };
        let shapes = self.shapes;
        let element = shapes.message(*index);
        let key_shape = &element.fields[key];
        let mut seen = HashSet::new();
        self.out.push(b'{');
        self.out.extend_from_slice(head);
        let mut comma = !head.is_empty();
        let mut occurrences = Occurrences::new(scanned, field, slot);
        while let Some((_, mut cursor)) = occurrences.next()? {
            let payload = cursor.len_delimited()?;
            let scan = self.scan(element, payload)?;
            let key_slot = self.slots[scan.base + key];
            self.slots.truncate(scan.base);
            let name = match key_slot.count {
                0 => "",
                _ => utf8(Cursor::at(payload, key_slot.value).len_delimited()?)?,
            };
            // The head's key is taken, if there is one.
            let taken = !head.is_empty() && head.starts_with(&escape::key(name));
            if taken || !seen.insert(name) {
                return Err(WriteError::DuplicateKey(key_shape.name.to_string()));
            }
            self.separate(&mut comma)?;
            escape::string(&mut self.out, name);
            self.out.push(b':');
            self.object(*index, payload, &[], Some(key), depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn map(
        &mut self,
        scanned: &Scanned<'_>,
        field: &Field,
        slot: Slot,
        head: &[u8],
        depth: u32,
    ) -> Written {
        let Kind::Message(index) = &field.kind else {
            return Err(WriteError::Malformed("a map of no entries"));
        };
        let shapes = self.shapes;
        let [key_field, value_field] = &*shapes.message(*index).fields else {
            return Err(WriteError::Malformed("a map entry of other fields"));
        };
        let entry_shape = shapes.message(*index);
        let mut entries = BTreeMap::new();
        let mut occurrences = Occurrences::new(scanned, field, slot);
        while let Some((_, mut cursor)) = occurrences.next()? {
            let payload = cursor.len_delimited()?;
            let scan = self.scan(entry_shape, payload)?;
            let slots = (self.slots[scan.base], self.slots[scan.base + 1]);
            self.slots.truncate(scan.base);
            entries.insert(map_key(key_field, payload, slots.0)?, (payload, slots.1));
        }
        self.out.push(b'{');
        self.out.extend_from_slice(head);
        let mut comma = !head.is_empty();
        for (key, (payload, slot)) in entries {
            if let MapKey::Text(text) = key
                && !head.is_empty()
                && head.starts_with(&escape::key(text))
            {
                return Err(WriteError::DuplicateKey(field.name.to_string()));
            }
            self.separate(&mut comma)?;
            self.map_key(&key);
            self.out.push(b':');
            let scan = Scanned { bytes: payload, base: 0 };
            match (slot.count, value_field.kind.is_message()) {
                (0, true) => self.payload(&value_field.kind, &[], &field.name, depth + 2)?,
                (0, false) => self.default(value_field)?,
                _ => self.single(&scan, value_field, slot, depth + 1)?,
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn map_key(&mut self, key: &MapKey<'_>) {
        if let MapKey::Text(text) = key {
            return escape::string(&mut self.out, text);
        }
        self.out.push(b'"');
        match key {
            MapKey::Signed(value) => escape::signed(&mut self.out, *value),
            MapKey::Unsigned(value) => escape::unsigned(&mut self.out, *value),
            MapKey::Bool(value) => {
                self.out.extend_from_slice(if *value { b"true" } else { b"false" })
            }
            MapKey::Text(_) => {}
        }
        self.out.push(b'"');
    }
}

/// The content of a singular message field: the last one, or all of them in a row, which is what
/// merging messages means on the wire.
fn merged<'b>(
    scanned: &Scanned<'b>,
    field: &Field,
    slot: Slot,
) -> Result<Cow<'b, [u8]>, WriteError> {
    if slot.count <= 1 {
        let mut cursor = Cursor::at(scanned.bytes, slot.value);
        return Ok(Cow::Borrowed(if slot.count == 0 { &[] } else { cursor.len_delimited()? }));
    }
    let mut all = Vec::new();
    let mut occurrences = Occurrences::new(scanned, field, slot);
    while let Some((_, mut cursor)) = occurrences.next()? {
        all.extend_from_slice(cursor.len_delimited()?);
    }
    Ok(Cow::Owned(all))
}

fn map_key<'b>(field: &Field, payload: &'b [u8], slot: Slot) -> Result<MapKey<'b>, WriteError> {
    let mut cursor = match slot.count {
        0 => Cursor::new(&[0; 8]),
        _ => Cursor::at(payload, slot.value),
    };
    let Kind::Scalar(scalar) = field.kind else {
        return Err(WriteError::Malformed("a map key of no scalar type"));
    };
    Ok(match scalar {
        Scalar::String => MapKey::Text(utf8(cursor.len_delimited()?)?),
        Scalar::Bool => MapKey::Bool(cursor.varint()? != 0),
        Scalar::Uint32 | Scalar::Uint64 | Scalar::Fixed32 | Scalar::Fixed64 => {
            MapKey::Unsigned(value::unsigned(scalar, &mut cursor)?)
        }
        _ => MapKey::Signed(value::signed(scalar, &mut cursor)?),
    })
}

/// Walks over the occurrences of one field, passing over whatever stands between them.
struct Occurrences<'b> {
    cursor: Cursor<'b>,
    bytes: &'b [u8],
    number: u32,
    end: usize,
}

impl<'b> Occurrences<'b> {
    fn new(scanned: &Scanned<'b>, field: &Field, slot: Slot) -> Self {
        let cursor = Cursor::at(scanned.bytes, slot.first);
        Self { cursor, bytes: scanned.bytes, number: field.number, end: slot.end }
    }

    /// The wire type of the next occurrence and a cursor before its value.
    fn next(&mut self) -> Result<Option<(WireType, Cursor<'b>)>, Malformed> {
        while self.cursor.pos() < self.end {
            let (number, wire) = self.cursor.tag()?;
            let value = self.cursor.pos();
            self.cursor.skip(number, wire)?;
            if number == self.number {
                return Ok(Some((wire, Cursor::at(self.bytes, value))));
            }
        }
        Ok(None)
    }
}
