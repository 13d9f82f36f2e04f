//! WithdrawalService: in the contract, not built. Every method says so.

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::withdrawal_service_server::WithdrawalService;
use tonic::{Request, Response, Status};

use crate::domain::failure::{Class, Failure, Reason};
use crate::transport::status::status;

/// The service.
#[derive(Clone, Copy)]
pub struct WithdrawalApi;

fn not_built() -> Status {
    status(Failure::new(
        Class::Unimplemented,
        Reason::NotImplemented,
        "withdrawals are not built yet",
    ))
}

#[tonic::async_trait]
impl WithdrawalService for WithdrawalApi {
    async fn create_withdrawal(
        &self,
        _request: Request<v1::CreateWithdrawalRequest>,
    ) -> Result<Response<v1::CreateWithdrawalResponse>, Status> {
        Err(not_built())
    }

    async fn get_withdrawal(
        &self,
        _request: Request<v1::GetWithdrawalRequest>,
    ) -> Result<Response<v1::GetWithdrawalResponse>, Status> {
        Err(not_built())
    }

    async fn list_withdrawals(
        &self,
        _request: Request<v1::ListWithdrawalsRequest>,
    ) -> Result<Response<v1::ListWithdrawalsResponse>, Status> {
        Err(not_built())
    }
}
