//! From an HTTP request to the bytes of a protobuf message: body, query, path and headers, each
//! read by the compiled shape of its field. Sending the bytes is the business of `call`.

mod body;
mod nearest;
mod plain;
mod query;

use http::HeaderMap;
use uuid::Uuid;

use crate::failure::Failure;
use crate::json::decimal::Bounds;
use crate::json::token::{ReadError, Reader};
use crate::router::PathSegments;
use crate::settings::{Settings, UnknownFields};
use crate::shape::{Message, Shapes};
use crate::template::Variable;
use crate::wire;

use body::BodyReader;
pub(crate) use query::Query;

/// Longest value of a header that fills a field, in bytes.
const HEADER_VALUE_BYTES_MAX: usize = 255;

/// Where the body of a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRule {
    /// Nowhere: there may be none but `{}`.
    None,
    /// It is the message.
    Whole,
    /// It is the value of this field of the message.
    Field(usize),
}

/// A path variable and the field it fills.
#[derive(Debug)]
pub(crate) struct PathField {
    pub variable: Variable,
    /// Field indexes from the request message inwards.
    pub steps: Vec<usize>,
}

/// How the request of one route is read.
#[derive(Debug)]
pub(crate) struct RequestPlan {
    /// The request message.
    pub message: usize,
    pub body: BodyRule,
    pub path: Vec<PathField>,
    pub view_parameter: Option<String>,
    pub wait_parameter: Option<String>,
}

impl RequestPlan {
    /// Query parameters that are the gateway's own and set no field.
    fn own_parameters(&self) -> impl Iterator<Item = &str> {
        [&self.view_parameter, &self.wait_parameter].into_iter().filter_map(|name| name.as_deref())
    }
}

/// What set a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Nothing,
    Null,
    Json,
    Path,
    Query,
}

/// What set each field of one message.
struct Seen(Vec<Source>);

impl Seen {
    fn of(message: &Message) -> Self {
        Self(vec![Source::Nothing; message.fields.len()])
    }

    fn is_set(&self, field: usize) -> bool {
        !matches!(self.0[field], Source::Nothing | Source::Null)
    }

    /// Refuses a second member of a oneof.
    fn check_oneof(&self, message: &Message, field: usize) -> Result<(), ReadError> {
        let Some(oneof) = message.fields[field].oneof else { return Ok(()) };
        let rival = message
            .fields
            .iter()
            .enumerate()
            .find(|(n, other)| *n != field && other.oneof == Some(oneof) && self.is_set(*n));
        match rival {
            None => Ok(()),
            Some((_, rival)) => {
                Err(ReadError::invalid(format!("cannot be set together with `{}`", rival.name)))
            }
        }
    }
}

/// What one request brought.
pub(crate) struct Brought<'r> {
    pub path: &'r PathSegments<'r>,
    pub query: &'r Query,
    pub headers: &'r HeaderMap,
    pub body: &'r [u8],
}

/// Reads everything a request brought into the bytes of its message.
pub(crate) fn read(
    plan: &RequestPlan,
    shapes: &Shapes,
    settings: &Settings,
    brought: &Brought<'_>,
) -> Result<Vec<u8>, Failure> {
    let message = shapes.message(plan.message);
    let bounds = Bounds {
        digits_max: settings.number_digits_max,
        exponent_max: settings.number_exponent_max,
    };
    let mut seen = Seen::of(message);
    let mut out = Vec::with_capacity(brought.body.len() + 64);
    for field in &plan.path {
        if let [step] = field.steps[..] {
            seen.0[step] = Source::Path;
        }
    }
    let body = BodyReader {
        shapes,
        json: Reader::new(brought.body, settings.json_depth_max),
        ignore_unknown: settings.unknown_fields == UnknownFields::Ignore,
        bounds,
    };
    read_body(plan, body, brought.body, &mut seen, &mut out).map_err(Failure::from)?;
    let target = query::Target { plan, shapes, bounds, settings };
    brought.query.apply(&target, &mut seen, &mut out)?;
    for field in &plan.path {
        read_path(field, plan, shapes, bounds, brought.path, &mut out)?;
    }
    fill(message, &mut seen, bounds, brought.headers, &mut out).map_err(Failure::from)?;
    Ok(out)
}

fn read_body(
    plan: &RequestPlan,
    mut body: BodyReader<'_, '_>,
    bytes: &[u8],
    seen: &mut Seen,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    if bytes.is_empty() {
        return Ok(());
    }
    match plan.body {
        BodyRule::Whole => body.object(plan.message, seen, out)?,
        BodyRule::None => body.nothing()?,
        BodyRule::Field(n) => {
            let field = &body.shapes.message(plan.message).fields[n];
            let set = body.field(field, out).map_err(|error| error.under(&field.name))?;
            seen.0[n] = if set { Source::Json } else { Source::Null };
        }
    }
    body.json.end()
}

/// Path values are written last: the last value of a field counts, and messages merge.
fn read_path(
    field: &PathField,
    plan: &RequestPlan,
    shapes: &Shapes,
    bounds: Bounds,
    path: &PathSegments<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let fail = |what: String| {
        let error = ReadError::invalid(what);
        Failure::from(error.under(&field.variable.field))
    };
    let text = path
        .value(&field.variable)
        .ok_or_else(|| fail("is not percent-encoded UTF-8 in the path".to_owned()))?;
    let fields = plain::walk(shapes, plan.message, &field.steps);
    let written = plain::put_nested(&fields, &text, bounds).map_err(fail)?;
    out.extend_from_slice(&written);
    Ok(())
}

/// Sets what nothing has set yet from headers, or with a fresh identity.
fn fill(
    message: &Message,
    seen: &mut Seen,
    bounds: Bounds,
    headers: &HeaderMap,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    for (n, field) in message.fields.iter().enumerate() {
        if seen.is_set(n) {
            continue;
        }
        let mut set = false;
        if let Some(name) = &field.header {
            let mut values = headers.get_all(name).iter();
            if let Some(value) = values.next() {
                let fail =
                    |what| ReadError::invalid(format!("header `{name}` {what}")).under(&field.name);
                let bytes = value.as_bytes();
                if values.next().is_some() {
                    return Err(fail("stands twice".to_owned()));
                }
                if bytes.is_empty() || bytes.len() > HEADER_VALUE_BYTES_MAX {
                    let max = HEADER_VALUE_BYTES_MAX;
                    return Err(fail(format!("must have 1 to {max} characters")));
                }
                let text = std::str::from_utf8(bytes)
                    .ok()
                    .filter(|text| text.bytes().all(|b| b.is_ascii_graphic()))
                    .ok_or_else(|| fail("must be visible ASCII".to_owned()))?;
                plain::put(out, field.number, &field.kind, text, bounds).map_err(fail)?;
                set = true;
            }
        }
        if !set && field.auto_fill {
            let text = format!("auto-{}", Uuid::new_v4());
            wire::put_bytes(out, field.number, text.as_bytes());
        }
    }
    Ok(())
}
