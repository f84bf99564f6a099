//! A gRPC server that knows neither messages nor handlers: bytes in, bytes out.
//!
//! Calls leave through [`Events`] and are answered by [`Door`]'s methods, from any thread. HTTP/2 is
//! hyper's, on a thread of the door's own.
#![forbid(unsafe_code)]
// Errors are listed once, in error.rs; gRPC and HTTP/2 are names, not code.
#![allow(clippy::missing_errors_doc, clippy::doc_markdown)]
#![cfg_attr(test, allow(clippy::pedantic))]

mod api;
mod authority;
mod calls;
mod connection;
mod door;
mod error;
mod exchange;
mod frame;
mod listen;
mod metadata;
mod refusal;
mod service;
mod tls;

pub use api::*;
pub use door::Door;
pub use error::{Error, Result};
