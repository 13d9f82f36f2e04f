//! What can be done, one file per verb. `prepare` may ask chains, signer and rates and holds no
//! transaction; `apply` runs inside a unit of work that its caller commits, uses SQL only, and may
//! be run again. Not here: protobuf, HTTP, loops.

pub mod address_leases;
pub mod apply_deposits;
pub mod audit_ledger;
pub mod cancel_invoice;
pub mod create_invoice;
pub mod fill_pool;
pub mod list_deliveries;
pub mod list_invoices;
pub mod list_ledger_entries;
pub mod list_unexpected;
pub mod manage_keys;
pub mod page_token;
pub mod play_scenario;
pub mod redeliver;
mod request_id;
pub mod rescan_blocks;
pub mod settle_unexpected;
pub mod take_figures;
pub mod update_settings;
pub mod webhook_secrets;

use uuid::Uuid;

use crate::domain::failure::{Class, Failure, Reason};
use crate::store::StoreError;

/// Units of work that met another one are done again this often.
pub const CONFLICT_RETRIES_MAX: u32 = 5;

/// Who calls, after authentication: the only source of whose data is touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The merchant.
    pub merchant_id: Uuid,
    /// The key it calls with.
    pub api_key_id: Uuid,
    /// That key's public part.
    pub public_id: String,
    /// Whether the merchant honours late payments.
    pub honors_late: bool,
    /// How much the merchant allows to be missing, hundredths of a percent.
    pub shortfall_basis_points: u32,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(text) | StoreError::Unavailable(text) => {
                tracing::warn!(error = text, "database busy");
                Self::new(
                    Class::Unavailable,
                    Reason::ServerUnavailable,
                    "the database is busy, try again",
                )
            }
            other => Self::internal(other.to_string()),
        }
    }
}
