//! Where outcomes wait for an event loop: one list, one wake-up for as many as came meanwhile.

use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use angzarr_core::{Result, Written};
use pyo3::prelude::*;

use crate::convert::written;
use crate::error::Context;

/// See `_native.pyi`.
#[pyclass(frozen, module = "angzarr._native")]
pub struct Mailbox {
    inbox: Arc<Inbox>,
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            inbox: Arc::new(Inbox::new()?),
        })
    }

    fn fileno(&self) -> i32 {
        self.inbox.receiver.as_raw_fd()
    }

    fn drain(&self, py: Python<'_>) -> PyResult<Vec<(Py<PyAny>, Py<PyAny>)>> {
        self.inbox
            .take()?
            .into_iter()
            .map(|post| post.unpack(py))
            .collect()
    }
}

impl Mailbox {
    pub fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }
}

/// The part of a mailbox that other threads post to; they never need the interpreter for it.
pub struct Inbox {
    posts: Mutex<Vec<Post>>,
    sender: UnixStream,
    receiver: UnixStream,
}

/// A token given by Python and what it stands for now; `None` says that the log has grown.
pub struct Post {
    pub token: Py<PyAny>,
    pub outcome: Option<(Result<Written>, Context)>,
}

impl Inbox {
    fn new() -> std::io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self {
            posts: Mutex::default(),
            sender,
            receiver,
        })
    }

    /// Leave a post; the first one into an empty box wakes the loop.
    pub fn post(&self, post: Post) {
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        posts.push(post);
        let is_first = posts.len() == 1;
        drop(posts);
        if is_first {
            // Both ends live in this struct, so this fails only when the buffer is full of
            // wake-ups, and then the loop has one.
            let _ = (&self.sender).write(&[1]);
        }
    }

    /// The wake-ups are read before the posts, so that a later post leaves a byte for later.
    fn take(&self) -> std::io::Result<Vec<Post>> {
        let woken = (&self.receiver).read(&mut [0; 64]);
        woken.map(drop).or_else(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        })?;
        Ok(std::mem::take(
            &mut *self.posts.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl Post {
    fn unpack(self, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let outcome = match self.outcome {
            None => py.None(),
            Some((Ok(value), _)) => written(py, value)?.unbind(),
            Some((Err(error), context)) => context.raise(py, error).into_value(py).into_any(),
        };
        Ok((self.token, outcome))
    }
}
