//! Answers for money: reserved before, taken after, exactly once.
//!
//! ```text
//! request ─▶ Till::reserve(price of the most) ─▶ Hold ─▶ answer ─▶ ends, fails, is abandoned
//!                     │ refused                    │                      │
//!                     ▼                            ▼ dropped              ▼ Hold::charge(price of what was handed out)
//!               PaymentRequired               all given back          the rest given back, Charged
//! ```

mod accounts;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod till;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use openledger_core::{Amount, Result};
use tower::Layer;

pub use accounts::{Account, Accounts};
pub use till::{Hold, PaymentRequired, Till};

use super::{Around, Asked, Next, Policy, Usage, Watch};
use crate::{Event, Generate, TokenStream};

/// What tokens read and tokens written cost together.
type Price = dyn Fn(u64, u64) -> Result<Amount> + Send + Sync;

/// Answers requests that pay.
///
/// What the longest answer to a request would cost is reserved before it is handed on. In the end what was
/// handed out is charged, the prompt and each token, whether the answer ended, failed or was abandoned half
/// way: leaving early buys nothing. An answer without a token costs nothing, and so does a request
/// that is refused. Never more is charged than was reserved. An answer that ends tells what it cost:
/// [`Event::Charged`].
///
/// Inside layers that change the prompt, such as [`GroundLayer`](crate::GroundLayer).
///
/// # Errors
/// What [`Till::reserve`] says, a [`PaymentRequired`] with the amount most often; what the price says.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use openledger_core::Amount;
/// use openledger_model::testing;
/// use openledger_serve::{Accounts, Engine, EngineOptions, Generate, PayLayer, PaymentRequired};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let engine = Engine::start(Arc::new(testing::tiny(1)?), EngineOptions::default())?;
/// let accounts = Accounts::new();
/// accounts.deposit("press", Amount::from(100))?;
/// // 1 for a token read, 10 for one written.
/// let pay = PayLayer::new(Arc::new(accounts.clone()), |read, written| {
///     Ok(Amount::from(read.saturating_add(written.saturating_mul(10))))
/// });
///
/// let mut service = ServiceBuilder::new().layer(pay).service(engine);
/// let request = Generate::new(vec![5, 6, 7]).with_max_tokens(4).with_tenant("press");
/// service.ready().await?.call(request.clone()).await?.collect_all().await?;
/// assert_eq!(accounts.account("press").free, Amount::from(57));
///
/// let long = request.with_max_tokens(6);
/// let error = service.ready().await?.call(long).await.unwrap_err();
/// assert_eq!(PaymentRequired::of(&error).unwrap().amount, Amount::from(63));
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct PayLayer {
    till: Arc<dyn Till>,
    price: Arc<Price>,
}

impl PayLayer {
    /// Takes `price(tokens read, tokens written)`, which does not fall when either grows.
    ///
    /// It is asked for the most that a request may write, and [`Generate::max_tokens`] is whatever the
    /// client says, up to `usize::MAX`: a product that wraps would reserve little for much. Saturate,
    /// or return an error, which refuses the request.
    pub fn new(
        till: Arc<dyn Till>,
        price: impl Fn(u64, u64) -> Result<Amount> + Send + Sync + 'static,
    ) -> Self {
        Self { till, price: Arc::new(price) }
    }
}

impl fmt::Debug for PayLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayLayer").field("till", &self.till).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for PayLayer {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl Policy for PayLayer {
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream> {
        let most = (self.price)(request.prompt.len() as u64, request.max_tokens as u64)?;
        if most == Amount::ZERO {
            return next.call(request).await;
        }
        let hold = self.till.reserve(&request, most).await?;
        let charged = Arc::new(OnceLock::new());
        let price = Arc::clone(&self.price);
        let bill = Bill { hold, most, price, charged: Arc::clone(&charged) };
        let asked = Asked::of(&request);
        // Dropped with this future, or refused by what is inside, the hold gives everything back.
        let answer = next.call(request).await?.watched(asked, bill);
        // The bill was made out when the end came here.
        let told = answer.flat_map(move |event| {
            let ends = matches!(event, Ok(Event::End(_)));
            let amount = charged.get().filter(|_| ends).copied();
            stream::iter(amount.map(|amount| Ok(Event::Charged(amount))).into_iter().chain([event]))
        });
        Ok(TokenStream::new(told))
    }
}

/// What an answer owes when it is over.
struct Bill {
    hold: Box<dyn Hold>,
    most: Amount,
    price: Arc<Price>,
    /// For whoever tells what was charged.
    charged: Arc<OnceLock<Amount>>,
}

impl Watch for Bill {
    fn over(self, usage: Usage) {
        if usage.tokens_out == 0 {
            return;
        }
        // The price of more was known when it was reserved; a price that fails for less is not free.
        let owed = (self.price)(usage.tokens_in as u64, usage.tokens_out as u64);
        let owed = owed.unwrap_or(self.most).min(self.most);
        self.hold.charge(owed);
        // Nobody else writes it.
        let _ = self.charged.set(owed);
    }
}
