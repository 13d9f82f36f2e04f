//! Watches the first bytes of a connection until they tell HTTP/1 from HTTP/2. hyper-util's
//! sniffing has no timeout: a connection that sends nothing, or only a beginning of the HTTP/2
//! preface, would stay open for ever. Not here: the timer itself (`connection.rs`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the protocol of a connection is known yet; shared by the stream and its timer.
#[derive(Clone, Default)]
pub(super) struct Greeting(Arc<AtomicBool>);

impl Greeting {
    /// True once the bytes read were a whole preface, or could no longer become one: from there on
    /// hyper's own timeouts hold.
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn complete(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A stream that reports when its greeting is complete.
pub(super) struct Greeted<T> {
    inner: T,
    /// Bytes of the preface seen so far; `None` when there is nothing left to look for.
    matched: Option<usize>,
    greeting: Greeting,
}

impl<T> Greeted<T> {
    pub(super) fn new(inner: T, greeting: Greeting) -> Self {
        Self { inner, matched: Some(0), greeting }
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let Some(matched) = self.matched else { return };
        let rest = PREFACE.get(matched..).unwrap_or_default();
        let differs = bytes.iter().zip(rest).any(|(have, want)| have != want);
        if differs || bytes.len() >= rest.len() {
            self.matched = None;
            self.greeting.complete();
        } else {
            self.matched = Some(matched + bytes.len());
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.matched.is_some() && matches!(outcome, Poll::Ready(Ok(()))) {
            let new = buf.filled().get(before..).unwrap_or_default();
            self.look_at(new);
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Greeted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
