//! Messages as the gateway sees them: compiled once from descriptors and options, then used to
//! write JSON from bytes and bytes from JSON. No descriptor is touched after this.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::HeaderName;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as ProtoKind, MessageDescriptor};

use crate::json::escape;
use crate::options::{FieldOptions, JsonForm, Options};
use crate::wire::WireType;
use crate::{BuildError, View};

/// Protobuf's fifteen scalar types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int32,
    Sint32,
    Sfixed32,
    Uint32,
    Fixed32,
    Int64,
    Sint64,
    Sfixed64,
    Uint64,
    Fixed64,
    Float,
    Double,
    String,
    Bytes,
}

impl Scalar {
    pub(crate) fn wire(self) -> WireType {
        match self {
            Self::Sfixed32 | Self::Fixed32 | Self::Float => WireType::Fixed32,
            Self::Sfixed64 | Self::Fixed64 | Self::Double => WireType::Fixed64,
            Self::String | Self::Bytes => WireType::Len,
            _ => WireType::Varint,
        }
    }

    pub(crate) fn is_wide(self) -> bool {
        use Scalar::{Fixed64, Int64, Sfixed64, Sint64, Uint64};
        matches!(self, Int64 | Sint64 | Sfixed64 | Uint64 | Fixed64)
    }
}

/// What a value is and how it stands in JSON.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// As protobuf's JSON mapping has it.
    Scalar(Scalar),
    /// A 64-bit integer as a number token.
    WideNumber(Scalar),
    /// A decimal string as a number token.
    Number {
        digits_min: usize,
        digits_max: usize,
    },
    /// JSON text in a string.
    Text,
    Enum(Arc<EnumShape>),
    /// `google.protobuf.NullValue`.
    Null,
    /// Index into [`Shapes`].
    Message(usize),
    Timestamp {
        seconds_offset: bool,
    },
    Duration,
    FieldMask,
    Wrapper(Scalar),
    Struct,
    Value,
    ListValue,
}

impl Kind {
    pub(crate) fn wire(&self) -> WireType {
        match self {
            Self::Scalar(scalar) | Self::WideNumber(scalar) => scalar.wire(),
            Self::Enum(_) | Self::Null => WireType::Varint,
            _ => WireType::Len,
        }
    }

    /// Whether the value is a message on the wire, so that a second one merges into the first.
    pub(crate) fn is_message(&self) -> bool {
        !matches!(
            self,
            Self::Scalar(_)
                | Self::WideNumber(_)
                | Self::Number { .. }
                | Self::Text
                | Self::Enum(_)
                | Self::Null
        )
    }
}

/// How often a field stands in its message, and what its absence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Absent is the default value.
    Implicit,
    /// Absent is `null`.
    Explicit,
    Repeated,
    /// A map; the field's kind is the message of its entries.
    Map,
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    pub number: u32,
    pub name: Box<str>,
    /// The name as a JSON key, quotes and colon included.
    pub key: Box<[u8]>,
    pub kind: Kind,
    pub presence: Presence,
    /// Which oneof of the message it belongs to, if any.
    pub oneof: Option<usize>,
    /// A repeated message that stands as one object: the element's field that holds the key.
    pub object_key: Option<usize>,
    pub header: Option<HeaderName>,
    pub auto_fill: bool,
}

/// One message: its fields in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Message {
    pub fields: Box<[Field]>,
    by_name: HashMap<Box<str>, usize>,
}

impl Message {
    pub(crate) fn field_named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The index of a field by number; `hint` is where it probably is.
    pub(crate) fn field_numbered(&self, number: u32, hint: usize) -> Option<usize> {
        if self.fields.get(hint).is_some_and(|field| field.number == number) {
            return Some(hint);
        }
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

/// The values of an enum as spelled in JSON.
#[derive(Debug)]
pub(crate) struct EnumShape {
    names: BTreeMap<i32, Box<str>>,
    numbers: HashMap<Box<str>, i32>,
}

impl EnumShape {
    pub(crate) fn name(&self, number: i32) -> Option<&str> {
        self.names.get(&number).map(AsRef::as_ref)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.numbers.get(name).copied()
    }

    /// Those that a request may use.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(AsRef::as_ref).filter(|name| self.numbers.contains_key(*name))
    }
}

/// All messages of one view, by index.
#[derive(Debug)]
pub(crate) struct Shapes {
    messages: Vec<Message>,
}

impl Shapes {
    pub(crate) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }
}

/// Compiles messages as they are asked for, each once.
pub(crate) struct ShapeCompiler<'o> {
    options: &'o Options,
    view: View,
    indexes: HashMap<String, usize>,
    enums: HashMap<String, Arc<EnumShape>>,
    messages: Vec<Option<Message>>,
}

impl<'o> ShapeCompiler<'o> {
    pub(crate) fn new(options: &'o Options, view: View) -> Self {
        let (indexes, enums, messages) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { options, view, indexes, enums, messages }
    }

    pub(crate) fn finish(self) -> Shapes {
        Shapes { messages: self.messages.into_iter().flatten().collect() }
    }

    /// The message at `index`, once compiled.
    pub(crate) fn compiled(&self, index: usize) -> Option<&Message> {
        self.messages.get(index).and_then(Option::as_ref)
    }

    /// The kind of a message that stands alone, well-known types included.
    pub(crate) fn root(&mut self, desc: &MessageDescriptor) -> Result<Kind, BuildError> {
        if let Some(kind) = well_known(desc)? {
            return Ok(kind);
        }
        if let Some(&index) = self.indexes.get(desc.full_name()) {
            return Ok(Kind::Message(index));
        }
        let index = self.messages.len();
        self.indexes.insert(desc.full_name().to_owned(), index);
        self.messages.push(None);
        let mut fields = Vec::new();
        let mut keyed = Vec::new();
        let oneofs: Vec<_> = desc.oneofs().map(|oneof| oneof.name().to_owned()).collect();
        for field in desc.fields() {
            let options = self.options.field(&field)?;
            if options.full_only && self.view == View::Basic {
                continue;
            }
            let mut shape = self.field(&field, &options)?;
            shape.oneof = field
                .containing_oneof()
                .filter(|oneof| !oneof.is_synthetic())
                .and_then(|oneof| oneofs.iter().position(|name| name == oneof.name()));
            if let Some(key) = options.object_key {
                keyed.push((field.clone(), key, shape.number));
            }
            fields.push(shape);
        }
        fields.sort_by_key(|field| field.number);
        let by_name = fields.iter().enumerate().map(|(n, f)| (f.name.clone(), n)).collect();
        let mut message = Message { fields: fields.into(), by_name };
        for (field, key, number) in keyed {
            let position = self.key_position(&field, &key)?;
            if let Some(shape) = message.fields.iter_mut().find(|shape| shape.number == number) {
                shape.object_key = Some(position);
            }
        }
        self.messages[index] = Some(message);
        Ok(Kind::Message(index))
    }

    /// Where the key of an object-keyed field stands among its element's compiled fields.
    fn key_position(&self, field: &FieldDescriptor, key: &str) -> Result<usize, BuildError> {
        let bad = |what| BuildError::option(field.full_name(), what);
        let ProtoKind::Message(element) = field.kind() else {
            return Err(bad("`object_key` stands on a field that is no repeated message"));
        };
        let wanted = element
            .get_field_by_name(key)
            .filter(|f| field.is_list() && f.kind() == ProtoKind::String && !f.is_list())
            .ok_or_else(|| bad("`object_key` names no string field of a repeated message"))?;
        // The element may be this very message, still being compiled: count instead of looking up.
        let mut position = 0;
        for other in element.fields() {
            let hidden = self.options.field(&other)?.full_only && self.view == View::Basic;
            if other.number() == wanted.number() && hidden {
                return Err(bad("`object_key` names a field that the basic view leaves out"));
            }
            position += usize::from(!hidden && other.number() < wanted.number());
        }
        Ok(position)
    }

    fn field(
        &mut self,
        field: &FieldDescriptor,
        options: &FieldOptions,
    ) -> Result<Field, BuildError> {
        let presence = if field.is_map() {
            Presence::Map
        } else if field.is_list() {
            Presence::Repeated
        } else if field.supports_presence() {
            Presence::Explicit
        } else {
            Presence::Implicit
        };
        if (options.header.is_some() || options.auto_fill)
            && !matches!(presence, Presence::Implicit | Presence::Explicit)
        {
            return Err(BuildError::option(field.full_name(), "`header` on a repeated field"));
        }
        if options.auto_fill && field.kind() != ProtoKind::String {
            return Err(BuildError::option(field.full_name(), "`auto_fill` on no string field"));
        }
        Ok(Field {
            number: field.number(),
            name: field.name().into(),
            key: escape::key(field.name()).into(),
            kind: self.kind(field, options)?,
            presence,
            oneof: None,
            object_key: None,
            header: options.header.clone(),
            auto_fill: options.auto_fill,
        })
    }

    fn kind(
        &mut self,
        field: &FieldDescriptor,
        options: &FieldOptions,
    ) -> Result<Kind, BuildError> {
        let bad = |what| BuildError::option(field.full_name(), what);
        if field.is_group() {
            return Err(BuildError::Unsupported {
                what: "a group",
                name: field.full_name().to_owned(),
            });
        }
        let plain = match field.kind() {
            ProtoKind::Message(desc) => self.root(&desc)?,
            ProtoKind::Enum(desc) if desc.full_name() == "google.protobuf.NullValue" => Kind::Null,
            ProtoKind::Enum(desc) => Kind::Enum(self.enumeration(&desc)?),
            other => Kind::Scalar(scalar(&other).ok_or_else(|| bad("its type is unknown"))?),
        };
        let (min, max) = (options.fraction_digits_min, options.fraction_digits_max);
        if options.json != JsonForm::Number && (min > 0 || max > 0) {
            return Err(bad("fraction digits without JSON_FORM_NUMBER"));
        }
        match (options.json, plain) {
            (JsonForm::Default, plain) => Ok(plain),
            (JsonForm::Number, Kind::Scalar(Scalar::String)) if max == 0 || min <= max => {
                Ok(Kind::Number { digits_min: min, digits_max: max })
            }
            (JsonForm::Number, Kind::Scalar(wide)) if wide.is_wide() && min == 0 && max == 0 => {
                Ok(Kind::WideNumber(wide))
            }
            (JsonForm::Text, Kind::Scalar(Scalar::String)) => Ok(Kind::Text),
            (JsonForm::SecondsOffset, Kind::Timestamp { .. }) => {
                Ok(Kind::Timestamp { seconds_offset: true })
            }
            _ => Err(bad("its type cannot have this JSON form or these fraction digits")),
        }
    }

    fn enumeration(&mut self, desc: &EnumDescriptor) -> Result<Arc<EnumShape>, BuildError> {
        if let Some(shape) = self.enums.get(desc.full_name()) {
            return Ok(Arc::clone(shape));
        }
        let short = self.options.lower_short(desc);
        let mut shape = EnumShape { names: BTreeMap::new(), numbers: HashMap::new() };
        for value in desc.values() {
            let name: Box<str> = match short {
                true => without_prefix(value.name(), desc.name()).to_ascii_lowercase().into(),
                false => value.name().into(),
            };
            shape.names.entry(value.number()).or_insert_with(|| name.clone());
            // Short names are words of an API: who means none of them leaves the field out.
            if short && value.number() == 0 && &*name == "unspecified" {
                continue;
            }
            let known = shape.numbers.insert(name, value.number());
            if known.is_some_and(|number| number != value.number()) {
                return Err(BuildError::option(desc.full_name(), "two values share a short name"));
            }
        }
        let shape = Arc::new(shape);
        self.enums.insert(desc.full_name().to_owned(), Arc::clone(&shape));
        Ok(shape)
    }
}

/// `COLOR_DARK_RED` without the prefix that spells `Color`; as it is when it has none.
fn without_prefix<'v>(value: &'v str, enum_name: &str) -> &'v str {
    let mut wanted = enum_name.chars().filter(|c| *c != '_').peekable();
    for (at, found) in value.char_indices() {
        if wanted.peek().is_none() {
            let rest = value[at..].strip_prefix('_').filter(|rest| !rest.is_empty());
            return rest.unwrap_or(value);
        }
        if found == '_' {
            continue;
        }
        if !wanted.next().is_some_and(|c| c.eq_ignore_ascii_case(&found)) {
            return value;
        }
    }
    value
}

fn well_known(desc: &MessageDescriptor) -> Result<Option<Kind>, BuildError> {
    let Some(name) = desc.full_name().strip_prefix("google.protobuf.") else {
        return Ok(None);
    };
    Ok(Some(match name {
        "Timestamp" => Kind::Timestamp { seconds_offset: false },
        "Duration" => Kind::Duration,
        "FieldMask" => Kind::FieldMask,
        "Struct" => Kind::Struct,
        "Value" => Kind::Value,
        "ListValue" => Kind::ListValue,
        "DoubleValue" => Kind::Wrapper(Scalar::Double),
        "FloatValue" => Kind::Wrapper(Scalar::Float),
        "Int64Value" => Kind::Wrapper(Scalar::Int64),
        "UInt64Value" => Kind::Wrapper(Scalar::Uint64),
        "Int32Value" => Kind::Wrapper(Scalar::Int32),
        "UInt32Value" => Kind::Wrapper(Scalar::Uint32),
        "BoolValue" => Kind::Wrapper(Scalar::Bool),
        "StringValue" => Kind::Wrapper(Scalar::String),
        "BytesValue" => Kind::Wrapper(Scalar::Bytes),
        "Any" => {
            let name = desc.full_name().to_owned();
            return Err(BuildError::Unsupported { what: "an Any", name });
        }
        _ => return Ok(None),
    }))
}

fn scalar(kind: &ProtoKind) -> Option<Scalar> {
    Some(match kind {
        ProtoKind::Bool => Scalar::Bool,
        ProtoKind::Int32 => Scalar::Int32,
        ProtoKind::Sint32 => Scalar::Sint32,
        ProtoKind::Sfixed32 => Scalar::Sfixed32,
        ProtoKind::Uint32 => Scalar::Uint32,
        ProtoKind::Fixed32 => Scalar::Fixed32,
        ProtoKind::Int64 => Scalar::Int64,
        ProtoKind::Sint64 => Scalar::Sint64,
        ProtoKind::Sfixed64 => Scalar::Sfixed64,
        ProtoKind::Uint64 => Scalar::Uint64,
        ProtoKind::Fixed64 => Scalar::Fixed64,
        ProtoKind::Float => Scalar::Float,
        ProtoKind::Double => Scalar::Double,
        ProtoKind::String => Scalar::String,
        ProtoKind::Bytes => Scalar::Bytes,
        ProtoKind::Message(_) | ProtoKind::Enum(_) => return None,
    })
}
