//! Who may call which method, read from the contract's options at start. A method without a rule
//! keeps the server from starting: nothing is open by oversight.

use std::collections::{BTreeSet, HashMap};

use cryptopayment_proto::options::v1::{Audience, Scope};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

/// The option that carries a method's rule.
const ACCESS_OPTION: &str = "cryptopayment.options.v1.access";
/// Packages of the contract; every method in them must have a rule.
const CONTRACT: &str = "cryptopayment.";

/// One method's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// For whom it exists.
    pub audience: Audience,
    /// What the credential must be allowed to do.
    pub scope: Scope,
}

impl Access {
    /// Whether the method exists only where chains are simulated.
    pub fn is_sandbox_only(self) -> bool {
        self.audience == Audience::Sandbox || self.scope == Scope::Sandbox
    }
}

/// Why the contract can not be served.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The descriptor set can not be read.
    #[error("descriptor set: {0}")]
    Descriptor(#[from] prost_reflect::DescriptorError),
    /// A method has no rule.
    #[error("{0} declares no access rule")]
    Missing(String),
}

/// Every method's rule by its path, `/package.Service/Method`.
#[derive(Debug, Clone)]
pub struct AccessRules(HashMap<String, Access>);

impl AccessRules {
    /// Reads the rules of a descriptor set.
    pub fn read(descriptor_set: &[u8]) -> Result<Self, AccessError> {
        let pool = DescriptorPool::decode(descriptor_set)?;
        let mut rules = HashMap::new();
        for service in pool.services().filter(|s| s.full_name().starts_with(CONTRACT)) {
            for method in service.methods() {
                let rule = rule_of(&pool, &method)
                    .ok_or_else(|| AccessError::Missing(method.full_name().to_owned()))?;
                rules.insert(format!("/{}/{}", service.full_name(), method.name()), rule);
            }
        }
        Ok(Self(rules))
    }

    /// The rule of the method at `path`.
    pub fn get(&self, path: &str) -> Option<Access> {
        self.0.get(path).copied()
    }

    /// The path of every method.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The full names of services that have methods for which `holds`.
    pub fn services_where(&self, holds: impl Fn(Access) -> bool) -> BTreeSet<String> {
        let paths = self.0.iter().filter(|(_, rule)| holds(**rule));
        paths.filter_map(|(path, _)| path.split('/').nth(1).map(str::to_owned)).collect()
    }
}

fn rule_of(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Access> {
    let extension = pool.get_extension_by_name(ACCESS_OPTION)?;
    let options: DynamicMessage = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    let value = options.get_extension(&extension);
    let Value::Message(rule) = value.as_ref() else { return None };
    let number = |field: &str| rule.get_field_by_name(field).and_then(|v| v.as_enum_number());
    let audience = Audience::try_from(number("audience")?).ok()?;
    let scope = Scope::try_from(number("scope")?).ok()?;
    let given = audience != Audience::Unspecified && scope != Scope::Unspecified;
    given.then_some(Access { audience, scope })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_method_of_the_contract_has_a_rule() {
        let rules = AccessRules::read(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
        let create = rules.get("/cryptopayment.v1.InvoiceService/CreateInvoice").unwrap();
        assert_eq!(create.audience, Audience::Merchant);
        assert_eq!(create.scope, Scope::InvoicesWrite);
        let operator = rules.services_where(|rule| rule.audience == Audience::Operator);
        assert!(operator.iter().all(|name| name.starts_with("cryptopayment.admin.")));
        assert!(!operator.is_empty());
    }

    #[test]
    fn what_drives_chains_exists_on_a_sandbox_alone() {
        let rules = AccessRules::read(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
        let only_there = rules.services_where(Access::is_sandbox_only);
        let expected = [
            "cryptopayment.checkout.v1.SandboxCheckoutService",
            "cryptopayment.sandbox.v1.SandboxService",
        ];
        assert_eq!(only_there.into_iter().collect::<Vec<_>>(), expected);
        let payer = rules.services_where(|rule| rule.audience == Audience::Payer);
        assert!(payer.iter().all(|name| name.starts_with("cryptopayment.checkout.")));
    }
}
