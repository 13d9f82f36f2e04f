//! From an HTTP method and path to a route: a tree of path segments in which literals win over
//! variables. What a route does is not known here.

use std::borrow::Cow;
use std::collections::HashMap;

use http::Method;

use crate::percent::{self, Mode};
use crate::template::{SEGMENTS_MAX, Segment, Template, Variable};

/// The tree; node 0 is the root.
#[derive(Debug, Default)]
pub(crate) struct Router {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, usize>,
    one: Option<usize>,
    here: Vec<Leaf>,
    rest: Vec<Leaf>,
}

#[derive(Debug)]
struct Leaf {
    method: Method,
    verb: Option<String>,
    route: usize,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Route {
        route: usize,
        path: PathSegments<'a>,
    },
    /// The path exists with these methods.
    OtherMethods(Vec<Method>),
    Nothing,
}

/// The segments of a request path as sent, without a verb.
#[derive(Debug)]
pub(crate) struct PathSegments<'a> {
    raw: Vec<&'a str>,
}

impl<'a> PathSegments<'a> {
    /// The decoded value of a variable; `None` if it is not valid percent-encoded UTF-8.
    pub(crate) fn value(&self, variable: &Variable) -> Option<Cow<'a, str>> {
        let to = variable.to.unwrap_or(self.raw.len());
        let segments = self.raw.get(variable.from..to)?;
        if let ([segment], Some(_)) = (segments, variable.to) {
            return percent::decode(segment, Mode::Segment);
        }
        let decoded: Option<Vec<_>> =
            segments.iter().map(|segment| percent::decode(segment, Mode::Segments)).collect();
        Some(Cow::Owned(decoded?.join("/")))
    }
}

impl Router {
    /// Adds a route. False if this method, path and verb lead somewhere already.
    pub(crate) fn add(&mut self, method: &Method, template: &Template, route: usize) -> bool {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        let mut open_ended = false;
        for segment in &template.segments {
            let known = match segment {
                Segment::Literal(text) => self.nodes[at].literals.get(text).copied(),
                Segment::One => self.nodes[at].one,
                Segment::Rest => {
                    open_ended = true;
                    break;
                }
            };
            at = match known {
                Some(node) => node,
                None => self.grow(at, segment),
            };
        }
        let node = &mut self.nodes[at];
        let leaves = if open_ended { &mut node.rest } else { &mut node.here };
        if leaves.iter().any(|leaf| leaf.method == *method && leaf.verb == template.verb) {
            return false;
        }
        leaves.push(Leaf { method: method.clone(), verb: template.verb.clone(), route });
        true
    }

    fn grow(&mut self, at: usize, segment: &Segment) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node::default());
        match segment {
            Segment::Literal(text) => {
                self.nodes[at].literals.insert(text.clone(), node);
            }
            Segment::One | Segment::Rest => self.nodes[at].one = Some(node),
        }
        node
    }

    /// Finds the route of a request. One trailing slash is tolerated.
    pub(crate) fn find<'a>(&self, method: &Method, path: &'a str) -> Found<'a> {
        let Some(rest) = path.strip_prefix('/').filter(|_| !self.nodes.is_empty()) else {
            return Found::Nothing;
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let raw: Vec<&str> = match rest {
            "" => Vec::new(),
            rest => rest.split('/').take(SEGMENTS_MAX + 1).collect(),
        };
        if raw.len() > SEGMENTS_MAX {
            return Found::Nothing;
        }
        let mut others = Vec::new();
        // A verb is tried first: `/books/7:lend` is the verb of book 7, if there is such a verb.
        if let Some((last, verb)) = raw.last().and_then(|last| last.rsplit_once(':')) {
            let mut bare = raw.clone();
            if let Some(slot) = bare.last_mut() {
                *slot = last;
            }
            let mut search = Search { router: self, method, verb: Some(verb), others: &mut others };
            if let Some(route) = search.descend(0, &bare) {
                return Found::Route { route, path: PathSegments { raw: bare } };
            }
        }
        let mut search = Search { router: self, method, verb: None, others: &mut others };
        match search.descend(0, &raw) {
            Some(route) => Found::Route { route, path: PathSegments { raw } },
            None if others.is_empty() => Found::Nothing,
            None => Found::OtherMethods(others),
        }
    }
}

struct Search<'r, 'm> {
    router: &'r Router,
    method: &'m Method,
    verb: Option<&'m str>,
    others: &'m mut Vec<Method>,
}

impl Search<'_, '_> {
    /// Visits each node of the tree at most once, so its cost is bounded by the tree.
    fn descend(&mut self, at: usize, segments: &[&str]) -> Option<usize> {
        let router = self.router;
        let node = &router.nodes[at];
        let Some((first, others)) = segments.split_first() else {
            return self.pick(&node.here).or_else(|| self.pick(&node.rest));
        };
        let decoded = percent::decode(first, Mode::Segment);
        let literal = decoded.and_then(|text| node.literals.get(text.as_ref()).copied());
        literal
            .and_then(|next| self.descend(next, others))
            .or_else(|| {
                let next = node.one.filter(|_| !first.is_empty())?;
                self.descend(next, others)
            })
            .or_else(|| self.pick(&node.rest))
    }

    fn pick(&mut self, leaves: &[Leaf]) -> Option<usize> {
        for leaf in leaves.iter().filter(|leaf| leaf.verb.as_deref() == self.verb) {
            if leaf.method == *self.method {
                return Some(leaf.route);
            }
            if !self.others.contains(&leaf.method) {
                self.others.push(leaf.method.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    const ROUTES: &[(&str, &str)] = &[
        ("GET", "/v1/books"),
        ("POST", "/v1/books"),
        ("GET", "/v1/books/{id}"),
        ("GET", "/v1/books/new"),
        ("POST", "/v1/books/{id}:lend"),
        ("GET", "/v1/{name=shelves/*}/books/{id}"),
        ("GET", "/v1/files/{path=**}"),
    ];

    fn router() -> Router {
        let mut router = Router::default();
        for (n, (method, path)) in ROUTES.iter().enumerate() {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(router.add(&method, &Template::parse(path).unwrap(), n));
        }
        router
    }

    fn route(method: Method, path: &str) -> Option<(usize, Vec<String>)> {
        match router().find(&method, path) {
            Found::Route { route, path } => {
                let template = Template::parse(ROUTES[route].1).unwrap();
                let values = template.variables.iter().map(|v| path.value(v).unwrap().into());
                Some((route, values.collect()))
            }
            _ => None,
        }
    }

    #[test]
    fn literals_win_and_variables_are_decoded() {
        let got = |path| route(Method::GET, path);
        let some = |n, values: &[&str]| Some((n, values.iter().map(ToString::to_string).collect()));
        assert_eq!(got("/v1/books"), some(0, &[]));
        assert_eq!(got("/v1/books/"), some(0, &[]), "a trailing slash");
        assert_eq!(got("/v1/books/new"), some(3, &[]));
        assert_eq!(got("/v1/books/n%65w"), some(3, &[]));
        assert_eq!(got("/v1/books/a%2Fb%20c"), some(2, &["a/b c"]));
        assert_eq!(got("/v1/books/x:y"), some(2, &["x:y"]), "no such verb");
        assert_eq!(got("/v1/shelves/7/books/8"), some(5, &["shelves/7", "8"]));
        assert_eq!(got("/v1/files/a/b%2Fc"), some(6, &["a/b%2Fc"]));
        assert_eq!(got("/v1/files"), some(6, &[""]));
        assert_eq!(route(Method::POST, "/v1/books/9:lend"), some(4, &["9"]));
        for path in ["/v1/books//", "/v1//books", "v1/books", "/v1/books/1/2", "/v2", "", "*"] {
            assert_eq!(got(path), None, "{path}");
        }
    }

    #[test]
    fn a_known_path_names_its_methods() {
        let router = router();
        match router.find(&Method::DELETE, "/v1/books") {
            Found::OtherMethods(methods) => assert_eq!(methods, [Method::GET, Method::POST]),
            other => panic!("{other:?}"),
        }
        assert!(matches!(router.find(&Method::GET, &"/a".repeat(5000)), Found::Nothing));
    }

    proptest! {
        #[test]
        fn never_panics(path in "/?[/%:a-z0-9]{0,40}|\\PC{0,40}") {
            if let Found::Route { route, path } = router().find(&Method::GET, &path) {
                for variable in Template::parse(ROUTES[route].1).unwrap().variables {
                    let _ = path.value(&variable);
                }
            }
        }
    }
}
