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

/// Error codes that this room tells apart: JSON-RPC 2.0, EIP-1474, EIP-4444, the execution APIs, geth.
mod code {
    pub const PARSE: i64 = -32_700;
    pub const REQUEST: i64 = -32_600;
    pub const NO_METHOD: i64 = -32_601;
    pub const PARAMETERS: i64 = -32_602;
    /// Of geth, and of Nethermind.
    pub const TOO_MUCH_IN_BATCH: [i64; 2] = [-32_003, -32_005];
    pub const NOT_SUPPORTED: i64 = -32_004;
    pub const UNKNOWN_BLOCK: i64 = -39_001;
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

    /// The same method with each of `params`; the node's errors are in the list. Answers that are too much
    /// together, for us or for the node, are asked for one by one.
    pub async fn each(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<Vec<Result<Answer, NodeError>>, ChainError> {
        let mut answers = Vec::with_capacity(params.len());
        for chunk in params.chunks(CALLS_PER_REQUEST_MAX) {
            match self.0.batch(method, chunk).await {
                Err(CallError::Chain(ChainError::TooLarge(_))) if chunk.len() > 1 => {
                    for one in chunk {
                        answers.push(self.alone(method, one).await?);
                    }
                }
                Err(error) => return Err(meaning(error)),
                Ok(found) => answers.extend(self.with_cut_off(method, chunk, found).await?),
            }
        }
        Ok(answers)
    }

    /// Answers of a batch; those that the node left out, since it had answered too much already, are
    /// asked for again.
    async fn with_cut_off(
        &self,
        method: &str,
        params: &[Value],
        answers: Vec<Result<Answer, NodeError>>,
    ) -> Result<Vec<Result<Answer, NodeError>>, ChainError> {
        let is_cut = |answer: &Result<Answer, NodeError>| {
            let error = answer.as_ref().err();
            error.is_some_and(|error| code::TOO_MUCH_IN_BATCH.contains(&error.code))
        };
        // Who says the same of one alone means that we ask too often.
        let mut may_help = params.len() > 1;
        let mut whole = Vec::with_capacity(answers.len());
        for (one, answer) in params.iter().zip(answers) {
            if !(may_help && is_cut(&answer)) {
                whole.push(answer);
                continue;
            }
            let again = self.alone(method, one).await?;
            may_help = !is_cut(&again);
            whole.push(again);
        }
        Ok(whole)
    }

    async fn alone(
        &self,
        method: &str,
        params: &Value,
    ) -> Result<Result<Answer, NodeError>, ChainError> {
        match self.ask(method, params.clone()).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(CallError::Node(error)) => Ok(Err(error)),
            Err(CallError::Chain(error)) => Err(error),
        }
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

/// Whether the node knows no such block, or has never heard of such a name of a block; not that it is too
/// busy to say.
pub(super) fn is_unknown_block(error: &NodeError) -> bool {
    let text = error.message.to_ascii_lowercase();
    matches!(error.code, code::UNKNOWN_BLOCK | code::PARAMETERS)
        || ["not found", "unknown block", "not supported"].iter().any(|said| text.contains(said))
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
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;
    use crate::chain::bitcoin::fake_node::{FakeNode, http};
    use crate::chain::bitcoin::rpc::MAX_ANSWER_BYTES;

    /// Some answers here are tens of megabytes.
    fn rpc(node: &FakeNode) -> EvmRpc {
        let timeout = std::time::Duration::from_secs(60);
        EvmRpc::new(&RpcSettings { timeout, ..node.settings.clone() }).unwrap()
    }

    /// Three receipts from a node to which three at once are too much, for itself or for who reads them.
    #[tokio::test]
    async fn what_is_too_much_together_is_asked_for_one_by_one() {
        for cut_by_node in [Some(-32_003), Some(-32_005), None] {
            let node = FakeNode::raw(move |request| {
                let told = |call: &Value| json!({ "id": call["id"], "result": call["params"][0] });
                let cut = |call: &Value, code: i64| {
                    let error = json!({ "code": code, "message": "response too large" });
                    json!({ "id": call["id"], "error": error })
                };
                let reply = match (&request.body, cut_by_node) {
                    (Value::Array(calls), Some(code)) => {
                        json!([told(&calls[0]), cut(&calls[1], code), cut(&calls[2], code)])
                    }
                    (Value::Array(_), None) => return http(200, &"x".repeat(MAX_ANSWER_BYTES + 1)),
                    (call, _) => told(call),
                };
                http(200, &reply.to_string())
            })
            .await;
            let params: Vec<Value> = (0..3).map(|n| json!([n])).collect();
            let answers = rpc(&node).each("receipt", &params).await.unwrap();
            let answers: Vec<&str> =
                answers.iter().map(|one| one.as_ref().unwrap().get()).collect();
            assert_eq!(answers, ["0", "1", "2"], "cut by the node: {cut_by_node:?}");
        }
    }

    #[tokio::test]
    async fn one_answer_that_is_too_much_is_an_error() {
        let node = FakeNode::raw(|_| http(200, &"x".repeat(MAX_ANSWER_BYTES + 1))).await;
        let found = rpc(&node).each("receipt", &[json!([0])]).await;
        assert!(matches!(found, Err(ChainError::TooLarge(_))), "{found:?}");
    }

    #[test]
    fn a_node_that_is_busy_has_not_said_that_it_knows_no_such_block() {
        let of =
            |code, message: &str| is_unknown_block(&NodeError { code, message: message.into() });
        for (code, message) in [
            (-39_001, "Unknown block"),
            (-32_602, "invalid argument 0: hex string without 0x prefix"),
            (-32_000, "finalized block not found"),
            (-32_001, "Unknown block number"),
            (-32_000, "'finalized' tag not supported on pre-merge network"),
        ] {
            assert!(of(code, message), "{code} {message}");
        }
        for (code, message) in [
            (-32_005, "limit exceeded"),
            (429, "slow"),
            (-32_603, "internal"),
            (-32_000, "timeout"),
        ] {
            assert!(!of(code, message), "{code} {message}");
        }
    }

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
