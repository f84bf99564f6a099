//! The write-ahead log: preallocated segments, one record a group, so that a commit is one write and one fdatasync
//! that changes no file metadata. RocksDB runs without its own log; what its last flush holds is known by the group's
//! number (LSN) that each group writes, and the records after it are applied again at open.
//!
//! A segment is a header and records; checksums are seeded with the segment's id, so what an earlier use of a recycled
//! file left behind never passes for a record. A record also says which LSN was durable when it was written. This
//! tells a torn tail from damage: a bad record is damage if a later one says that it had been durable.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::crc;
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"ANGZWAL1";
/// Magic, id, first LSN, checksum.
const SEGMENT_HEADER: usize = 32;
/// Checksum u32, length u32, LSN u64, durable LSN u64; little-endian.
const RECORD_HEADER: usize = 24;
const ALIGN: usize = 8;
/// A segment that has grown beyond this is closed, and RocksDB flushed, so that recovery stays short.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Files grow by zeros: by as much as they have, within these bounds.
const GROW_BYTES_MIN: u64 = 256 << 10;
const GROW_BYTES_MAX: u64 = 4 << 20;
const SPARE_COUNT_MAX: usize = 1;
/// What a flush is taken to last before there was one.
const FLUSH_NS_UNKNOWN: u64 = 10_000_000;

/// The open log, at its end.
pub struct Wal {
    dir: PathBuf,
    file: File,
    id: u64,
    offset: u64,
    allocated: u64,
    last_offset: u64,
    next_lsn: u64,
    durable_lsn: u64,
    closed: Vec<(PathBuf, u64)>,
    spares: Vec<PathBuf>,
    buffer: Vec<u8>,
    segment_bytes: u64,
    flush_ns: u64,
}

/// What reading the log at open came to.
pub struct Recovered {
    pub applied_count: u64,
    next_lsn: u64,
    files: Vec<PathBuf>,
    id_max: u64,
}

impl Wal {
    /// Starts a new segment after recovery. RocksDB must have flushed what was applied: the old segments go.
    pub fn start(dir: &Path, recovered: &Recovered) -> Result<Self> {
        let mut spares = Vec::new();
        for (index, path) in recovered.files.iter().enumerate() {
            if index < SPARE_COUNT_MAX {
                let spare = path.with_extension("spare");
                fs::rename(path, &spare).map_err(failed("recycle", path))?;
                spares.push(spare);
            } else {
                fs::remove_file(path).map_err(failed("remove", path))?;
            }
        }
        sync_dir(dir)?;
        let id = recovered.id_max + 1;
        let opened = open_segment(dir, id, recovered.next_lsn, spares.pop())?;
        Ok(Self {
            dir: dir.to_owned(),
            file: opened.file,
            id,
            offset: SEGMENT_HEADER as u64,
            allocated: opened.allocated,
            last_offset: SEGMENT_HEADER as u64,
            next_lsn: recovered.next_lsn,
            durable_lsn: recovered.next_lsn - 1,
            closed: Vec::new(),
            spares,
            buffer: Vec::new(),
            segment_bytes: SEGMENT_BYTES,
            flush_ns: FLUSH_NS_UNKNOWN,
        })
    }

    #[cfg(test)]
    pub fn set_segment_bytes(&mut self, bytes: u64) {
        self.segment_bytes = bytes;
    }

    pub fn next_lsn(&self) -> u64 {
        self.next_lsn
    }

    /// Some record is not known to be on disk.
    pub fn is_dirty(&self) -> bool {
        self.durable_lsn + 1 < self.next_lsn
    }

    /// Writes a record. It survives the process from here on, and the machine after [`Wal::sync`].
    pub fn append(&mut self, payload: &[u8]) -> Result<()> {
        let length = u32::try_from(payload.len()).map_err(|_| Error::Unavailable {
            cause: "a group exceeds 4 GiB".into(),
        })?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&self.next_lsn.to_le_bytes());
        self.buffer
            .extend_from_slice(&self.durable_lsn.to_le_bytes());
        self.buffer.extend_from_slice(payload);
        let checksum = crc::extend(seed(self.id), &self.buffer[4..]);
        self.buffer[..4].copy_from_slice(&checksum.to_le_bytes());
        self.buffer
            .resize(self.buffer.len().next_multiple_of(ALIGN), 0);

        let end = self.offset + self.buffer.len() as u64;
        let path = segment_path(&self.dir, self.id);
        if end > self.allocated {
            let step = self.allocated.clamp(GROW_BYTES_MIN, GROW_BYTES_MAX);
            let to = end.max(self.allocated + step);
            zero(&self.file, self.allocated, to).map_err(failed("extend", &path))?;
            self.allocated = to;
        }
        self.file
            .write_all_at(&self.buffer, self.offset)
            .map_err(failed("write", &path))?;
        self.last_offset = self.offset;
        self.offset = end;
        self.next_lsn += 1;
        Ok(())
    }

    /// Mean duration of a flush, the last few weighing most.
    pub fn flush_ns(&self) -> u64 {
        self.flush_ns
    }

    /// Whether a record of so many bytes fits into what is allocated of the segment.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.offset + (bytes as u64) < self.allocated.min(self.segment_bytes)
    }

    pub fn sync(&mut self) -> Result<()> {
        let began = Instant::now();
        self.file
            .sync_data()
            .map_err(failed("sync", &segment_path(&self.dir, self.id)))?;
        let lasted_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX / 8);
        self.flush_ns = (7 * self.flush_ns + lasted_ns) / 8;
        self.durable_lsn = self.next_lsn - 1;
        Ok(())
    }

    /// Takes back the last record after a failure, as well as the disk still allows: its group was answered as failed.
    pub fn wipe_last(&mut self) {
        let is_wiped = self
            .file
            .write_all_at(&[0; RECORD_HEADER], self.last_offset);
        if is_wiped.is_ok() {
            drop(self.file.sync_data());
        }
    }

    /// Closes a full segment and begins the next; whether it did. RocksDB should be flushed then.
    pub fn rotate_if_full(&mut self) -> Result<bool> {
        if self.offset < self.segment_bytes {
            return Ok(false);
        }
        // A later segment proves that all of the earlier ones is there, so they must be.
        self.sync()?;
        self.closed
            .push((segment_path(&self.dir, self.id), self.next_lsn - 1));
        let opened = open_segment(&self.dir, self.id + 1, self.next_lsn, self.spares.pop())?;
        self.file = opened.file;
        self.allocated = opened.allocated;
        self.id += 1;
        self.offset = SEGMENT_HEADER as u64;
        self.last_offset = self.offset;
        Ok(true)
    }

    /// Gives up the closed segments whose records RocksDB holds durably.
    pub fn release(&mut self, flushed_lsn: u64) -> Result<()> {
        while let Some((path, last_lsn)) = self.closed.first() {
            if *last_lsn > flushed_lsn {
                break;
            }
            if self.spares.len() < SPARE_COUNT_MAX {
                let spare = path.with_extension("spare");
                fs::rename(path, &spare).map_err(failed("recycle", path))?;
                self.spares.push(spare);
            } else {
                fs::remove_file(path).map_err(failed("remove", path))?;
            }
            self.closed.remove(0);
        }
        Ok(())
    }
}

/// Reads the log and gives every record after `applied_lsn` to `apply`, in order.
///
/// A torn tail, of groups that were never acknowledged as durable, ends it. Anything else that is missing or damaged
/// is an error: acknowledged data never vanishes silently.
pub fn recover(
    dir: &Path,
    applied_lsn: u64,
    mut apply: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Recovered> {
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let (segments, spares, id_max) = list(dir)?;
    let mut expected = None;
    let mut applied_count = 0;
    for (index, (id, path)) in segments.iter().enumerate() {
        let bytes = fs::read(path).map_err(failed("read", path))?;
        let is_last = index + 1 == segments.len();
        let Some(first_lsn) = parse_segment_header(*id, &bytes) else {
            let first = expected.unwrap_or(applied_lsn + 1);
            if is_last && find_record(*id, &bytes, SEGMENT_HEADER, first, 0).is_none() {
                break; // it was being created
            }
            return Err(damaged(path, 0, "no segment header"));
        };
        let at = expected.unwrap_or_else(|| first_lsn.min(applied_lsn + 1));
        if first_lsn != at {
            return Err(damaged(
                path,
                0,
                &format!("records from {first_lsn}, wanted {at}"),
            ));
        }
        let mut lsn = first_lsn;
        let mut offset = SEGMENT_HEADER;
        while let Some(record) = parse_record(*id, &bytes, offset).filter(|r| r.lsn == lsn) {
            if lsn > applied_lsn {
                apply(record.payload)?;
                applied_count += 1;
            }
            lsn += 1;
            offset = record.end;
        }
        if is_last {
            // That a later record knew this one to be durable makes it damage instead of a torn tail.
            if find_record(*id, &bytes, offset, lsn, lsn).is_some() {
                return Err(damaged(path, offset, "a damaged record before sound ones"));
            }
        }
        expected = Some(lsn);
    }
    let next_lsn = expected.unwrap_or(1).max(applied_lsn + 1);
    let files = segments
        .into_iter()
        .map(|(_, path)| path)
        .chain(spares)
        .collect();
    Ok(Recovered {
        applied_count,
        next_lsn,
        files,
        id_max,
    })
}

struct Record<'a> {
    lsn: u64,
    payload: &'a [u8],
    end: usize,
}

fn parse_record(id: u64, bytes: &[u8], offset: usize) -> Option<Record<'_>> {
    let header = bytes.get(offset..offset.checked_add(RECORD_HEADER)?)?;
    let length = u32_at(header, 4)? as usize;
    let end = offset + RECORD_HEADER + length;
    let body = bytes.get(offset + 4..end)?;
    if u64_at(header, 8)? == 0 || crc::extend(seed(id), body) != u32_at(header, 0)? {
        return None;
    }
    Some(Record {
        lsn: u64_at(header, 8)?,
        payload: &body[RECORD_HEADER - 4..],
        end: end.next_multiple_of(ALIGN),
    })
}

/// Where the first sound record at or after `from` begins, if record `first_lsn` would be there, that knew
/// `durable_lsn` or a later one to be durable.
fn find_record(
    id: u64,
    bytes: &[u8],
    from: usize,
    first_lsn: u64,
    durable_lsn: u64,
) -> Option<usize> {
    let mut offset = from.next_multiple_of(ALIGN);
    while offset + RECORD_HEADER <= bytes.len() {
        // The file may be full of what an earlier use left behind. Its numbers rule out nearly all places without a
        // checksum, which is over as many bytes as what is found there says.
        let count = ((offset - from) / RECORD_HEADER) as u64;
        let lsn = u64_at(bytes, offset + 8)?;
        if (first_lsn..=first_lsn + count).contains(&lsn)
            && (durable_lsn..lsn).contains(&u64_at(bytes, offset + 16)?)
            && parse_record(id, bytes, offset).is_some()
        {
            return Some(offset);
        }
        offset += ALIGN;
    }
    None
}

struct Opened {
    file: File,
    allocated: u64,
}

fn open_segment(dir: &Path, id: u64, first_lsn: u64, spare: Option<PathBuf>) -> Result<Opened> {
    let path = segment_path(dir, id);
    if let Some(spare) = spare {
        fs::rename(&spare, &path).map_err(failed("recycle", &spare))?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed("open", &path))?;
    let mut header = Vec::with_capacity(SEGMENT_HEADER);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&id.to_le_bytes());
    header.extend_from_slice(&first_lsn.to_le_bytes());
    header.extend_from_slice(&u64::from(crc::extend(seed(id), &header)).to_le_bytes());
    let prepare = || -> io::Result<u64> {
        let mut allocated = file.metadata()?.len();
        if allocated < GROW_BYTES_MIN {
            zero(&file, allocated, GROW_BYTES_MIN)?;
            allocated = GROW_BYTES_MIN;
        }
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        Ok(allocated)
    };
    let allocated = prepare().map_err(failed("prepare", &path))?;
    sync_dir(dir)?;
    Ok(Opened { file, allocated })
}

fn parse_segment_header(id: u64, bytes: &[u8]) -> Option<u64> {
    let header = bytes.get(..SEGMENT_HEADER)?;
    let checksum = u64::from(crc::extend(seed(id), &header[..24]));
    let is_sound =
        header[..8] == MAGIC && u64_at(header, 8)? == id && u64_at(header, 24)? == checksum;
    is_sound.then_some(u64_at(header, 16)?)
}

type Listed = (Vec<(u64, PathBuf)>, Vec<PathBuf>, u64);

fn list(dir: &Path) -> Result<Listed> {
    let (mut segments, mut spares, mut id_max) = (Vec::new(), Vec::new(), 0);
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.path();
        let id = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| u64::from_str_radix(stem, 16).ok());
        let Some(id) = id else { continue };
        id_max = id_max.max(id);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("wal") => segments.push((id, path)),
            Some("spare") => spares.push(path),
            _ => {}
        }
    }
    segments.sort_unstable();
    Ok((segments, spares, id_max))
}

fn segment_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}.wal"))
}

fn seed(id: u64) -> u32 {
    crc::extend(0, &id.to_le_bytes())
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn zero(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(zeros.len(), |rest| rest.min(zeros.len()));
        file.write_all_at(&zeros[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("sync", dir))
}

/// Maps an I/O error to what was tried with which file.
pub fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::Unavailable {
        cause: format!("{what} {path}: {error}"),
    }
}

fn damaged(path: &Path, offset: usize, found: &str) -> Error {
    Error::Corrupt {
        location: format!("{} at byte {offset}", path.display()),
        found: found.to_owned(),
        wanted: "every record that was acknowledged".to_owned(),
    }
}

#[cfg(test)]
#[path = "wal_tests.rs"]
mod tests;
