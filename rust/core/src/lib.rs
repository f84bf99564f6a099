//! The angzarr event store on RocksDB: streams, branches, one committer with group commit, a gapless log.
#![forbid(unsafe_code)]

mod api;
mod engine;
mod error;

pub use api::*;
pub use engine::{Done, Engine, Wake};
pub use error::{Error, Result};
