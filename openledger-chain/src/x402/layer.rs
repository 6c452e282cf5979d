//! A layer that serves whoever pays.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode};
use openledger_core::{Amount, Error, ErrorKind};
use tower::{Layer, Service};

use super::{
    Facilitator, Payment, PaymentRequired, Refusal, Requirements, Resource, Settlement,
    wire::{PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE},
};

/// What a request costs; nothing for one that is free.
type Price = dyn Fn(&http::request::Parts) -> Option<Amount> + Send + Sync;

/// Seconds a client has to pay.
const TIMEOUT: u64 = 60;

/// Letters of an error that a client is told.
const REPORT: usize = 300;

/// Puts [`PaymentService`] around a service.
#[derive(Clone)]
pub struct PaymentLayer {
    facilitator: Facilitator,
    price: Arc<Price>,
}

impl PaymentLayer {
    /// Asks for what `price` says of a request's head.
    pub fn new(
        facilitator: Facilitator,
        price: impl Fn(&http::request::Parts) -> Option<Amount> + Send + Sync + 'static,
    ) -> Self {
        Self { facilitator, price: Arc::new(price) }
    }
}

impl<S> Layer<S> for PaymentLayer {
    type Service = PaymentService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PaymentService { inner, layer: self.clone() }
    }
}

impl fmt::Debug for PaymentLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentLayer")
            .field("till", &self.facilitator.till())
            .finish_non_exhaustive()
    }
}

/// Verifies a request's payment, serves it, settles, and only then gives the answer away.
///
/// A request without a payment, or with one that does not count, is answered with status 402 and what
/// it costs. An answer that is not a success costs nothing: its payment is not settled.
#[derive(Clone, Debug)]
pub struct PaymentService<S> {
    inner: S,
    layer: PaymentLayer,
}

impl<S, B, R> Service<Request<B>> for PaymentService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: From<String> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready must be the one that is called.
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        let layer = self.layer.clone();
        Box::pin(async move { layer.serve(inner, request).await })
    }
}

impl PaymentLayer {
    async fn serve<S, B, R>(
        &self,
        mut inner: S,
        request: Request<B>,
    ) -> Result<Response<R>, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
        R: From<String>,
    {
        let (head, body) = request.into_parts();
        let Some(amount) = (self.price)(&head) else {
            return inner.call(Request::from_parts(head, body)).await;
        };
        let asked = self.facilitator.requirements(amount, TIMEOUT);
        let resource = Resource { url: head.uri.to_string(), ..Resource::default() };
        let refuse = |why: &Error, settlement| answer(&resource, &asked, why, settlement);

        let header = head.headers.get(PAYMENT_SIGNATURE).map(HeaderValue::to_str);
        let payment = match header {
            None => Err(Error::invalid(format!("the {PAYMENT_SIGNATURE} header is missing"))),
            Some(Err(_)) => Err(Error::invalid(format!("{PAYMENT_SIGNATURE} is not ASCII"))),
            Some(Ok(header)) => Payment::parse(header),
        };
        let payment = match payment {
            Ok(payment) => payment,
            Err(why) => return Ok(refuse(&why, None)),
        };
        let payer = payment.payload.authorization.from;
        let reserved = match self.facilitator.reserve(payment, &asked).await {
            Ok(reserved) => reserved,
            Err(why) => return Ok(refuse(&why, Some(failed(&why, &asked)))),
        };
        let mut response = inner.call(Request::from_parts(head, body)).await?;
        if !response.status().is_success() {
            return Ok(response);
        }
        match reserved.settle().await {
            Ok(settlement) => {
                debug_assert_eq!(settlement.payer, Some(payer), "the payer of this payment");
                set(&mut response, PAYMENT_RESPONSE, &settlement.to_header());
                Ok(response)
            }
            Err(why) => Ok(refuse(&why, Some(failed(&why, &asked)))),
        }
    }
}

/// Says that a payment did not count, with the protocol's code.
fn failed(why: &Error, asked: &Requirements) -> Settlement {
    let refusal =
        std::error::Error::source(why).and_then(|source| source.downcast_ref::<Refusal>());
    let code = match refusal {
        Some(refusal) => refusal.code(),
        None if why.kind() == ErrorKind::Denied => "invalid_transaction_state",
        None => "unexpected_settle_error",
    };
    Settlement::refused(code, asked)
}

/// The answer to a request that is not paid for.
fn answer<R: From<String>>(
    resource: &Resource,
    asked: &Requirements,
    why: &Error,
    settlement: Option<Settlement>,
) -> Response<R> {
    let required = PaymentRequired::new(resource.clone(), vec![asked.clone()]);
    let required = required.with_error(shortened(why.report()));
    let mut response = Response::new(R::from("{}".to_owned()));
    // A node that does not answer is our trouble, not a payment that is missing.
    *response.status_mut() = match why.kind() {
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::PAYMENT_REQUIRED,
    };
    set(&mut response, "content-type", "application/json");
    set(&mut response, PAYMENT_REQUIRED, &required.to_header());
    if let Some(settlement) = settlement {
        set(&mut response, PAYMENT_RESPONSE, &settlement.to_header());
    }
    response
}

/// Errors quote what the client sent, and a header must not grow with it: many clients take no more than
/// eight thousand bytes.
fn shortened(mut report: String) -> String {
    if let Some((end, _)) = report.char_indices().nth(REPORT) {
        report.truncate(end);
        report.push('…');
    }
    report
}

fn set<R>(response: &mut Response<R>, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("base64 and media types are header values");
    response.headers_mut().insert(name, value);
}
