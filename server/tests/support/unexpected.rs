//! The operator's hand on unexpected deposits: listing and settling them through the admin socket. Not
//! here: assertions.

use cryptopayment_proto::admin::v1::unexpected_deposit_service_client::UnexpectedDepositServiceClient;
use cryptopayment_proto::admin::v1::{
    AssignUnexpectedDepositRequest, DismissUnexpectedDepositRequest, GetUnexpectedDepositRequest,
    ListUnexpectedDepositsRequest, UnexpectedDeposit, UnexpectedDepositState,
};
use cryptopayment_sdk::Client;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use super::server::{TestServer, eventually};

/// Calls the service.
#[derive(Clone)]
pub struct Desk(UnexpectedDepositServiceClient<Channel>);

/// Whom one is assigned to.
#[derive(Debug, Clone)]
pub enum To {
    Invoice(String),
    Merchant(String),
}

impl Desk {
    /// The desk of a server.
    pub async fn of(server: &TestServer) -> Self {
        Self::on(server.admin().await)
    }

    /// The desk behind an admin socket.
    pub fn on(channel: Channel) -> Self {
        Self(UnexpectedDepositServiceClient::new(channel))
    }

    /// A page of them.
    pub async fn page(
        &self,
        request: ListUnexpectedDepositsRequest,
    ) -> Result<(Vec<UnexpectedDeposit>, Option<String>), Status> {
        let page = self.0.clone().list_unexpected_deposits(request).await?.into_inner();
        Ok((page.unexpected_deposits, page.next_page_token))
    }

    /// All of them, if they are one page.
    pub async fn all(&self) -> Vec<UnexpectedDeposit> {
        let (found, next) = self.page(ListUnexpectedDepositsRequest::default()).await.unwrap();
        assert_eq!(next, None, "more than a page");
        found
    }

    pub async fn get(&self, id: &str) -> Result<UnexpectedDeposit, Status> {
        let request = GetUnexpectedDepositRequest { id: id.to_owned() };
        let answer = self.0.clone().get_unexpected_deposit(request).await?;
        Ok(answer.into_inner().unexpected_deposit.unwrap())
    }

    pub async fn assign(&self, id: &str, to: &To, note: &str) -> Result<UnexpectedDeposit, Status> {
        let (invoice_id, merchant_id) = match to {
            To::Invoice(id) => (Some(id.clone()), None),
            To::Merchant(id) => (None, Some(id.clone())),
        };
        let (id, note) = (id.to_owned(), note.to_owned());
        self.assign_as(AssignUnexpectedDepositRequest { id, invoice_id, merchant_id, note }).await
    }

    pub async fn assign_as(
        &self,
        request: AssignUnexpectedDepositRequest,
    ) -> Result<UnexpectedDeposit, Status> {
        let answer = self.0.clone().assign_unexpected_deposit(request).await?;
        Ok(answer.into_inner().unexpected_deposit.unwrap())
    }

    pub async fn dismiss(&self, id: &str, note: &str) -> Result<UnexpectedDeposit, Status> {
        let request = DismissUnexpectedDepositRequest { id: id.to_owned(), note: note.to_owned() };
        let answer = self.0.clone().dismiss_unexpected_deposit(request).await?;
        Ok(answer.into_inner().unexpected_deposit.unwrap())
    }

    /// Waits until a transaction's only one stands like this.
    pub async fn wait(&self, txid: &str, state: UnexpectedDepositState) -> UnexpectedDeposit {
        eventually(&format!("{txid} is {}", state.as_str_name()), || async {
            let mut own = self.all().await;
            own.retain(|one| one.txid == txid);
            let one = own.pop().filter(|one| one.state() == state)?;
            assert!(own.is_empty(), "it is there once: {own:?}");
            Some(one)
        })
        .await
    }

    /// Waits until a transaction's only one is in a block that its network calls final: it can be assigned.
    pub async fn wait_final(&self, client: &Client, txid: &str) -> UnexpectedDeposit {
        eventually(&format!("{txid} is final"), || async {
            let own = self.all().await.into_iter().find(|one| one.txid == txid)?;
            let networks = client.networks().await.ok()?;
            let on = networks.into_iter().find(|network| network.network == own.network)?;
            (own.block_height.is_some() && on.finalized_height >= own.block_height).then_some(own)
        })
        .await
    }

    /// Waits until a transaction's only one is this deep.
    pub async fn wait_deep(&self, txid: &str, confirmations: u64) -> UnexpectedDeposit {
        eventually(&format!("{txid} is {confirmations} deep"), || async {
            let own = self.all().await.into_iter().find(|one| one.txid == txid)?;
            (own.confirmations >= confirmations).then_some(own)
        })
        .await
    }
}

/// The reason of a refusal.
pub fn reason(refused: Result<UnexpectedDeposit, Status>) -> String {
    let status = refused.expect_err("it was done");
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
