//! Writes a log of one shape, and says how fast it becomes columns, and in how much memory.
//!
//! `scan_rate <directory> <shape> <events> [positions a scan]`; the shapes:
//! - `hands`: streams of 30 events, 1 to 3 a commit, 64 of them open at any time;
//! - `scattered`: as many streams, each commit one event of any of them: no two rows of a window lie together;
//! - `bulk`: commits of 100 events, streams of 3,000.
//!
//! A store that is there already is read as it is.

use std::path::Path;
use std::time::{Duration, Instant};

use angzarr_core::{
    Append, Engine, FieldKind, FieldPath, FieldSpec, Limits, MAIN, Options, SCAN_BYTES_MAX, Scan,
    SnapshotPolicy, Stream, Write,
};

type Failure = Box<dyn std::error::Error>;

const HAND_EVENT_COUNT: u64 = 30;
const OPEN_HAND_COUNT: u64 = 64;
const BULK_COMMIT: u64 = 100;
const BULK_EVENT_COUNT: u64 = 3_000;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, shape, count, rest @ ..] = arguments.as_slice() else {
        return Err("scan_rate <directory> <hands|scattered|bulk> <events> [positions]".into());
    };
    let count = count.parse()?;
    let limit = rest.first().map_or(Ok(65_536), |text| text.parse())?;
    let engine = Engine::open(options(Path::new(directory)))?;
    if engine.log_head()? == 0 {
        let began = Instant::now();
        fill(&engine, shape, count)?;
        println!("wrote {count} events in {:?}", began.elapsed());
    }
    scanned(&engine, limit, Vec::new(), "no fields")?;
    let two = vec![
        field(FieldKind::Int, &["amount"]),
        field(FieldKind::Text, &["street"]),
    ];
    scanned(&engine, limit, two, "2 fields")?;
    println!("memory, at most: {}", peak_memory()?);
    engine.close()?;
    Ok(())
}

/// Scans the whole log.
fn scanned(engine: &Engine, limit: u64, fields: Vec<FieldSpec>, what: &str) -> Result<(), Failure> {
    let mut scan = Scan {
        after: 0,
        limit,
        editions: None,
        domains: None,
        fields,
        bytes_max: SCAN_BYTES_MAX,
    };
    let (began, used) = (Instant::now(), processor_time()?);
    let (mut row_count, mut scan_count) = (0, 0);
    loop {
        let columns = engine.scan(&scan)?;
        if columns.last == scan.after {
            break;
        }
        scan.after = columns.last;
        row_count += columns.count;
        scan_count += 1;
    }
    let taken = began.elapsed();
    let used = processor_time()?.saturating_sub(used);
    let rate = u128::from(row_count) * 1_000_000 / taken.as_micros().max(1);
    println!(
        "{what}: {row_count} rows in {taken:?} ({used:?} of processors), {scan_count} scans: {rate} a second"
    );
    Ok(())
}

fn fill(engine: &Engine, shape: &str, count: u64) -> Result<(), Failure> {
    let mut random = 1u64;
    match shape {
        "hands" => {
            let mut open: Vec<(u64, u64)> = (0..OPEN_HAND_COUNT).map(|hand| (hand, 0)).collect();
            let (mut written, mut hand_count) = (0, OPEN_HAND_COUNT);
            while written < count {
                let (hand, next) = &mut open[index_below(&mut random, OPEN_HAND_COUNT)?];
                let commit = (1 + next_random(&mut random) % 3).min(HAND_EVENT_COUNT - *next);
                put(engine, *hand, *next, commit)?;
                written += commit;
                *next += commit;
                if *next == HAND_EVENT_COUNT {
                    (*hand, *next) = (hand_count, 0);
                    hand_count += 1;
                }
            }
        }
        "scattered" => {
            let mut streams = vec![0; usize::try_from(count / HAND_EVENT_COUNT)?];
            for _ in 0..count {
                let stream = index_below(&mut random, streams.len() as u64)?;
                put(engine, stream as u64, streams[stream], 1)?;
                streams[stream] += 1;
            }
        }
        "bulk" => {
            for commit in 0..count / BULK_COMMIT {
                let first = commit * BULK_COMMIT % BULK_EVENT_COUNT;
                let stream = commit * BULK_COMMIT / BULK_EVENT_COUNT;
                put(engine, stream, first, BULK_COMMIT)?;
            }
        }
        _ => return Err("a shape is hands, scattered or bulk".into()),
    }
    Ok(())
}

fn next_random(random: &mut u64) -> u64 {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

fn index_below(random: &mut u64, bound: u64) -> Result<usize, Failure> {
    Ok(usize::try_from(next_random(random) % bound)?)
}

fn put(engine: &Engine, stream: u64, first: u64, count: u64) -> Result<(), Failure> {
    let mut root = [0; 16];
    root[..8].copy_from_slice(&stream.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let append = Append {
        stream: Stream {
            domain: "hand".into(),
            edition: MAIN.into(),
            root,
        },
        correlation_id: String::new(),
        expected_sequence: first,
        pages: (first..first + count).map(page).collect(),
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
    };
    engine.write(Write::Append(Box::new(append)))?;
    Ok(())
}

/// An `EventPage` with a payload as a poker hand's.
fn page(sequence: u64) -> Vec<u8> {
    let kinds = ["Folded", "Called", "BetOrRaised", "CardsDealt"];
    let streets = ["preflop", "flop", "turn", "river"];
    let kind = kinds[usize::try_from(sequence * 7 % 4).unwrap_or(0)];
    let street = streets[usize::try_from(sequence / 8 % 4).unwrap_or(0)];
    let payload = format!(
        r#"{{"seat":{},"amount":{},"to":{},"street":"{street}","stack_left":{},"is_all_in":false}}"#,
        sequence % 6,
        sequence * 25,
        sequence * 50,
        10_000 - sequence
    );
    let mut header = Vec::new();
    put_number(&mut header, 1, sequence);
    let mut time = Vec::new();
    put_number(&mut time, 1, 1_764_000_000 + sequence);
    put_number(&mut time, 2, 123_456_789);
    let mut event = Vec::new();
    put_bytes(
        &mut event,
        1,
        format!("json.angzarr.io/hand.{kind}").as_bytes(),
    );
    put_bytes(&mut event, 2, payload.as_bytes());
    let mut page = Vec::new();
    put_bytes(&mut page, 1, &header);
    put_bytes(&mut page, 2, &time);
    put_bytes(&mut page, 3, &event);
    put_number(&mut page, 6, 1);
    page
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn field(kind: FieldKind, keys: &[&str]) -> FieldSpec {
    let path = |name: &str| FieldPath {
        type_name: format!("hand.{name}"),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        numbers: Vec::new(),
        encoding: None,
    };
    FieldSpec {
        kind,
        paths: ["Folded", "Called", "BetOrRaised"].map(path).to_vec(),
    }
}

/// What the process has used, in steps of 10 ms.
fn processor_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let sum: u64 = ticks.filter_map(|tick| tick.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(10 * sum))
}

fn peak_memory() -> Result<String, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    Ok(line.unwrap_or("unknown").to_owned())
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
        write_buffer_bytes: 32 << 20,
    }
}
