//! Counts calls by method and outcome, and how long they took. Methods are known from the start, so that
//! a call costs one look-up and no new label. Not here: which calls there are, who sees them pass.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::time::Micros;
use crate::env::Env;

/// gRPC's status codes by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const OK: usize = 0;
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
/// Stands for every method that is not of the contract: health, reflection, and those that do not exist.
const OTHER: &str = "other";
/// Seconds in which calls are sorted.
const CALL_SECONDS: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: String,
}

type Seconds = Family<MethodLabels, Histogram, fn() -> Histogram>;

/// Counts calls; cheap to clone.
#[derive(Clone)]
pub struct CallMeter(Arc<Inner>);

struct Inner {
    env: Env,
    /// The place of each path's method in `methods`.
    by_path: HashMap<String, usize>,
    /// The last one stands for all others.
    methods: Vec<Method>,
    made: Family<CallLabels, Counter>,
    seconds: Seconds,
}

struct Method {
    name: String,
    answered_ok: Counter,
    seconds: Histogram,
}

/// A call under way, counted when it is dropped.
pub struct OngoingCall {
    calls: Arc<Inner>,
    at: usize,
    began: Micros,
    code: usize,
}

impl CallMeter {
    /// Counts calls of the methods at these paths, `/package.Service/Method`.
    pub fn new<'p>(env: Env, paths: impl Iterator<Item = &'p str>) -> Self {
        let made = Family::<CallLabels, Counter>::default();
        let seconds: Seconds = Family::new_with_constructor(|| Histogram::new(CALL_SECONDS));
        let method = |name: &str| {
            let (name, code) = (name.to_owned(), CODES[OK]);
            Method {
                answered_ok: made.get_or_create_owned(&CallLabels { method: name.clone(), code }),
                seconds: seconds.get_or_create_owned(&MethodLabels { method: name.clone() }),
                name,
            }
        };
        let (mut by_path, mut methods) = (HashMap::new(), Vec::new());
        for path in paths {
            by_path.insert(path.to_owned(), methods.len());
            methods.push(method(path.trim_start_matches('/')));
        }
        methods.push(method(OTHER));
        Self(Arc::new(Inner { env, by_path, methods, made, seconds }))
    }

    /// A call begins.
    pub fn begin(&self, path: &str) -> OngoingCall {
        let calls = Arc::clone(&self.0);
        let at = calls.by_path.get(path).copied().unwrap_or(calls.methods.len() - 1);
        OngoingCall { began: calls.env.system_now(), calls, at, code: CANCELLED }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Calls by method and gRPC status, whether they came as gRPC, gRPC-web or REST; a \
                    stream counts when it opens";
        registry.register("rpc_calls", help, self.0.made.clone());
        let help = "How long calls took until their answer began";
        registry.register("rpc_duration_seconds", help, self.0.seconds.clone());
    }
}

impl OngoingCall {
    /// It is answered, with a gRPC status code; one that is never answered was given up by its caller.
    pub fn answered(&mut self, code: i32) {
        self.code =
            usize::try_from(code).ok().filter(|code| *code < CODES.len()).unwrap_or(UNKNOWN);
    }
}

impl Drop for OngoingCall {
    fn drop(&mut self) {
        let Inner { env, methods, made, .. } = self.calls.as_ref();
        let method = &methods[self.at];
        method.seconds.observe(env.system_now().since(self.began).as_secs_f64());
        if self.code == OK {
            method.answered_ok.inc();
        } else {
            let (method, code) = (method.name.clone(), CODES[self.code]);
            made.get_or_create(&CallLabels { method, code }).inc();
        }
    }
}
