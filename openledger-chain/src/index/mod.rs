//! The indexer: events in, typed answers out, through reorganisations and restarts.
//!
//! ```text
//! node ── logs ──▶ Indexer::sync ──▶ Index: graph, money, stake, votes ──▶ your questions
//!   └─ other blocks than before: ▲ back to the last common one, and on from there
//!                                └── file: the state, and the logs of the last blocks
//! ```
//!
//! What the contracts' events tell is kept in memory as it is after each of the last 256 blocks, in
//! maps that share what did not change. A reorganisation is forgetting some of them; the logs that
//! the chain has instead are read like any others. Amounts are whole units and never wrap: an event
//! that cannot have followed the others is an error that names its block and log, for then the
//! contracts, the node or the index are not what they are taken for.
//!
//! Disputes, the fee policy, bridges and powers are not indexed: [`Event`](crate::Event) reads their
//! logs one by one.
//!
//! # Cost
//! Some hundred bytes of memory for each thing known. Blocks in the window cost a request each, and
//! one more if our contracts logged; deeper ones a request for 10,000.
//!
//! # Examples
//! ```
//! use openledger_chain::{
//!     DatanetEntry, DeployOptions, EvmChain, Genesis, Registry, embedded,
//!     index::{IndexOptions, Indexer, Page},
//! };
//! use openledger_core::{B256, Key};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! # let key = Key::from_bytes(B256::repeat_byte(7))?;
//! # let me = key.address();
//! # let provider = embedded(Genesis::default(), &[key])?;
//! # let chain = EvmChain::deploy(provider, DeployOptions::new(me)).await?.chain;
//! let mut indexer = Indexer::new(&chain, IndexOptions::default());
//! indexer.sync().await?;
//! assert_eq!(indexer.index().holders_by_balance(Page::first(1))[0].0, me);
//!
//! let bread = chain.create_datanet(&DatanetEntry::new("bread", B256::ZERO)).await?.value;
//! assert!(indexer.index().datanet(bread).is_none());
//! indexer.sync().await?;
//! assert_eq!(indexer.index().datanet(bread).map(|d| d.name.as_str()), Some("bread"));
//! # Ok::<(), openledger_core::Error>(())
//! # }).unwrap();
//! ```

mod board;
mod file;
mod graph;
mod indexer;
mod line;
mod map;
mod money;
mod nouns;
mod numbered;
mod source;
mod stake;
mod state;
mod votes;
mod window;
mod wrong;

pub use board::Page;
#[cfg(feature = "testing")]
pub use file::read_index;
pub use indexer::{IndexOptions, Indexer, Synced};
pub use money::{Leaving, Lock, Root};
pub use nouns::{
    Agent, Batch, Contributed, Counts, Datanet, GrantTerms, Granted, Model, Node, Request,
    Standing, Version,
};
pub use stake::{Pool, Position, Slash, SlashOutcome, Vault};
pub use state::Index;
pub use votes::{Balloted, Count, Outcome, Proposed, ProposedModel, Stage, Vote};
pub use window::Mark;
