//! One open engine.

use std::path::PathBuf;
use std::sync::Arc;

use angzarr_core::{Book, Engine, Key, Limits, Options, Result, SCAN_BYTES_MAX, Scan, Stream};
use pyo3::prelude::*;

use crate::change::Change;
use crate::convert::{Address, EditionTuple, Field, columns_of, decision_of, edition_of, written};
use crate::error::Context;
use crate::mailbox::{Mailbox, Post};

type BookTuple = (Vec<u8>, u64, bool);
type AcceptedTuple = (Vec<Vec<u8>>, Vec<u8>);
type StreamTuple = (String, String, [u8; 16]);

/// See `_native.pyi`.
#[pyclass(frozen, module = "angzarr._native")]
pub struct Store {
    engine: Engine,
    path: Arc<str>,
}

#[pymethods]
impl Store {
    #[staticmethod]
    #[allow(clippy::too_many_arguments)] // a flat call; the adapter has the names
    fn open(
        py: Python<'_>,
        path: PathBuf,
        sync: bool,
        max_pages_per_append: usize,
        max_append_bytes: usize,
        writer_queue: usize,
        cache_bytes: usize,
        block_cache_bytes: usize,
        write_buffer_bytes: usize,
    ) -> PyResult<Self> {
        let name: Arc<str> = path.display().to_string().into();
        let limits = Limits {
            max_pages_per_append,
            max_append_bytes,
            writer_queue,
        };
        let options = Options {
            path,
            sync,
            limits,
            cache_bytes,
            block_cache_bytes,
            write_buffer_bytes,
        };
        let opened = py.detach(|| Engine::open(options));
        let context = Context {
            path: name,
            cover: None,
        };
        let engine = opened.map_err(|error| context.raise(py, error))?;
        Ok(Self {
            engine,
            path: context.path,
        })
    }

    fn submit<'py>(
        &self,
        py: Python<'py>,
        mailbox: &Mailbox,
        token: Py<PyAny>,
        change: &Change,
        is_alone: bool,
    ) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
        let (write, cover) = change.take(py)?;
        let raised = self.context(cover.as_ref().map(|cover| cover.clone_ref(py)));
        let (inbox, context) = (mailbox.inbox(), self.context(cover));
        let done = Box::new(move |result| {
            inbox.post(Post {
                token,
                outcome: Some((result, context)),
            });
        });
        let sent = if is_alone {
            py.detach(|| self.engine.submit_alone(write, done))
        } else {
            // Keeps the interpreter: it only queues, and the committer never waits for the interpreter.
            self.engine.submit(write, done).map(|()| None)
        };
        match sent {
            Ok(None) => Ok(None),
            Ok(Some((Ok(value), _))) => Ok(Some((written(py, value)?,))),
            Ok(Some((Err(error), _))) | Err(error) => Err(raised.raise(py, error)),
        }
    }

    fn write<'py>(&self, py: Python<'py>, change: &Change) -> PyResult<Bound<'py, PyAny>> {
        let (write, cover) = change.take(py)?;
        let result = py.detach(|| self.engine.write(write));
        written(
            py,
            result.map_err(|error| self.context(cover).raise(py, error))?,
        )
    }

    fn load(
        &self,
        py: Python<'_>,
        cover: Address,
        start: u64,
        stop: Option<u64>,
        divergence: Option<u64>,
    ) -> PyResult<BookTuple> {
        self.at(py, cover, |stream| {
            self.engine.load(stream, start, stop, divergence)
        })
        .map(book)
    }

    fn load_until(
        &self,
        py: Python<'_>,
        cover: Address,
        time_ns: i64,
        divergence: Option<u64>,
    ) -> PyResult<BookTuple> {
        self.at(py, cover, |stream| {
            self.engine.load_until(stream, time_ns, divergence)
        })
        .map(book)
    }

    fn load_latest(
        &self,
        py: Python<'_>,
        cover: Address,
        divergence: Option<u64>,
    ) -> PyResult<BookTuple> {
        self.at(py, cover, |stream| {
            self.engine.load_latest(stream, divergence)
        })
        .map(book)
    }

    fn next_sequence(
        &self,
        py: Python<'_>,
        cover: Address,
        divergence: Option<u64>,
    ) -> PyResult<u64> {
        self.at(py, cover, |stream| {
            self.engine.next_sequence(stream, divergence)
        })
    }

    fn length_at(
        &self,
        py: Python<'_>,
        cover: Address,
        position: u64,
        divergence: Option<u64>,
    ) -> PyResult<u64> {
        self.at(py, cover, |stream| {
            self.engine.length_at(stream, position, divergence)
        })
    }

    fn divergence(&self, py: Python<'_>, cover: Address) -> PyResult<Option<u64>> {
        self.at(py, cover, |stream| self.engine.divergence(stream))
    }

    fn pending(&self, py: Python<'_>, cover: Address) -> PyResult<Vec<(u64, String, i64)>> {
        let pages = self.at(py, cover, |stream| self.engine.pending(stream))?;
        Ok(pages
            .into_iter()
            .map(|page| (page.sequence, page.cascade_id, page.created_at_ns))
            .collect())
    }

    fn roots(&self, py: Python<'_>, domain: &str, edition: &str) -> PyResult<Vec<[u8; 16]>> {
        self.run(py, || self.engine.roots(domain, edition))
    }

    fn domains(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.run(py, || self.engine.domains())
    }

    fn editions(&self, py: Python<'_>, domain: &str) -> PyResult<Vec<String>> {
        self.run(py, || self.engine.editions(domain))
    }

    fn edition(&self, py: Python<'_>, name: &str) -> PyResult<Option<EditionTuple>> {
        Ok(self.run(py, || self.engine.edition(name))?.map(edition_of))
    }

    fn declared(&self, py: Python<'_>) -> PyResult<Vec<EditionTuple>> {
        let all = self.run(py, || self.engine.declared())?;
        Ok(all.into_iter().map(edition_of).collect())
    }

    fn usage(&self, py: Python<'_>, edition: &str) -> PyResult<(u64, u64)> {
        let usage = self.run(py, || self.engine.usage(edition))?;
        Ok((usage.page_count, usage.byte_count))
    }

    fn branches(
        &self,
        py: Python<'_>,
        domain: &str,
        edition: &str,
        after: &[u8],
        limit: usize,
    ) -> PyResult<Vec<([u8; 16], u64, u64)>> {
        let found = self.run(py, || self.engine.branches(domain, edition, after, limit))?;
        Ok(found
            .into_iter()
            .map(|one| (one.root, one.divergence, one.next_sequence))
            .collect())
    }

    fn by_correlation(
        &self,
        py: Python<'_>,
        correlation_id: &str,
        domain: Option<&str>,
        edition: Option<&str>,
    ) -> PyResult<Vec<BookTuple>> {
        let books = self.run(py, || {
            self.engine.by_correlation(correlation_id, domain, edition)
        })?;
        Ok(books.into_iter().map(book).collect())
    }

    fn find_provenance(
        &self,
        py: Python<'_>,
        cover: Address,
        key: Vec<u8>,
    ) -> PyResult<Option<AcceptedTuple>> {
        self.find(py, cover, &Key::Provenance(key))
    }

    fn find_external(
        &self,
        py: Python<'_>,
        cover: Address,
        key: Vec<u8>,
    ) -> PyResult<Option<AcceptedTuple>> {
        self.find(py, cover, &Key::External(key))
    }

    fn stale_cascades(&self, py: Python<'_>, before_ns: i64) -> PyResult<Vec<String>> {
        self.run(py, || self.engine.stale_cascades(before_ns))
    }

    fn unfinished_cascades(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.run(py, || self.engine.unfinished_cascades())
    }

    fn participants(
        &self,
        py: Python<'_>,
        cascade_id: &str,
    ) -> PyResult<Vec<(StreamTuple, Vec<u64>)>> {
        let found = self.run(py, || self.engine.participants(cascade_id))?;
        Ok(found
            .into_iter()
            .map(|one| (stream_tuple(one.stream), one.sequences))
            .collect())
    }

    fn decision(
        &self,
        py: Python<'_>,
        cascade_id: &str,
    ) -> PyResult<Option<(String, &'static str, String, i64)>> {
        Ok(self
            .run(py, || self.engine.decision(cascade_id))?
            .map(decision_of))
    }

    fn tail(&self, py: Python<'_>, after: u64, limit: usize) -> PyResult<Vec<(u64, u64, Vec<u8>)>> {
        let entries = self.run(py, || self.engine.tail(after, limit))?;
        Ok(entries
            .into_iter()
            .map(|one| (one.position, one.first_position, one.book))
            .collect())
    }

    fn scan<'py>(
        &self,
        py: Python<'py>,
        after: u64,
        limit: u64,
        editions: Option<Vec<String>>,
        domains: Option<Vec<String>>,
        fields: Vec<Field>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fields = fields.into_iter().map(|field| field.0).collect();
        let scan = Scan {
            after,
            limit,
            editions,
            domains,
            fields,
            bytes_max: SCAN_BYTES_MAX,
        };
        columns_of(py, &self.run(py, || self.engine.scan(&scan))?)
    }

    fn notify_after(
        &self,
        py: Python<'_>,
        mailbox: &Mailbox,
        token: Py<PyAny>,
        after: u64,
    ) -> PyResult<u64> {
        let inbox = mailbox.inbox();
        let wake = Box::new(move || {
            inbox.post(Post {
                token,
                outcome: None,
            });
        });
        self.run(py, || self.engine.notify_after(after, wake))
    }

    fn forget(&self, py: Python<'_>, ticket: u64) {
        py.detach(|| self.engine.forget(ticket));
    }

    fn log_head(&self, py: Python<'_>) -> PyResult<u64> {
        self.run(py, || self.engine.log_head())
    }

    fn snapshot_get(&self, py: Python<'_>, cover: Address) -> PyResult<Option<Vec<u8>>> {
        self.at(py, cover, |stream| self.engine.snapshot_get(stream))
    }

    fn snapshot_get_at(
        &self,
        py: Python<'_>,
        cover: Address,
        sequence: u64,
    ) -> PyResult<Option<Vec<u8>>> {
        self.at(py, cover, |stream| {
            self.engine.snapshot_get_at(stream, sequence)
        })
    }

    fn position(&self, py: Python<'_>, consumer: &str, cover: Address) -> PyResult<Option<u64>> {
        self.at(py, cover, |stream| self.engine.position(consumer, stream))
    }

    fn cursor(&self, py: Python<'_>, consumer: &str) -> PyResult<Option<u64>> {
        self.run(py, || self.engine.cursor(consumer))
    }

    fn record(&self, py: Python<'_>, space: &str, key: &[u8]) -> PyResult<Option<Vec<u8>>> {
        self.run(py, || self.engine.record(space, key))
    }

    fn records(
        &self,
        py: Python<'_>,
        space: &str,
        start: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> PyResult<Vec<(Vec<u8>, Vec<u8>)>> {
        self.run(py, || self.engine.records(space, start, limit, reverse))
    }

    fn checkpoint(&self, py: Python<'_>, target: PathBuf) -> PyResult<()> {
        self.run(py, move || self.engine.checkpoint(&target))
    }

    fn verify(&self, py: Python<'_>) -> PyResult<(u64, u64, u64)> {
        let verified = self.run(py, || self.engine.verify())?;
        Ok((
            verified.stream_count,
            verified.page_count,
            verified.position,
        ))
    }

    fn facts(&self, py: Python<'_>) -> PyResult<(u32, u64, u64, u64, u64, u64)> {
        let facts = self.run(py, || self.engine.facts())?;
        Ok((
            facts.format_version,
            facts.size_bytes,
            facts.log_head,
            facts.memory_bytes,
            facts.group_count,
            facts.append_count,
        ))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, || self.engine.close())
    }
}

impl Store {
    fn context(&self, cover: Option<Py<PyAny>>) -> Context {
        Context {
            path: self.path.clone(),
            cover,
        }
    }

    fn run<T: Send>(&self, py: Python<'_>, call: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
        py.detach(call)
            .map_err(|error| self.context(None).raise(py, error))
    }

    fn at<T: Send>(
        &self,
        py: Python<'_>,
        address: Address,
        call: impl FnOnce(&Stream) -> Result<T> + Send,
    ) -> PyResult<T> {
        let Address { cover, stream } = address;
        py.detach(|| call(&stream))
            .map_err(|error| self.context(Some(cover)).raise(py, error))
    }

    fn find(&self, py: Python<'_>, cover: Address, key: &Key) -> PyResult<Option<AcceptedTuple>> {
        let accepted = self.at(py, cover, |stream| self.engine.find_key(stream, key))?;
        Ok(accepted.map(|accepted| (accepted.pages, accepted.answer)))
    }
}

fn book(book: Book) -> BookTuple {
    (book.data, book.next_sequence, book.is_plain)
}

fn stream_tuple(stream: Stream) -> StreamTuple {
    (stream.domain, stream.edition, stream.root)
}
