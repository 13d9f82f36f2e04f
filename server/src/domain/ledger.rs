//! Double entry: kinds of accounts, sides, and transfers whose postings sum to zero. Not here:
//! balance rows and versions (`store::ledger`).

use uuid::Uuid;

use super::asset::Asset;

/// Who owns the house's accounts.
pub const HOUSE: Uuid = Uuid::nil();

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountKind {
    /// What a merchant can withdraw: a debt of the house. Guarded.
    MerchantAvailable,
    /// What a merchant owes after a credited payment went away: a claim of the house. Guarded.
    MerchantReceivable,
    /// What lies on deposit addresses.
    DepositCustody,
    /// Money that nobody can explain yet.
    Suspense,
}

/// A side of double entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Grows what the house has or is owed.
    Debit,
    /// Grows what the house owes.
    Credit,
}

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferKind {
    /// A deposit became deep enough.
    Deposit,
    /// A credited deposit left the best chain.
    DepositReversal,
    /// The operator gave a merchant what reached an address that was not for it.
    UnexpectedDeposit,
}

/// An account's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// The merchant, or [`HOUSE`].
    pub owner: Uuid,
    /// What it counts.
    pub asset: Asset,
    /// What it is for.
    pub kind: AccountKind,
}

/// One line of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// The account.
    pub account: AccountKey,
    /// The side.
    pub side: Side,
    /// Base units of the account's asset; above zero.
    pub units: u128,
}

impl AccountKind {
    /// The database's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MerchantAvailable => "merchant_available",
            Self::MerchantReceivable => "merchant_receivable",
            Self::DepositCustody => "deposit_custody",
            Self::Suspense => "suspense",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::MerchantAvailable,
            Self::MerchantReceivable,
            Self::DepositCustody,
            Self::Suspense,
        ];
        all.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether its balance may never go below zero and is kept in a row with a version.
    pub const fn is_guarded(self) -> bool {
        matches!(self, Self::MerchantAvailable | Self::MerchantReceivable)
    }

    /// The side that makes its balance grow.
    pub const fn normal_side(self) -> Side {
        match self {
            Self::MerchantAvailable | Self::Suspense => Side::Credit,
            Self::MerchantReceivable | Self::DepositCustody => Side::Debit,
        }
    }
}

impl Side {
    /// The database's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

impl TransferKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Deposit, Self::DepositReversal, Self::UnexpectedDeposit];

    /// The database's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::DepositReversal => "deposit_reversal",
            Self::UnexpectedDeposit => "unexpected_deposit",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The postings of a credit: it repays what the merchant owes first.
pub fn deposit_postings(
    merchant: Uuid,
    asset: Asset,
    units: u128,
    receivable: u128,
) -> Vec<Posting> {
    let repaid = units.min(receivable);
    without_zeros([
        posting(HOUSE, asset, AccountKind::DepositCustody, Side::Debit, units),
        posting(merchant, asset, AccountKind::MerchantReceivable, Side::Credit, repaid),
        posting(merchant, asset, AccountKind::MerchantAvailable, Side::Credit, units - repaid),
    ])
}

/// The postings of a reversal: available goes to zero first, the rest is owed.
pub fn reversal_postings(
    merchant: Uuid,
    asset: Asset,
    units: u128,
    available: u128,
) -> Vec<Posting> {
    let taken = units.min(available);
    without_zeros([
        posting(merchant, asset, AccountKind::MerchantAvailable, Side::Debit, taken),
        posting(merchant, asset, AccountKind::MerchantReceivable, Side::Debit, units - taken),
        posting(HOUSE, asset, AccountKind::DepositCustody, Side::Credit, units),
    ])
}

/// The postings of a credit that no merchant can be given.
pub fn suspense_postings(asset: Asset, units: u128) -> Vec<Posting> {
    without_zeros([
        posting(HOUSE, asset, AccountKind::DepositCustody, Side::Debit, units),
        posting(HOUSE, asset, AccountKind::Suspense, Side::Credit, units),
    ])
}

/// The postings of a reversal of such a credit: no merchant was given it, none pays it back.
pub fn suspense_reversal_postings(asset: Asset, units: u128) -> Vec<Posting> {
    without_zeros([
        posting(HOUSE, asset, AccountKind::Suspense, Side::Debit, units),
        posting(HOUSE, asset, AccountKind::DepositCustody, Side::Credit, units),
    ])
}

/// Whether debits and credits are equal.
pub fn sums_to_zero(postings: &[Posting]) -> bool {
    let total = |side: Side| {
        postings
            .iter()
            .filter(|posting| posting.side == side)
            .try_fold(0_u128, |sum, posting| sum.checked_add(posting.units))
    };
    matches!((total(Side::Debit), total(Side::Credit)), (Some(a), Some(b)) if a == b)
}

fn posting(owner: Uuid, asset: Asset, kind: AccountKind, side: Side, units: u128) -> Posting {
    Posting { account: AccountKey { owner, asset, kind }, side, units }
}

fn without_zeros<const N: usize>(postings: [Posting; N]) -> Vec<Posting> {
    postings.into_iter().filter(|posting| posting.units > 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_transfer_sums_to_zero(units in 1_u128..1 << 100, other in 0_u128..1 << 100) {
            let merchant = Uuid::from_u128(7);
            let asset = Asset::Ltc;
            prop_assert!(sums_to_zero(&deposit_postings(merchant, asset, units, other)));
            prop_assert!(sums_to_zero(&reversal_postings(merchant, asset, units, other)));
            prop_assert!(sums_to_zero(&suspense_postings(asset, units)));
            prop_assert!(sums_to_zero(&suspense_reversal_postings(asset, units)));
        }
    }

    #[test]
    fn a_reversal_takes_what_is_there_and_claims_the_rest() {
        let merchant = Uuid::from_u128(7);
        let postings = reversal_postings(merchant, Asset::Ltc, 100, 30);
        let of = |kind| postings.iter().find(|p| p.account.kind == kind).map(|p| p.units);
        assert_eq!(of(AccountKind::MerchantAvailable), Some(30));
        assert_eq!(of(AccountKind::MerchantReceivable), Some(70));
    }
}
