//! The angzarr event store on RocksDB: streams, branches, one committer with group commit, a gapless log.
#![forbid(unsafe_code)]
// Errors are listed once, in error.rs and in the ports' docstrings; RocksDB is a name, not code.
#![allow(clippy::missing_errors_doc, clippy::doc_markdown)]
#![cfg_attr(
    test,
    allow(
        clippy::pedantic,
        clippy::type_complexity,
        clippy::unnecessary_literal_unwrap
    )
)]

mod api;
mod append;
mod base;
mod branch;
mod cache;
mod cascade;
mod change;
mod columns;
mod committer;
mod crc;
mod declared;
mod edition;
mod engine;
mod error;
mod failpoint;
mod fields;
mod generations;
mod group;
mod heads;
mod json;
mod key;
mod keys;
mod log;
mod lookup;
mod open;
mod position;
mod prepare;
mod raw;
mod read;
mod record;
mod scan;
mod snapshot;
mod spans;
mod store;
mod timelines;
mod verify;
mod waiters;
mod wal;
mod wire;

pub use api::*;
pub use engine::{Done, Engine, Wake};
pub use error::{Error, Result};

#[cfg(test)]
mod tests;
