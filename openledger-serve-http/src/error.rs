//! Errors as OpenAI's API says them.

use std::time::Duration;

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use openledger_core::{Error, ErrorKind};
use openledger_serve::PaymentRequired;
use serde_json::{Value, json};

use crate::Body;

/// How to pay, as x402 names it.
const PAYMENT_REQUIRED: &str = "payment-required";
/// How long to wait where nothing better is known.
const SOON: Duration = Duration::from_secs(1);

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
    /// Boxed, because it is rare and everything here may fail.
    payment: Option<Box<PaymentRequired>>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: None,
            param: None,
            message: message.into(),
            retry_after: None,
            payment: None,
        }
    }

    /// A field of the request that is wrong.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let code = Some("invalid_value");
        Self { param: Some(param.into()), code, ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// A field that is understood and cannot be done.
    pub(crate) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::field(param, message) }
    }

    pub(crate) fn unknown_model(name: &str) -> Self {
        let shown: String = name.chars().take(200).collect();
        let message = format!("the model `{shown}` does not exist or is not yours to use");
        Self::new(StatusCode::NOT_FOUND, message).with_code("model_not_found").with_param("model")
    }

    pub(crate) fn late() -> Self {
        let message = "the answer was not complete in time: ask for fewer tokens or more time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, message).with_code("timeout")
    }

    pub(crate) const fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns `{"error": {"message", "type", "param", "code"}}`, and how much is to be paid.
    pub(crate) fn to_json(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let mut json = json!({"error": {
            "message": self.message, "type": kind, "param": self.param, "code": self.code,
        }});
        if let Some(required) = &self.payment {
            json["openledger"] = json!({"amount": required.amount});
        }
        json
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::whole(self.to_json().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let terms = self.payment.as_ref().and_then(|required| required.terms.as_deref());
        if let Some(terms) = terms.and_then(|terms| HeaderValue::from_str(terms).ok()) {
            headers.insert(PAYMENT_REQUIRED, terms);
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, never fewer than it takes.
            let seconds = wait.as_millis().div_ceil(1000).clamp(1, 86_400);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds as u64));
        }
        response
    }
}

/// What the engine, a layer or the adapters say. Reasons below the message stay here where they are about
/// this machine, and go out where they are about the request.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (message, report) = (error.to_string(), error.report());
        if let Some(required) = PaymentRequired::of(&error) {
            let failure = Self::new(StatusCode::PAYMENT_REQUIRED, message);
            let payment = Some(Box::new(required.clone()));
            return Self { payment, ..failure.with_code("payment_required") };
        }
        match error.kind() {
            ErrorKind::Invalid => Self::new(StatusCode::BAD_REQUEST, report),
            ErrorKind::NotFound => {
                Self::new(StatusCode::NOT_FOUND, message).with_code("model_not_found")
            }
            ErrorKind::Conflict => Self::new(StatusCode::CONFLICT, report),
            ErrorKind::Corrupt => Self::new(StatusCode::UNPROCESSABLE_ENTITY, report),
            ErrorKind::Denied => Self::new(StatusCode::FORBIDDEN, message),
            ErrorKind::Limit if error.is_retryable() => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, message)
                    .with_code("rate_limit_exceeded")
                    .with_retry_after(error.retry_after().unwrap_or(SOON))
            }
            ErrorKind::Limit => Self::new(StatusCode::BAD_REQUEST, message).with_code("limit"),
            ErrorKind::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, message).with_retry_after(SOON)
            }
            ErrorKind::Unsupported => {
                Self::new(StatusCode::NOT_IMPLEMENTED, report).with_code("unsupported")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}
