//! The table of metrics in `docs/operating/metrics.md`, written from what the program tells of a moment at
//! which there is something of everything. Not here: whether the figures are right (`it/metrics`).

use std::collections::BTreeSet;
use std::time::Duration;

use cryptopayment::domain::asset::{Asset, Network};
use cryptopayment::domain::endpoint::{Endpoint, EndpointState, NetworkState};
use cryptopayment::domain::time::Micros;
use cryptopayment::env::Env;
use cryptopayment::metrics::{CallMeter, Meters};
use cryptopayment::store::figures::{NetworkCounts, Queues};
use cryptopayment::transport::metrics::{Format, text};
use cryptopayment::usecase::take_figures::{Figures, NetworkFigures, RateFigures, Reading};

/// Where the page stands in the repository.
pub const PATH: &str = "docs/operating/metrics.md";
/// Between these two the table stands.
const BEGIN: &str = "--test guides -->\n";
const END: &str = "<!-- end of table -->";

/// A metric.
struct Row {
    name: String,
    kind: String,
    labels: Vec<String>,
    about: String,
}

/// The page with the table that the program's output makes.
pub fn page() -> String {
    let page = crate::read(PATH);
    let (before, rest) = page.split_once(BEGIN).expect("the page has its mark");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    let mut table = "\n| metric | type | labels | what |\n|---|---|---|---|\n".to_owned();
    for Row { name, kind, labels, about } in rows() {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (labels, about) = (labels.join(", "), about.trim_end_matches('.'));
        table.push_str(&format!("| `{name}` | {kind} | {labels} | {about} |\n"));
    }
    format!("{before}{BEGIN}{table}\n{END}{after}")
}

fn rows() -> Vec<Row> {
    let told = text::write(Some(&figures()), &meters(), Format::Prometheus);
    let mut rows: Vec<Row> = Vec::new();
    for line in told.lines() {
        if let Some(line) = line.strip_prefix("# HELP ") {
            let (name, about) = line.split_once(' ').unwrap();
            let (name, about) = (name.to_owned(), about.to_owned());
            rows.push(Row { name, kind: String::new(), labels: Vec::new(), about });
        } else if let Some(line) = line.strip_prefix("# TYPE ") {
            let row = rows.last_mut().unwrap();
            row.kind = line.rsplit_once(' ').unwrap().1.to_owned();
        } else {
            let row = rows.last_mut().unwrap();
            assert!(line.starts_with(&row.name), "{line} is no sample of {}", row.name);
            if row.labels.is_empty() {
                row.labels = labels(line);
            }
        }
    }
    assert!(rows.len() > 25, "{told}");
    rows
}

/// The labels of a sample. No value of ours has a comma.
fn labels(line: &str) -> Vec<String> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let inside = rest.rsplit_once('}').unwrap().0;
    let keys = inside.split(',').map(|label| label.split_once('=').unwrap().0.to_owned());
    keys.filter(|key| key != "le").collect()
}

fn figures() -> Figures {
    let endpoint = Endpoint {
        name: "node".to_owned(),
        host: "127.0.0.1:9332".to_owned(),
        state: EndpointState::Healthy,
        is_serving: true,
        height: Some(9),
        finalized_height: None,
        since: Micros(0),
        error: String::new(),
    };
    let reading = Reading {
        head_height: 9,
        scanned_height: 9,
        finalized_height: Some(3),
        watermark_lag: Duration::ZERO,
        is_finality_stalled: false,
    };
    let network = NetworkFigures {
        network: Network::Ltc,
        state: NetworkState::Reading,
        reading: Some(reading),
        counts: NetworkCounts::default(),
        endpoints: vec![endpoint],
    };
    let age = Some(Duration::ZERO);
    Figures {
        networks: vec![network],
        queues: Queues::default(),
        oldest_due_age: Duration::ZERO,
        rates: vec![RateFigures { asset: Asset::Ltc, is_available: true, age }],
    }
}

fn meters() -> Meters {
    let meters = Meters::new(CallMeter::new(Env::system(), std::iter::empty()));
    drop(meters.units.begin("apply"));
    meters.attempts.ended("delivered", Duration::ZERO);
    meters.reads.ended("ltc", "answered");
    meters
}

/// Rules and running text name metrics that exist.
#[test]
fn every_metric_that_the_page_names_exists() {
    let known: BTreeSet<String> = rows().into_iter().map(|row| row.name).collect();
    let page = crate::read(PATH);
    let named = page.match_indices("cryptopayment_").map(|(at, _)| {
        let rest = &page[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    let unknown: Vec<&str> = named.filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are told by nobody; known are {known:#?}");
}
