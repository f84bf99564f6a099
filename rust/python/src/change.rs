//! Everything that changes a store, as values that a `Store` submits or writes.

use std::sync::{Mutex, PoisonError};

use angzarr_core::{Append, Edition, Key, SnapshotPolicy, Write};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::{Address, Record, correlation_of, verdict_of};

/// See `_native.pyi`.
#[pyclass(frozen, module = "angzarr._native")]
pub struct Change {
    write: Mutex<Option<Write>>,
    cover: Option<Py<PyAny>>,
}

#[pymethods]
impl Change {
    #[staticmethod]
    #[allow(clippy::too_many_arguments)] // keyword arguments cost more than the rest of the call
    #[pyo3(signature = (
        cover, expected_sequence, pages, now_ns, divergence=None, snapshot=None, keep_last=1,
        max_age_s=0, cascade_id=String::new(), provenance=None, external_id=None,
        answer=Vec::new(), records=Vec::new(), sync=None,
    ))]
    fn append(
        py: Python<'_>,
        cover: Address,
        expected_sequence: u64,
        pages: Vec<Vec<u8>>,
        now_ns: i64,
        divergence: Option<u64>,
        snapshot: Option<Vec<u8>>,
        keep_last: u32,
        max_age_s: u64,
        cascade_id: String,
        provenance: Option<Vec<u8>>,
        external_id: Option<Vec<u8>>,
        answer: Vec<u8>,
        records: Vec<Record>,
        sync: Option<bool>,
    ) -> PyResult<Self> {
        let append = Append {
            stream: cover.stream,
            correlation_id: correlation_of(cover.cover.bind(py))?,
            expected_sequence,
            pages,
            divergence,
            snapshot,
            snapshot_policy: SnapshotPolicy {
                keep_last,
                max_age_s,
            },
            cascade_id,
            key: provenance
                .map(Key::Provenance)
                .or(external_id.map(Key::External)),
            answer,
            records: records.into_iter().map(|record| record.0).collect(),
            sync,
            now_ns,
        };
        Ok(Self::at(cover.cover, Write::Append(Box::new(append))))
    }

    #[staticmethod]
    fn decide(cascade_id: String, outcome: &str, reason: String, now_ns: i64) -> PyResult<Self> {
        let verdict = verdict_of(outcome)?;
        Ok(Self::of(Write::Decide {
            cascade_id,
            verdict,
            reason,
            now_ns,
        }))
    }

    #[staticmethod]
    fn resolve(py: Python<'_>, cover: Address, cascade_id: String, now_ns: i64) -> PyResult<Self> {
        let correlation_id = correlation_of(cover.cover.bind(py))?;
        let write = Write::Resolve {
            stream: cover.stream,
            correlation_id,
            cascade_id,
            now_ns,
        };
        Ok(Self::at(cover.cover, write))
    }

    #[staticmethod]
    fn delete_edition(domain: String, edition: String) -> Self {
        Self::of(Write::DeleteEdition { domain, edition })
    }

    #[staticmethod]
    fn declare_edition(
        name: String,
        parent: String,
        now_ns: i64,
        expires_at_ns: i64,
        max_pages: u64,
        max_bytes: u64,
    ) -> Self {
        Self::of(Write::DeclareEdition(Edition {
            name,
            parent,
            created_at_ns: now_ns,
            expires_at_ns,
            max_pages,
            max_bytes,
        }))
    }

    #[staticmethod]
    fn forget_edition(name: String) -> Self {
        Self::of(Write::ForgetEdition { name })
    }

    #[staticmethod]
    fn put_snapshot(
        cover: Address,
        snapshot: Vec<u8>,
        keep_last: u32,
        max_age_s: u64,
        now_ns: i64,
    ) -> Self {
        let policy = SnapshotPolicy {
            keep_last,
            max_age_s,
        };
        Self::at(
            cover.cover,
            Write::PutSnapshot {
                stream: cover.stream,
                snapshot,
                policy,
                now_ns,
            },
        )
    }

    #[staticmethod]
    fn delete_snapshots(cover: Address) -> Self {
        Self::at(
            cover.cover,
            Write::DeleteSnapshots {
                stream: cover.stream,
            },
        )
    }

    #[staticmethod]
    fn delete_all_snapshots(domain: String, edition: Option<String>) -> Self {
        Self::of(Write::DeleteAllSnapshots { domain, edition })
    }

    #[staticmethod]
    fn put_position(consumer: String, cover: Address, sequence: u64) -> Self {
        Self::at(
            cover.cover,
            Write::PutPosition {
                consumer,
                stream: cover.stream,
                sequence,
            },
        )
    }

    #[staticmethod]
    fn put_cursor(consumer: String, position: u64) -> Self {
        Self::of(Write::PutCursor { consumer, position })
    }

    #[staticmethod]
    fn reset_consumer(consumer: String) -> Self {
        Self::of(Write::ResetConsumer { consumer })
    }

    #[staticmethod]
    fn lease(consumer: String, partition: u32, holder: String, ttl_ns: i64, now_ns: i64) -> Self {
        Self::of(Write::Lease {
            consumer,
            partition,
            holder,
            ttl_ns,
            now_ns,
        })
    }

    #[staticmethod]
    fn records(records: Vec<Record>) -> Self {
        Self::of(Write::Records(
            records.into_iter().map(|record| record.0).collect(),
        ))
    }
}

impl Change {
    fn of(write: Write) -> Self {
        Self {
            write: Mutex::new(Some(write)),
            cover: None,
        }
    }

    fn at(cover: Py<PyAny>, write: Write) -> Self {
        Self {
            write: Mutex::new(Some(write)),
            cover: Some(cover),
        }
    }

    /// The write, which moves to the engine without a copy, and the cover for errors.
    pub fn take(&self, py: Python<'_>) -> PyResult<(Write, Option<Py<PyAny>>)> {
        let write = self
            .write
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let write = write.ok_or_else(|| PyValueError::new_err("a change is written once"))?;
        Ok((write, self.cover.as_ref().map(|cover| cover.clone_ref(py))))
    }
}
