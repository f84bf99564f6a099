//! Every error of the door's own calls; what clients are answered is in refusal.rs.

use thiserror::Error;

/// Result of the door's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Taken, not of this machine, or not allowed.
    #[error("{address}: {cause}")]
    Address { address: String, cause: String },
    /// `field` is cert, key or ca.
    #[error("{field}: {cause}")]
    Tls { field: &'static str, cause: String },
    #[error("metadata {key:?}: {cause}")]
    Metadata { key: String, cause: &'static str },
    #[error(
        "the server was started in process {opened_in}, used in its fork {used_in}; start it after forking"
    )]
    Forked { opened_in: u32, used_in: u32 },
    /// No thread, or no descriptors for it.
    #[error("the server's thread can't start: {0}")]
    Thread(String),
}
