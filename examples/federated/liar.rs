//! A worker's connection that changes what it sends.

use async_trait::async_trait;
use clap::ValueEnum;
use openledger_core::{
    Bytes, Key, Result,
    message::{LocalUpdate, Signed},
};
use openledger_train::federated::{Exchange, Matrices, Round};
use openledger_train_http::Client;

/// What a worker does to its updates.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Random bytes.
    Noise,
    /// The other way.
    Flip,
    /// A hundred times as much.
    Hundredfold,
}

/// A client that lies; it signs what it sends.
#[derive(Debug)]
pub(crate) struct Line {
    client: Client,
    key: Key,
    lie: Lie,
}

impl Line {
    pub(crate) const fn new(client: Client, key: Key, lie: Lie) -> Self {
        Self { client, key, lie }
    }

    fn change(&self, bytes: &Bytes) -> Result<Bytes> {
        let times = |factor: f32| {
            let update = Matrices::parse(bytes)?;
            let values = update.values().iter().map(|x| factor * x).collect();
            Ok(update.with_values(values).to_bytes())
        };
        match self.lie {
            Lie::None => Ok(bytes.clone()),
            Lie::Flip => times(-1.0),
            Lie::Hundredfold => times(100.0),
            Lie::Noise => {
                let mut state = 1u64;
                let byte = |_| {
                    // Knuth's constants; any noise does.
                    state =
                        state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 56) as u8
                };
                Ok((0..bytes.len()).map(byte).collect())
            }
        }
    }
}

#[async_trait]
impl Exchange for Line {
    async fn round(&self) -> Result<Round> {
        self.client.round().await
    }

    async fn matrices(&self, round: &Round) -> Result<Bytes> {
        self.client.matrices(round).await
    }

    async fn submit(&self, update: Signed<LocalUpdate>, bytes: Bytes) -> Result<()> {
        let bytes = self.change(&bytes)?;
        let said = LocalUpdate { update: Matrices::digest(&bytes), ..*update.unverified() };
        self.client.submit(Signed::sign(said, update.domain(), &self.key), bytes).await
    }
}
