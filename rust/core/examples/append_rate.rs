//! Appends one page at a time and says how long one takes, beside what the disk alone takes for as much.
//!
//! `append_rate <directory> <appends> [sync|nosync]`. Under `strace -f -e trace=fdatasync,pwrite64` it shows that a
//! commit is one write and one fdatasync.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use angzarr_core::{Append, Engine, Limits, MAIN, Options, SnapshotPolicy, Stream, Write};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, count, rest @ ..] = arguments.as_slice() else {
        return Err("append_rate <directory> <appends> [sync|nosync]".into());
    };
    let (directory, count) = (Path::new(directory), count.parse()?);
    let sync = rest.first().is_none_or(|word| word == "sync");
    if sync {
        raw(directory, count, 4096)?;
    }
    let began = Instant::now();
    let engine = Engine::open(options(directory, sync))?;
    println!("open: {:?}", began.elapsed());

    let began = Instant::now();
    for index in 0..count {
        engine.write(Write::Append(Box::new(append(index))))?;
    }
    println!("append: {:?} each", began.elapsed() / count);
    if sync {
        raw(directory, count, 4096)?;
    }

    let began = Instant::now();
    for index in 0..count {
        engine.load_latest(&stream(index), None)?;
    }
    println!("load, cold: {:?} each", began.elapsed() / count);
    let began = Instant::now();
    for index in (0..count).rev().take(1000).collect::<Vec<_>>() {
        engine.load_latest(&stream(index), None)?;
    }
    println!("load, hot: {:?} each", began.elapsed() / count.min(1000));
    let began = Instant::now();
    engine.close()?;
    println!("close: {:?}", began.elapsed());
    Ok(())
}

/// What the disk takes for a write and an fdatasync within a file whose blocks are there.
fn raw(directory: &Path, count: u32, step: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("raw");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; 8 << 20], 0)?;
    file.sync_all()?;
    let began = Instant::now();
    for index in 0..count {
        file.write_all_at(&[1; 256], u64::from(index) * 256 % ((8 << 20) - step))?;
        file.sync_data()?;
    }
    println!("raw fdatasync: {:?} each", began.elapsed() / count);
    std::fs::remove_file(path)?;
    Ok(())
}

fn stream(index: u32) -> Stream {
    let mut root = [0; 16];
    root[..4].copy_from_slice(&(index / 4).wrapping_mul(2_654_435_769).to_be_bytes());
    Stream {
        domain: "account".into(),
        edition: MAIN.into(),
        root,
    }
}

fn append(index: u32) -> Append {
    let sequence = u8::try_from(index % 4).unwrap_or(0);
    let mut page = vec![
        10, 2, 8, sequence, 18, 2, 8, 1, 26, 107, 10, 3, b'x', b'/', b'y', 18, 100,
    ];
    page.extend_from_slice(&[7; 100]);
    page.extend_from_slice(&[48, 1]);
    Append {
        stream: stream(index),
        correlation_id: String::new(),
        expected_sequence: u64::from(sequence),
        pages: vec![page],
        divergence: None,
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
    }
}

fn options(directory: &Path, sync: bool) -> Options {
    Options {
        path: directory.join("store"),
        sync,
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
