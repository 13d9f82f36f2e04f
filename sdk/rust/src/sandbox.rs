//! Driving a sandbox deployment: payer, miner, forks and clock. Never retried: a payment made twice
//! is two payments.

use cryptopayment_proto::sandbox::v1;
use cryptopayment_proto::sandbox::v1::sandbox_service_client::SandboxServiceClient;

use crate::{Client, Error};

/// What only a sandbox deployment has.
#[derive(Debug, Clone)]
pub struct Sandbox {
    pub(crate) client: Client,
}

impl Sandbox {
    /// Pays an invoice; returns the transactions.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pay(&self, request: v1::PayInvoiceRequest) -> Result<Vec<String>, Error> {
        let request = self.client.request(request, true);
        let answer = self.calls().pay_invoice(request).await?;
        Ok(answer.into_inner().txids)
    }

    /// Lets an invoice play a scenario; returns how far it is. May be repeated.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn play(
        &self,
        invoice_id: &str,
        scenario: v1::Scenario,
    ) -> Result<v1::PlayScenarioResponse, Error> {
        let invoice_id = invoice_id.to_owned();
        let request = v1::PlayScenarioRequest { invoice_id, scenario: scenario.into() };
        let request = self.client.request(request, true);
        Ok(self.calls().play_scenario(request).await?.into_inner())
    }

    /// Forgets a waiting transaction.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn evict(&self, network: &str, txid: &str) -> Result<(), Error> {
        let request = v1::EvictRequest { network: network.to_owned(), txid: txid.to_owned() };
        self.calls().evict(self.client.request(request, true)).await?;
        Ok(())
    }

    /// Mines blocks.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn mine(&self, network: &str, blocks: u32) -> Result<v1::MineResponse, Error> {
        let request = v1::MineRequest { network: network.to_owned(), blocks };
        Ok(self.calls().mine(self.client.request(request, true)).await?.into_inner())
    }

    /// Replaces the newest blocks.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn fork(&self, request: v1::ForkRequest) -> Result<v1::ForkResponse, Error> {
        Ok(self.calls().fork(self.client.request(request, true)).await?.into_inner())
    }

    /// Moves the business clock forward.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn advance_clock(&self, seconds: u32) -> Result<(), Error> {
        let request = self.client.request(v1::AdvanceClockRequest { seconds }, true);
        self.calls().advance_clock(request).await?;
        Ok(())
    }

    fn calls(&self) -> SandboxServiceClient<tonic::transport::Channel> {
        SandboxServiceClient::new(self.client.channel.clone())
    }
}
