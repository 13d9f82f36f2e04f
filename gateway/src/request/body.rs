//! A JSON body to protobuf bytes, straight by the compiled shape: unknown and duplicate keys are
//! refused, `null` means absent, numbers are read from their source text.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use prost::Message as _;
use prost_types::value::Kind as AnyKind;

use super::nearest::nearest;
use super::{Seen, Source, plain};
use crate::json::decimal::{self, Bounds};
use crate::json::token::{Next, ReadError, Reader, duplicate, shorten};
use crate::reason;
use crate::shape::{Field, Kind, Message, Presence, Scalar, Shapes};
use crate::wire::{self, WireType};

/// Longest key repeated in a message, in characters.
const KEY_CHARS_MAX: usize = 64;

/// Deepest nesting of a `google.protobuf.Struct`, whose levels take three of prost's 100 each.
const STRUCT_DEPTH_MAX: u32 = 24;

/// Reads one body.
pub(super) struct BodyReader<'p, 'a> {
    pub shapes: &'p Shapes,
    pub json: Reader<'a>,
    pub ignore_unknown: bool,
    pub bounds: Bounds,
}

type Read = Result<(), ReadError>;

fn expected(what: &str, found: Next) -> ReadError {
    ReadError::invalid(format!("must be {what}, not {}", found.name()))
}

impl BodyReader<'_, '_> {
    fn expect(&mut self, wanted: Next) -> Read {
        match self.json.peek()? {
            found if found == wanted => Ok(()),
            found => Err(expected(wanted.name(), found)),
        }
    }

    /// Reads an object as the fields of a message, without tag and length.
    pub(super) fn object(&mut self, index: usize, seen: &mut Seen, out: &mut Vec<u8>) -> Read {
        self.expect(Next::Object)?;
        self.json.open()?;
        let shapes = self.shapes;
        let message = shapes.message(index);
        let mut unknown = HashSet::new();
        let mut first = true;
        while let Some(key) = self.json.key(&mut first)? {
            let Some(n) = message.field_named(&key) else {
                self.unknown(message, key, &mut unknown)?;
                continue;
            };
            let field = &message.fields[n];
            match seen.0[n] {
                Source::Nothing | Source::Query => {}
                Source::Null | Source::Json => return Err(duplicate(&key)),
                Source::Path => {
                    return Err(ReadError::invalid("is set by the path").under(&key));
                }
            }
            let set = self.field(field, out).map_err(|error| error.under(&field.name))?;
            if set {
                seen.check_oneof(message, n).map_err(|error| error.under(&field.name))?;
            }
            seen.0[n] = if set { Source::Json } else { Source::Null };
        }
        Ok(())
    }

    /// Reads an object that may have no field.
    pub(super) fn nothing(&mut self) -> Read {
        self.expect(Next::Object)?;
        self.json.open()?;
        let (mut first, mut unknown) = (true, HashSet::new());
        while let Some(key) = self.json.key(&mut first)? {
            if !self.ignore_unknown {
                let what = "unknown field; this method takes no body";
                let name = shorten(&key, KEY_CHARS_MAX);
                return Err(ReadError::new(reason::UNKNOWN_FIELD, what).under(&name));
            }
            self.skip(key, &mut unknown)?;
        }
        Ok(())
    }

    fn unknown<'k>(
        &mut self,
        message: &Message,
        key: Cow<'k, str>,
        unknown: &mut HashSet<Cow<'k, str>>,
    ) -> Read {
        if self.ignore_unknown {
            return self.skip(key, unknown);
        }
        let known = message.fields.iter().map(|field| field.name.as_ref());
        let what = match nearest(&key, known) {
            Some(near) => format!("unknown field; the nearest known one is `{near}`"),
            None => "unknown field".to_owned(),
        };
        let name = shorten(&key, KEY_CHARS_MAX);
        Err(ReadError::new(reason::UNKNOWN_FIELD, what).under(&name))
    }

    /// Passes over a value that is ignored, but must be strict JSON all the same.
    fn skip<'k>(&mut self, key: Cow<'k, str>, unknown: &mut HashSet<Cow<'k, str>>) -> Read {
        let mut dropped = Vec::new();
        self.json.copy(&mut dropped).map_err(|error| error.under(&key))?;
        if unknown.contains(&key) {
            return Err(duplicate(&key));
        }
        unknown.insert(key);
        Ok(())
    }

    /// Reads the value of a field, tags included. False if it is `null`, which is absent.
    pub(super) fn field(&mut self, field: &Field, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let next = self.json.peek()?;
        if next == Next::Null {
            self.json.literal(next)?;
            return Ok(false);
        }
        match (field.presence, field.object_key) {
            (Presence::Repeated, Some(key)) => self.keyed(field, key, out)?,
            (Presence::Repeated, None) => self.list(field, out)?,
            (Presence::Map, _) => self.map(field, out)?,
            _ => self.value(field.number, &field.kind, out)?,
        }
        Ok(true)
    }

    fn list(&mut self, field: &Field, out: &mut Vec<u8>) -> Read {
        self.expect(Next::Array)?;
        self.json.open()?;
        let (mut first, mut index) = (true, 0);
        while self.json.item(&mut first)? {
            self.value(field.number, &field.kind, out).map_err(|error| error.element(index))?;
            index += 1;
        }
        Ok(())
    }

    /// An object whose keys go into a field of the elements it holds.
    fn keyed(&mut self, field: &Field, key_field: usize, out: &mut Vec<u8>) -> Read {
        let Kind::Message(index) = field.kind else {
            return Err(ReadError::invalid("has no elements that are objects"));
        };
        self.expect(Next::Object)?;
        self.json.open()?;
        let shapes = self.shapes;
        let element = shapes.message(index);
        let (mut first, mut keys) = (true, HashSet::new());
        while let Some(key) = self.json.key(&mut first)? {
            if !keys.insert(key.clone()) {
                return Err(duplicate(&key));
            }
            wire::put_tag(out, field.number, WireType::Len);
            let start = out.len();
            wire::put_bytes(out, element.fields[key_field].number, key.as_bytes());
            let mut seen = Seen::of(element);
            seen.0[key_field] = Source::Json;
            self.object(index, &mut seen, out).map_err(|error| error.under(&key))?;
            wire::close_len(out, start);
        }
        Ok(())
    }

    fn map(&mut self, field: &Field, out: &mut Vec<u8>) -> Read {
        let shapes = self.shapes;
        let entry = match field.kind {
            Kind::Message(index) => &*shapes.message(index).fields,
            _ => &[],
        };
        let [key_field, value_field] = entry else {
            return Err(ReadError::invalid("is no map"));
        };
        self.expect(Next::Object)?;
        self.json.open()?;
        let (mut first, mut keys) = (true, HashSet::new());
        while let Some(key) = self.json.key(&mut first)? {
            if !keys.insert(key.clone()) {
                return Err(duplicate(&key));
            }
            wire::put_tag(out, field.number, WireType::Len);
            let start = out.len();
            plain::put(out, key_field.number, &key_field.kind, &key, self.bounds)
                .map_err(|wrong| ReadError::invalid(format!("its key {wrong}")).under(&key))?;
            self.value(value_field.number, &value_field.kind, out)
                .map_err(|error| error.under(&key))?;
            wire::close_len(out, start);
        }
        Ok(())
    }

    /// Reads one value that is not `null`, and writes it with its tag.
    fn value(&mut self, number: u32, kind: &Kind, out: &mut Vec<u8>) -> Read {
        let next = self.json.peek()?;
        match kind {
            Kind::Scalar(scalar) | Kind::WideNumber(scalar) => {
                return self.scalar(number, *scalar, next, out);
            }
            Kind::Number { .. } => {
                let text = self.decimal(next)?;
                wire::put_bytes(out, number, text.as_bytes());
            }
            Kind::Text => {
                let mut text = Vec::new();
                self.json.copy(&mut text)?;
                wire::put_bytes(out, number, &text);
            }
            Kind::Enum(shape) => {
                let text = match next {
                    Next::String => self.json.string()?,
                    Next::Number => Cow::Borrowed(self.json.number()?),
                    other => return Err(expected("a string", other)),
                };
                let value = plain::enum_number(shape, &text).map_err(ReadError::invalid)?;
                plain::put_int32(out, number, value);
            }
            Kind::Null => return Err(expected("null", next)),
            Kind::Message(index) => {
                wire::put_tag(out, number, WireType::Len);
                let start = out.len();
                let mut seen = Seen::of(self.shapes.message(*index));
                self.object(*index, &mut seen, out)?;
                wire::close_len(out, start);
            }
            Kind::Timestamp { .. } | Kind::Duration | Kind::FieldMask => {
                self.expect(Next::String)?;
                let text = self.json.string()?;
                let message = plain::well_known(kind, &text).map_err(ReadError::invalid)?;
                wire::put_bytes(out, number, &message);
            }
            Kind::Wrapper(scalar) => {
                wire::put_tag(out, number, WireType::Len);
                let start = out.len();
                self.scalar(1, *scalar, next, out)?;
                wire::close_len(out, start);
            }
            Kind::Struct => {
                self.expect(Next::Object)?;
                let value = self.structure(STRUCT_DEPTH_MAX)?;
                wire::put_bytes(out, number, &value.encode_to_vec());
            }
            Kind::Value => {
                let value = self.any_value(STRUCT_DEPTH_MAX)?;
                wire::put_bytes(out, number, &value.encode_to_vec());
            }
            Kind::ListValue => {
                self.expect(Next::Array)?;
                let value = self.any_list(STRUCT_DEPTH_MAX)?;
                wire::put_bytes(out, number, &value.encode_to_vec());
            }
        }
        Ok(())
    }

    /// An exact number: a number token, rewritten without exponent, or a plain decimal string.
    fn decimal(&mut self, next: Next) -> Result<String, ReadError> {
        let bounds = self.bounds;
        match next {
            Next::Number => {
                let token = self.json.number()?;
                let plain = decimal::plain(token, bounds)
                    .map_err(|error| ReadError::invalid(plain::out_of_bounds(error, bounds)))?;
                Ok(plain.into_owned())
            }
            Next::String => {
                let text = self.json.string()?;
                let plain = plain::plain_decimal(&text, bounds).map_err(ReadError::invalid)?;
                Ok(plain.to_owned())
            }
            other => Err(expected("a number", other)),
        }
    }

    fn scalar(&mut self, number: u32, scalar: Scalar, next: Next, out: &mut Vec<u8>) -> Read {
        let bounds = self.bounds;
        match (scalar, next) {
            (Scalar::String, Next::String) => {
                wire::put_bytes(out, number, self.json.string()?.as_bytes());
                Ok(())
            }
            (Scalar::Bytes, Next::String) => {
                let decoded = plain::bytes(&self.json.string()?).map_err(ReadError::invalid)?;
                wire::put_bytes(out, number, &decoded);
                Ok(())
            }
            (Scalar::Bool, Next::True | Next::False) => {
                plain::put_bool(out, number, self.json.literal(next)? == "true");
                Ok(())
            }
            (Scalar::String | Scalar::Bytes, other) => Err(expected("a string", other)),
            (Scalar::Bool, other) => Err(expected("true or false", other)),
            (Scalar::Float | Scalar::Double, Next::Number) => {
                plain::put_float(out, number, scalar, self.json.number()?)
                    .map_err(ReadError::invalid)
            }
            (Scalar::Float | Scalar::Double, Next::String) => {
                plain::put_float_text(out, number, scalar, &self.json.string()?)
                    .map_err(ReadError::invalid)
            }
            (_, Next::Number) => {
                plain::put_integer(out, number, scalar, self.json.number()?, bounds)
                    .map_err(ReadError::invalid)
            }
            (_, Next::String) => {
                plain::put_integer_text(out, number, scalar, &self.json.string()?, bounds)
                    .map_err(ReadError::invalid)
            }
            (_, other) => Err(expected("a number", other)),
        }
    }

    fn structure(&mut self, depth: u32) -> Result<prost_types::Struct, ReadError> {
        self.json.open()?;
        let mut fields = BTreeMap::new();
        let mut first = true;
        while let Some(key) = self.json.key(&mut first)? {
            let value = self.any_value(depth).map_err(|error| error.under(&key))?;
            if fields.insert(key.clone().into_owned(), value).is_some() {
                return Err(duplicate(&key));
            }
        }
        Ok(prost_types::Struct { fields })
    }

    fn any_list(&mut self, depth: u32) -> Result<prost_types::ListValue, ReadError> {
        self.json.open()?;
        let (mut first, mut values) = (true, Vec::new());
        while self.json.item(&mut first)? {
            values.push(self.any_value(depth).map_err(|error| error.element(values.len()))?);
        }
        Ok(prost_types::ListValue { values })
    }

    fn any_value(&mut self, depth: u32) -> Result<prost_types::Value, ReadError> {
        let next = self.json.peek()?;
        let inner = depth.checked_sub(1).ok_or_else(|| ReadError::invalid("is nested too deep"))?;
        let kind = match next {
            Next::Object => AnyKind::StructValue(self.structure(inner)?),
            Next::Array => AnyKind::ListValue(self.any_list(inner)?),
            Next::String => AnyKind::StringValue(self.json.string()?.into_owned()),
            Next::Number => {
                let number = self.json.number()?.parse().ok();
                let number = number.filter(|number: &f64| number.is_finite());
                AnyKind::NumberValue(number.ok_or_else(|| ReadError::invalid("is too large"))?)
            }
            Next::True | Next::False => AnyKind::BoolValue(self.json.literal(next)? == "true"),
            Next::Null => {
                self.json.literal(next)?;
                AnyKind::NullValue(0)
            }
        };
        Ok(prost_types::Value { kind: Some(kind) })
    }
}
