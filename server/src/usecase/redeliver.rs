//! Sending a delivery again: an attempt out of turn, noted in its row and made by the deliverer. A
//! crash in between loses nothing; what is scheduled stays as it is. Not here: the attempt itself.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::list_deliveries::not_found;
use super::webhook_secrets::no_endpoint;
use super::{Caller, request_id};
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::time::Micros;
use crate::env::Env;
use crate::store::delivery_log::{self, Delivery, Redelivery};
use crate::store::idempotency::{self, Claim};
use crate::store::{Db, UnitOfWork, audit};

/// How often one delivery can be sent again.
pub const REDELIVERIES_MAX: u32 = 100;
/// The RPC that idempotency keys of this use case belong to.
const METHOD: &str = "cryptopayment.v1.WebhookService/RedeliverDelivery";

/// Asks for a delivery to be sent again and returns it as it stands.
pub async fn run(
    db: &Db,
    env: &Env,
    caller: &Caller,
    id: Uuid,
    request_id: Option<&str>,
) -> Result<Delivery, Failure> {
    let request_id = request_id::read(request_id)?;
    // In a set of rows the nil id stands for none; a claim must name what it is about.
    if id.is_nil() {
        return Err(not_found());
    }
    let unit = db.begin("redeliver_delivery").await?;
    if apply(&unit, env, caller, id, request_id).await? {
        unit.commit().await?;
    }
    delivery_log::get(db, caller.merchant_id, id).await?.ok_or_else(not_found)
}

/// Asks for a delivery of any merchant to be sent again, for the operator.
pub async fn run_any(db: &Db, env: &Env, id: Uuid, actor: &str) -> Result<Delivery, Failure> {
    let (merchant_id, delivery) = delivery_log::get_any(db, id).await?.ok_or_else(not_found)?;
    let now = env.now();
    let unit = db.begin("redeliver_delivery").await?;
    request(&unit, merchant_id, id, now).await?;
    let object = delivery.id.to_string();
    audit::append(&unit, actor, "delivery.redeliver", &object, "", now).await?;
    unit.commit().await?;
    delivery_log::get(db, merchant_id, id).await?.ok_or_else(not_found)
}

/// Whether anything is to be committed.
async fn apply(
    unit: &UnitOfWork,
    env: &Env,
    caller: &Caller,
    id: Uuid,
    request_id: Option<String>,
) -> Result<bool, Failure> {
    let now = env.now();
    if let Some(key) = request_id {
        let claim = Claim {
            principal_id: caller.merchant_id,
            method: METHOD,
            key,
            request_hash: Sha256::digest(id.as_bytes()).into(),
            resource_id: id,
        };
        let claimed = idempotency::claim_one(unit, &claim, now).await?;
        if claimed.request_hash != claim.request_hash {
            return Err(request_id::conflict());
        }
        if !claimed.is_new {
            return Ok(false);
        }
    }
    request(unit, caller.merchant_id, id, now).await?;
    Ok(true)
}

async fn request(
    unit: &UnitOfWork,
    merchant_id: Uuid,
    id: Uuid,
    now: Micros,
) -> Result<(), Failure> {
    match delivery_log::request_redelivery(unit, merchant_id, id, now, REDELIVERIES_MAX).await? {
        Redelivery::Requested => Ok(()),
        Redelivery::NoDelivery => Err(not_found()),
        Redelivery::NoEndpoint => Err(no_endpoint()),
        Redelivery::Exhausted => {
            let text = format!("the delivery was sent again {REDELIVERIES_MAX} times already");
            Err(Failure::new(Class::FailedPrecondition, Reason::RedeliveriesExhausted, text))
        }
    }
}
