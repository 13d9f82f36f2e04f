//! Path templates and queries against slow readings of their grammars: every template tried in turn,
//! every byte decoded in turn.

use http::Method;

use crate::Settings;
use crate::percent::{self, Mode};
use crate::request::Query;
use crate::router::{Found, Router};
use crate::template::{SEGMENTS_MAX, Template};

/// Templates that one input adds at the most.
const TEMPLATES_MAX: usize = 8;

/// One template, read by its text alone.
struct Slow<'t> {
    method: Method,
    /// `*`, `**` or a literal.
    segments: Vec<&'t str>,
    verb: Option<&'t str>,
}

/// How a template takes a path: smaller is more to the point.
type Rank = Vec<u8>;

impl Slow<'_> {
    fn rank(&self, path: &[&str]) -> Option<Rank> {
        let mut rank = Rank::new();
        for (n, segment) in self.segments.iter().enumerate() {
            match (*segment, path.get(n)) {
                ("**", _) => {
                    rank.push(3);
                    return Some(rank);
                }
                ("*", Some(part)) if !part.is_empty() => rank.push(2),
                (literal, Some(part)) if literal != "*" && *decoded(part, false)? == *literal => {
                    rank.push(1);
                }
                _ => return None,
            }
        }
        rank.push(0);
        (self.segments.len() == path.len()).then_some(rank)
    }
}

/// Lines of `METHOD template`, and at last a path for GET: the router finds what a slow matcher
/// finds, and the values of variables hold no slash that was not there.
pub fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.split('\n').collect();
    let Some((path, templates)) = lines.split_last() else { return };
    let mut router = Router::default();
    let mut known = Vec::new();
    for line in templates.iter().take(TEMPLATES_MAX) {
        let (method, template) = line.split_once(' ').unwrap_or(("GET", line));
        let method = if method == "POST" { Method::POST } else { Method::GET };
        let Ok(parsed) = Template::parse(template) else { continue };
        let slow = slow(method.clone(), template);
        assert_eq!(slow.segments.len(), parsed.segments.len());
        let twin = known.iter().any(|(_, other): &(_, Slow<'_>)| {
            (&other.method, &other.segments, &other.verb)
                == (&slow.method, &slow.segments, &slow.verb)
        });
        assert_eq!(router.add(&method, &parsed, known.len()), !twin, "{template}");
        // A second route for one path is an error of the contract; the first one stays.
        if !twin {
            known.push((parsed, slow));
        }
    }
    let expected = expected(&known, path);
    match router.find(&Method::GET, path) {
        Found::Route { route, path: found } => {
            assert_eq!(expected, Ok(route), "{path}");
            for variable in &known[route].0.variables {
                let Some(value) = found.value(variable) else { continue };
                let spans = variable.to.map(|to| to - variable.from);
                if spans == Some(1) {
                    continue;
                }
                let slashes = value.matches('/').count();
                assert!(slashes < path.matches('/').count(), "a slash came out of {path}: {value}");
            }
        }
        Found::OtherMethods(methods) => {
            assert_eq!(methods, [Method::POST]);
            assert_eq!(expected, Err(true), "{path}");
        }
        Found::Nothing => assert_eq!(expected, Err(false), "{path}"),
    }
}

/// The segments of a template without its variables' names.
fn slow(method: Method, template: &str) -> Slow<'_> {
    let rest = template.strip_prefix('/').unwrap_or(template);
    let last = rest.rfind('}').map_or(0, |at| at + 1);
    let (rest, verb) = match rest[last..].find(':') {
        Some(at) => (&rest[..last + at], Some(&rest[last + at + 1..])),
        None => (rest, None),
    };
    let mut segments = Vec::new();
    for piece in rest.split('/').filter(|_| !rest.is_empty()) {
        let bare = match piece.split_once('{') {
            Some((_, name)) => name.split_once('=').map_or("*", |(_, pattern)| pattern),
            None => piece,
        };
        segments.push(bare.trim_end_matches('}'));
    }
    Slow { method, segments, verb }
}

/// The route for GET; else whether the path has another method.
fn expected(known: &[(Template, Slow<'_>)], path: &str) -> Result<usize, bool> {
    let Some(rest) = path.strip_prefix('/').filter(|_| !known.is_empty()) else {
        return Err(false);
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let parts: Vec<&str> = rest.split('/').filter(|_| !rest.is_empty()).collect();
    if parts.len() > SEGMENTS_MAX {
        return Err(false);
    }
    let mut tries = Vec::new();
    if let Some((bare, verb)) = parts.last().and_then(|last| last.rsplit_once(':')) {
        let mut without = parts.clone();
        without.pop();
        without.push(bare);
        tries.push((without, Some(verb)));
    }
    tries.push((parts, None));
    let mut other = false;
    for (parts, verb) in tries {
        let fits = known.iter().enumerate().filter(|(_, (_, slow))| slow.verb == verb);
        let ranked = fits.filter_map(|(n, (_, slow))| Some((slow.rank(&parts)?, n, slow)));
        let (own, others): (Vec<_>, Vec<_>) =
            ranked.partition(|(_, _, slow)| slow.method == Method::GET);
        if let Some((_, route, _)) = own.into_iter().min_by_key(|(rank, ..)| rank.clone()) {
            return Ok(route);
        }
        other |= !others.is_empty();
    }
    Err(other)
}

/// Any text as a query, and as a value: decoded as the grammar has it, within the limits.
pub fn query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let ours = percent::decode(&text, Mode::Query).map(|text| text.into_owned());
    assert_eq!(ours, decoded(&text, true));
    let ours = percent::decode(&text, Mode::Segment).map(|text| text.into_owned());
    assert_eq!(ours, decoded(&text, false));
    if let Some(spanning) = percent::decode(&text, Mode::Segments) {
        let slashes = |text: &str| text.matches('/').count();
        assert_eq!(slashes(&spanning), slashes(&text), "a slash came out");
    }

    let settings = Settings { query_bytes_max: 512, query_parameters_max: 8, ..Default::default() };
    let pairs: Vec<&str> = text.split('&').filter(|pair| !pair.is_empty()).collect();
    let whole = pairs.iter().all(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(name, true).is_some() && decoded(value, true).is_some()
    });
    let parsed = Query::parse(Some(&text), &settings);
    let fits = text.len() <= settings.query_bytes_max && pairs.len() <= 8;
    assert_eq!(parsed.is_ok(), fits && whole);
    if let Ok(query) = parsed {
        if let Ok(Some(seconds)) = query.seconds("wait", 60) {
            assert!(seconds <= 60);
        }
        let _ = query.view("view");
    }
}

/// Percent-decodes byte by byte; `None` for broken escapes and what is not UTF-8.
fn decoded(text: &str, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}
