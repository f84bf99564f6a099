//! Python values ⇄ the engine's plain data.

use angzarr_core::{
    Columns, Decision, Edition, Encoding, FieldKind, FieldPath, FieldSpec, RecordOp, Stream,
    Verdict, Written,
};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::make;

/// An `angzarr.cover.Cover`: the stream that it names, and itself for errors.
pub struct Address {
    pub cover: Py<PyAny>,
    pub stream: Stream,
}

impl<'py> FromPyObject<'_, 'py> for Address {
    type Error = PyErr;

    fn extract(cover: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = cover.py();
        let root = cover.getattr(intern!(py, "root"))?;
        let stream = Stream {
            domain: cover.getattr(intern!(py, "domain"))?.extract()?,
            edition: cover.getattr(intern!(py, "edition"))?.extract()?,
            root: root_of(&root)?,
        };
        Ok(Self {
            cover: cover.to_owned().unbind(),
            stream,
        })
    }
}

fn root_of(root: &Bound<'_, PyAny>) -> PyResult<[u8; 16]> {
    let bytes = root.cast::<PyBytes>()?.as_bytes();
    bytes.try_into().map_err(|_| {
        make(
            root.py(),
            "InvalidInput",
            ("cover.root", "16 bytes", bytes.len()),
        )
    })
}

/// The correlation id of a cover.
pub fn correlation_of(cover: &Bound<'_, PyAny>) -> PyResult<String> {
    cover
        .getattr(intern!(cover.py(), "correlation_id"))?
        .extract()
}

/// `(op, space, key, value)` as `_native.pyi` lists the ops.
pub struct Record(pub RecordOp);

impl<'py> FromPyObject<'_, 'py> for Record {
    type Error = PyErr;

    fn extract(record: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let (op, space, key, value): (u8, String, Vec<u8>, Vec<u8>) = record.extract()?;
        match op {
            0 => Ok(Self(RecordOp::Put { space, key, value })),
            1 => Ok(Self(RecordOp::PutNew { space, key, value })),
            2 => Ok(Self(RecordOp::Delete { space, key })),
            3 => {
                let value = (!value.is_empty()).then_some(value);
                Ok(Self(RecordOp::OnlyIf { space, key, value }))
            }
            4 => Ok(Self(RecordOp::Anyway)),
            _ => Err(PyValueError::new_err("a record's op is 0 to 4")),
        }
    }
}

/// `(kind, paths)`, a path being `(type name, keys, numbers, encoding)`.
pub struct Field(pub FieldSpec);

impl<'py> FromPyObject<'_, 'py> for Field {
    type Error = PyErr;

    fn extract(field: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        type Path = (String, Vec<String>, Vec<u32>, String);
        let (kind, paths): (String, Vec<Path>) = field.extract()?;
        let kind =
            FieldKind::named(&kind).ok_or_else(|| PyValueError::new_err("no kind of a field"))?;
        let path = |(type_name, keys, numbers, encoding): Path| FieldPath {
            type_name,
            keys,
            numbers,
            encoding: Encoding::named(&encoding),
        };
        let paths = paths.into_iter().map(path).collect();
        Ok(Self(FieldSpec { kind, paths }))
    }
}

/// Columns as `_native.pyi` lists them, each of them bytes.
pub fn columns_of<'py>(py: Python<'py>, columns: &Columns) -> PyResult<Bound<'py, PyAny>> {
    let bytes = |values: &[u8]| PyBytes::new(py, values);
    let fields: Vec<_> = columns
        .fields
        .iter()
        .map(|field| {
            let (values, valid) = (bytes(&field.values), bytes(&field.valid));
            (values, valid, &field.vocabulary, bytes(&field.offsets))
        })
        .collect();
    let rows = (
        bytes(&columns.positions),
        bytes(&columns.sequences),
        bytes(&columns.times),
        bytes(&columns.domains),
        bytes(&columns.editions),
        bytes(&columns.types),
        bytes(&columns.roots),
    );
    let names = (
        &columns.domain_names,
        &columns.edition_names,
        &columns.type_names,
    );
    (columns.count, columns.last, rows, names, fields).into_bound_py_any(py)
}

/// `COMMIT` or `ROLLBACK`.
pub fn verdict_of(name: &str) -> PyResult<Verdict> {
    match name {
        "COMMIT" => Ok(Verdict::Commit),
        "ROLLBACK" => Ok(Verdict::Rollback),
        _ => Err(PyValueError::new_err("a verdict is COMMIT or ROLLBACK")),
    }
}

pub fn verdict_name(is_commit: bool) -> &'static str {
    if is_commit { "COMMIT" } else { "ROLLBACK" }
}

/// A decision as `(cascade_id, outcome, reason, decided_at_ns)`.
pub fn decision_of(decision: Decision) -> (String, &'static str, String, i64) {
    let name = verdict_name(decision.verdict == Verdict::Commit);
    (
        decision.cascade_id,
        name,
        decision.reason,
        decision.decided_at_ns,
    )
}

pub type EditionTuple = (String, String, i64, i64, u64, u64);

/// A declared edition in the order of `EditionRecord`.
pub fn edition_of(edition: Edition) -> EditionTuple {
    (
        edition.name,
        edition.parent,
        edition.created_at_ns,
        edition.expires_at_ns,
        edition.max_pages,
        edition.max_bytes,
    )
}

/// What a write came to, as `Change` documents it for each kind.
pub fn written(py: Python<'_>, written: Written) -> PyResult<Bound<'_, PyAny>> {
    match written {
        Written::Appended { first, last } => (first, last, false).into_bound_py_any(py),
        Written::Duplicate { first, last } => (first, last, true).into_bound_py_any(py),
        Written::Decided(decision) => decision_of(decision).into_bound_py_any(py),
        Written::Resolved(marker) => marker.into_bound_py_any(py),
        Written::Count(number) | Written::Value(number) => number.into_bound_py_any(py),
        Written::Edition(edition) => edition_of(edition).into_bound_py_any(py),
        Written::Flag(flag) => flag.into_bound_py_any(py),
        Written::Done => Ok(py.None().into_bound(py)),
    }
}
