//! Writes single values as JSON: scalars, enums, numbers and text with a form of their own, and
//! protobuf's well-known types. Messages and their fields are written by `write`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::value::Kind as AnyKind;

use super::token::Reader;
use super::write::{WriteError, Writer, Written};
use super::{decimal, escape, time};
use crate::settings::TEXT_DEPTH_MAX;
use crate::shape::{Kind, Scalar};
use crate::wire::{Cursor, Malformed, unzigzag};

impl Writer<'_> {
    /// One value that the cursor stands before.
    pub(super) fn value(
        &mut self,
        kind: &Kind,
        cursor: &mut Cursor<'_>,
        name: &str,
        depth: u32,
    ) -> Written {
        match kind {
            Kind::Scalar(scalar) => self.scalar(*scalar, false, cursor),
            Kind::WideNumber(scalar) => self.scalar(*scalar, true, cursor),
            Kind::Enum(shape) => {
                let number = cursor.varint()? as i32;
                match shape.name(number) {
                    Some(name) => escape::string(&mut self.out, name),
                    None => escape::signed(&mut self.out, number.into()),
                }
                Ok(())
            }
            Kind::Null => {
                cursor.varint()?;
                self.out.extend_from_slice(b"null");
                Ok(())
            }
            _ => {
                let payload = cursor.len_delimited()?;
                self.payload(kind, payload, name, depth + u32::from(kind.is_message()))
            }
        }
    }

    /// The content of a length-delimited value.
    pub(super) fn payload(&mut self, kind: &Kind, bytes: &[u8], name: &str, depth: u32) -> Written {
        match kind {
            Kind::Message(index) => self.object(*index, bytes, &[], None, depth),
            Kind::Number { digits_min, digits_max } => {
                let text = utf8(bytes)?;
                match decimal::shaped(&mut self.out, text, *digits_min, *digits_max) {
                    true => Ok(()),
                    false => Err(WriteError::Number(name.to_owned())),
                }
            }
            Kind::Text => self.text(bytes, name),
            Kind::Timestamp { seconds_offset } => {
                let value: prost_types::Timestamp = decode(bytes)?;
                match time::write(&mut self.out, &value, *seconds_offset) {
                    true => Ok(()),
                    false => Err(WriteError::Range(name.to_owned())),
                }
            }
            Kind::Duration => {
                let text = time::duration(&decode(bytes)?)
                    .ok_or_else(|| WriteError::Range(name.to_owned()))?;
                escape::string(&mut self.out, &text);
                Ok(())
            }
            Kind::FieldMask => {
                let mask: prost_types::FieldMask = decode(bytes)?;
                escape::string(&mut self.out, &mask.paths.join(","));
                Ok(())
            }
            Kind::Wrapper(scalar) => self.wrapper(*scalar, bytes),
            Kind::Struct => self.structure(&decode(bytes)?, name),
            Kind::Value => self.any_value(&decode(bytes)?, name),
            Kind::ListValue => self.any_list(&decode(bytes)?, name),
            Kind::Scalar(_) | Kind::WideNumber(_) | Kind::Enum(_) | Kind::Null => {
                self.value(kind, &mut Cursor::new(bytes), name, depth)
            }
        }
    }

    /// JSON text, checked; an empty string is no text, so nothing was set.
    fn text(&mut self, bytes: &[u8], name: &str) -> Written {
        if bytes.is_empty() {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        let mut reader = Reader::new(bytes, TEXT_DEPTH_MAX);
        let read = reader.copy(&mut self.out).and_then(|()| reader.end());
        read.map_err(|_| WriteError::Text(name.to_owned()))
    }

    pub(super) fn scalar(
        &mut self,
        scalar: Scalar,
        wide_number: bool,
        cursor: &mut Cursor<'_>,
    ) -> Written {
        let quoted = scalar.is_wide() && !wide_number;
        if quoted {
            self.out.push(b'"');
        }
        match scalar {
            Scalar::Bool => {
                let word: &[u8] = if cursor.varint()? != 0 { b"true" } else { b"false" };
                self.out.extend_from_slice(word);
            }
            Scalar::Uint32 | Scalar::Uint64 | Scalar::Fixed32 | Scalar::Fixed64 => {
                let value = unsigned(scalar, cursor)?;
                escape::unsigned(&mut self.out, value);
            }
            Scalar::Float => self.float(f32::from_bits(cursor.fixed32()?))?,
            Scalar::Double => self.double(f64::from_bits(cursor.fixed64()?))?,
            Scalar::String => escape::string(&mut self.out, utf8(cursor.len_delimited()?)?),
            Scalar::Bytes => {
                let text = STANDARD.encode(cursor.len_delimited()?);
                self.out.push(b'"');
                self.out.extend_from_slice(text.as_bytes());
                self.out.push(b'"');
            }
            _ => {
                let value = signed(scalar, cursor)?;
                escape::signed(&mut self.out, value);
            }
        }
        if quoted {
            self.out.push(b'"');
        }
        Ok(())
    }

    fn double(&mut self, value: f64) -> Written {
        if !value.is_finite() {
            self.not_finite(value.is_nan(), value.is_sign_negative());
            return Ok(());
        }
        serde_json::to_writer(&mut self.out, &value)
            .map_err(|_| WriteError::Malformed("a number that cannot be written"))
    }

    fn float(&mut self, value: f32) -> Written {
        if !value.is_finite() {
            self.not_finite(value.is_nan(), value.is_sign_negative());
            return Ok(());
        }
        serde_json::to_writer(&mut self.out, &value)
            .map_err(|_| WriteError::Malformed("a number that cannot be written"))
    }

    fn not_finite(&mut self, nan: bool, negative: bool) {
        self.out.extend_from_slice(match (nan, negative) {
            (true, _) => b"\"NaN\"",
            (false, true) => b"\"-Infinity\"",
            (false, false) => b"\"Infinity\"",
        });
    }

    /// A wrapper stands as its value; what is absent is the default.
    fn wrapper(&mut self, scalar: Scalar, bytes: &[u8]) -> Written {
        let mut cursor = Cursor::new(bytes);
        let mut found = Cursor::new(&[0; 8]);
        while !cursor.is_empty() {
            let (number, wire) = cursor.tag()?;
            let value = cursor.pos();
            cursor.skip(number, wire)?;
            if number == 1 {
                if wire != scalar.wire() {
                    return Err(WriteError::Malformed("a field of another wire type"));
                }
                found = Cursor::at(bytes, value);
            }
        }
        self.scalar(scalar, false, &mut found)
    }

    fn structure(&mut self, value: &prost_types::Struct, name: &str) -> Written {
        self.out.push(b'{');
        for (n, (key, value)) in value.fields.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            escape::string(&mut self.out, key);
            self.out.push(b':');
            self.any_value(value, name)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// prost has bounded the nesting when it decoded the value.
    fn any_value(&mut self, value: &prost_types::Value, name: &str) -> Written {
        match &value.kind {
            None | Some(AnyKind::NullValue(_)) => self.out.extend_from_slice(b"null"),
            Some(AnyKind::NumberValue(number)) if number.is_finite() => self.double(*number)?,
            Some(AnyKind::NumberValue(_)) => return Err(WriteError::Range(name.to_owned())),
            Some(AnyKind::StringValue(text)) => escape::string(&mut self.out, text),
            Some(AnyKind::BoolValue(value)) => {
                self.out.extend_from_slice(if *value { b"true" } else { b"false" })
            }
            Some(AnyKind::StructValue(value)) => self.structure(value, name)?,
            Some(AnyKind::ListValue(value)) => self.any_list(value, name)?,
        }
        Ok(())
    }

    fn any_list(&mut self, value: &prost_types::ListValue, name: &str) -> Written {
        self.out.push(b'[');
        for (n, value) in value.values.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.any_value(value, name)?;
        }
        self.out.push(b']');
        Ok(())
    }
}

fn decode<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, WriteError> {
    M::decode(bytes).map_err(|_| WriteError::Malformed("a well-known type that cannot be read"))
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, WriteError> {
    std::str::from_utf8(bytes).map_err(|_| WriteError::Malformed("a string that is not UTF-8"))
}

/// Reads an integer of a signed type; 32-bit ones keep their low 32 bits, as protobuf has it.
pub(super) fn signed(scalar: Scalar, cursor: &mut Cursor<'_>) -> Result<i64, Malformed> {
    Ok(match scalar {
        Scalar::Int32 => i64::from(cursor.varint()? as i32),
        Scalar::Sint32 => i64::from(unzigzag(u64::from(cursor.varint()? as u32)) as i32),
        Scalar::Sfixed32 => i64::from(cursor.fixed32()? as i32),
        Scalar::Sint64 => unzigzag(cursor.varint()?),
        Scalar::Sfixed64 => cursor.fixed64()? as i64,
        _ => cursor.varint()? as i64,
    })
}

/// Reads an integer of an unsigned type.
pub(super) fn unsigned(scalar: Scalar, cursor: &mut Cursor<'_>) -> Result<u64, Malformed> {
    Ok(match scalar {
        Scalar::Uint32 => u64::from(cursor.varint()? as u32),
        Scalar::Fixed32 => u64::from(cursor.fixed32()?),
        Scalar::Fixed64 => cursor.fixed64()?,
        _ => cursor.varint()?,
    })
}
