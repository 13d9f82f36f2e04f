//! The balance of a guarded account after each of its postings, so that a list of entries needs no
//! sum. Postings that are there already get theirs from a sum made once, here.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::prelude::Uuid;
use sea_orm_migration::sea_orm::{ConnectionTrait, Statement, Value};

use crate::dialect;

/// Postings summed up by one query.
const POSTINGS_READ_MAX: i64 = 1_000;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        // Cut half way it would leave a column behind that the next try meets.
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, COLUMN).await?;
        dialect::reopen(manager, "posting").await?;
        let accounts = "SELECT b.account_id, a.kind FROM balance b JOIN account a
                        ON a.id = b.account_id";
        let backend = manager.get_database_backend();
        let accounts = Statement::from_string(backend, accounts);
        for account in manager.get_connection().query_all_raw(accounts).await? {
            let grows = match account.try_get::<String>("", "kind")?.as_str() {
                "merchant_receivable" => "debit",
                _ => "credit",
            };
            fill(manager, account.try_get("", "account_id")?, grows).await?;
        }
        dialect::close(manager, "posting").await
    }
}

const COLUMN: &str = "
ALTER TABLE posting ADD COLUMN balance_after {amount} {digits:balance_after};
";

/// Writes the running balance of one account, whose balance grows on the side `grows`.
async fn fill(manager: &SchemaManager<'_>, account: Uuid, grows: &str) -> Result<(), DbErr> {
    let (db, backend) = (manager.get_connection(), manager.get_database_backend());
    let (mut balance, mut version) = (0_u128, 0_i64);
    loop {
        let read = "SELECT account_version, side, amount FROM posting
                    WHERE account_id = $1 AND account_version > $2
                    ORDER BY account_version LIMIT $3";
        let values: [Value; 3] = [account.into(), version.into(), POSTINGS_READ_MAX.into()];
        let rows = db.query_all_raw(Statement::from_sql_and_values(backend, read, values)).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            version = row.try_get("", "account_version")?;
            let side: String = row.try_get("", "side")?;
            balance = moved(balance, &row.try_get::<String>("", "amount")?, side == grows)?;
            let write = "UPDATE posting SET balance_after = $3
                         WHERE account_id = $1 AND account_version = $2";
            let values: [Value; 3] =
                [account.into(), version.into(), format!("{balance:039}").into()];
            db.execute_raw(Statement::from_sql_and_values(backend, write, values)).await?;
        }
    }
}

fn moved(balance: u128, amount: &str, grows: bool) -> Result<u128, DbErr> {
    let damaged = || DbErr::Custom(format!("posting of {amount} does not fit its balance"));
    let amount: u128 = amount.parse().map_err(|_| damaged())?;
    let moved = if grows { balance.checked_add(amount) } else { balance.checked_sub(amount) };
    moved.ok_or_else(damaged)
}
