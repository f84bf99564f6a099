//! The engine's errors as the very classes of `angzarr.errors`.

use std::sync::Arc;

use angzarr_core::Error;
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

use crate::convert::verdict_name;

/// What an error tells besides its own fields: the store's path, the cover of the call.
pub struct Context {
    pub path: Arc<str>,
    pub cover: Option<Py<PyAny>>,
}

impl Context {
    /// The Python exception for `error`.
    pub fn raise(&self, py: Python<'_>, error: Error) -> PyErr {
        let (path, cover) = (&*self.path, &self.cover);
        match error {
            Error::InvalidInput {
                field,
                limit,
                value,
            } => make(py, "InvalidInput", (field, limit, value)),
            Error::TooLarge {
                field,
                limit,
                value,
            } => make(py, "TooLarge", (field, limit, value)),
            Error::SequenceConflict { expected, actual } => {
                make(py, "SequenceConflict", (cover, expected, actual))
            }
            Error::SequenceExhausted => make(py, "SequenceExhausted", (cover,)),
            Error::InvalidDivergence {
                requested,
                next_sequence,
            } => make(py, "InvalidDivergence", (cover, requested, next_sequence)),
            Error::DivergenceConflict { pinned, requested } => {
                make(py, "DivergenceConflict", (cover, pinned, requested))
            }
            Error::CascadeDecided {
                cascade_id,
                is_commit,
                reason,
            } => make(
                py,
                "CascadeDecided",
                (cascade_id, verdict_name(is_commit), reason),
            ),
            Error::UnknownCascade(id) => make(py, "UnknownCascade", (id,)),
            Error::MainProtected(domain) => make(py, "MainProtected", (domain,)),
            Error::PendingPages {
                domain,
                edition,
                cascade_ids,
            } => make(py, "PendingPages", (domain, edition, cascade_ids)),
            Error::EditionConflict {
                edition,
                parent,
                requested,
            } => make(py, "EditionConflict", (edition, parent, requested)),
            Error::EditionExpired {
                edition,
                expired_at_ns,
            } => make(py, "EditionExpired", (edition, expired_at_ns)),
            Error::EditionInUse { edition, children } => {
                make(py, "EditionInUse", (edition, children))
            }
            Error::QuotaExceeded {
                edition,
                field,
                limit,
                value,
            } => make_by(py, ("QuotaExceeded", "of"), (edition, field, limit, value)),
            Error::Overloaded { queue, limit } => make(py, "Overloaded", (queue, limit)),
            Error::Closed => make(py, "StoreClosed", (path,)),
            Error::Locked { holder } => make(py, "StoreLocked", (path, holder)),
            Error::Forked { opened_in, used_in } => {
                make(py, "StoreForked", (path, opened_in, used_in))
            }
            Error::Unavailable { cause } => make(py, "StoreUnavailable", (path, cause)),
            Error::Corrupt {
                location,
                found,
                wanted,
            } => make(py, "CorruptData", (location, found, wanted)),
            Error::FormatTooNew { found, supported } => {
                make(py, "FormatTooNew", (path, found, supported))
            }
            other => make(py, "StoreUnavailable", (path, other.to_string())),
        }
    }
}

/// An instance of the class `name` of `angzarr.errors`, imported when first needed.
pub fn make<'py>(py: Python<'py>, name: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    let made = class(py, name).and_then(|class| class.call1(arguments));
    made.map_or_else(|failed| failed, PyErr::from_value)
}

/// As [`make`], by a method of the class.
fn make_by<'py>(
    py: Python<'py>,
    (name, method): (&str, &str),
    arguments: impl PyCallArgs<'py>,
) -> PyErr {
    let made = class(py, name).and_then(|class| class.getattr(method)?.call1(arguments));
    made.map_or_else(|failed| failed, PyErr::from_value)
}

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("angzarr.errors")?.getattr(name)
}
