//! How commands reach a deployment as a merchant: where it is, which key, one gRPC connection. Not
//! here: the operator's socket (`admin`), calls over plain HTTP (`compat`).

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use crate::app::demo;
use crate::config::Config;

/// How long connecting may take.
const CONNECT_SECONDS_MAX: u64 = 5;
/// How often an idle connection is checked.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Which deployment, and who calls.
#[derive(Clone, Args)]
pub struct ConnectionArguments {
    /// Where the deployment is; the one configured here unless given.
    #[arg(long, env = "CRYPTOPAYMENT_URL", value_name = "URL")]
    pub url: Option<String>,
    /// The key's public part, pk_...; a sandbox's own merchant unless given.
    #[arg(long, env = "CRYPTOPAYMENT_API_KEY", value_name = "KEY", requires = "api_secret")]
    pub api_key: Option<String>,
    /// The key's secret part, sk_...; other users of this machine see arguments, so better set the
    /// variable.
    #[arg(
        long,
        env = "CRYPTOPAYMENT_API_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        requires = "api_key"
    )]
    pub api_secret: Option<String>,
}

impl std::fmt::Debug for ConnectionArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionArguments").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A connection with credentials; it opens with its first call.
#[derive(Clone)]
pub struct Connection {
    /// The connection.
    pub channel: Channel,
    /// Where to.
    pub url: String,
    authorization: MetadataValue<Ascii>,
}

impl Connection {
    /// Takes what is not given from the configuration and, in a sandbox, from its own merchant.
    ///
    /// # Errors
    /// When there is no key, or the URL can not be used.
    pub fn open(config: &Config, arguments: &ConnectionArguments) -> anyhow::Result<Self> {
        let url = arguments.url.clone().unwrap_or_else(|| format!("http://{}", config.http.listen));
        let (key, secret) = match (&arguments.api_key, &arguments.api_secret) {
            (Some(key), Some(secret)) => (key.clone(), secret.clone()),
            _ => {
                let demo = demo::kept(config).context(
                    "no key: set CRYPTOPAYMENT_API_KEY and CRYPTOPAYMENT_API_SECRET, or name the \
                     data directory of a sandbox (--data-dir)",
                )?;
                (demo.api_key, demo.api_secret)
            }
        };
        let mut authorization: MetadataValue<Ascii> = format!("Bearer {key}:{secret}")
            .parse()
            .context("key or secret has characters that no header has")?;
        authorization.set_sensitive(true);
        let mut endpoint = Endpoint::from_shared(url.clone())
            .with_context(|| format!("{url} is no URL"))?
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if url.starts_with("https:") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        Ok(Self { channel: endpoint.connect_lazy(), url, authorization })
    }

    /// A request with the credentials.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// A failed call as a sentence.
    pub fn told(&self, status: &Status) -> String {
        match status.code() {
            Code::Unavailable => {
                format!("{} cannot be reached: {}", self.url, status.message())
            }
            _ => status.message().to_owned(),
        }
    }
}

/// Whether a call that failed so may succeed when it is made again.
pub fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
    )
}
