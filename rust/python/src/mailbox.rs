//! Where outcomes of the engine's work wait for an event loop.

use std::sync::Arc;

use angzarr_core::{Result, Written};
use pyo3::prelude::*;

use crate::convert::written;
use crate::error::Context;
use crate::inbox::Inbox;

/// See `_native.pyi`.
#[pyclass(frozen, module = "angzarr._native")]
pub struct Mailbox {
    inbox: Arc<Inbox<Post>>,
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
        self.inbox.fileno()
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
    pub fn inbox(&self) -> Arc<Inbox<Post>> {
        self.inbox.clone()
    }
}

/// A token given by Python and what it stands for now; `None` says that the log has grown.
pub struct Post {
    pub token: Py<PyAny>,
    pub outcome: Option<(Result<Written>, Context)>,
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
