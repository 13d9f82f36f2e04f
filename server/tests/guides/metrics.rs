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

/// What the program tells of that moment.
fn told() -> String {
    text::write(Some(&figures()), &meters(), Format::Prometheus)
}

fn rows() -> Vec<Row> {
    let told = told();
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

/// What is wrong with a rule's expression: its words are metrics, their labels, and what Prometheus knows.
pub fn fault(expression: &str) -> Option<String> {
    let known = ["by", "job", "max", "min", "rate", "sum", "up"];
    let (rows, told) = (rows(), told());
    let parts: Vec<&str> = expression.split('"').collect();
    let bare: String = parts.iter().step_by(2).copied().collect();
    let words: BTreeSet<&str> = words(&bare).collect();
    let metrics: Vec<&Row> = rows.iter().filter(|row| words.contains(row.name.as_str())).collect();
    let is_ours = |word: &&str| {
        metrics.iter().any(|row| row.name == **word || row.labels.iter().any(|label| label == word))
    };
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let unknown =
        words.iter().find(|word| !known.contains(word) && !is_ours(word) && !is_number(word));
    if let Some(word) = unknown {
        return Some(format!("{word} is no metric and no label of one"));
    }
    // Values of a state that nothing has would never alert.
    for (label, values) in parts.iter().zip(parts.iter().skip(1)).step_by(2) {
        let is_state = label.trim_end_matches(['=', '~', '!']).ends_with("state");
        let unknown = values.split('|').find(|value| !told.contains(&format!("state=\"{value}\"")));
        if let Some(value) = unknown.filter(|_| is_state) {
            return Some(format!("nothing has the state {value}"));
        }
    }
    let mut open = Vec::new();
    for letter in bare.chars() {
        match letter {
            '(' => open.push(')'),
            '{' => open.push('}'),
            '[' => open.push(']'),
            ')' | '}' | ']' if open.pop() != Some(letter) => {
                return Some("has a bracket too many".into());
            }
            _ => {}
        }
    }
    let is_closed = open.is_empty() && parts.len() % 2 == 1;
    (!is_closed).then(|| "has an open bracket or quote".to_owned())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts.filter(|word| !word.is_empty())
}

#[test]
fn expressions_that_would_never_alert_are_seen() {
    let state = "cryptopayment_network_state";
    let wrong = [
        "max by (network) (cryptopayment_network_age) > 1".to_owned(),
        format!("max by (asset) ({state}) > 1"),
        format!("max by (network) ({state} > 1"),
        format!("max({state}{{state=\"gone\"}}) == 1"),
        format!("max({state}{{state=\"held}}) == 1"),
    ];
    for expression in wrong {
        assert!(fault(&expression).is_some(), "{expression}");
    }
    assert_eq!(fault(&format!("max by (network) ({state}{{state=~\"waiting|held\"}}) == 1")), None);
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
