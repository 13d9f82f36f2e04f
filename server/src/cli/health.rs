//! Asks a running server whether it serves, over gRPC's own health protocol.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
pub use tonic_health::pb::health_check_response::ServingStatus as Serving;
use tonic_health::pb::health_client::HealthClient;

use super::output::say;

/// How long the answer may take.
const ANSWER_SECONDS_MAX: u64 = 5;

/// Exit code 0 if the server at `address` serves.
pub async fn check(address: SocketAddr) -> anyhow::Result<ExitCode> {
    let status = status(address).await?;
    say(status.as_str_name());
    Ok(if status == Serving::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the server at `address` says of itself.
///
/// # Errors
/// When it does not answer.
pub async fn status(address: SocketAddr) -> anyhow::Result<Serving> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
        .connect()
        .await?;
    let request = HealthCheckRequest { service: String::new() };
    Ok(HealthClient::new(channel).check(request).await?.into_inner().status())
}
