//! The front door, and the mailbox of its events.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use angzarr_door::{Call, CallId, Door as Front, Error, Event, Events, Metadata, Method};
use angzarr_door::{Options, Pems, Requests, Value};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::error::make;
use crate::inbox::Inbox;

/// See `_native.pyi`.
#[pyclass(frozen, module = "angzarr._native")]
pub struct Door {
    front: Front,
    inbox: Arc<Inbox<Event>>,
    clock: Clock,
}

type Tuples<'py> = Vec<Bound<'py, PyTuple>>;
type Tls = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

#[pymethods]
impl Door {
    #[new]
    fn new(
        methods: Vec<(String, bool)>,
        message_bytes_max: usize,
        calls_max: usize,
        now_ns: i64,
        tls: Option<Tls>,
    ) -> PyResult<Self> {
        let clock = Clock {
            instant: Instant::now(),
            now_ns,
        };
        let inbox = Arc::new(Inbox::new()?);
        let options = Options {
            methods: methods.into_iter().map(method).collect(),
            message_bytes_max,
            calls_max,
            tls: tls.map(pems),
        };
        Ok(Self {
            front: Front::new(options, Arc::new(Posts(inbox.clone()))).map_err(to_py)?,
            inbox,
            clock,
        })
    }

    fn bind_tcp(&self, py: Python<'_>, host: &str, port: u16) -> PyResult<u16> {
        py.detach(|| self.front.bind_tcp(host, port)).map_err(to_py)
    }

    fn bind_unix(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(move || self.front.bind_unix(&path))
            .map_err(to_py)
    }

    fn start(&self) -> PyResult<()> {
        self.front.start().map_err(to_py)
    }

    fn fileno(&self) -> i32 {
        self.inbox.fileno()
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<(Tuples<'py>, Tuples<'py>)> {
        self.front.check_process().map_err(to_py)?;
        let none = || py.None().into_bound(py);
        let (mut calls, mut signals) = (Vec::new(), Vec::new());
        for event in self.inbox.take()? {
            let signal = match event {
                Event::Call(call) => {
                    calls.push(announced(py, call, &self.clock)?);
                    continue;
                }
                Event::Message { id, message } => {
                    let message = PyBytes::new(py, &message).into_any();
                    (intern!(py, "message"), id, message)
                }
                Event::LastMessage { id } => (intern!(py, "last_message"), id, none()),
                Event::Room { id } => (intern!(py, "room"), id, none()),
                Event::Gone { id } => (intern!(py, "gone"), id, none()),
                Event::Idle => (intern!(py, "idle"), 0, none()),
                Event::Stopped => (intern!(py, "stopped"), 0, none()),
                Event::Warning(text) => {
                    let text = PyString::new(py, &text).into_any();
                    (intern!(py, "warning"), 0, text)
                }
                Event::Note(text) => {
                    let text = PyString::new(py, &text).into_any();
                    (intern!(py, "note"), 0, text)
                }
            };
            signals.push(signal.into_pyobject(py)?);
        }
        Ok((calls, signals))
    }

    // These keep the interpreter: they only queue, and the door's thread never waits for it.

    fn reply(&self, id: CallId, message: &[u8]) -> PyResult<()> {
        self.front.reply(id, message).map_err(to_py)
    }

    fn accept(&self, id: CallId, metadata: Vec<(String, Given)>) -> PyResult<()> {
        self.front.accept(id, given(metadata)).map_err(to_py)
    }

    fn send(&self, id: CallId, message: &[u8]) -> PyResult<bool> {
        self.front.send(id, message).map_err(to_py)
    }

    fn finish(
        &self,
        id: CallId,
        code: u8,
        message: &str,
        trailers: Vec<(String, Given)>,
    ) -> PyResult<()> {
        let finished = self.front.finish(id, code, message, given(trailers));
        finished.map_err(to_py)
    }

    fn took(&self, id: CallId, size_bytes: usize) -> PyResult<()> {
        self.front.took(id, size_bytes).map_err(to_py)
    }

    fn refuse(&self) -> PyResult<()> {
        self.front.drain().map_err(to_py)
    }

    fn close(&self) -> PyResult<()> {
        self.front.close().map_err(to_py)
    }

    fn join(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.front.join()).map_err(to_py)
    }
}

struct Posts(Arc<Inbox<Event>>);

impl Events for Posts {
    fn post(&self, event: Event) {
        self.0.post(event);
    }
}

/// Instants in the nanoseconds of Python's monotonic clock, which reads the same clock.
struct Clock {
    instant: Instant,
    now_ns: i64,
}

impl Clock {
    fn ns(&self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.instant);
        let since_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        self.now_ns.saturating_add(since_ns)
    }
}

/// A value of metadata from Python.
#[derive(FromPyObject)]
enum Given {
    Text(String),
    Binary(Vec<u8>),
}

fn given(pairs: Vec<(String, Given)>) -> Metadata {
    let value = |given| match given {
        Given::Text(text) => Value::Text(text),
        Given::Binary(bytes) => Value::Binary(bytes),
    };
    pairs
        .into_iter()
        .map(|(key, given)| (key, value(given)))
        .collect()
}

fn method((path, has_many_requests): (String, bool)) -> Method {
    let requests = if has_many_requests {
        Requests::Many
    } else {
        Requests::One
    };
    Method { path, requests }
}

fn pems((certificates, key, client_authorities): Tls) -> Pems {
    Pems {
        certificates,
        key,
        client_authorities,
    }
}

fn announced<'py>(py: Python<'py>, call: Call, clock: &Clock) -> PyResult<Bound<'py, PyTuple>> {
    let metadata = PyDict::new(py);
    for (key, value) in call.metadata {
        match value {
            Value::Text(text) => metadata.set_item(key, text)?,
            Value::Binary(bytes) => metadata.set_item(key, PyBytes::new(py, &bytes))?,
        }
    }
    let request = call.request.map(|request| PyBytes::new(py, &request));
    let deadline_ns = call.deadline.map(|deadline| clock.ns(deadline));
    let peer = PyString::new(py, &call.peer);
    (call.id, call.method, request, deadline_ns, metadata, peer).into_pyobject(py)
}

fn to_py(error: Error) -> PyErr {
    Python::attach(|py| match error {
        Error::Address { address, cause } => {
            let limit = "free and of this machine";
            let text = format!("server address must be {limit}, got {address:?}: {cause}");
            make(py, "InvalidInput", ("server address", limit, address, text))
        }
        Error::Tls { field, cause } => {
            let name = format!("transport.tls.{field}");
            make(py, "InvalidInput", (name, "a PEM file of its kind", cause))
        }
        Error::Metadata { .. } => PyValueError::new_err(error.to_string()),
        other => PyRuntimeError::new_err(other.to_string()),
    })
}
