//! Why a node does not do as asked, in the codes of other nodes.

use std::fmt::Display;

use alloy::{primitives::Bytes, rpc::json_rpc::ErrorPayload};
use serde_json::value::to_raw_value;

/// Why a request was not answered or a transaction not executed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused before execution.
    Refused(String),
    /// It ran and was reverted with this data.
    Reverted(Bytes),
    /// It ran out of gas or into an invalid instruction.
    Halted(String),
    /// Its parameters are not what the method takes.
    Invalid(String),
    /// The answer would be larger than this node gives.
    Limit(String),
    /// There is no such method.
    Unknown(String),
}

impl Failure {
    pub(super) fn refused(why: impl Display) -> Self {
        Self::Refused(why.to_string())
    }
}

impl From<Failure> for ErrorPayload {
    fn from(failure: Failure) -> Self {
        let (code, message) = match failure {
            Failure::Refused(message) => (-32000, message),
            Failure::Halted(reason) => (-32000, format!("execution halted: {reason}")),
            Failure::Limit(message) => (-32005, message),
            Failure::Unknown(method) => (-32601, format!("there is no method `{method}`")),
            Failure::Invalid(message) => (-32602, message),
            Failure::Reverted(data) => {
                let message = "execution reverted".into();
                return Self { code: 3, message, data: to_raw_value(&data).ok() };
            }
        };
        Self { code, message: message.into(), data: None }
    }
}
