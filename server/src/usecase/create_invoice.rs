//! Creating an invoice: parse and price it, take a watched address, and hand it to the group that is
//! written next (`group`). Creating writes no event.

mod claims;
mod group;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::address_leases::{AddressLeases, TakenAddress};
use super::play_scenario::ScenarioBooks;
use super::{CONFLICT_RETRIES_MAX, Caller, request_id};
use crate::domain::asset::Network;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::invoice::{Exception, Standing, Status, Terms};
use crate::domain::metadata;
use crate::domain::policy::{FinalityPolicy, shortfall_units};
use crate::domain::price::{self, PriceError};
use crate::domain::scenario::{self, Scenario};
use crate::env::Env;
use crate::rates::{Rate, RateSource};
use crate::store::addresses::LeasedAddress;
use crate::store::idempotency;
use crate::store::invoices::{self, Invoice, InvoiceView};
use crate::store::{Db, StoreError};
pub use group::Groups;
use group::Outcome;

/// Characters of an order id.
const ORDER_ID_CHARS_MAX: usize = 255;

/// What the caller asked for, as it was sent.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The network's identifier.
    pub network: String,
    /// US dollars, decimal text.
    pub amount_usd: String,
    /// The merchant's own reference.
    pub order_id: Option<String>,
    /// The merchant's own JSON.
    pub metadata: Option<String>,
    /// Makes a repeat return the first one's invoice.
    pub request_id: Option<String>,
}

/// What an enabled network asks of payments.
#[derive(Debug, Clone)]
pub struct NetworkTerms {
    /// How deep and how final a payment must be.
    pub finality: FinalityPolicy,
    /// Base units that may be missing.
    pub shortfall_units: u128,
}

/// The use case with what it needs.
pub struct CreateInvoice {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Addresses to hand out.
    pub leases: Arc<AddressLeases>,
    /// Requests on their way into the database.
    pub groups: Groups,
    /// Prices.
    pub rates: Arc<dyn RateSource>,
    /// The enabled networks.
    pub networks: BTreeMap<Network, NetworkTerms>,
    /// How long an invoice waits for its payment.
    pub lifetime: Duration,
    /// How long after first sight a payment may take to be included.
    pub inclusion_window: Duration,
    /// Where scenarios are noted that metadata name; `None` in live, where metadata are the
    /// merchant's alone.
    pub scenarios: Option<ScenarioBooks>,
}

/// A request that was checked and priced and has its address.
pub struct Prepared {
    caller: Caller,
    parsed: Parsed,
    rate: Rate,
    amount_units: u128,
    address: TakenAddress,
}

struct Parsed {
    network: Network,
    cents: i64,
    order_id: Option<String>,
    metadata: String,
    scenario: Option<Scenario>,
    request_id: Option<String>,
}

impl CreateInvoice {
    /// Creates an invoice, or returns the one that the same request created before. Answers after
    /// the commit that holds it. A caller that goes away meanwhile takes nothing along: its address
    /// goes back, or its invoice stands.
    pub async fn run(
        self: &Arc<Self>,
        caller: &Caller,
        request: &Request,
    ) -> Result<InvoiceView, Failure> {
        for _ in 0..CONFLICT_RETRIES_MAX {
            let prepared = match self.prepare(caller, request).await {
                Ok(prepared) => prepared,
                Err(failure) if failure.class == Class::Unavailable => {
                    return self.repeated(caller, request, failure).await;
                }
                Err(failure) => return Err(failure),
            };
            match self.submit(prepared).await {
                Outcome::Done(view) => return Ok(*view),
                Outcome::Failed(failure) => return Err(failure),
                // The address went to another process: begin again with another one.
                Outcome::Lost => {}
            }
        }
        Err(StoreError::Conflict("address lost".to_owned()).into())
    }

    /// The invoice that an earlier call with this request id created: it needs neither a rate nor an
    /// address, so that a repeat is answered also while there is none. Otherwise `failure`.
    async fn repeated(
        &self,
        caller: &Caller,
        request: &Request,
        failure: Failure,
    ) -> Result<InvoiceView, Failure> {
        let parsed = self.parse(request)?;
        let Some(key) = &parsed.request_id else { return Err(failure) };
        let merchant_id = caller.merchant_id;
        let earlier = idempotency::find(&self.db, merchant_id, claims::METHOD, key).await?;
        let Some(earlier) = earlier else { return Err(failure) };
        if earlier.request_hash != parsed.hash() {
            return Err(request_id::conflict());
        }
        let view = invoices::get(&self.db, merchant_id, earlier.resource_id).await?;
        view.ok_or_else(|| Failure::internal("idempotency key without its invoice"))
    }

    /// Checks and prices a request and takes its address. Writes nothing.
    pub async fn prepare(&self, caller: &Caller, request: &Request) -> Result<Prepared, Failure> {
        let parsed = self.parse(request)?;
        let asset = parsed.network.asset();
        let rate = self.rates.rate(asset).map_err(|missing| {
            let text = format!("{missing}; try again later or ask for USDT");
            Failure::new(Class::Unavailable, Reason::RateUnavailable, text)
        })?;
        let amount_units = price::coins_for(parsed.network, parsed.cents, &rate.usd)
            .map_err(|error| amount_failure(error, parsed.network))?;
        let address = self.leases.take(parsed.network).await?;
        if let Err(failure) = self.note_scenario(&parsed, &address.leased).await {
            self.leases.give_back(address);
            return Err(failure);
        }
        Ok(Prepared { caller: caller.clone(), parsed, rate, amount_units, address })
    }

    fn parse(&self, request: &Request) -> Result<Parsed, Failure> {
        if request.network.is_empty() {
            return Err(Failure::field("network", Reason::FieldRequired, "is required"));
        }
        let enabled = request.network.parse().ok().filter(|n| self.networks.contains_key(n));
        let network = enabled.ok_or_else(|| {
            Failure::unknown_network("enabled", self.networks.keys().map(|n| n.as_str()))
        })?;
        if request.amount_usd.is_empty() {
            return Err(Failure::field("amount_usd", Reason::FieldRequired, "is required"));
        }
        let cents = price::parse_usd(&request.amount_usd)
            .map_err(|error| amount_failure(error, network))?;
        let order_id = bounded("order_id", request.order_id.as_deref(), ORDER_ID_CHARS_MAX)?;
        let request_id = request_id::read(request.request_id.as_deref())?;
        let metadata = metadata::minify(request.metadata.as_deref().unwrap_or("{}"))
            .map_err(|e| Failure::field("metadata", Reason::InvalidField, e.to_string()))?;
        let scenario = match &self.scenarios {
            Some(books) => books.named_in(network, &metadata)?,
            None => None,
        };
        Ok(Parsed { network, cents, order_id, metadata, scenario, request_id })
    }

    async fn note_scenario(&self, parsed: &Parsed, address: &LeasedAddress) -> Result<(), Failure> {
        let (Some(books), Some(scenario)) = (&self.scenarios, parsed.scenario) else {
            return Ok(());
        };
        books.note_new(parsed.network, address, scenario).await
    }

    /// How long an invoice waits: shortly, if its scenario is to see it expire.
    fn lifetime(&self, parsed: &Parsed) -> Duration {
        if parsed.scenario.is_some_and(Scenario::needs_expiry) {
            return self.lifetime.min(scenario::SHORT_LIFETIME);
        }
        self.lifetime
    }

    fn invoice(&self, id: Uuid, prepared: &Prepared) -> Result<Invoice, Failure> {
        let Prepared { caller, parsed, rate, amount_units, address } = prepared;
        let network = self
            .networks
            .get(&parsed.network)
            .ok_or_else(|| Failure::internal("network vanished"))?;
        let asked = network.finality.of_amount(parsed.cents);
        // Truncated to the second, so that every transport tells the same moment.
        let created_at = crate::domain::time::Micros::from_seconds(self.env.now().seconds());
        Ok(Invoice {
            id,
            merchant_id: caller.merchant_id,
            api_key_id: Some(caller.api_key_id),
            network: parsed.network,
            order_id: parsed.order_id.clone(),
            metadata: parsed.metadata.clone(),
            address_id: address.leased.id,
            address_text: address.leased.signed.address.text.clone(),
            amount_cents: parsed.cents,
            terms: Terms {
                amount_units: *amount_units,
                shortfall_units: shortfall_units(
                    *amount_units,
                    network.shortfall_units,
                    caller.shortfall_basis_points,
                ),
                expires_at: created_at.plus(self.lifetime(parsed)),
                confirmations_required: asked.confirmations,
                requires_finality: asked.requires_finality,
                inclusion_window: self.inclusion_window,
                honors_late: caller.honors_late,
            },
            standing: Standing {
                status: Status::Pending,
                exception: Exception::None,
                detected_told: false,
                confirmed_told: false,
                canceled: false,
            },
            rate: rate.usd.clone(),
            rate_source: rate.source.clone(),
            rate_at: rate.at,
            version: 1,
            event_count: 0,
            created_at,
        })
    }
}

impl Parsed {
    /// SHA-256 over the parsed values, each with its length, so that spelling does not count.
    fn hash(&self) -> [u8; 32] {
        let cents = self.cents.to_string();
        let order_id = self.order_id.as_deref().unwrap_or("");
        let mut hasher = Sha256::new();
        for part in [self.network.as_str(), &cents, order_id, &self.metadata] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().into()
    }
}

/// An optional text: empty means none, U+0000 and more than `chars_max` characters are refused.
fn bounded(field: &str, text: Option<&str>, chars_max: usize) -> Result<Option<String>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.contains('\0') {
        return Err(Failure::field(field, Reason::InvalidField, "holds U+0000"));
    }
    if text.chars().count() > chars_max {
        let hint = format!("is longer than {chars_max} characters");
        return Err(Failure::field(field, Reason::InvalidField, hint));
    }
    Ok(Some(text.to_owned()))
}

fn amount_failure(error: PriceError, network: Network) -> Failure {
    let reason = match error {
        PriceError::TooSmall | PriceError::BelowDust => Reason::AmountTooSmall,
        PriceError::TooLarge => Reason::AmountTooLarge,
        PriceError::Malformed | PriceError::TooPrecise => Reason::InvalidField,
        PriceError::BadRate => {
            let text = format!("there is no usable rate of {}", network.asset());
            return Failure::new(Class::Unavailable, Reason::RateUnavailable, text);
        }
    };
    Failure::field("amount_usd", reason, error.to_string())
}
