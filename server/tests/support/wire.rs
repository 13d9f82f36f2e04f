//! HTTP/1 as bytes on a socket: what no HTTP library would send, and every answer as it came. Nothing is
//! normalised, added or left out. Not here: what is sent (`it/bad_input`).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an exchange may take; longer is a hang.
const EXCHANGE_MAX: Duration = Duration::from_secs(25);

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// The value of a header that stands once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        let first = values.next();
        assert!(values.next().is_none(), "{name} stands twice in {self:?}");
        first.map(String::as_str)
    }
}

/// Sends bytes on a connection of their own and returns the answers that came before it was closed, or
/// until there were `answers` of them. With `ends` the sending half is closed after the bytes.
///
/// # Errors
/// Says what hung or was no HTTP.
pub async fn exchange(
    host: &str,
    bytes: &[u8],
    answers: usize,
    ends: bool,
) -> Result<Vec<Reply>, String> {
    let talk = async {
        let mut stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
        // A server that answers early may not read the rest: that is no fault of it.
        let _ = stream.write_all(bytes).await;
        if ends {
            let _ = stream.shutdown().await;
        }
        let (mut got, mut replies) = (Vec::new(), Vec::new());
        while replies.len() < answers {
            let head_only = bytes.starts_with(b"HEAD ");
            if let Some((reply, length)) = parse(&got, head_only)? {
                got.drain(..length);
                // Only says that the body may be sent.
                if reply.status != 100 {
                    replies.push(reply);
                }
                continue;
            }
            match stream.read_buf(&mut got).await {
                Ok(0) | Err(_) if got.is_empty() => break,
                Ok(0) | Err(_) => {
                    return Err(format!("broke off after {}", String::from_utf8_lossy(&got)));
                }
                Ok(_) => {}
            }
        }
        Ok(replies)
    };
    timeout(EXCHANGE_MAX, talk).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
}

/// The first answer in `bytes` with its length, once it is whole.
fn parse(bytes: &[u8], head_only: bool) -> Result<Option<(Reply, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let status: u16 = status.ok_or_else(|| format!("no status line: {first:?}"))?;
    let headers: Option<Vec<_>> = lines
        .map(|line| line.split_once(": "))
        .map(|pair| pair.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())))
        .collect();
    let headers = headers.ok_or_else(|| format!("a head with another form: {head:?}"))?;
    let mut reply = Reply { status, headers, body: String::new() };
    let bodiless = head_only || status < 200 || status == 204 || status == 304;
    let length = reply.header("content-length").filter(|_| !bodiless).unwrap_or("0");
    let length: usize = length.parse().map_err(|_| format!("a length of {length:?}"))?;
    let Some(body) = bytes.get(end + 4..end + 4 + length) else { return Ok(None) };
    reply.body = String::from_utf8(body.to_vec()).map_err(|_| "a body that is no text")?;
    Ok(Some((reply, end + 4 + length)))
}
