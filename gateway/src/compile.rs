//! Compiles a descriptor set into routes, request plans and response plans. After this, no
//! descriptor is read on the way of a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use crate::json::escape;
use crate::json::writer::Plan;
use crate::options::{Binding, Options, ServiceOptions};
use crate::request::{BodyRule, PathField, RequestPlan};
use crate::router::{Found, Router};
use crate::settings::{JSON_DEPTH_CEILING, Settings};
use crate::shape::{Kind, Presence, ShapeCompiler, Shapes};
use crate::template::Template;
use crate::wait::WaitRule;
use crate::{BuildError, MessageWriter, View};

/// A compiled gateway; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Compiled>,
}

/// Everything a request needs.
pub(crate) struct Compiled {
    pub settings: Settings,
    /// `upstream_timeout` as gRPC writes it.
    pub grpc_timeout: Option<HeaderValue>,
    pub router: Router,
    pub routes: Vec<Route>,
    /// Requests are read by these.
    pub shapes: Arc<Shapes>,
    pool: DescriptorPool,
}

/// One binding of one method.
#[derive(Debug)]
pub(crate) struct Route {
    /// `/package.Service/Method`.
    pub grpc_path: PathAndQuery,
    pub streams: bool,
    pub request: RequestPlan,
    pub basic: Plan,
    pub full: Plan,
    pub success_key: Option<String>,
    pub wait: Option<WaitRule>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.inner.routes.len();
        f.debug_struct("Gateway").field("routes", &routes).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Compiles the services of an encoded `FileDescriptorSet` (imports included, options kept).
    ///
    /// # Errors
    /// [`BuildError`] for a set that cannot be read, options that do not fit, two routes for one
    /// path, settings out of range, or no route at all.
    pub fn new(descriptor_set: &[u8], mut settings: Settings) -> Result<Self, BuildError> {
        if !(1..=JSON_DEPTH_CEILING).contains(&settings.json_depth_max) {
            return Err(BuildError::Setting("json_depth_max must be from 1 to 48"));
        }
        if settings.number_digits_max > 1000 || settings.number_exponent_max > 1000 {
            return Err(BuildError::Setting("number_*_max must be at most 1000"));
        }
        if u32::try_from(settings.body_bytes_max).is_err() {
            return Err(BuildError::Setting("body_bytes_max must be below 4 GiB"));
        }
        let pool = DescriptorPool::decode(descriptor_set)?;
        let options = Options::of(&pool);
        let mut compiler = Compiler {
            options: &options,
            waiting_max: settings.waiting_max,
            basic: ShapeCompiler::new(&options, View::Basic),
            full: ShapeCompiler::new(&options, View::Full),
            router: Router::default(),
            routes: Vec::new(),
        };
        for service in pool.services().filter(|s| (settings.services)(s.full_name())) {
            compiler.service(&service)?;
        }
        if compiler.routes.is_empty() {
            return Err(BuildError::NoRoutes);
        }
        let (basic, shapes) = (Arc::new(compiler.basic.finish()), Arc::new(compiler.full.finish()));
        let routes = compiler.routes.into_iter().map(|route| route.finish(&basic, &shapes));
        let (routes, router) = (routes.collect(), compiler.router);
        settings.forward_headers.retain(|name| !is_hop_header(name));
        settings.return_headers.retain(|name| !is_hop_header(name));
        let grpc_timeout = settings.upstream_timeout.and_then(grpc_timeout);
        let inner = Arc::new(Compiled { settings, grpc_timeout, router, routes, shapes, pool });
        Ok(Self { inner })
    }

    /// Whether some route, with whatever HTTP method, has this path.
    #[must_use]
    pub fn serves(&self, path: &str) -> bool {
        !matches!(self.inner.router.find(&Method::GET, path), Found::Nothing)
    }

    /// A writer for one message type of the descriptor set, served or not.
    ///
    /// # Errors
    /// [`BuildError`] if there is no such message or its options do not fit.
    pub fn message_writer(&self, full_name: &str) -> Result<MessageWriter, BuildError> {
        MessageWriter::of(&self.inner.pool, full_name, self.inner.settings.response_bytes_max)
    }
}

struct Compiler<'o> {
    waiting_max: usize,
    options: &'o Options,
    basic: ShapeCompiler<'o>,
    full: ShapeCompiler<'o>,
    router: Router,
    routes: Vec<Draft>,
}

/// A route whose shapes are still being compiled.
struct Draft {
    grpc_path: PathAndQuery,
    streams: bool,
    request: RequestPlan,
    basic: (Kind, Option<usize>),
    full: (Kind, Option<usize>),
    success_key: Option<String>,
    wait: Option<WaitRule>,
}

impl Draft {
    fn finish(self, basic: &Arc<Shapes>, full: &Arc<Shapes>) -> Route {
        let mut head = Vec::new();
        if let Some(key) = &self.success_key {
            head = escape::key(key);
            head.extend_from_slice(b"true");
        }
        let plan = |(kind, only), shapes: &Arc<Shapes>| Plan {
            shapes: Arc::clone(shapes),
            kind,
            only,
            head: head.clone().into(),
        };
        Route {
            grpc_path: self.grpc_path,
            streams: self.streams,
            request: self.request,
            basic: plan(self.basic, basic),
            full: plan(self.full, full),
            success_key: self.success_key,
            wait: self.wait,
        }
    }
}

impl Compiler<'_> {
    fn service(&mut self, service: &ServiceDescriptor) -> Result<(), BuildError> {
        let shape = self.options.service(service);
        for method in service.methods() {
            for binding in self.options.bindings(&method)? {
                self.binding(&shape, &method, &binding)?;
            }
        }
        Ok(())
    }

    fn binding(
        &mut self,
        service: &ServiceOptions,
        method: &MethodDescriptor,
        binding: &Binding,
    ) -> Result<(), BuildError> {
        let name = method.full_name();
        let template = Template::parse(&binding.path).map_err(|what| BuildError::Template {
            name: name.to_owned(),
            path: binding.path.clone(),
            what,
        })?;
        let wait = WaitRule::of(self.options, service, method, binding, self.waiting_max)?;
        let mut request = self.request(service, method, binding, &template)?;
        request.wait_parameter = wait.as_ref().map(|rule| rule.parameter.clone());
        let output = method.output();
        let full = self.full.root(&output)?;
        let basic = self.basic.root(&output)?;
        let full = (only(&self.full, service, binding, name, &full)?, full);
        let basic = (only(&self.basic, service, binding, name, &basic)?, basic);
        if !self.router.add(&binding.method, &template, self.routes.len()) {
            return Err(BuildError::RouteConflict {
                name: name.to_owned(),
                method: binding.method.to_string(),
                path: binding.path.clone(),
            });
        }
        let grpc_path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        self.routes.push(Draft {
            grpc_path: PathAndQuery::try_from(grpc_path)
                .map_err(|_| BuildError::option(name, "its name is no path"))?,
            streams: method.is_server_streaming() || method.is_client_streaming(),
            request,
            basic: (basic.1, basic.0),
            full: (full.1, full.0),
            success_key: service.success_key.clone(),
            wait,
        });
        Ok(())
    }

    fn request(
        &mut self,
        service: &ServiceOptions,
        method: &MethodDescriptor,
        binding: &Binding,
        template: &Template,
    ) -> Result<RequestPlan, BuildError> {
        let name = method.full_name();
        let bad = |what: String| BuildError::option(name, what);
        let Kind::Message(index) = self.full.root(&method.input())? else {
            return Err(bad("its request is a well-known type".to_owned()));
        };
        let message = self
            .full
            .compiled(index)
            .ok_or_else(|| bad("its request contains itself as a request".to_owned()))?;
        let body = match binding.body.as_str() {
            "" => BodyRule::None,
            "*" => BodyRule::Whole,
            field => BodyRule::Field(
                message
                    .field_named(field)
                    .ok_or_else(|| bad(format!("its body names no field: `{field}`")))?,
            ),
        };
        if let Some(view) = &service.view_parameter
            && message.field_named(view).is_some()
        {
            return Err(bad(format!("its request has a field named as the view: `{view}`")));
        }
        let mut path = Vec::new();
        for variable in &template.variables {
            let steps = self.steps(index, &variable.field).ok_or_else(|| {
                bad(format!("its path names no single plain field: `{}`", variable.field))
            })?;
            path.push(PathField { variable: variable.clone(), steps });
        }
        // What is changed is answered in the caller's view; a view is asked for where something is read.
        let reads = binding.method == Method::GET;
        Ok(RequestPlan {
            message: index,
            body,
            path,
            view_parameter: service.view_parameter.clone().filter(|_| reads),
            wait_parameter: None,
        })
    }

    /// The way to a singular field that plain text can fill.
    fn steps(&self, index: usize, dotted: &str) -> Option<Vec<usize>> {
        let mut at = Some(index);
        let mut steps = Vec::new();
        for part in dotted.split('.') {
            let message = self.full.compiled(at?)?;
            let n = message.field_named(part)?;
            let field = &message.fields[n];
            if !matches!(field.presence, Presence::Implicit | Presence::Explicit) {
                return None;
            }
            at = match field.kind {
                Kind::Message(inner) => Some(inner),
                Kind::Struct | Kind::Value | Kind::ListValue | Kind::Null => return None,
                _ => None,
            };
            steps.push(n);
        }
        at.is_none().then_some(steps)
    }
}

/// Which field of the output is written alone, and whether the success key fits in.
fn only(
    compiler: &ShapeCompiler<'_>,
    service: &ServiceOptions,
    binding: &Binding,
    name: &str,
    kind: &Kind,
) -> Result<Option<usize>, BuildError> {
    let bad = |what: &str| BuildError::option(name, what);
    let Kind::Message(index) = kind else {
        if service.success_key.is_some() || !binding.response_body.is_empty() {
            return Err(bad("its response is no object the service's options could shape"));
        }
        return Ok(None);
    };
    let message = compiler.compiled(*index).ok_or_else(|| bad("its response is incomplete"))?;
    let mut object = Some(message);
    let mut only = None;
    if !binding.response_body.is_empty() {
        let n = message
            .field_named(&binding.response_body)
            .ok_or_else(|| bad("its response_body names no field of this view"))?;
        let field = &message.fields[n];
        only = Some(n);
        object = match (&field.kind, field.presence, field.object_key) {
            (_, Presence::Map, _) | (_, _, Some(_)) => None,
            (Kind::Message(inner), Presence::Explicit, _) => compiler.compiled(*inner),
            _ if service.success_key.is_some() => {
                return Err(bad("its response_body is no object for the success key"));
            }
            _ => None,
        };
    }
    if let (Some(object), Some(key)) = (object, &service.success_key)
        && object.field_named(key).is_some()
    {
        return Err(bad("its response has a field named as the success key"));
    }
    Ok(only)
}

/// A time as `grpc-timeout` has it: at most eight digits, which in milliseconds are 27 hours.
fn grpc_timeout(time: Duration) -> Option<HeaderValue> {
    let millis = time.as_millis().min(99_999_999);
    HeaderValue::from_str(&format!("{millis}m")).ok()
}

/// Headers that belong to one hop or to gRPC itself and are never passed on.
fn is_hop_header(name: &HeaderName) -> bool {
    const HOP: &[&str] = &[
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "content-type",
        "content-encoding",
    ];
    HOP.contains(&name.as_str()) || name.as_str().starts_with("grpc-")
}
