//! What the delivery log keeps of each attempt, redeliveries out of turn, and the Standard Webhooks
//! secret of an endpoint. Only columns and indexes are added: a program of the release before runs on
//! it.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        // Cut half way it would leave behind what the next try meets.
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for part in [ENDPOINT, DELIVERY, ATTEMPT] {
            dialect::run(manager, part).await?;
        }
        Ok(())
    }
}

/// Secrets are sealed. An endpoint that is older than this has none until it is set or rotated.
const ENDPOINT: &str = "
ALTER TABLE endpoint ADD COLUMN signing_secret {bytes};
ALTER TABLE endpoint ADD COLUMN signing_secret_previous {bytes};
ALTER TABLE endpoint ADD COLUMN signing_secret_previous_until BIGINT;
";

/// `attempt` counts scheduled attempts alone, `redeliveries` those out of turn. `redeliver_at` is when
/// a redelivery was asked for that is not made yet.
const DELIVERY: &str = "
ALTER TABLE delivery ADD COLUMN redeliver_at BIGINT;
ALTER TABLE delivery ADD COLUMN redeliveries BIGINT NOT NULL DEFAULT 0;
CREATE INDEX delivery_redeliver ON delivery (redeliver_at) WHERE redeliver_at IS NOT NULL;
CREATE INDEX delivery_list ON delivery (merchant_id, state, seq);
CREATE INDEX delivery_invoice ON delivery (merchant_id, aggregate_id, seq);
";

/// Headers are JSON, `[[name, value], ...]`. Attempts made before this are known without their request.
const ATTEMPT: &str = "
ALTER TABLE delivery_attempt ADD COLUMN redelivery BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE delivery_attempt ADD COLUMN request_headers TEXT NOT NULL DEFAULT '[]';
ALTER TABLE delivery_attempt ADD COLUMN request_body TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery_attempt ADD COLUMN response_headers TEXT NOT NULL DEFAULT '[]';
ALTER TABLE delivery_attempt ADD COLUMN response_cut BOOLEAN NOT NULL DEFAULT FALSE;
";
