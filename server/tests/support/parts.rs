//! The foreign programs and packages that tests use: where `make test` puts them, what the environment
//! names instead, and how they are run. A part that is missing fails the test that needs it.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long one foreign program may run.
const RUN_SECONDS_MAX: u32 = 300;

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What the environment names, or where `make test` puts it.
fn part(variable: &str, default: impl FnOnce() -> PathBuf) -> PathBuf {
    let found = std::env::var_os(variable).map_or_else(default, PathBuf::from);
    assert!(found.exists(), "{variable}: {} is missing: run `make test`", found.display());
    found
}

fn installed(path: &str) -> PathBuf {
    repository().join(".cache/test-parts").join(path)
}

fn program(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| default.into())
}

/// Node.
pub fn node() -> Command {
    Command::new(program("NODE", "node"))
}

/// Python, with the pinned packages.
pub fn python() -> Command {
    let mut command = Command::new(program("PYTHON", "python3"));
    command.env("PYTHONPATH", python_path(None));
    command
}

/// PHP.
pub fn php() -> Command {
    Command::new(program("PHP", "php"))
}

/// Chromium.
pub fn chromium() -> PathBuf {
    part("CHROMIUM", || "/usr/bin/chromium".into())
}

/// Litecoin Core.
pub fn litecoind() -> PathBuf {
    part("LITECOIND", || "/usr/lib/litecoin/litecoind".into())
}

/// The EVM node of the tests.
pub fn anvil() -> PathBuf {
    part("ANVIL", || {
        let folder = installed("evm/node_modules/@foundry-rs");
        let found = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut found = found.map(|entry| entry.path().join("bin/anvil"));
        found.find(|path| path.exists()).unwrap_or(folder)
    })
}

/// The package playwright-core.
pub fn playwright() -> PathBuf {
    part("PLAYWRIGHT", || installed("browser/node_modules/playwright-core"))
}

/// The pinned packages of the foreign clients in JavaScript.
pub fn node_modules() -> PathBuf {
    part("CLIENT_MODULES", || installed("clients/node_modules"))
}

/// Where Python finds packages: a folder of the caller's, and the pinned ones.
pub fn python_path(first: Option<&Path>) -> OsString {
    let pinned = std::env::var_os("PYTHONPATH").unwrap_or_else(|| installed("python").into());
    let paths = first.map(PathBuf::from).into_iter().chain(std::env::split_paths(&pinned));
    std::env::join_paths(paths).unwrap()
}

/// Where the contract and what it imports are, as a search path.
pub fn proto_path() -> OsString {
    std::env::join_paths([repository().join("proto"), repository().join("third_party")]).unwrap()
}

/// buf, which finds the plugin of protobuf-es.
pub fn buf() -> Command {
    let mut command = Command::new(part("BUF", || {
        let folder = installed("node/node_modules/@bufbuild");
        let found = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut found = found.map(|entry| entry.path().join("bin/buf"));
        found.find(|path| is_built_for_here(path)).unwrap_or(folder)
    }));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let plugins = node_modules().join(".bin");
    let path = std::iter::once(plugins).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(path).unwrap());
    if std::env::var_os("BUF_CACHE_DIR").is_none() {
        command.env("BUF_CACHE_DIR", installed("buf"));
    }
    command
}

/// Whether this is buf itself: the package `@bufbuild/buf` has a launcher of the same name.
fn is_built_for_here(path: &Path) -> bool {
    path.exists() && !path.starts_with(installed("node/node_modules/@bufbuild/buf"))
}

/// What makes the contract's Python in a folder.
pub fn python_code(folder: &Path) -> Command {
    let protos = repository().join("proto");
    let mut command = python();
    command
        .args(["-m", "grpc_tools.protoc", "-I", ".", "-I", "../third_party"])
        .arg(format!("--python_out={}", folder.display()))
        .arg(format!("--grpc_python_out={}", folder.display()))
        .args(proto_files(&protos, Path::new("")))
        .current_dir(protos);
    command
}

/// Every proto below a folder, relative to the root it is in.
fn proto_files(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        if root.join(&path).is_dir() {
            found.extend(proto_files(root, &path));
        } else if path.extension() == Some(OsStr::new("proto")) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// An address for a program that can not be given port 0, or comes back to the port that it had. It is this
/// test's alone: the whole of 127.0.0.0/8 is loopback, and nobody else listens on, or calls from, an address
/// that is drawn from it.
pub fn own_address() -> SocketAddr {
    let [a, b, c, ..] = uuid::Uuid::new_v4().into_bytes().map(|byte| byte % 250 + 1);
    let socket = std::net::TcpListener::bind((Ipv4Addr::new(127, a, b, c), 0));
    socket.unwrap().local_addr().unwrap()
}

/// Runs a program to its end and returns what it printed. That it fails, or does not end, is said
/// with everything it printed.
pub async fn run(command: Command) -> String {
    let what = format!("{command:?}");
    let mut bounded = bounded(&command);
    let output = tokio::task::spawn_blocking(move || bounded.output()).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}\n{}\n{said}{complaint}", output.status);
    said
}

/// The same command under `timeout`, which ends it and what it started after [`RUN_SECONDS_MAX`].
fn bounded(command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded
        .args(["--kill-after=5", &RUN_SECONDS_MAX.to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    bounded
}
