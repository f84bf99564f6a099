//! All calls that run, by id.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::api::{Call, CallId, Event, Events};
use crate::exchange::{Exchange, Head};
use crate::refusal::Refusal;

pub struct Calls {
    events: Arc<dyn Events>,
    limit: usize,
    table: Mutex<Table>,
    changed: Mutex<Vec<Arc<Exchange>>>,
    has_changed: Notify,
}

#[derive(Default)]
struct Table {
    running: HashMap<CallId, Arc<Exchange>>,
    last_id: CallId,
    is_draining: bool,
    is_idle: bool,
}

impl Calls {
    pub fn new(events: Arc<dyn Events>, limit: usize) -> Self {
        Self {
            events,
            limit,
            table: Mutex::default(),
            changed: Mutex::default(),
            has_changed: Notify::new(),
        }
    }

    pub fn post(&self, event: Event) {
        self.events.post(event);
    }

    pub fn get(&self, id: CallId) -> Option<Arc<Exchange>> {
        self.table.lock().running.get(&id).cloned()
    }

    /// Let a call in, which ends when the ticket goes.
    pub fn admit(self: &Arc<Self>) -> Result<Ticket, Refusal> {
        let mut table = self.table.lock();
        if table.is_draining {
            return Err(Refusal::Stopping);
        }
        if table.running.len() >= self.limit {
            return Err(Refusal::Overloaded {
                calls_max: self.limit,
            });
        }
        table.last_id += 1;
        let exchange = Arc::new(Exchange::new(table.last_id));
        table.running.insert(exchange.id, exchange.clone());
        Ok(Ticket {
            calls: self.clone(),
            exchange,
            is_announced: AtomicBool::new(false),
        })
    }

    /// Let no call in any more; `Idle` is told when the last one has ended.
    pub fn drain(&self) {
        let mut table = self.table.lock();
        table.is_draining = true;
        let is_idle = table.turns_idle();
        drop(table);
        if is_idle {
            self.post(Event::Idle);
        }
    }

    /// End every call that runs.
    pub fn cut_off_all(&self) {
        let running: Vec<_> = self.table.lock().running.values().cloned().collect();
        for exchange in running {
            self.cut_off(&exchange, &Refusal::Stopping);
            self.changed(exchange);
        }
    }

    /// The door answers by itself; who would have answered is told so.
    pub fn cut_off(&self, exchange: &Exchange, refusal: &Refusal) {
        if exchange.cut_off(refusal.trailers()) {
            self.post(Event::Gone { id: exchange.id });
        }
    }

    /// Let the door's thread look at it; one wake-up for all that change before it does.
    pub fn changed(&self, exchange: Arc<Exchange>) {
        self.changed.lock().push(exchange);
        self.has_changed.notify_one();
    }

    /// On the door's thread: wake what changed, for ever.
    pub async fn pump(&self) {
        loop {
            self.has_changed.notified().await;
            let changed = std::mem::take(&mut *self.changed.lock());
            for exchange in changed {
                exchange.wake();
            }
        }
    }

    fn leave(&self, id: CallId) {
        let mut table = self.table.lock();
        table.running.remove(&id);
        let is_idle = table.turns_idle();
        drop(table);
        if is_idle {
            self.post(Event::Idle);
        }
    }
}

impl Table {
    fn turns_idle(&mut self) -> bool {
        let turns = self.is_draining && self.running.is_empty() && !self.is_idle;
        self.is_idle |= turns;
        turns
    }
}

/// A call's place among those that run. Whoever waits for the answer holds it; when it goes, the
/// call is over.
pub struct Ticket {
    calls: Arc<Calls>,
    exchange: Arc<Exchange>,
    is_announced: AtomicBool,
}

impl Ticket {
    pub fn id(&self) -> CallId {
        self.exchange.id
    }

    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Tell of the call, unless the door began to drain while its request was read.
    pub fn announce(&self, call: Call) -> Result<(), Refusal> {
        if self.calls.table.lock().is_draining {
            return Err(Refusal::Stopping);
        }
        self.is_announced.store(true, Ordering::Relaxed);
        self.calls.post(Event::Call(call));
        Ok(())
    }

    pub fn cut_off(&self, refusal: &Refusal) {
        self.calls.cut_off(&self.exchange, refusal);
    }

    pub async fn head(&self) -> Head {
        poll_fn(|cx| self.exchange.poll_head(cx)).await
    }

    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let (poll, has_room) = self.exchange.poll_frame(cx);
        if has_room {
            self.calls.post(Event::Room { id: self.id() });
        }
        poll
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let was_ended = self.exchange.leave();
        if !was_ended && self.is_announced.load(Ordering::Relaxed) {
            self.calls.post(Event::Gone { id: self.id() });
        }
        self.calls.leave(self.id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Events for Log {
        fn post(&self, event: Event) {
            let text = match event {
                Event::Call(call) => format!("call {}", call.id),
                other => format!("{other:?}"),
            };
            self.0.lock().push(text);
        }
    }

    fn calls(limit: usize) -> (Arc<Log>, Arc<Calls>) {
        let log = Arc::new(Log::default());
        (log.clone(), Arc::new(Calls::new(log, limit)))
    }

    fn announced(calls: &Arc<Calls>) -> Ticket {
        let ticket = calls.admit().unwrap();
        let call = Call {
            id: ticket.id(),
            method: 0,
            request: None,
            deadline: None,
            metadata: Vec::new(),
            peer: "unix:".into(),
        };
        ticket.announce(call).unwrap();
        ticket
    }

    #[test]
    fn a_call_that_is_left_unanswered_is_gone() {
        let (log, calls) = calls(9);

        drop(announced(&calls));

        assert_eq!(*log.0.lock(), ["call 1", "Gone { id: 1 }"]);
    }

    #[test]
    fn an_answered_call_is_not_gone() {
        let (log, calls) = calls(9);
        let ticket = announced(&calls);
        calls.get(1).unwrap().end(http::HeaderMap::new());

        drop(ticket);

        assert_eq!(*log.0.lock(), ["call 1"]);
        assert!(calls.get(1).is_none());
    }

    #[test]
    fn a_call_that_was_never_announced_is_not_gone() {
        let (log, calls) = calls(9);

        drop(calls.admit().unwrap());

        assert!(log.0.lock().is_empty());
    }

    #[test]
    fn more_calls_than_the_limit_are_refused_until_one_ends() {
        let (_, calls) = calls(1);
        let ticket = announced(&calls);
        let refused = calls.admit().err();

        drop(ticket);

        assert_eq!(refused, Some(Refusal::Overloaded { calls_max: 1 }));
        assert!(calls.admit().is_ok());
    }

    #[test]
    fn a_drained_door_refuses_and_is_idle_once_after_its_last_call() {
        let (log, calls) = calls(9);
        let ticket = announced(&calls);

        calls.drain();
        let refused = calls.admit().err();
        drop(ticket);
        calls.drain();

        assert_eq!(refused, Some(Refusal::Stopping));
        assert_eq!(*log.0.lock(), ["call 1", "Gone { id: 1 }", "Idle"]);
    }

    #[test]
    fn a_call_whose_request_was_still_read_when_the_drain_began_is_refused() {
        let (log, calls) = calls(9);
        let ticket = calls.admit().unwrap();
        calls.drain();

        let call = Call {
            id: ticket.id(),
            method: 0,
            request: None,
            deadline: None,
            metadata: Vec::new(),
            peer: "unix:".into(),
        };
        let refused = ticket.announce(call);
        drop(ticket);

        assert_eq!(refused, Err(Refusal::Stopping));
        assert_eq!(*log.0.lock(), ["Idle"]);
    }

    #[test]
    fn cutting_off_tells_who_would_have_answered_once() {
        let (log, calls) = calls(9);
        let ticket = announced(&calls);

        calls.cut_off_all();
        calls.cut_off_all();
        drop(ticket);

        assert_eq!(*log.0.lock(), ["call 1", "Gone { id: 1 }"]);
    }
}
