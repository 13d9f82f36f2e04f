//! Asking for blocks to be read again: a row that the network's scanner works off. Not here: reading
//! them (`worker::scan`).

use uuid::Uuid;

use crate::domain::asset::Network;
use crate::domain::failure::{Class, Failure, Reason};
use crate::env::Env;
use crate::store::rescans::{self, Rescan};
use crate::store::{Db, StoreError, audit, cursor};

/// Blocks of one rescan.
pub const RESCAN_BLOCKS_MAX: u64 = 1_000_000;
/// Rescans of one network that may wait.
pub const RESCANS_WAITING_MAX: u64 = 16;

/// Asks for the blocks from `from` to `to` of an enabled network to be read again. The same range is
/// not asked for twice while it waits.
///
/// # Errors
/// When the range is empty, too long or not scanned yet, or too many wait.
pub async fn request(
    db: &Db,
    env: &Env,
    network: Network,
    (from, to): (u64, u64),
    actor: &str,
) -> Result<Rescan, Failure> {
    if from > to {
        return Err(Failure::field("from_height", Reason::InvalidField, "is above to_height"));
    }
    let scanned = cursor::get(db, network).await?.map_or(0, |cursor| cursor.height);
    if to > scanned {
        let hint = format!("is above block {scanned}, the newest that was scanned");
        return Err(Failure::field("to_height", Reason::InvalidField, hint));
    }
    if to - from >= RESCAN_BLOCKS_MAX {
        let hint = format!("asks for more than {RESCAN_BLOCKS_MAX} blocks at once");
        return Err(Failure::field("to_height", Reason::InvalidField, hint));
    }
    let now = env.now();
    let id = env.new_id();
    let unit = db.begin("request_rescan").await?;
    let rescan = rescans::request(&unit, id, network, (from, to), now).await?;
    let rescan = rescan.ok_or_else(|| StoreError::Conflict("the rescan just ended".to_owned()))?;
    if rescan.id != id {
        return Ok(rescan);
    }
    if rescans::count_waiting(&unit, network).await? > RESCANS_WAITING_MAX {
        let text = format!("{RESCANS_WAITING_MAX} rescans of {network} wait already");
        return Err(Failure::new(Class::ResourceExhausted, Reason::TooManyRescans, text));
    }
    let object = format!("{network} {from} {to}");
    audit::append(&unit, actor, "network.rescan", &object, &id.to_string(), now).await?;
    unit.commit().await?;
    Ok(rescan)
}

/// One rescan.
///
/// # Errors
/// When there is none of this id.
pub async fn get(db: &Db, id: Uuid) -> Result<Rescan, Failure> {
    rescans::get(db, id).await?.ok_or_else(not_found)
}

/// There is no such rescan.
pub fn not_found() -> Failure {
    Failure::new(Class::NotFound, Reason::RescanNotFound, "there is no such rescan")
}
