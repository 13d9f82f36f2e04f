//! The idempotency keys of a group: which of its requests creates, and what the others are answered,
//! be they twins of an earlier request or of a neighbour. Not here: how a group is formed.

use std::collections::HashMap;

use uuid::Uuid;

use super::Prepared;
use crate::domain::failure::Failure;
use crate::env::Env;
use crate::store::idempotency::{self, Claim, Claimed};
use crate::store::invoices::{self, InvoiceView};
use crate::store::{Result, UnitOfWork};
use crate::usecase::request_id;

/// The RPC that idempotency keys of this use case belong to.
pub(super) const METHOD: &str = "cryptopayment.v1.InvoiceService/CreateInvoice";

/// The keys of a group, claimed.
pub(super) struct Claims {
    /// One for each request.
    places: Vec<Place>,
    /// One for each different key.
    claimed: Vec<Claimed>,
}

enum Place {
    /// The request has no key: it creates this.
    Free(Uuid),
    /// It has the key at this place of `claimed`.
    Keyed { key: usize, is_first: bool, request_hash: [u8; 32] },
}

impl Claims {
    /// Claims the keys of a group.
    pub(super) async fn new(unit: &UnitOfWork, group: &[&Prepared], env: &Env) -> Result<Self> {
        let mut claims: Vec<Claim> = Vec::new();
        let mut known: HashMap<(Uuid, &str), usize> = HashMap::new();
        let mut places = Vec::with_capacity(group.len());
        for prepared in group {
            let Some(key) = &prepared.parsed.request_id else {
                places.push(Place::Free(env.new_id()));
                continue;
            };
            let request_hash = prepared.parsed.hash();
            let principal_id = prepared.caller.merchant_id;
            let mut is_first = false;
            let place = *known.entry((principal_id, key)).or_insert_with(|| {
                is_first = true;
                claims.push(Claim {
                    principal_id,
                    method: METHOD,
                    key: key.clone(),
                    request_hash,
                    resource_id: env.new_id(),
                });
                claims.len() - 1
            });
            places.push(Place::Keyed { key: place, is_first, request_hash });
        }
        let claimed = idempotency::claim(unit, &claims, env.now()).await?;
        Ok(Self { places, claimed })
    }

    /// The invoice that request `n` creates, unless it repeats another.
    pub(super) fn creates(&self, n: usize) -> Option<Uuid> {
        match self.places[n] {
            Place::Free(id) => Some(id),
            Place::Keyed { key, is_first, .. } => {
                let claimed = &self.claimed[key];
                (is_first && claimed.is_new).then_some(claimed.resource_id)
            }
        }
    }

    /// The invoices that earlier requests created under these keys.
    pub(super) async fn earlier(&self, unit: &UnitOfWork) -> Result<HashMap<Uuid, InvoiceView>> {
        let taken = self.claimed.iter().filter(|claimed| !claimed.is_new);
        let ids: Vec<Uuid> = taken.map(|claimed| claimed.resource_id).collect();
        let views = invoices::get_in(unit, &ids).await?;
        Ok(views.into_iter().map(|view| (view.invoice.id, view)).collect())
    }

    /// What request `n` is answered; `views` has every invoice that the group created or repeats.
    pub(super) fn answer(
        &self,
        n: usize,
        views: &HashMap<Uuid, InvoiceView>,
    ) -> std::result::Result<InvoiceView, Failure> {
        let id = match &self.places[n] {
            Place::Free(id) => *id,
            Place::Keyed { key, request_hash, .. } => {
                let claimed = &self.claimed[*key];
                if claimed.request_hash != request_hash {
                    return Err(request_id::conflict());
                }
                claimed.resource_id
            }
        };
        let view = views.get(&id).cloned();
        view.ok_or_else(|| Failure::internal("idempotency key without its invoice"))
    }
}
