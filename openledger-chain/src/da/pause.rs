//! Waiting, as an argument.

use std::{fmt, time::Duration};

use async_trait::async_trait;

/// Lets time pass. Tests bring one that does not wait.
#[async_trait]
pub trait Pause: fmt::Debug + Send + Sync {
    /// Returns after `time`.
    async fn pause(&self, time: Duration);
}

/// Waits by the clock of the tokio runtime it is called in.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TokioPause;

#[async_trait]
impl Pause for TokioPause {
    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
