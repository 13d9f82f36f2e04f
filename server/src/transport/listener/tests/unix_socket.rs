//! The operator's socket: who may open it, who is seen at its other end.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use axum::Extension;
use tokio::net::UnixStream;

use super::super::{BindError, PeerAddress, PeerProcess, bind_unix};
use super::*;

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_tells_the_callers_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let app = Router::new().route(
        "/",
        get(async |process: Extension<PeerProcess>, network: Option<Extension<PeerAddress>>| {
            format!("{} {:?} {}", process.uid, process.pid, network.is_some())
        }),
    );
    let listener = bind_unix(&path).await.unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing but the socket is left: {names:?}");

    let stop = CancellationToken::new();
    let limits = ListenerLimits::default();
    let server = tokio::spawn(serve_api(listener, app, requests(), limits, stop.clone()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(HELLO).await.unwrap();
    let answer = read_answer(&mut stream).await;
    let expected = format!("{} {:?} false", metadata.uid(), Some(std::process::id()));
    assert!(answer.ends_with(&expected), "{answer}");

    let second = bind_unix(&path).await;
    assert!(matches!(second, Err(BindError::InUse(_))), "{second:?}");
    stop.cancel();
    assert_eq!(timeout(DEADLINE, server).await.unwrap().unwrap().connections_cut, 0);
}

#[tokio::test]
async fn a_dead_processs_socket_is_replaced_and_a_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    drop(bind_unix(&path).await.unwrap());
    // What a start that died half way leaves behind.
    std::fs::create_dir(directory.path().join(".bind")).unwrap();
    let again = bind_unix(&path).await.unwrap();
    assert!(UnixStream::connect(&path).await.is_ok());
    drop(again);

    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "keep me").unwrap();
    assert!(matches!(bind_unix(&file).await, Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "keep me");
}
