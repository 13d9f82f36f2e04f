//! Foreign clients against the real server, each with its own language's gRPC and with code made from
//! the contract by its own tools: Python through grpcio, Node through grpc-js, a page in Chromium
//! through connect-web. What they check stands in their scripts beside this file.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

#[path = "strangers/site.rs"]
mod site;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use site::Site;
use support::parts;
use support::server::{Engine, TestServer};

fn script(name: &str) -> PathBuf {
    parts::repository().join("server/tests/strangers").join(name)
}

/// A command that knows the server and its merchant.
fn caller(mut command: Command, server: &TestServer) -> Command {
    command
        .env("BASE_URL", &server.url)
        .env("API_KEY", &server.credentials.0)
        .env("API_SECRET", &server.credentials.1);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_calls_through_grpcio() {
    let server = TestServer::start(Engine::Sqlite).await;
    let code = tempfile::tempdir().unwrap();
    parts::run(parts::python_code(code.path())).await;
    let mut command = parts::python();
    command.arg(script("calls.py")).env("PYTHONPATH", parts::python_path(Some(code.path())));
    assert_eq!(parts::run(caller(command, &server)).await, "python ok\n");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_calls_through_grpc_js() {
    let server = TestServer::start(Engine::Sqlite).await;
    // Imports are looked for beside the script.
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(parts::node_modules(), home.path().join("node_modules")).unwrap();
    std::fs::copy(script("calls.mjs"), home.path().join("calls.mjs")).unwrap();
    let mut command = parts::node();
    command.arg(home.path().join("calls.mjs")).env("PROTOS", parts::proto_path());
    assert_eq!(parts::run(caller(command, &server)).await, "node ok\n");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_calls_through_connect_web() {
    let home = tempfile::tempdir().unwrap();
    for (from, to) in [("page.html", "index.html"), ("page.js", "page.js")] {
        std::fs::copy(script(from), home.path().join(to)).unwrap();
    }
    std::os::unix::fs::symlink(parts::node_modules(), home.path().join("modules")).unwrap();
    parts::run(browser_code(home.path())).await;
    let allowed = Site::serve(home.path()).await;
    let refused = Site::serve(home.path()).await;
    let settings =
        format!("[http]\nlisten = \"127.0.0.1:0\"\ncors_origins = [\"{}\"]\n", allowed.origin);
    let server = TestServer::with(Engine::Sqlite, &settings).await;
    let mut command = parts::node();
    command
        .arg(script("browser.mjs"))
        .env("ALLOWED", &allowed.origin)
        .env("REFUSED", &refused.origin)
        .env("CHROMIUM", parts::chromium())
        .env("PLAYWRIGHT", parts::playwright());
    assert_eq!(parts::run(caller(command, &server)).await, "browser ok\n");
    server.finish().await;
}

/// What makes the contract's JavaScript in `home/code`.
fn browser_code(home: &Path) -> Command {
    let mut command = parts::buf();
    command
        .args(["generate", "--template"])
        .arg(script("buf.gen.yaml"))
        .arg("--output")
        .arg(home)
        .arg(parts::repository());
    command
}
