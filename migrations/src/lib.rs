//! The database schema: one expand/contract step per file, the same for SQLite and PostgreSQL.
//! Tables are written once with placeholders for the few types that the engines name differently.
//! Not here: queries (the server's `store`).

mod dialect;
mod m0001_spine;
mod m0002_merchant_policy;
mod m0003_webhooks;
mod m0004_balance_after;
mod m0005_finality;
mod m0006_endpoints;
mod m0007_unexpected_deposits;
mod m0008_reconciliation;
mod m0009_looked_at;
mod m0010_asked_finality;
mod m0011_due_deliveries;
mod m0012_deposits_by_the_thousand;

use sea_orm_migration::prelude::*;

/// Runs every step that a database has not seen, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_spine::Migration),
            Box::new(m0002_merchant_policy::Migration),
            Box::new(m0003_webhooks::Migration),
            Box::new(m0004_balance_after::Migration),
            Box::new(m0005_finality::Migration),
            Box::new(m0006_endpoints::Migration),
            Box::new(m0007_unexpected_deposits::Migration),
            Box::new(m0008_reconciliation::Migration),
            Box::new(m0009_looked_at::Migration),
            Box::new(m0010_asked_finality::Migration),
            Box::new(m0011_due_deliveries::Migration),
            Box::new(m0012_deposits_by_the_thousand::Migration),
        ]
    }
}
