//! The miner of a simulated chain: a block each interval, until told to stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::SandboxChain;
use crate::chain::SandboxControl as _;

impl SandboxChain {
    /// Mines one block each `interval`; an interval of zero mines on demand only.
    pub async fn run_miner(self, interval: Duration, stop: CancellationToken) {
        if interval.is_zero() {
            return;
        }
        loop {
            tokio::select! {
                () = self.sandbox.env.sleep(interval) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.mine(1).await {
                tracing::warn!(network = %self.network, %error, "sandbox miner");
            }
        }
    }
}
