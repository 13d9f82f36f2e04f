//! What the operator changes about merchants and keys: the terms of a merchant's new invoices, a key's
//! name and view. Each change stands in the audit log; a change of nothing does not.

use uuid::Uuid;

use super::manage_keys::{ManageKeys, checked_name, no_merchant};
use crate::domain::failure::{Failure, Reason};
use crate::domain::policy::SHORTFALL_BASIS_POINTS_MAX;
use crate::store::keys::{self, ApiKey};
use crate::store::merchants::{self, Merchant};
use crate::store::{StoreError, audit};

/// A change of a merchant; what is `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct MerchantChange {
    /// Whether payments after expiry count as in time.
    pub honors_late: Option<bool>,
    /// How much may be missing from a full payment, hundredths of a percent.
    pub shortfall_basis_points: Option<u32>,
}

/// A change of a key; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// Its name for people.
    pub name: Option<String>,
    /// Whether its REST answers have all fields.
    pub full_view: Option<bool>,
}

impl ManageKeys {
    /// Changes what a merchant's invoices are agreed on from now on; whoever caches keys must forget
    /// them.
    pub async fn update_merchant(
        &self,
        id: Uuid,
        change: MerchantChange,
        actor: &str,
    ) -> Result<Merchant, Failure> {
        if change.shortfall_basis_points.is_some_and(|points| points > SHORTFALL_BASIS_POINTS_MAX) {
            let hint = format!("must be at most {SHORTFALL_BASIS_POINTS_MAX}");
            return Err(Failure::field("shortfall_basis_points", Reason::InvalidField, hint));
        }
        let before = merchants::get(&self.db, id).await?.ok_or_else(no_merchant)?;
        let mut detail = Vec::new();
        detail.extend(change.honors_late.map(|honors| format!("honors_late={honors}")));
        let points = change.shortfall_basis_points;
        detail.extend(points.map(|points| format!("shortfall_basis_points={points}")));
        if detail.is_empty() {
            return Ok(before);
        }
        let now = self.env.now();
        let unit = self.db.begin("update_merchant").await?;
        let merchant = merchants::update(&unit, id, change.honors_late, points.map(i64::from));
        let merchant = merchant.await?.ok_or_else(no_merchant)?;
        let object = id.to_string();
        audit::append(&unit, actor, "merchant.update", &object, &detail.join(" "), now).await?;
        unit.commit().await?;
        Ok(merchant)
    }

    /// Changes a key's name and view; whoever caches keys must forget it.
    pub async fn update_key(
        &self,
        public_id: &str,
        change: &KeyChange,
        actor: &str,
    ) -> Result<ApiKey, Failure> {
        let before = self.key(public_id).await?;
        let name = change.name.as_deref().map(|name| checked_name(name, false)).transpose()?;
        let view = change.full_view.map(|full| if full { "full" } else { "basic" });
        let mut detail = Vec::new();
        detail.extend(name.as_ref().map(|name| format!("name={name}")));
        detail.extend(view.map(|view| format!("rest_view={view}")));
        if detail.is_empty() {
            return Ok(before);
        }
        let now = self.env.now();
        let unit = self.db.begin("update_key").await?;
        keys::update(&unit, public_id, name.as_deref(), view).await?;
        audit::append(&unit, actor, "key.update", public_id, &detail.join(" "), now).await?;
        unit.commit().await?;
        self.key(public_id).await
    }
}

/// The allowance of a merchant as it is stored.
pub fn basis_points(stored: i64) -> Result<u32, StoreError> {
    let points = u32::try_from(stored).ok().filter(|n| *n <= SHORTFALL_BASIS_POINTS_MAX);
    points.ok_or_else(|| StoreError::Corrupt(format!("shortfall of {stored} basis points")))
}
