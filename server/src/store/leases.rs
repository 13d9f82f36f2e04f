//! Leases: which process does a periodic piece of work. A lease only saves work; what makes it safe
//! is the fence that guarded rows carry. Time is the database's.

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{Db, Result, execute, lease_now, one};

/// A held lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Grows with every change of holder; guarded rows are written only with the newest.
    pub fence: i64,
    /// Whether this call changed the holder.
    pub is_new: bool,
}

#[derive(FromQueryResult)]
struct Row {
    fence: i64,
    holder: Uuid,
}

/// Takes or renews the lease `name` for `seconds`. `None` when another holder has it.
pub async fn acquire(db: &Db, name: &str, holder: Uuid, seconds: i64) -> Result<Option<Lease>> {
    let now = lease_now(db.backend());
    let unit = db.begin("lease").await?;
    let before: Option<Row> =
        one(unit.db(), "SELECT fence, holder FROM lease WHERE name = $1", vec![name.into()])
            .await?;
    let sql = format!(
        "INSERT INTO lease (name, holder, fence, expires_at) VALUES ($1, $2, 1, {now} + $3)
         ON CONFLICT (name) DO UPDATE SET
            fence = CASE WHEN lease.holder = excluded.holder THEN lease.fence
                         ELSE lease.fence + 1 END,
            holder = excluded.holder, expires_at = excluded.expires_at
         WHERE lease.holder = excluded.holder OR lease.expires_at < {now}
         RETURNING fence, holder"
    );
    let values = vec![name.into(), holder.into(), (seconds * 1_000_000).into()];
    let row: Option<Row> = one(unit.db(), &sql, values).await?;
    unit.commit().await?;
    Ok(row.map(|row| Lease {
        fence: row.fence,
        is_new: before.is_none_or(|before| before.holder != row.holder),
    }))
}

/// Ends the leases and claims of a holder that is known to have died, so that nobody waits for them.
pub async fn end_of(db: &Db, holder: Uuid) -> Result<()> {
    let unit = db.begin("end_leases").await?;
    for sql in [
        "UPDATE lease SET expires_at = 0 WHERE holder = $1",
        "UPDATE delivery SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by = $1",
        "UPDATE address SET state = 'free', leased_to = NULL, leased_until = NULL
         WHERE state = 'leased' AND leased_to = $1",
    ] {
        execute(unit.db(), sql, vec![holder.into()]).await?;
    }
    unit.commit().await?;
    Ok(())
}
