//! Lists of invoices: filters, pages by number to the 500th, pages by token to the end, and how far
//! the total is counted.

use std::collections::BTreeSet;

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{Invoice, InvoiceException, InvoiceStatus};
use sea_orm::{ConnectionTrait, Database};

use crate::conformance::world::World;
use crate::support::rest::{Answer, Rest};
use crate::support::server::Engine;

/// Invoices beside the one they are copied from: 500 pages, and six more.
const COPIES: u32 = 10_100;

fn ids(answer: &Answer) -> Vec<String> {
    let invoices = answer.json()["invoices"].as_array().unwrap().clone();
    invoices.iter().map(|invoice| invoice["id"].as_str().unwrap().to_owned()).collect()
}

/// Copies the only invoice, each copy older than the one before and long closed.
async fn copy_invoices(world: &World) {
    let db = Database::connect(&world.server.database_url).await.unwrap();
    let (uuid, key) = match crate::ENGINE {
        Engine::Sqlite => ("randomblob(16)", "randomblob(20)"),
        Engine::Postgres => ("gen_random_uuid()", "decode(md5(random()::text || n.k), 'hex')"),
    };
    let numbers = format!(
        "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {COPIES})"
    );
    db.execute_unprepared(&format!(
        "{numbers} INSERT INTO address (id, network, address_key, text, wallet_id, chain, role,
            account, path_index, fill_batch, signature, state)
         SELECT {uuid}, a.network, {key}, a.text, a.wallet_id, a.chain, a.role, a.account,
            1000000 + n.k, a.fill_batch, a.signature, 'used'
         FROM n, address a WHERE a.id = (SELECT address_id FROM invoice LIMIT 1)"
    ))
    .await
    .unwrap();
    db.execute_unprepared(&format!(
        "INSERT INTO invoice (id, merchant_id, network, asset, metadata, address_id, address_text,
            amount_cents, amount_base, shortfall_base, rate, rate_source, rate_at,
            confirmations_required, requires_finality, inclusion_seconds, honors_late, status,
            exception, version, event_count, created_at, expires_at)
         SELECT {uuid}, i.merchant_id, i.network, i.asset, i.metadata, a.id, a.text,
            i.amount_cents, i.amount_base, i.shortfall_base, i.rate, i.rate_source, i.rate_at,
            i.confirmations_required, i.requires_finality, i.inclusion_seconds, i.honors_late,
            'expired', 'none', 1, 0, i.created_at - a.path_index * 1000000,
            i.expires_at - a.path_index * 1000000
         FROM invoice i, address a WHERE a.path_index > 1000000"
    ))
    .await
    .unwrap();
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_end_at_the_500th_page_and_tokens_go_on_to_the_end() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let newest = world.invoice().await;
    copy_invoices(&world).await;

    let first = rest.get("/api/v1/invoices").await;
    let page = &first.json()["pagination"];
    assert_eq!((&page["total"], &page["last_page"]), (&10_000.into(), &500.into()));
    assert_eq!((ids(&first).len(), ids(&first)[0].as_str()), (20, newest.id.as_str()));
    let by_token = rest
        .get(&format!("/api/v1/invoices?page_token={}", page["next_page_token"].as_str().unwrap()))
        .await;
    let by_number = rest.get("/api/v1/invoices?page=2").await;
    assert_eq!(ids(&by_token), ids(&by_number));
    assert!(by_token.json()["pagination"]["page"].is_null(), "{}", by_token.body);

    let deep = rest.get("/api/v1/invoices?page=501").await;
    assert_eq!((deep.status, deep.code().as_str()), (400, "PAGE_TOO_DEEP"));
    assert!(deep.json()["message"].as_str().unwrap().contains("page_token"), "{}", deep.body);
    let mut answer = rest.get("/api/v1/invoices?page=500").await;
    let mut seen: BTreeSet<String> = ids(&answer).into_iter().collect();
    let mut pages = 0;
    while let Some(token) = answer.json()["pagination"]["next_page_token"].as_str() {
        answer = rest.get(&format!("/api/v1/invoices?page_token={token}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        pages += 1;
        for id in ids(&answer) {
            assert!(seen.insert(id), "told twice");
        }
    }
    assert_eq!((pages, seen.len()), (6, 20 + 101));
    let narrower = "status=expired&page=500";
    assert_eq!(ids(&rest.get(&format!("/api/v1/invoices?{narrower}")).await).len(), 20);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_narrow_a_list_alone_and_together() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let create = async |network: &str, order_id: &str| -> Invoice {
        let request = CreateInvoice::new(network, "5").order_id(order_id);
        world.client.create_invoice(request).await.unwrap().invoice.unwrap()
    };
    let old = create("ltc", "A-1").await;
    world.expire().await;
    world.wait(&old, InvoiceStatus::Expired, InvoiceException::None).await;
    let (twin, other) = (create("ltc", "A-1").await, create("trc20", "B & C").await);
    let shown = rest.get(&format!("/api/v1/invoices/{}", other.id)).await.json();
    let moment = shown["invoice"]["created_at"].as_str().unwrap().replace('+', "%2B");

    let all = [&other.id, &twin.id, &old.id];
    let cases: [(String, &[&String]); 12] = [
        (String::new(), &all),
        ("order_id=A-1".into(), &[&twin.id, &old.id]),
        ("order_id=B+%26+C".into(), &[&other.id]),
        ("order_id=A".into(), &[]),
        ("order_id=".into(), &all),
        ("status=expired".into(), &[&old.id]),
        ("status=pending".into(), &[&other.id, &twin.id]),
        ("network=ltc".into(), &[&twin.id, &old.id]),
        ("network=ltc&status=pending&order_id=A-1".into(), &[&twin.id]),
        (format!("created_after={moment}&network=trc20"), &[&other.id]),
        (format!("created_before={moment}&status=expired"), &[&old.id]),
        (format!("created_after={moment}&created_before={moment}"), &[]),
    ];
    for (query, expected) in cases {
        let answer = rest.get(&format!("/api/v1/invoices?{query}")).await;
        let mut found: Vec<String> = ids(&answer);
        let mut expected: Vec<String> = expected.iter().map(|id| (*id).clone()).collect();
        // The two newest share a second.
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{query}: {}", answer.body);
        assert_eq!(answer.json()["pagination"]["total"], expected.len(), "{query}");
    }
    world.finish().await;
}
