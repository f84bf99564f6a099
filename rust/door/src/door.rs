//! The door as others see it: bind, start, answer, drain, close.

use std::path::Path;
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::api::{CallId, Event, Events, Metadata, Options};
use crate::calls::Calls;
use crate::connection::{LINGER, Phase, Phases, reached};
use crate::error::{Error, Result};
use crate::exchange::Exchange;
use crate::frame::framed;
use crate::listen::{self, Failures, Front, Listener};
use crate::metadata;
use crate::service::Service;

/// A gRPC server, and the answers to its calls. Answers to a call that is over go nowhere.
pub struct Door {
    calls: Arc<Calls>,
    service: Arc<Service>,
    tls: Option<TlsAcceptor>,
    events: Arc<dyn Events>,
    listeners: Mutex<Vec<Listener>>,
    /// None only in the door that is dropped.
    phase: Option<watch::Sender<Phase>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    opened_in: u32,
}

impl Door {
    pub fn new(options: Options, events: Arc<dyn Events>) -> Result<Self> {
        let tls = options.tls.as_ref().map(crate::tls::acceptor).transpose()?;
        let calls = Arc::new(Calls::new(events.clone(), options.calls_max));
        let service = Service::new(calls.clone(), options.methods, options.message_bytes_max);
        Ok(Self {
            calls,
            service: Arc::new(service),
            tls,
            events,
            listeners: Mutex::default(),
            phase: Some(watch::Sender::new(Phase::Serving)),
            thread: Mutex::default(),
            opened_in: process::id(),
        })
    }

    /// Listen on `host`, a name or an address, from `start` on; the port, 0 takes a free one.
    pub fn bind_tcp(&self, host: &str, port: u16) -> Result<u16> {
        self.check_process()?;
        let (port, listeners) = listen::tcp(host, port)?;
        self.listeners.lock().extend(listeners);
        Ok(port)
    }

    /// Listen on a Unix socket, whose file is made, from `start` on.
    pub fn bind_unix(&self, path: &Path) -> Result<()> {
        self.check_process()?;
        let listener = listen::unix(path)?;
        self.listeners.lock().push(listener);
        Ok(())
    }

    /// Serve, on a thread of the door's own.
    pub fn start(&self) -> Result<()> {
        self.check_process()?;
        let failed = |error: std::io::Error| Error::Thread(error.to_string());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let listeners = std::mem::take(&mut *self.listeners.lock());
        let phases = self.phase.as_ref().map(watch::Sender::subscribe);
        let phases = phases.ok_or_else(|| Error::Thread("the server is gone".into()))?;
        let (open, closed) = mpsc::channel(1);
        let front = Front {
            service: self.service.clone(),
            calls: self.calls.clone(),
            tls: self.tls.clone(),
            phases,
            failures: Arc::new(Failures::default()),
            _open: open,
        };
        let stopped = Stopped(self.events.clone());
        let run = move || {
            let _stopped = stopped;
            serve(&runtime, listeners, front, closed);
            drop(runtime); // and with it what is left of connections
        };
        let named = thread::Builder::new().name("angzarr-door".into());
        *self.thread.lock() = Some(named.spawn(run).map_err(failed)?);
        Ok(())
    }

    /// Answer a call with its one message, and end it.
    pub fn reply(&self, id: CallId, message: &[u8]) -> Result<()> {
        self.with(id, |exchange| {
            exchange.send(framed(message));
            exchange.end(metadata::status(0, ""));
        })
        .map(drop)
    }

    /// Begin an answer with initial metadata, before its first message.
    pub fn accept(&self, id: CallId, head: Metadata) -> Result<()> {
        let mut headers = HeaderMap::new();
        metadata::append(&mut headers, head)?;
        self.with(id, |exchange| exchange.accept(headers)).map(drop)
    }

    /// Add a message to an answer; false if there is to be no other one before `Event::Room`.
    ///
    pub fn send(&self, id: CallId, message: &[u8]) -> Result<bool> {
        let sent = self.with(id, |exchange| exchange.send(framed(message)))?;
        Ok(sent.unwrap_or(true))
    }

    /// End an answer with a status.
    pub fn finish(&self, id: CallId, code: u8, message: &str, trailers: Metadata) -> Result<()> {
        let mut status = metadata::status(code, message);
        metadata::append(&mut status, trailers)?;
        self.with(id, |exchange| exchange.end(status)).map(drop)
    }

    /// A request of so many bytes, announced by `Event::Message`, was read: another one may come.
    ///
    pub fn took(&self, id: CallId, size_bytes: usize) -> Result<()> {
        self.with(id, |exchange| exchange.took(size_bytes))
            .map(drop)
    }

    /// Take no new connections and calls; `Event::Idle` tells when none runs. Idempotent.
    pub fn drain(&self) -> Result<()> {
        self.check_process()?;
        self.calls.drain();
        self.advance(Phase::Draining);
        Ok(())
    }

    /// Cut off what runs, and end the thread, if it was started, which `Event::Stopped` tells.
    /// Idempotent.
    pub fn close(&self) -> Result<()> {
        self.drain()?;
        self.calls.cut_off_all();
        self.listeners.lock().clear();
        self.advance(Phase::Closing);
        Ok(())
    }

    /// Wait for the end of the thread, which `close` begins.
    pub fn join(&self) -> Result<()> {
        self.check_process()?;
        let thread = self.thread.lock().take();
        match thread.map(JoinHandle::join) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(Error::Thread("it panicked".into())),
        }
    }

    /// The refusal of a door that was opened before a fork: its thread is in the other process.
    pub fn check_process(&self) -> Result<()> {
        let (opened_in, used_in) = (self.opened_in, process::id());
        if opened_in == used_in {
            return Ok(());
        }
        Err(Error::Forked { opened_in, used_in })
    }

    fn with<T>(&self, id: CallId, call: impl FnOnce(&Exchange) -> T) -> Result<Option<T>> {
        self.check_process()?;
        Ok(self.calls.get(id).map(|exchange| {
            let result = call(&exchange);
            self.calls.changed(exchange);
            result
        }))
    }

    fn advance(&self, phase: Phase) {
        if let Some(phases) = &self.phase {
            phases.send_if_modified(|now| {
                let is_later = *now < phase;
                *now = phase.max(*now);
                is_later
            });
        }
    }
}

impl Drop for Door {
    /// Ends the thread, and does not wait for it. In a fork it leaves everything as it is: locks
    /// may be held for ever there, by the thread that is not.
    fn drop(&mut self) {
        if self.check_process().is_err() {
            std::mem::forget(self.phase.take());
            return;
        }
        self.calls.drain();
        self.calls.cut_off_all();
    }
}

/// Tells of the end of the door's thread, whatever ends it.
struct Stopped(Arc<dyn Events>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.post(Event::Stopped);
    }
}

/// What the door's thread does, until the door is closed or dropped.
fn serve(
    runtime: &Runtime,
    listeners: Vec<Listener>,
    front: Front,
    mut closed: mpsc::Receiver<()>,
) {
    let mut phases: Phases = front.phases.clone();
    runtime.block_on(async move {
        let calls = front.calls.clone();
        tokio::spawn(async move { calls.pump().await });
        for listener in listeners {
            tokio::spawn(listen::accept(listener, front.clone()));
        }
        drop(front);
        reached(&mut phases, Phase::Closing).await;
        // Connections go by themselves after LINGER.
        let _ = timeout(2 * LINGER, closed.recv()).await;
    });
}
