//! The leave of an open stream to go on: its key was good when it began, and is asked for again before each
//! message and while nothing happens. Not here: the first time (`auth`), what streams tell (`grpc`).

use std::sync::Arc;
use std::time::Duration;

use cryptopayment_proto::options::v1::Scope;
use tonic::Status;

use super::auth::Authenticator;
use super::status::status;
use crate::store::keys::ApiKey;

/// How often a stream that tells nothing asks whether it may go on.
const ASK_SECONDS: u64 = 1;

/// By what a caller was let in; an extension of its request.
#[derive(Clone)]
pub struct Admission {
    auth: Authenticator,
    key: Arc<ApiKey>,
    scope: Scope,
}

impl Admission {
    /// Let in with this key to what needs this scope.
    pub const fn new(auth: Authenticator, key: Arc<ApiKey>, scope: Scope) -> Self {
        Self { auth, key, scope }
    }

    /// Whether it still holds. Asked after something was read and before it is told, nothing is told that
    /// came after the key was revoked.
    ///
    /// # Errors
    /// UNAUTHENTICATED, PERMISSION_DENIED as for a new call; those of the database.
    pub async fn check(&self) -> Result<(), Status> {
        self.auth.still_admits(&self.key.public_id, self.scope).await.map_err(status)
    }

    /// Returns when it should be asked again, though there is nothing to tell.
    pub async fn due(&self) {
        self.auth.sleep(Duration::from_secs(ASK_SECONDS)).await;
    }
}
