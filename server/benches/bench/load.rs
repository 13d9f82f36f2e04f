//! The other end of a wire: this program again, as a process of its own, so that the server's CPU time
//! is the server's alone. It is told what to call and how often, and prints how long it took.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::event_service_client::EventServiceClient;
use cryptopayment_proto::v1::stream_events_request::From;
use cryptopayment_sdk::{Client, CreateInvoice, Credentials};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use super::measure::{Series, cpu_ticks};
use crate::support::server::TestServer;

/// The word that makes the program this end.
pub const COMMAND: &str = "load";
/// Callers at once.
const CALLERS: usize = 64;
/// gRPC callers that share a connection.
const CALLERS_PER_CONNECTION: usize = 16;
/// Watchers that share a connection: as many streams as the listener allows on one.
pub const WATCHERS_PER_CONNECTION: usize = 100;

/// What to call.
pub struct Load<'a> {
    /// `get`, `post`, `grpc-get`, `grpc-create`, `watch`.
    pub kind: &'a str,
    pub url: &'a str,
    pub credentials: &'a (String, String),
    /// Calls in all; of `watch` the events that each watcher waits for.
    pub count: usize,
    /// Callers at once, or watchers.
    pub callers: usize,
    /// A path, an id, or how many watchers share a connection.
    pub extra: String,
}

impl<'a> Load<'a> {
    /// Calls by as many callers as are usual, of a server's own or of a peer with its credentials.
    pub fn new(
        kind: &'a str,
        url: &'a str,
        server: &'a TestServer,
        count: usize,
        extra: &str,
    ) -> Self {
        let credentials = &server.credentials;
        Self { kind, url, credentials, count, callers: CALLERS, extra: extra.to_owned() }
    }

    /// Starts it. It ends when it has made its calls.
    pub fn start(&self) -> (Child, BufReader<ChildStdout>) {
        let (key, secret) = self.credentials;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([COMMAND, self.kind, self.url, key, secret])
            .args([self.count.to_string(), self.callers.to_string(), self.extra.clone()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        (child, stdout)
    }

    /// A round of it.
    pub async fn round(&self, series: &mut Series) {
        let ticks = cpu_ticks();
        let (mut child, mut stdout) = self.start();
        let seconds = line(&mut stdout).parse().unwrap();
        let waited = tokio::task::block_in_place(|| child.wait());
        assert!(waited.unwrap().success());
        series.note(self.count as u64, seconds, cpu_ticks() - ticks);
    }
}

/// The next line of a child; the runtime's other threads work on meanwhile.
pub fn line(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    tokio::task::block_in_place(|| stdout.read_line(&mut line)).unwrap();
    assert!(!line.is_empty(), "the other end died");
    line.trim().to_owned()
}

/// Is the other end.
pub async fn run(words: &[String]) {
    let [kind, url, key, secret, count, callers, extra] = words else { panic!("{words:?}") };
    let (count, callers) = (count.parse().unwrap(), callers.parse().unwrap());
    let credentials = Credentials::new(key, secret);
    match kind.as_str() {
        "get" | "post" => {
            let url = format!("{url}{extra}");
            let authorization = format!("Bearer {key}:{secret}");
            rest(&url, &authorization, kind == "post", count, callers).await;
        }
        "watch" => {
            let authorization = format!("Bearer {key}:{secret}");
            watch(url, &authorization, count, callers, extra.parse().unwrap()).await;
        }
        _ => grpc(kind == "grpc-create", url, credentials, count, callers, extra).await,
    }
}

async fn rest(url: &str, authorization: &str, is_post: bool, count: usize, callers: usize) {
    let mut running = JoinSet::new();
    let began = Instant::now();
    for _ in 0..callers {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (url, authorization) = (url.to_owned(), authorization.to_owned());
        running.spawn(async move {
            for _ in 0..count / callers {
                let request = if is_post {
                    let body = r#"{"network":"ltc","amount_usd":5}"#;
                    http.post(&url).header("content-type", "application/json").body(body)
                } else {
                    http.get(&url)
                };
                let response = request.header("authorization", &authorization).send().await;
                let response = response.unwrap();
                assert!(response.status().is_success(), "{}", response.status());
                response.bytes().await.unwrap();
            }
        });
    }
    running.join_all().await;
    println!("{}", began.elapsed().as_secs_f64());
}

async fn grpc(
    creates: bool,
    url: &str,
    credentials: Credentials,
    count: usize,
    callers: usize,
    id: &str,
) {
    let connect = || Client::builder(url, credentials.clone()).build().unwrap();
    let connections = callers.div_ceil(CALLERS_PER_CONNECTION);
    let clients: Vec<Client> = (0..connections).map(|_| connect()).collect();
    let mut running = JoinSet::new();
    let began = Instant::now();
    for caller in 0..callers {
        let (client, id) = (clients[caller % connections].clone(), id.to_owned());
        running.spawn(async move {
            for _ in 0..count / callers {
                if creates {
                    client.create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
                } else {
                    client.get_invoice(&id).await.unwrap();
                }
            }
        });
    }
    running.join_all().await;
    println!("{}", began.elapsed().as_secs_f64());
}

/// Opens the streams, says `open`, and waits for the events of each.
async fn watch(url: &str, authorization: &str, events: usize, watchers: usize, shared: usize) {
    let mut streams = Vec::with_capacity(watchers);
    for first in (0..watchers).step_by(shared) {
        let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        for _ in first..(first + shared).min(watchers) {
            let start = From::Start(v1::StreamStart::Latest.into());
            let message = v1::StreamEventsRequest { from: Some(start) };
            let mut request = tonic::Request::new(message);
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
            let mut calls = EventServiceClient::new(channel.clone());
            let mut stream = calls.stream_events(request).await.unwrap().into_inner();
            // The first message tells where the stream stands.
            stream.message().await.unwrap().unwrap();
            streams.push(stream);
        }
    }
    println!("open");
    let mut running = JoinSet::new();
    for mut stream in streams {
        running.spawn(async move {
            let mut first = None;
            for _ in 0..events {
                stream.message().await.unwrap().unwrap();
                first.get_or_insert_with(Instant::now);
            }
            first
        });
    }
    let firsts = running.join_all().await;
    let ended = Instant::now();
    let began = firsts.into_iter().flatten().min().unwrap_or(ended);
    println!("{}", (ended - began).as_secs_f64());
}
