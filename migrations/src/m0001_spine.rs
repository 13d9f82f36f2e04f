//! The first schema: deployment, chains, addresses, merchants, invoices, deposits, the ledger,
//! events and deliveries. Amounts are 39 digits of text, times are microseconds, ids are UUIDs.

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
        for part in [DEPLOYMENT, CHAIN, MERCHANT, INVOICE, LEDGER, EVENT] {
            dialect::run(manager, part).await?;
        }
        for table in ["posting", "transfer", "audit_log"] {
            dialect::append_only(manager, table, None).await?;
        }
        let pruned = "OLD.seq < (SELECT first FROM merchant_seq s \
                      WHERE s.merchant_id = OLD.merchant_id)";
        dialect::append_only(manager, "event", Some(pruned)).await?;
        for column in ["address_id", "expires_at", "amount_base", "merchant_id"] {
            dialect::immutable_column(manager, "invoice", column).await?;
        }
        Ok(())
    }
}

/// Which environment and wallet this database belongs to, and the clocks and leases in it.
const DEPLOYMENT: &str = "
CREATE TABLE deployment (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    environment TEXT NOT NULL CHECK (environment IN ('sandbox', 'live')),
    wallet_id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE network_stamp (
    network TEXT NOT NULL PRIMARY KEY,
    chain TEXT NOT NULL,
    genesis TEXT NOT NULL
);
CREATE TABLE clock (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    business_offset BIGINT NOT NULL
);
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder {id} NOT NULL,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE TABLE audit_log (
    chain TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (chain, seq),
    UNIQUE (chain, prev_hash)
);
";

/// How far each chain was read, and the addresses it is read for.
const CHAIN: &str = "
CREATE TABLE chain_cursor (
    network TEXT NOT NULL PRIMARY KEY,
    height BIGINT NOT NULL,
    hash TEXT NOT NULL,
    finalized_height BIGINT,
    node_height BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    watch_batch BIGINT NOT NULL,
    watermark_at BIGINT NOT NULL
);
CREATE TABLE chain_block (
    network TEXT NOT NULL,
    hash TEXT NOT NULL,
    height BIGINT NOT NULL,
    parent TEXT NOT NULL,
    time BIGINT NOT NULL,
    PRIMARY KEY (network, hash)
);
CREATE UNIQUE INDEX chain_block_height ON chain_block (network, height);
CREATE TABLE pool_seq (
    network TEXT NOT NULL PRIMARY KEY,
    next BIGINT NOT NULL
);
CREATE TABLE address (
    id {id} NOT NULL PRIMARY KEY,
    network TEXT NOT NULL,
    address_key {bytes} NOT NULL,
    text TEXT NOT NULL,
    wallet_id TEXT NOT NULL,
    chain TEXT NOT NULL,
    role BIGINT NOT NULL,
    account BIGINT NOT NULL,
    path_index BIGINT NOT NULL,
    fill_batch BIGINT NOT NULL,
    signature {bytes} NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('free', 'leased', 'used', 'quarantined')),
    leased_to {id},
    leased_until BIGINT,
    merchant_id {id},
    UNIQUE (network, address_key),
    UNIQUE (wallet_id, network, role, account, path_index)
);
CREATE INDEX address_pool ON address (network, state, path_index);
CREATE INDEX address_batch ON address (network, fill_batch);
";

/// Merchants, their keys, and where each key is told.
const MERCHANT: &str = "
CREATE TABLE merchant (
    id {id} NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    approved_at BIGINT,
    honors_late BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL
);
CREATE TABLE api_key (
    id {id} NOT NULL PRIMARY KEY,
    public_id TEXT NOT NULL UNIQUE,
    merchant_id {id} NOT NULL REFERENCES merchant (id),
    name TEXT NOT NULL,
    digest {bytes} NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('test', 'live')),
    scopes TEXT NOT NULL,
    rest_view TEXT NOT NULL CHECK (rest_view IN ('basic', 'full')),
    app_key {bytes} NOT NULL,
    app_key_next {bytes},
    expires_at BIGINT,
    revoked_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX api_key_merchant ON api_key (merchant_id, created_at);
CREATE TABLE endpoint (
    id {id} NOT NULL PRIMARY KEY,
    api_key_id {id} NOT NULL UNIQUE REFERENCES api_key (id),
    merchant_id {id} NOT NULL REFERENCES merchant (id),
    url TEXT,
    events TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE idempotency (
    principal_id {id} NOT NULL,
    method TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash {bytes} NOT NULL,
    resource_id {id} NOT NULL,
    code BIGINT NOT NULL,
    day BIGINT NOT NULL,
    PRIMARY KEY (principal_id, method, key)
);
CREATE INDEX idempotency_day ON idempotency (day);
";

/// Invoices and what was paid to their addresses.
const INVOICE: &str = "
CREATE TABLE invoice (
    id {id} NOT NULL PRIMARY KEY,
    merchant_id {id} NOT NULL REFERENCES merchant (id),
    api_key_id {id} REFERENCES api_key (id),
    network TEXT NOT NULL,
    asset TEXT NOT NULL,
    order_id TEXT,
    metadata TEXT NOT NULL,
    address_id {id} NOT NULL UNIQUE REFERENCES address (id),
    address_text TEXT NOT NULL,
    amount_cents BIGINT NOT NULL CHECK (amount_cents > 0),
    amount_base {amount} NOT NULL {digits:amount_base},
    shortfall_base {amount} NOT NULL {digits:shortfall_base},
    rate TEXT NOT NULL,
    rate_source TEXT NOT NULL,
    rate_at BIGINT NOT NULL,
    confirmations_required BIGINT NOT NULL CHECK (confirmations_required > 0),
    requires_finality BOOLEAN NOT NULL,
    inclusion_seconds BIGINT NOT NULL,
    honors_late BOOLEAN NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'confirming', 'confirmed', 'expired')),
    exception TEXT NOT NULL CHECK (exception IN
        ('none', 'underpaid', 'overpaid', 'late', 'reorged', 'canceled')),
    version BIGINT NOT NULL,
    event_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    detected_event_at BIGINT,
    confirmed_event_at BIGINT,
    canceled_at BIGINT
);
CREATE INDEX invoice_list ON invoice (merchant_id, created_at, id);
CREATE INDEX invoice_order ON invoice (merchant_id, order_id);
CREATE INDEX invoice_due ON invoice (network, status, expires_at);
CREATE TABLE deposit (
    id {id} NOT NULL PRIMARY KEY,
    network TEXT NOT NULL,
    txid TEXT NOT NULL,
    ordinal TEXT NOT NULL,
    generation BIGINT NOT NULL,
    address_id {id} NOT NULL REFERENCES address (id),
    invoice_id {id} REFERENCES invoice (id),
    merchant_id {id},
    asset TEXT NOT NULL,
    amount {amount} NOT NULL {digits:amount},
    block_height BIGINT,
    block_hash TEXT,
    included_at BIGINT,
    first_seen_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('seen', 'included', 'replaced', 'orphaned')),
    version BIGINT NOT NULL,
    applied_version BIGINT NOT NULL,
    credited BOOLEAN NOT NULL,
    credit_generation BIGINT NOT NULL,
    counted_pending BOOLEAN NOT NULL,
    UNIQUE (network, txid, ordinal, generation)
);
CREATE INDEX deposit_depth ON deposit (network, state, credited, block_height);
CREATE INDEX deposit_dirty ON deposit (network, first_seen_at) WHERE version > applied_version;
CREATE INDEX deposit_invoice ON deposit (invoice_id);
CREATE INDEX deposit_address ON deposit (address_id);
CREATE TABLE deposit_input (
    network TEXT NOT NULL,
    outpoint TEXT NOT NULL,
    txid TEXT NOT NULL,
    PRIMARY KEY (network, outpoint, txid)
);
CREATE INDEX deposit_input_txid ON deposit_input (network, txid);
";

/// Double entry: transfers of postings that sum to zero, and what is folded from them.
const LEDGER: &str = "
CREATE TABLE account (
    id {id} NOT NULL PRIMARY KEY,
    owner {id} NOT NULL,
    asset TEXT NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (owner, asset, kind)
);
CREATE TABLE transfer (
    id {id} NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    ref_id {id} NOT NULL,
    generation BIGINT NOT NULL,
    asset TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (kind, ref_id, generation)
);
CREATE TABLE posting (
    transfer_id {id} NOT NULL REFERENCES transfer (id),
    n BIGINT NOT NULL,
    account_id {id} NOT NULL REFERENCES account (id),
    side TEXT NOT NULL CHECK (side IN ('debit', 'credit')),
    amount {amount} NOT NULL {digits:amount},
    account_version BIGINT,
    PRIMARY KEY (transfer_id, n)
);
CREATE INDEX posting_account ON posting (account_id, account_version);
CREATE TABLE balance (
    account_id {id} NOT NULL PRIMARY KEY REFERENCES account (id),
    posted {amount} NOT NULL {digits:posted},
    held {amount} NOT NULL {digits:held},
    pending {amount} NOT NULL {digits:pending},
    version BIGINT NOT NULL
);
CREATE TABLE ledger_tail (
    transfer_id {id} NOT NULL,
    n BIGINT NOT NULL,
    account_id {id} NOT NULL,
    side TEXT NOT NULL,
    amount {amount} NOT NULL {digits:amount},
    PRIMARY KEY (transfer_id, n)
);
CREATE INDEX ledger_tail_account ON ledger_tail (account_id);
CREATE TABLE account_snapshot (
    account_id {id} NOT NULL PRIMARY KEY REFERENCES account (id),
    debits {amount} NOT NULL {digits:debits},
    credits {amount} NOT NULL {digits:credits},
    cut BIGINT NOT NULL
);
";

/// One ordered log per merchant, and what is sent from it.
const EVENT: &str = "
CREATE TABLE merchant_seq (
    merchant_id {id} NOT NULL PRIMARY KEY REFERENCES merchant (id),
    next BIGINT NOT NULL,
    first BIGINT NOT NULL,
    dispatched BIGINT NOT NULL
);
CREATE TABLE event (
    merchant_id {id} NOT NULL,
    seq BIGINT NOT NULL,
    aggregate_id {id} NOT NULL,
    aggregate_version BIGINT NOT NULL,
    type TEXT NOT NULL,
    api_key_id {id},
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, seq),
    UNIQUE (aggregate_id, aggregate_version)
);
CREATE TABLE delivery (
    id {id} NOT NULL PRIMARY KEY,
    merchant_id {id} NOT NULL,
    seq BIGINT NOT NULL,
    endpoint_id {id} NOT NULL REFERENCES endpoint (id),
    aggregate_id {id} NOT NULL,
    due_at BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'dropped')),
    claimed_by {id},
    claimed_until BIGINT,
    UNIQUE (merchant_id, seq, endpoint_id)
);
CREATE INDEX delivery_due ON delivery (state, due_at);
CREATE INDEX delivery_order ON delivery (endpoint_id, aggregate_id, seq);
CREATE TABLE delivery_attempt (
    delivery_id {id} NOT NULL REFERENCES delivery (id),
    n BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    url TEXT NOT NULL,
    status_code BIGINT,
    error TEXT,
    response TEXT NOT NULL,
    PRIMARY KEY (delivery_id, n)
);
";
