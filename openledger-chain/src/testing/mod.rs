//! For tests of whoever sends transactions: a node that fails as it is told.

mod faults;

pub use faults::{Asked, Fault, Faults, Faulty};
