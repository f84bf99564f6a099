//! Who waits for the log to grow.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::engine::Wake;

#[derive(Default)]
pub struct Waiters {
    head: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_ticket: u64,
    waiting: HashMap<u64, (u64, Wake)>,
    is_closed: bool,
}

impl Waiters {
    /// Position of the newest log entry that all readers can see.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Only the committer (and open) moves it.
    pub fn set_head(&self, head: u64) {
        self.head.store(head, Ordering::Release);
    }

    /// Runs `wake` once the head is above `after`, at once if it is.
    pub fn add(&self, after: u64, wake: Wake) -> u64 {
        let mut state = self.state.lock();
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        if self.head() > after || state.is_closed {
            drop(state);
            wake();
        } else {
            state.waiting.insert(ticket, (after, wake));
        }
        ticket
    }

    pub fn forget(&self, ticket: u64) {
        let forgotten = self.state.lock().waiting.remove(&ticket);
        drop(forgotten); // outside the lock: what it holds may do anything when it goes
    }

    /// Wakes those whose entries have come.
    pub fn wake(&self) {
        let head = self.head();
        let mut due = Vec::new();
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            return;
        }
        state.waiting.retain(|_, (after, wake)| {
            let is_due = *after < head;
            if is_due {
                due.push(std::mem::replace(wake, Box::new(|| ())));
            }
            !is_due
        });
        drop(state);
        for wake in due {
            wake();
        }
    }

    /// Wakes everyone, now and from now on.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, wake) in waiting.into_values() {
            wake();
        }
    }
}
