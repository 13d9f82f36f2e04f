//! JSON-RPC as EVM nodes speak it, over the one client there is: batches of a bounded size, answers
//! handed out as text so that big ones are read without copies, and what each error means.
//! Not here: HTTP, log-in and limits of answers (`bitcoin::rpc`).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::chain::ChainError;
use crate::chain::bitcoin::rpc::{CallError, Dialect, NodeError, Rpc, RpcSettings, SetupError};

/// Calls that one request may hold.
const CALLS_PER_REQUEST_MAX: usize = 50;

/// Error codes that this room tells apart: JSON-RPC 2.0, EIP-1474, EIP-4444.
mod code {
    pub const PARSE: i64 = -32_700;
    pub const REQUEST: i64 = -32_600;
    pub const NO_METHOD: i64 = -32_601;
    pub const PARAMETERS: i64 = -32_602;
    pub const NOT_SUPPORTED: i64 = -32_004;
    pub const PRUNED: i64 = 4_444;
}

/// A client of one EVM node.
#[derive(Clone)]
pub(super) struct EvmRpc(Rpc);

/// An answer as the node wrote it.
pub(super) type Answer = Box<RawValue>;

impl EvmRpc {
    pub fn new(settings: &RpcSettings) -> Result<Self, SetupError> {
        Ok(Self(Rpc::speaking(Dialect::V2, settings)?))
    }

    /// One call whose errors are told apart by the caller.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, CallError> {
        self.0.call(method, params).await
    }

    /// One call.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, ChainError> {
        self.ask(method, params).await.map_err(meaning)
    }

    /// The same method with each of `params`; the node's errors are in the list.
    pub async fn each(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<Vec<Result<Answer, NodeError>>, ChainError> {
        let mut answers = Vec::with_capacity(params.len());
        for chunk in params.chunks(CALLS_PER_REQUEST_MAX) {
            answers.extend(self.0.batch(method, chunk).await?);
        }
        Ok(answers)
    }

    /// Calls a view function of a contract as it stands at the newest block.
    pub async fn view(&self, contract: &str, selector: &str) -> Result<String, ChainError> {
        self.call("eth_call", json!([{ "to": contract, "data": selector }, "latest"])).await
    }
}

/// Whether the node has no such method, or does not give it to us.
pub(super) const fn is_not_offered(error: &NodeError) -> bool {
    matches!(error.code, code::NO_METHOD | code::NOT_SUPPORTED)
}

/// What a failed call means. Most errors have the code -32000 and words of the node's own: a block
/// that is gone, state that is not there yet. Asking again is right for all that is not known to be
/// final.
pub(super) fn meaning(error: CallError) -> ChainError {
    match error {
        CallError::Chain(error) => error,
        CallError::Node(error) => refusal(&error),
    }
}

/// What a node's error means.
pub(super) fn refusal(error: &NodeError) -> ChainError {
    let text = error.to_string();
    match error.code {
        code::NO_METHOD | code::NOT_SUPPORTED | code::PRUNED => ChainError::Unsupported(text),
        code::PARSE | code::REQUEST | code::PARAMETERS => ChainError::Invalid(text),
        _ if text.contains("pruned") => ChainError::Unsupported(text),
        _ => ChainError::Transient(text),
    }
}

/// Reads an answer; `what` names it in the error.
pub(super) fn read<'a, T: Deserialize<'a>>(
    what: &str,
    answer: &'a RawValue,
) -> Result<T, ChainError> {
    serde_json::from_str(answer.get()).map_err(|error| {
        // The error's own words may repeat foreign text; where it is says enough.
        let (line, column) = (error.line(), error.column());
        ChainError::Invalid(format!("{what}: unreadable at line {line}, column {column}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_mean_what_their_codes_say() {
        let of = |code, message: &str| refusal(&NodeError { code, message: message.to_owned() });
        for code in [-32_601, -32_004, 4_444] {
            assert!(matches!(of(code, "x"), ChainError::Unsupported(_)), "{code}");
        }
        for code in [-32_700, -32_600, -32_602] {
            assert!(matches!(of(code, "x"), ChainError::Invalid(_)), "{code}");
        }
        for (code, message) in [
            (-32_000, "header not found"),
            (-32_005, "limit exceeded"),
            (-32_603, "internal"),
            (429, "slow"),
        ] {
            assert!(matches!(of(code, message), ChainError::Transient(_)), "{code}");
        }
        assert!(matches!(of(-32_000, "history has been pruned"), ChainError::Unsupported(_)));
    }
}
