//! What goes in and out: plain data.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

/// Names a call as long as it runs; never used twice by a door.
pub type CallId = u64;

/// Pairs in the order in which they were sent; keys are lower-case and may repeat.
pub type Metadata = Vec<(String, Value)>;

/// Bytes under keys that end in `-bin`, text under all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Binary(Vec<u8>),
}

/// A method that is served. What is served under no path is answered UNIMPLEMENTED.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    pub requests: Requests,
}

/// How many requests a call of a method has. How many answers it gets is up to who answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// Read as a whole before the call is announced.
    One,
    /// Each announced by itself.
    Many,
}

/// What a door is opened with.
pub struct Options {
    /// [`Call::method`] is an index into it.
    pub methods: Vec<Method>,
    /// Of one request, compressed or not.
    pub message_bytes_max: usize,
    /// Calls that may run at once; further ones are answered RESOURCE_EXHAUSTED.
    pub calls_max: usize,
    pub tls: Option<Pems>,
}

/// PEM files' contents.
pub struct Pems {
    pub certificates: Vec<u8>,
    pub key: Vec<u8>,
    /// Who signs clients' certificates, which are then required.
    pub client_authorities: Option<Vec<u8>>,
}

/// A call as it is announced.
#[derive(Debug)]
pub struct Call {
    pub id: CallId,
    pub method: usize,
    /// The request of a method that has one.
    pub request: Option<Bytes>,
    pub deadline: Option<Instant>,
    pub metadata: Metadata,
    /// `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000` or `unix:`.
    pub peer: Arc<str>,
}

/// What the door tells. Everything about a call comes after its announcement.
#[derive(Debug)]
pub enum Event {
    Call(Call),
    /// The next request of a call that has many; [`crate::Door::took`] makes room for more.
    Message {
        id: CallId,
        message: Bytes,
    },
    /// The client sends no more requests.
    LastMessage {
        id: CallId,
    },
    /// After [`crate::Door::send`] said that the call's buffer is full: it no longer is.
    Room {
        id: CallId,
    },
    /// Nobody waits for the call's answer any more, or the door has answered it: reset by the
    /// client, connection lost, deadline passed, requests malformed.
    Gone {
        id: CallId,
    },
    /// After [`crate::Door::drain`]: no call runs. Said once.
    Idle,
    /// After [`crate::Door::close`]: the last thing that the door's thread does.
    Stopped,
    /// The server is in trouble: for the log.
    Warning(String),
    /// A peer's connection failed: for the log.
    Note(String),
}

/// Where events go, in order. Called on the door's thread, or on one that calls the door; must not
/// wait.
pub trait Events: Send + Sync + 'static {
    fn post(&self, event: Event);
}
