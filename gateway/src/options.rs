//! Reads `google.api.http` and `gateway.options.v1` from a descriptor pool, by full name.
//! It knows the names and numbers of those options; what they do is decided elsewhere.

use std::borrow::Cow;

use http::{HeaderName, Method};
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor,
    MethodDescriptor, ServiceDescriptor, Value,
};

use crate::BuildError;

/// Deepest nesting of `additional_bindings`; google.api.http allows one level.
const BINDINGS_DEPTH_MAX: u32 = 1;

/// The extensions of one pool; those it does not have are simply never set.
pub(crate) struct Options {
    http: Option<ExtensionDescriptor>,
    field: Option<ExtensionDescriptor>,
    enum_shape: Option<ExtensionDescriptor>,
    service: Option<ExtensionDescriptor>,
    wait: Option<ExtensionDescriptor>,
}

/// `gateway.options.v1.JsonForm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum JsonForm {
    #[default]
    Default,
    Number,
    Text,
    SecondsOffset,
}

/// `gateway.options.v1.FieldShape`.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldOptions {
    pub json: JsonForm,
    pub full_only: bool,
    pub fraction_digits_min: usize,
    pub fraction_digits_max: usize,
    pub object_key: Option<String>,
    pub header: Option<HeaderName>,
    pub auto_fill: bool,
}

/// `gateway.options.v1.ServiceShape`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceOptions {
    pub success_key: Option<String>,
    pub view_parameter: Option<String>,
}

/// `gateway.options.v1.Wait`.
#[derive(Debug, Clone)]
pub(crate) struct WaitOptions {
    pub parameter: String,
    pub seconds_max: u32,
    pub watch: String,
}

/// One binding of a `google.api.HttpRule`.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub method: Method,
    pub path: String,
    pub body: String,
    pub response_body: String,
}

impl Options {
    pub(crate) fn of(pool: &DescriptorPool) -> Self {
        Self {
            http: pool.get_extension_by_name("google.api.http"),
            field: pool.get_extension_by_name("gateway.options.v1.field"),
            enum_shape: pool.get_extension_by_name("gateway.options.v1.enum_shape"),
            service: pool.get_extension_by_name("gateway.options.v1.service"),
            wait: pool.get_extension_by_name("gateway.options.v1.wait"),
        }
    }

    pub(crate) fn field(&self, field: &FieldDescriptor) -> Result<FieldOptions, BuildError> {
        let Some(shape) = extension(&field.options(), self.field.as_ref()) else {
            return Ok(FieldOptions::default());
        };
        let bad = |what: &str| BuildError::option(field.full_name(), what);
        let header = match text(&shape, "header") {
            None => None,
            Some(name) => Some(
                HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
                    .map_err(|_| bad("`header` is no header name"))?,
            ),
        };
        Ok(FieldOptions {
            json: match number(&shape, "json") {
                0 => JsonForm::Default,
                1 => JsonForm::Number,
                2 => JsonForm::Text,
                3 => JsonForm::SecondsOffset,
                _ => return Err(bad("`json` has a value this gateway does not know")),
            },
            full_only: match number(&shape, "view") {
                0 => false,
                1 => true,
                _ => return Err(bad("`view` has a value this gateway does not know")),
            },
            fraction_digits_min: number(&shape, "fraction_digits_min") as usize,
            fraction_digits_max: number(&shape, "fraction_digits_max") as usize,
            object_key: text(&shape, "object_key"),
            header,
            auto_fill: flag(&shape, "auto_fill"),
        })
    }

    /// `gateway.options.v1.EnumShape.lower_short`.
    pub(crate) fn lower_short(&self, desc: &EnumDescriptor) -> bool {
        extension(&desc.options(), self.enum_shape.as_ref())
            .is_some_and(|shape| flag(&shape, "lower_short"))
    }

    pub(crate) fn service(&self, service: &ServiceDescriptor) -> ServiceOptions {
        match extension(&service.options(), self.service.as_ref()) {
            None => ServiceOptions::default(),
            Some(shape) => ServiceOptions {
                success_key: text(&shape, "success_key"),
                view_parameter: text(&shape, "view_parameter"),
            },
        }
    }

    pub(crate) fn wait(&self, method: &MethodDescriptor) -> Option<WaitOptions> {
        let wait = extension(&method.options(), self.wait.as_ref())?;
        Some(WaitOptions {
            parameter: text(&wait, "parameter").unwrap_or_default(),
            seconds_max: number(&wait, "seconds_max"),
            watch: text(&wait, "watch").unwrap_or_default(),
        })
    }

    /// All HTTP bindings of a method; empty when it has no rule.
    pub(crate) fn bindings(&self, method: &MethodDescriptor) -> Result<Vec<Binding>, BuildError> {
        let mut bindings = Vec::new();
        if let Some(rule) = extension(&method.options(), self.http.as_ref()) {
            collect(&rule, method.full_name(), BINDINGS_DEPTH_MAX, &mut bindings)?;
        }
        Ok(bindings)
    }
}

fn collect(
    rule: &DynamicMessage,
    name: &str,
    depth: u32,
    bindings: &mut Vec<Binding>,
) -> Result<(), BuildError> {
    let patterns = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ];
    let mut pattern =
        patterns.into_iter().find_map(|(key, method)| Some((method, text(rule, key)?)));
    if let Some(Value::Message(custom)) = set(rule, "custom").as_deref() {
        let kind = text(custom, "kind").unwrap_or_default();
        let method = Method::from_bytes(kind.as_bytes())
            .ok()
            .filter(|_| !kind.is_empty() && kind != "*")
            .ok_or_else(|| BuildError::option(name, "`custom.kind` is no HTTP method"))?;
        pattern = Some((method, text(custom, "path").unwrap_or_default()));
    }
    let (method, path) =
        pattern.ok_or_else(|| BuildError::option(name, "its HTTP rule has no path"))?;
    bindings.push(Binding {
        method,
        path,
        body: text(rule, "body").unwrap_or_default(),
        response_body: text(rule, "response_body").unwrap_or_default(),
    });
    if let Some(Value::List(more)) = set(rule, "additional_bindings").as_deref() {
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| BuildError::option(name, "additional bindings are nested"))?;
        for rule in more.iter().filter_map(Value::as_message) {
            collect(rule, name, depth, bindings)?;
        }
    }
    Ok(())
}

fn extension(
    options: &DynamicMessage,
    extension: Option<&ExtensionDescriptor>,
) -> Option<DynamicMessage> {
    let extension = extension?;
    if !options.has_extension(extension) {
        return None;
    }
    options.get_extension(extension).as_message().cloned()
}

fn set<'a>(message: &'a DynamicMessage, name: &str) -> Option<Cow<'a, Value>> {
    message.has_field_by_name(name).then(|| message.get_field_by_name(name)).flatten()
}

fn text(message: &DynamicMessage, name: &str) -> Option<String> {
    set(message, name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn flag(message: &DynamicMessage, name: &str) -> bool {
    set(message, name).and_then(|value| value.as_bool()).unwrap_or(false)
}

/// A `uint32` or enum number; absent and negative ones are 0 and `u32::MAX`, which no enum has.
fn number(message: &DynamicMessage, name: &str) -> u32 {
    match set(message, name).as_deref() {
        Some(Value::U32(value)) => *value,
        Some(Value::EnumNumber(value)) => u32::try_from(*value).unwrap_or(u32::MAX),
        _ => 0,
    }
}
