//! Makes editions one by one, and says what the first and the last thousand of them took; then what reads through
//! levels of nesting take.
//!
//! `fork_rate <directory> <editions> [declared]`. Every tenth declared one is a branch of the one before it.

use std::path::Path;
use std::time::{Duration, Instant};

use angzarr_core::{Append, Edition, Engine, Limits, MAIN, Options, SnapshotPolicy, Stream, Write};

type Failure = Box<dyn std::error::Error>;

const ROOT: [u8; 16] = [1; 16];
const HISTORY: u64 = 1000;
const BLOCK: usize = 1000;
const READS: usize = 2000;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, count, rest @ ..] = arguments.as_slice() else {
        return Err("fork_rate <directory> <editions> [declared]".into());
    };
    let count: u32 = count.parse()?;
    let is_declared = rest.first().is_some_and(|word| word == "declared");
    let engine = Engine::open(options(Path::new(directory)))?;
    for first in 0..HISTORY {
        engine.write(append(MAIN, ROOT, first, None))?;
    }
    let before = engine.facts()?.size_bytes;
    let mut forks = Vec::with_capacity(count as usize);
    for index in 0..count {
        let name = format!("e{index}");
        let began = Instant::now();
        if is_declared {
            engine.write(declare(&name, &parent_of(index)))?;
        }
        engine.write(append(&name, ROOT, HISTORY / 2, Some(HISTORY / 2)))?;
        forks.push(began.elapsed());
    }
    let blocks: Vec<_> = forks.chunks_mut(BLOCK).map(median).collect();
    println!(
        "a fork, medians of thousands: first {:?}, last {:?}",
        blocks[0],
        blocks[blocks.len() - 1]
    );
    println!(
        "the slowest thousand {:?}, the slowest fork {:?}",
        blocks.iter().max(),
        forks.iter().max()
    );
    let began = Instant::now();
    engine.close()?;
    println!("close: {:?}", began.elapsed());
    let began = Instant::now();
    let engine = Engine::open(options(Path::new(directory)))?;
    println!("open: {:?}", began.elapsed());
    let grown = engine.facts()?.size_bytes.saturating_sub(before);
    println!("on disk: {} bytes a fork", grown / u64::from(count.max(1)));
    nested(&engine, 250)?;
    nested(&engine, 8)
}

/// Loads of a stream through up to three levels, each of which has `step` pages below the next.
fn nested(engine: &Engine, step: u64) -> Result<(), Failure> {
    let name = |level: u64| match level {
        0 => MAIN.to_owned(),
        _ => format!("step{step}-level{level}"),
    };
    let root = [u8::try_from(step)?; 16];
    for level in 0..=3 {
        if level > 0 {
            engine.write(declare(&name(level), &name(level - 1)))?;
        }
        let first = step * level;
        let last = 4 * step;
        for sequence in first..last {
            let at = (sequence == first && level > 0).then_some(first);
            engine.write(append(&name(level), root, sequence, at))?;
        }
    }
    let load = |level: u64| -> Result<Duration, Failure> {
        let stream = stream(&name(level), root);
        let mut reads = Vec::with_capacity(READS);
        for _ in 0..READS {
            let began = Instant::now();
            engine.load(&stream, 0, None, None)?;
            reads.push(began.elapsed());
        }
        Ok(median(&mut reads))
    };
    let (main, one, three) = (load(0)?, load(1)?, load(3)?);
    println!(
        "{} pages: main {main:?}, one level {one:?}, three {three:?}",
        4 * step
    );
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn parent_of(index: u32) -> String {
    match index % 10 {
        9 => format!("e{}", index - 1),
        _ => MAIN.into(),
    }
}

fn declare(name: &str, parent: &str) -> Write {
    Write::DeclareEdition(Edition {
        name: name.into(),
        parent: parent.into(),
        created_at_ns: 1,
        expires_at_ns: 0,
        max_pages: 0,
        max_bytes: 0,
    })
}

fn stream(edition: &str, root: [u8; 16]) -> Stream {
    Stream {
        domain: "account".into(),
        edition: edition.into(),
        root,
    }
}

fn append(edition: &str, root: [u8; 16], sequence: u64, divergence: Option<u64>) -> Write {
    // A varint of two bytes: sequences are below 2^14.
    let [.., high, low] = (sequence << 1).to_be_bytes();
    let low = low >> 1 | 0x80;
    let mut page = vec![
        10, 3, 8, low, high, 18, 2, 8, 1, 26, 107, 10, 3, b'x', b'/', b'y', 18, 100,
    ];
    page.extend_from_slice(&[7; 100]);
    page.extend_from_slice(&[48, 1]);
    Write::Append(Box::new(Append {
        stream: stream(edition, root),
        correlation_id: String::new(),
        expected_sequence: sequence,
        pages: vec![page],
        divergence,
        snapshot: None,
        snapshot_policy: SnapshotPolicy {
            keep_last: 1,
            max_age_s: 0,
        },
        cascade_id: String::new(),
        key: None,
        answer: Vec::new(),
        records: Vec::new(),
        sync: None,
        now_ns: 0,
    }))
}

fn options(directory: &Path) -> Options {
    Options {
        path: directory.join("store"),
        sync: false,
        limits: Limits {
            max_pages_per_append: 1000,
            max_append_bytes: 4 << 20,
            writer_queue: 4096,
        },
        cache_bytes: 64 << 20,
        block_cache_bytes: 64 << 20,
        write_buffer_bytes: 64 << 20,
    }
}
