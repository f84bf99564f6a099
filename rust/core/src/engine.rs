//! The public face: one open store.

use std::path::Path;

use crate::api::{
    Accepted, Book, Decision, Facts, Key, LogEntry, Options, Participant, Pending, Stream,
    Verified, Write, Written,
};
use crate::error::Result;

/// Called once with what a write came to, on the committer's thread.
pub type Done = Box<dyn FnOnce(Result<Written>) + Send>;
/// Called once when the log has grown, or the store is closing.
pub type Wake = Box<dyn FnOnce() + Send>;

/// An open store. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Engine {}

impl Engine {
    pub fn open(options: Options) -> Result<Engine> { todo!() }
    pub fn submit(&self, write: Write, done: Done) -> Result<()> { todo!() }
    pub fn write(&self, write: Write) -> Result<Written> { todo!() }
    pub fn load(&self, stream: &Stream, start: u64, stop: Option<u64>, divergence: Option<u64>) -> Result<Book> { todo!() }
    pub fn load_until(&self, stream: &Stream, time_ns: i64, divergence: Option<u64>) -> Result<Book> { todo!() }
    pub fn load_latest(&self, stream: &Stream, divergence: Option<u64>) -> Result<Book> { todo!() }
    pub fn next_sequence(&self, stream: &Stream, divergence: Option<u64>) -> Result<u64> { todo!() }
    pub fn divergence(&self, stream: &Stream) -> Result<Option<u64>> { todo!() }
    pub fn pending(&self, stream: &Stream) -> Result<Vec<Pending>> { todo!() }
    pub fn roots(&self, domain: &str, edition: &str) -> Result<Vec<[u8; 16]>> { todo!() }
    pub fn domains(&self) -> Result<Vec<String>> { todo!() }
    pub fn editions(&self, domain: &str) -> Result<Vec<String>> { todo!() }
    pub fn by_correlation(&self, id: &str, domain: Option<&str>, edition: Option<&str>) -> Result<Vec<Book>> { todo!() }
    pub fn find_key(&self, stream: &Stream, key: &Key) -> Result<Option<Accepted>> { todo!() }
    pub fn stale_cascades(&self, before_ns: i64) -> Result<Vec<String>> { todo!() }
    pub fn participants(&self, cascade_id: &str) -> Result<Vec<Participant>> { todo!() }
    pub fn decision(&self, cascade_id: &str) -> Result<Option<Decision>> { todo!() }
    pub fn tail(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>> { todo!() }
    pub fn notify_after(&self, after: u64, wake: Wake) -> Result<u64> { todo!() }
    pub fn forget(&self, ticket: u64) { todo!() }
    pub fn log_head(&self) -> Result<u64> { todo!() }
    pub fn snapshot_get(&self, stream: &Stream) -> Result<Option<Vec<u8>>> { todo!() }
    pub fn snapshot_get_at(&self, stream: &Stream, sequence: u64) -> Result<Option<Vec<u8>>> { todo!() }
    pub fn position(&self, consumer: &str, stream: &Stream) -> Result<Option<u64>> { todo!() }
    pub fn cursor(&self, consumer: &str) -> Result<Option<u64>> { todo!() }
    pub fn record(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>> { todo!() }
    pub fn records(&self, space: &str, from: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<(Vec<u8>, Vec<u8>)>> { todo!() }
    pub fn checkpoint(&self, target: &Path) -> Result<()> { todo!() }
    pub fn verify(&self) -> Result<Verified> { todo!() }
    pub fn facts(&self) -> Result<Facts> { todo!() }
    pub fn close(&self) -> Result<()> { todo!() }
}
