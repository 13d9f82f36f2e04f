//! Bad input as data: every row of the tables under `fixtures/bad_input` gets exactly its answer, in
//! the documented form, in time, never 5xx, and changes nothing. What the contract has and is not served
//! is a table of its own, the one with 501. Not here: what a request id stands for (`idempotency`).

mod calls;
mod idempotency;
mod table;

use std::collections::BTreeMap;

use calls::{Scene, statuses};
use table::{Row, Section};

/// Rows of all tables that there must be.
const ROWS_MIN: usize = 800;
/// gRPC codes that tell of the server's own fault, as 5xx does over HTTP.
const OWN_CODES: [&str; 5] = ["Internal", "Unknown", "DataLoss", "Unavailable", "DeadlineExceeded"];
/// What a method that is not there answers over gRPC, be it unknown or not served; over HTTP the former is 404.
const NO_METHOD: &str = "Unimplemented";

/// The tables of bad input, each checked by a server of its own so that they run side by side.
const TABLES: [&str; 7] = [
    "invoices.txt",
    "lists.txt",
    "webhooks.txt",
    "sandbox.txt",
    "paths.txt",
    "http.txt",
    "grpc.txt",
];
/// Calls without fault of what the contract has and this server does not serve: 501.
const NOT_SERVED: &str = "not_served.txt";

async fn holds(table: &str) {
    let rows = table::rows(table);
    let mut scene = Scene::new().await;
    let mut wrong = Vec::new();
    for row in &rows {
        wrong.extend(scene.check(row).await);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for status in rows.iter().flat_map(|row| &row.statuses) {
        *counts.entry(status).or_default() += 1;
    }
    println!("{table}: {} rows, by status {counts:?}", rows.len());
    assert!(wrong.is_empty(), "{} rows of {table} differ:\n{}", wrong.len(), wrong.join("\n"));
    scene.world.finish().await;
}

#[test]
fn there_are_many_rows_and_none_expects_a_fault_of_the_server() {
    let rows: Vec<Row> = TABLES.iter().flat_map(|name| table::rows(name)).collect();
    assert!(rows.len() >= ROWS_MIN, "{} rows", rows.len());
    let methods = methods();
    for row in &rows {
        for status in &row.statuses {
            let is_own = status.starts_with('5') || OWN_CODES.contains(&status.as_str());
            assert!(!is_own, "{}: {status}", row.place);
        }
        let is_served =
            grpc_path(row).is_some_and(|path| methods.iter().any(|(own, _)| own == path));
        let is_missing = row.statuses.iter().any(|status| status == NO_METHOD);
        assert!(!is_missing || !is_served, "{}: the contract has the method", row.place);
    }
    let not_served = table::rows(NOT_SERVED);
    for row in &not_served {
        let (wanted, path) = match grpc_path(row) {
            Some(path) => (NO_METHOD, path),
            None => ("501", "/"),
        };
        assert_eq!(row.statuses, [wanted], "{}", row.place);
        let is_ours = path == "/" || methods.iter().any(|(own, _)| own == path);
        assert!(is_ours, "{}: not in the contract", row.place);
    }
    // The merchant's and the payer's methods alone are on this port, and each of them is tried.
    let tried: Vec<&str> = rows.iter().chain(&not_served).filter_map(grpc_path).collect();
    for (path, has_fields) in &methods {
        assert!(!has_fields || tried.contains(&path.as_str()), "{path} is not tried");
    }
}

/// The gRPC method that a row calls.
fn grpc_path(row: &Row) -> Option<&str> {
    match &row.section {
        Section::Grpc { path } => Some(path),
        _ => None,
    }
}

/// The contract's methods that are not the operator's, and whether their requests have fields.
fn methods() -> Vec<(String, bool)> {
    let pool = prost_reflect::DescriptorPool::decode(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
    let all = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let paths = all.map(|method| {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        (path, method.input().fields().len() > 0)
    });
    paths
        .filter(|(path, _)| path.starts_with("/cryptopayment.") && !path.contains(".admin."))
        .collect()
}

macro_rules! each_table {
    ($($name:ident: $table:literal,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            assert!(TABLES.contains(&$table) || $table == NOT_SERVED);
            holds($table).await;
        }
    )*};
}

each_table! {
    of_invoices: "invoices.txt",
    of_lists: "lists.txt",
    of_webhooks: "webhooks.txt",
    of_the_sandbox: "sandbox.txt",
    of_paths: "paths.txt",
    of_http: "http.txt",
    over_grpc: "grpc.txt",
    of_what_is_not_served: "not_served.txt",
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_looks_odd_is_accepted() {
    let scene = Scene::new().await;
    let before = invoices(&scene).await;
    let rows = table::rows("accepted.txt");
    let mut created = 0;
    let mut wrong = Vec::new();
    for row in &rows {
        let replies = scene.send(row).await.unwrap();
        if statuses(row, &replies) != row.statuses {
            wrong.push(format!("{}: {:.200}\n  {replies:?}", row.place, row.payload));
        }
        created += replies.iter().filter(|reply| reply.body.contains("checkout_url")).count();
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(invoices(&scene).await, before + created, "each creates one invoice or none");
    scene.world.finish().await;
}

async fn invoices(scene: &Scene) -> usize {
    let reply = scene.get("/api/v1/invoices").await;
    let listed: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    listed["pagination"]["total"].as_u64().unwrap().try_into().unwrap()
}
