//! Where what other threads have for an event loop waits: one list, one wake-up for as many as came
//! meanwhile.

use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// Other threads post to it; they never need the interpreter for it.
pub struct Inbox<T> {
    posts: Mutex<Vec<T>>,
    sender: UnixStream,
    receiver: UnixStream,
}

impl<T> Inbox<T> {
    pub fn new() -> std::io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self {
            posts: Mutex::default(),
            sender,
            receiver,
        })
    }

    /// What the loop watches: readable while there are posts.
    pub fn fileno(&self) -> i32 {
        self.receiver.as_raw_fd()
    }

    /// Leave a post; the first one into an empty box wakes the loop.
    pub fn post(&self, post: T) {
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
    pub fn take(&self) -> std::io::Result<Vec<T>> {
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
