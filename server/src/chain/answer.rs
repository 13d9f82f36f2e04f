//! What every node's HTTP answer has in common: a body with a limit, and foreign text that goes into
//! messages. Not here: what an answer says (each chain's own room).

use crate::chain::ChainError;

/// Characters of a node's own text that a message repeats.
pub(super) const MAX_MESSAGE_CHARS: usize = 300;

/// Reads a body chunk by chunk, no further than `bytes_max`: what is longer is [`ChainError::TooLarge`].
pub(super) async fn read_body(
    mut response: reqwest::Response,
    bytes_max: usize,
) -> Result<Vec<u8>, ChainError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_node)? {
        if chunk.len() > bytes_max - body.len() {
            return Err(ChainError::TooLarge(format!("more than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A node that could not be asked; its URL, which may hold a key, is left out.
pub(super) fn unreachable_node(error: reqwest::Error) -> ChainError {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let cause = std::error::Error::source(&error).map_or_else(String::new, |e| format!(": {e}"));
    let slow = if timed_out { " (too slow)" } else { "" };
    ChainError::Transient(clip(&format!("{error}{cause}{slow}")))
}

/// A foreign text as it may go into a log line.
pub(super) fn clip(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_MESSAGE_CHARS).map(plain).collect()
}
