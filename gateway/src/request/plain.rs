//! Values that come as plain text (path, query, header, map keys) to protobuf bytes, and the
//! number and enum rules they share with JSON values.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::json::decimal::{self, Bounds, DecimalError};
use crate::json::time;
use crate::json::token::Reader;
use crate::settings::JSON_DEPTH_CEILING;
use crate::shape::{EnumShape, Field, Kind, Scalar, Shapes};
use crate::wire::{self, WireType};

/// Most spellings of an enum that an error message lists.
const SPELLINGS_MAX: usize = 20;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What is wrong with a value, as the end of a sentence about its field.
pub(super) type Wrong = String;

/// The fields that `steps` lead through, from the message inwards.
pub(super) fn walk<'s>(shapes: &'s Shapes, message: usize, steps: &[usize]) -> Vec<&'s Field> {
    let mut at = message;
    let mut fields = Vec::with_capacity(steps.len());
    for step in steps {
        let field = &shapes.message(at).fields[*step];
        if let Kind::Message(inner) = field.kind {
            at = inner;
        }
        fields.push(field);
    }
    fields
}

/// The value of the innermost field, in the messages around it.
pub(super) fn put_nested(fields: &[&Field], text: &str, bounds: Bounds) -> Result<Vec<u8>, Wrong> {
    let mut out = Vec::new();
    let Some((leaf, around)) = fields.split_last() else { return Ok(out) };
    put(&mut out, leaf.number, &leaf.kind, text, bounds)?;
    for field in around.iter().rev() {
        let inner = std::mem::take(&mut out);
        wire::put_bytes(&mut out, field.number, &inner);
    }
    Ok(out)
}

/// Writes one value, tag included.
pub(super) fn put(
    out: &mut Vec<u8>,
    number: u32,
    kind: &Kind,
    text: &str,
    bounds: Bounds,
) -> Result<(), Wrong> {
    if text.contains('\0') {
        return Err("contains U+0000".to_owned());
    }
    match kind {
        Kind::Scalar(scalar) | Kind::WideNumber(scalar) => {
            put_scalar(out, number, *scalar, text, bounds)?;
        }
        Kind::Number { .. } => {
            wire::put_bytes(out, number, plain_decimal(text, bounds)?.as_bytes())
        }
        Kind::Text => wire::put_bytes(out, number, &json_text(text)?),
        Kind::Enum(shape) => put_int32(out, number, enum_number(shape, text)?),
        Kind::Timestamp { .. } | Kind::Duration | Kind::FieldMask => {
            let message = well_known(kind, text)?;
            wire::put_bytes(out, number, &message);
        }
        Kind::Wrapper(scalar) => {
            let mut inner = Vec::new();
            put_scalar(&mut inner, 1, *scalar, text, bounds)?;
            wire::put_bytes(out, number, &inner);
        }
        Kind::Null | Kind::Message(_) | Kind::Struct | Kind::Value | Kind::ListValue => {
            return Err("cannot be given as plain text".to_owned());
        }
    }
    Ok(())
}

fn json_text(text: &str) -> Result<Vec<u8>, Wrong> {
    let mut copy = Vec::new();
    let mut reader = Reader::new(text.as_bytes(), JSON_DEPTH_CEILING);
    let read = reader.copy(&mut copy).and_then(|()| reader.end());
    read.map(|()| copy).map_err(|error| format!("is no JSON text: {}", error.description))
}

/// A string in plain decimal form within bounds, as it is.
pub(super) fn plain_decimal(text: &str, bounds: Bounds) -> Result<&str, Wrong> {
    if !decimal::is_plain(text) {
        return Err("is no number in plain decimal form".to_owned());
    }
    decimal::plain(text, bounds).map(|_| text).map_err(|error| out_of_bounds(error, bounds))
}

pub(super) fn out_of_bounds(error: DecimalError, bounds: Bounds) -> Wrong {
    match error {
        DecimalError::TooManyDigits => {
            format!("has more than {} digits", bounds.digits_max)
        }
        DecimalError::ExponentTooLarge => {
            format!("has an exponent beyond {}", bounds.exponent_max)
        }
    }
}

pub(super) fn put_int32(out: &mut Vec<u8>, number: u32, value: i32) {
    wire::put_tag(out, number, WireType::Varint);
    wire::put_varint(out, i64::from(value) as u64);
}

fn put_scalar(
    out: &mut Vec<u8>,
    number: u32,
    scalar: Scalar,
    text: &str,
    bounds: Bounds,
) -> Result<(), Wrong> {
    match scalar {
        Scalar::String => wire::put_bytes(out, number, text.as_bytes()),
        Scalar::Bytes => wire::put_bytes(out, number, &bytes(text)?),
        Scalar::Bool => match text {
            "true" => put_bool(out, number, true),
            "false" => put_bool(out, number, false),
            _ => return Err("must be `true` or `false`".to_owned()),
        },
        Scalar::Float | Scalar::Double => put_float_text(out, number, scalar, text)?,
        _ => put_integer_text(out, number, scalar, text, bounds)?,
    }
    Ok(())
}

pub(super) fn put_bool(out: &mut Vec<u8>, number: u32, value: bool) {
    wire::put_tag(out, number, WireType::Varint);
    out.push(u8::from(value));
}

/// Base64, standard or URL-safe, padded or not.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Wrong> {
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map_err(|_| "is no base64".to_owned())
}

/// An integer in plain form.
pub(super) fn put_integer_text(
    out: &mut Vec<u8>,
    number: u32,
    scalar: Scalar,
    text: &str,
    bounds: Bounds,
) -> Result<(), Wrong> {
    let token = plain_decimal(text, bounds).map_err(|_| "is no integer".to_owned())?;
    put_integer(out, number, scalar, token, bounds)
}

/// An integer from a number token that may have an exponent.
pub(super) fn put_integer(
    out: &mut Vec<u8>,
    number: u32,
    scalar: Scalar,
    token: &str,
    bounds: Bounds,
) -> Result<(), Wrong> {
    let value = decimal::integer(token, bounds).map_err(|error| out_of_bounds(error, bounds))?;
    let value = value.ok_or_else(|| "is no integer, or too large".to_owned())?;
    let fits = match scalar {
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => i32::try_from(value).is_ok(),
        Scalar::Uint32 | Scalar::Fixed32 => u32::try_from(value).is_ok(),
        Scalar::Uint64 | Scalar::Fixed64 => u64::try_from(value).is_ok(),
        _ => i64::try_from(value).is_ok(),
    };
    if !fits {
        return Err("does not fit its integer type".to_owned());
    }
    wire::put_tag(out, number, scalar.wire());
    match scalar {
        Scalar::Sint32 | Scalar::Sint64 => wire::put_varint(out, wire::zigzag(value as i64)),
        Scalar::Sfixed32 | Scalar::Fixed32 => out.extend_from_slice(&(value as u32).to_le_bytes()),
        Scalar::Sfixed64 | Scalar::Fixed64 => out.extend_from_slice(&(value as u64).to_le_bytes()),
        _ => wire::put_varint(out, value as u64),
    }
    Ok(())
}

/// A number, or one of the three values JSON has no number for.
pub(super) fn put_float_text(
    out: &mut Vec<u8>,
    number: u32,
    scalar: Scalar,
    text: &str,
) -> Result<(), Wrong> {
    let special = match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    };
    if let Some(value) = special {
        wire::put_tag(out, number, scalar.wire());
        match scalar {
            Scalar::Float => out.extend_from_slice(&(value as f32).to_le_bytes()),
            _ => out.extend_from_slice(&value.to_le_bytes()),
        }
        return Ok(());
    }
    let mut reader = Reader::new(text.as_bytes(), 0);
    let token = reader.number().and_then(|token| reader.end().map(|()| token));
    put_float(out, number, scalar, token.map_err(|_| "is no number".to_owned())?)
}

/// A finite number from a number token, for fields whose type is binary floating point.
pub(super) fn put_float(
    out: &mut Vec<u8>,
    number: u32,
    scalar: Scalar,
    token: &str,
) -> Result<(), Wrong> {
    let too_large = || "is too large".to_owned();
    match scalar {
        Scalar::Float => {
            let value = token.parse().ok().filter(|value: &f32| value.is_finite());
            let value = value.ok_or_else(too_large)?;
            wire::put_tag(out, number, WireType::Fixed32);
            out.extend_from_slice(&value.to_le_bytes());
        }
        _ => {
            let value = token.parse().ok().filter(|value: &f64| value.is_finite());
            let value = value.ok_or_else(too_large)?;
            wire::put_tag(out, number, WireType::Fixed64);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    Ok(())
}

/// An enum value by its spelling, or by its number as protobuf's JSON mapping allows.
pub(super) fn enum_number(shape: &EnumShape, text: &str) -> Result<i32, Wrong> {
    if let Some(number) = shape.number(text) {
        return Ok(number);
    }
    if decimal::is_plain(text)
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    let known: Vec<_> = shape.spellings().take(SPELLINGS_MAX).collect();
    Err(format!("must be one of {}", known.join(", ")))
}

/// The message of a timestamp, duration or field mask.
pub(super) fn well_known(kind: &Kind, text: &str) -> Result<Vec<u8>, Wrong> {
    use prost::Message as _;
    match kind {
        Kind::Timestamp { .. } => time::parse(text)
            .map(|value| value.encode_to_vec())
            .ok_or_else(|| "must be a time like 2024-01-15T10:30:00Z (RFC 3339)".to_owned()),
        Kind::Duration => time::parse_duration(text)
            .map(|value| value.encode_to_vec())
            .ok_or_else(|| "must be a duration like 1.5s".to_owned()),
        _ => {
            let paths = text.split(',').filter(|path| !path.is_empty()).map(str::to_owned);
            Ok(prost_types::FieldMask { paths: paths.collect() }.encode_to_vec())
        }
    }
}
