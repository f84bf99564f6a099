//! What can be checked and built of a write without the store: done on the caller's thread, before the queue.

use crate::api::{Append, Limits, RecordOp, Write};
use crate::error::{Error, Result};
use crate::record::Chunks;
use crate::wire::{Page, Snapshot};

/// A state as large as an append may be still has to fit with its envelope.
const SNAPSHOT_EXTRA_BYTES: usize = 64 << 10;
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Names go into keys with two bytes of length.
const NAME_BYTES_MAX: usize = 1024;

/// A write on its way to the committer.
pub struct Prepared {
    pub write: Write,
    pub pages: PreparedPages,
    /// The head of its snapshot.
    pub snapshot: Option<Snapshot>,
}

/// Pages as they will be stored.
#[derive(Default)]
pub struct PreparedPages {
    pub chunks: Chunks,
    pub count: u64,
    pub byte_count: usize,
    /// `created_at` of each, for pending pages only.
    pub created_at_ns: Vec<i64>,
    /// What is wrong with a page's header: told after the checks that need the store.
    pub refused: Option<Error>,
}

/// Checks that come before all others (STO-6, STO-11).
pub fn prepare(mut write: Write, limits: &Limits) -> Result<Prepared> {
    check_names(&write)?;
    let mut pages = PreparedPages::default();
    let snapshot = match &mut write {
        Write::Append(append) => {
            check_append(append, limits)?;
            let snapshot = append.snapshot.as_deref().map(parse_snapshot).transpose()?;
            pages = prepare_pages(append);
            append.pages = Vec::new();
            snapshot
        }
        Write::PutSnapshot { snapshot, .. } => {
            check_snapshot(snapshot, limits)?;
            Some(parse_snapshot(snapshot)?)
        }
        _ => None,
    };
    Ok(Prepared {
        write,
        pages,
        snapshot,
    })
}

fn check_append(append: &Append, limits: &Limits) -> Result<()> {
    let count = append.pages.len();
    if count > limits.max_pages_per_append {
        return Err(too_large(
            "pages",
            &limits.max_pages_per_append.to_string(),
            count,
        ));
    }
    let byte_count: usize = append.pages.iter().map(Vec::len).sum();
    if byte_count > limits.max_append_bytes {
        return Err(too_large(
            "pages",
            &format!("{} bytes", limits.max_append_bytes),
            byte_count,
        ));
    }
    if append.answer.len() > ANSWER_BYTES_MAX {
        return Err(too_large(
            "answer",
            &format!("{ANSWER_BYTES_MAX} bytes"),
            append.answer.len(),
        ));
    }
    if let Some(snapshot) = &append.snapshot {
        check_snapshot(snapshot, limits)?;
    }
    if count == 0 && append.key.is_none() && append.snapshot.is_none() {
        return Err(invalid(
            "pages",
            "at least 1 without a key or a snapshot",
            "0",
        ));
    }
    Ok(())
}

fn check_snapshot(snapshot: &[u8], limits: &Limits) -> Result<()> {
    let max = limits.max_append_bytes + SNAPSHOT_EXTRA_BYTES;
    if snapshot.len() > max {
        return Err(too_large(
            "snapshot",
            &format!("{max} bytes"),
            snapshot.len(),
        ));
    }
    Ok(())
}

fn parse_snapshot(bytes: &[u8]) -> Result<Snapshot> {
    Snapshot::parse(bytes)
        .ok_or_else(|| invalid("snapshot", "an encoded Snapshot", "bytes that do not parse"))
}

fn prepare_pages(append: &Append) -> PreparedPages {
    let mut out = PreparedPages {
        count: append.pages.len() as u64,
        ..PreparedPages::default()
    };
    for (bytes, sequence) in append.pages.iter().zip(append.expected_sequence..) {
        let Some(page) = Page::parse(bytes) else {
            out.refused = Some(invalid(
                "pages",
                "encoded EventPages",
                "bytes that do not parse",
            ));
            return out;
        };
        // No header can number a page beyond the last sequence: that is told as exhaustion.
        if page.sequence != Some(sequence) && sequence <= crate::api::SEQUENCE_MAX {
            let found = page
                .sequence
                .map_or("none".to_owned(), |found| found.to_string());
            out.refused = Some(invalid(
                "pages.header.sequence",
                &sequence.to_string(),
                &found,
            ));
            return out;
        }
        if !append.cascade_id.is_empty() {
            out.created_at_ns.push(page.created_at_ns);
        }
        out.byte_count += bytes.len();
        out.chunks.push(bytes, page.is_plain());
    }
    out
}

/// Names beyond any rule of the wire would not fit into keys.
fn check_names(write: &Write) -> Result<()> {
    let mut names: Vec<(&str, &str)> = Vec::with_capacity(4);
    match write {
        Write::Append(append) => {
            names.push(("cover.domain", &append.stream.domain));
            names.push(("cover.edition", &append.stream.edition));
            names.push(("cover.correlation_id", &append.correlation_id));
            names.push(("cascade_id", &append.cascade_id));
            names.extend(append.records.iter().map(|op| ("space", space_of(op))));
        }
        Write::Decide { cascade_id, .. } => names.push(("cascade_id", cascade_id)),
        Write::Resolve {
            stream,
            correlation_id,
            cascade_id,
            ..
        } => {
            names.push(("cover.domain", &stream.domain));
            names.push(("cover.correlation_id", correlation_id));
            names.push(("cascade_id", cascade_id));
        }
        Write::PutSnapshot { stream, .. } => {
            names.push(("cover.domain", &stream.domain));
            names.push(("cover.edition", &stream.edition));
        }
        Write::PutPosition {
            consumer, stream, ..
        } => {
            names.push(("consumer", consumer));
            names.push(("cover.domain", &stream.domain));
            names.push(("cover.edition", &stream.edition));
        }
        Write::PutCursor { consumer, .. }
        | Write::ResetConsumer { consumer }
        | Write::Lease { consumer, .. } => names.push(("consumer", consumer)),
        Write::Records(ops) => names.extend(ops.iter().map(|op| ("space", space_of(op)))),
        Write::DeclareEdition(edition) => {
            names.push(("edition", &edition.name));
            names.push(("parent", &edition.parent));
        }
        Write::DeleteEdition { .. }
        | Write::ForgetEdition { .. }
        | Write::DeleteSnapshots { .. }
        | Write::DeleteAllSnapshots { .. } => {}
    }
    match names
        .into_iter()
        .find(|(_, name)| name.len() > NAME_BYTES_MAX)
    {
        Some((field, name)) => {
            let limit = format!("at most {NAME_BYTES_MAX} bytes");
            Err(invalid(field, &limit, &format!("{} bytes", name.len())))
        }
        None => Ok(()),
    }
}

fn space_of(op: &RecordOp) -> &str {
    match op {
        RecordOp::Put { space, .. }
        | RecordOp::PutNew { space, .. }
        | RecordOp::Delete { space, .. }
        | RecordOp::OnlyIf { space, .. } => space,
        RecordOp::Anyway => "",
    }
}

pub fn invalid(field: &str, limit: &str, value: &str) -> Error {
    Error::InvalidInput {
        field: field.into(),
        limit: limit.into(),
        value: value.into(),
    }
}

fn too_large(field: &str, limit: &str, value: usize) -> Error {
    let limit = format!("at most {limit}");
    Error::TooLarge {
        field: field.into(),
        limit,
        value: value.to_string(),
    }
}
