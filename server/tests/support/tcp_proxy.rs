//! A TCP proxy on the loopback interface whose connections a test can cut and let through again.
//! Not here: any protocol.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(dead_code, reason = "not every test uses all of it")]

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections until dropped.
pub struct TcpProxy {
    port: u16,
    open: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TcpProxy {
    /// Forwards to a port of the loopback interface.
    pub async fn to(target_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, opened) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, target_port, opened.clone()));
            }
        });
        Self { port, open, accepting }
    }

    /// The port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Closes every connection at once, and each new one.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn forward(mut near: TcpStream, target_port: u16, mut open: watch::Receiver<bool>) {
    if !*open.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target_port)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        // Also when the proxy itself is dropped.
        _ = open.changed() => {}
    }
}
