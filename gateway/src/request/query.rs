//! The query string: split and decoded once, then each parameter written to the field it names.
//! The view parameter is read here too, since it is one of them.

use std::collections::{HashMap, HashSet};

use super::nearest::nearest;
use super::{BodyRule, RequestPlan, Seen, Source, plain};
use crate::View;
use crate::failure::Failure;
use crate::json::decimal::Bounds;
use crate::json::token::{ReadError, shorten};
use crate::percent::{self, Mode};
use crate::reason;
use crate::settings::{Settings, UnknownFields};
use crate::shape::{Field, Kind, Message, Presence, Shapes};

/// Longest name repeated in a message, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A decoded query string, in the order it was sent.
#[derive(Debug, Default)]
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
}

/// What a query is applied to.
pub(super) struct Target<'t> {
    pub plan: &'t RequestPlan,
    pub shapes: &'t Shapes,
    pub bounds: Bounds,
    pub settings: &'t Settings,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>, settings: &Settings) -> Result<Self, Failure> {
        let refuse = |what: String| Failure::bad_request(reason::INVALID_QUERY, "", what);
        let query = query.unwrap_or_default();
        if query.len() > settings.query_bytes_max {
            let max = settings.query_bytes_max;
            return Err(refuse(format!("the query is longer than {max} bytes")));
        }
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == settings.query_parameters_max {
                let max = settings.query_parameters_max;
                return Err(refuse(format!("the query has more than {max} parameters")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent::decode(name, Mode::Query)
                .and_then(|name| Some((name, percent::decode(value, Mode::Query)?)));
            let (name, value) =
                decoded.ok_or_else(|| refuse("the query is not percent-encoded UTF-8".into()))?;
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { parameters })
    }

    /// The view that the parameter `name` asks for, if it is there.
    pub(crate) fn view(&self, name: &str) -> Result<Option<View>, Failure> {
        match self.single(name)? {
            None => Ok(None),
            Some("basic") => Ok(Some(View::Basic)),
            Some("full") => Ok(Some(View::Full)),
            Some(_) => Err(refused(name, "must be `basic` or `full`")),
        }
    }

    /// The whole seconds that the parameter `name` asks for, if it is there.
    pub(crate) fn seconds(&self, name: &str, max: u32) -> Result<Option<u32>, Failure> {
        let Some(value) = self.single(name)? else { return Ok(None) };
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let seconds = value.parse().ok().filter(|seconds| digits && *seconds <= max);
        let seconds = seconds
            .ok_or_else(|| refused(name, format!("must be whole seconds from 0 to {max}")))?;
        Ok(Some(seconds))
    }

    /// The value of a parameter that may stand once.
    fn single(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.parameters.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(refused(name, "stands twice in the query")),
            (value, _) => Ok(value),
        }
    }

    pub(super) fn apply(
        &self,
        target: &Target<'_>,
        seen: &mut Seen,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut singular = HashSet::new();
        let mut oneofs = HashMap::new();
        for (name, value) in &self.parameters {
            if target.plan.own_parameters().any(|own| own == name) {
                continue;
            }
            let steps = match target.resolve(name) {
                Ok(steps) => steps,
                Err(_) if target.settings.unknown_fields == UnknownFields::Ignore => continue,
                Err(failure) => return Err(failure),
            };
            let fields = plain::walk(target.shapes, target.plan.message, &steps);
            let refuse = |what: String| Failure::bad_request(reason::INVALID_QUERY, name, what);
            if let (Some(step), 1) = (steps.first(), steps.len())
                && seen.0[*step] == Source::Path
            {
                return Err(refuse("is set by the path".to_owned()));
            }
            let repeated = fields.last().is_some_and(|leaf| leaf.presence == Presence::Repeated);
            if !repeated && !singular.insert(name.as_str()) {
                return Err(refuse("stands twice in the query".to_owned()));
            }
            check_oneofs(&fields, &mut oneofs).map_err(&refuse)?;
            let root = target.shapes.message(target.plan.message);
            if let Some(step) = steps.first() {
                let rival: Result<(), ReadError> = seen.check_oneof(root, *step);
                rival.map_err(|error| refuse(error.description))?;
                seen.0[*step] = Source::Query;
            }
            out.extend_from_slice(
                &plain::put_nested(&fields, value, target.bounds).map_err(refuse)?,
            );
        }
        Ok(())
    }
}

fn refused(name: &str, what: impl Into<String>) -> Failure {
    Failure::bad_request(reason::INVALID_QUERY, name, what)
}

/// Notes the oneof members that a parameter sets on its way, and refuses rivals.
fn check_oneofs(
    fields: &[&Field],
    taken: &mut HashMap<(Vec<u32>, usize), u32>,
) -> Result<(), String> {
    let mut around = Vec::new();
    for field in fields {
        if let Some(oneof) = field.oneof {
            let member = *taken.entry((around.clone(), oneof)).or_insert(field.number);
            if member != field.number {
                return Err("cannot be set together with another parameter".to_owned());
            }
        }
        around.push(field.number);
    }
    Ok(())
}

impl Target<'_> {
    /// The fields that a dotted name leads through.
    fn resolve(&self, name: &str) -> Result<Vec<usize>, Failure> {
        let mut at = self.plan.message;
        let mut steps = Vec::new();
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            let message = self.shapes.message(at);
            let found = message.field_named(part).filter(|n| match self.plan.body {
                _ if !steps.is_empty() => true,
                BodyRule::Whole => false,
                BodyRule::Field(body) => *n != body,
                BodyRule::None => true,
            });
            let Some(n) = found else { return Err(self.unknown(name, message, &steps)) };
            steps.push(n);
            let field = &message.fields[n];
            let single = matches!(field.presence, Presence::Implicit | Presence::Explicit);
            match (&field.kind, parts.peek()) {
                (Kind::Message(inner), Some(_)) if single => at = *inner,
                (_, Some(_)) => return Err(self.unknown(name, message, &steps)),
                (_, None) => {}
            }
        }
        Ok(steps)
    }

    fn unknown(&self, name: &str, message: &Message, steps: &[usize]) -> Failure {
        let at_root = steps.is_empty();
        let hidden = |n: usize| match self.plan.body {
            BodyRule::Whole => at_root,
            BodyRule::Field(body) => at_root && n == body,
            BodyRule::None => false,
        };
        let fields = message.fields.iter().enumerate();
        let known = fields.filter(|(n, _)| !hidden(*n)).map(|(_, field)| field.name.as_ref());
        let own = self.plan.own_parameters().filter(|_| at_root);
        let last = name.rsplit('.').next().unwrap_or(name);
        let short = shorten(name, NAME_CHARS_MAX);
        let what = match nearest(last, known.chain(own)) {
            Some(near) => format!("unknown parameter; the nearest known one is `{near}`"),
            None => "unknown parameter; this method has none in its query".to_owned(),
        };
        Failure::bad_request(reason::UNKNOWN_FIELD, &short, what)
    }
}
