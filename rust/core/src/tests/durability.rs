use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::*;

fn wal_segment(dir: &Path) -> PathBuf {
    let all = fs::read_dir(dir.join("wal"))
        .expect("lists")
        .map(|entry| entry.expect("lists").path());
    all.filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .max()
        .expect("a segment")
}

/// Where the log's last byte is that is not zero.
fn wal_end(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("reads");
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not empty") as u64
}

fn synced(append: Append) -> Append {
    Append {
        sync: Some(true),
        ..append
    }
}

/// STO-2: nothing acknowledged is lost when the process ends at once, synced or not.
#[test]
fn a_killed_process_loses_nothing() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    put(&store, synced(append(&main_stream(), 2, 1))).expect("appends");
    must(&store, &main_stream(), 3, 1);
    let (_dir, engine) = store.crashed();
    let engine = engine.expect("recovers");
    assert_eq!(
        sequences(
            &engine
                .load(&main_stream(), 0, None, None)
                .expect("loads")
                .data
        ),
        [0, 1, 2, 3]
    );
    let verified = engine.verify().expect("sound");
    assert_eq!(
        verified,
        Verified {
            stream_count: 1,
            page_count: 4,
            position: 4
        }
    );
    must(&engine, &main_stream(), 4, 1);
}

/// STO-47: a torn last write is repaired.
#[test]
fn a_torn_tail_is_recovered_to_a_prefix() {
    let store = Fixture::new();
    for first in 0..5 {
        put(&store, synced(append(&main_stream(), first, 1))).expect("appends");
    }
    let copy = tempfile::tempdir().expect("a directory");
    copy_dir(store.dir.path(), copy.path());
    let segment = wal_segment(copy.path());
    let end = wal_end(&segment);
    OpenOptions::new()
        .write(true)
        .open(&segment)
        .expect("opens")
        .set_len(end - 3)
        .expect("cuts");
    let engine = open(copy.path(), "").expect("recovers");
    assert_eq!(engine.next_sequence(&main_stream(), None), Ok(4));
    engine.verify().expect("sound");
    must(&engine, &main_stream(), 4, 1);
    engine.close().expect("closes");
    assert_eq!(
        open(copy.path(), "")
            .expect("opens")
            .next_sequence(&main_stream(), None),
        Ok(5)
    );
}

/// STO-2: acknowledged data never vanishes silently.
#[test]
fn a_garbled_middle_is_an_error() {
    let store = Fixture::new();
    for first in 0..5 {
        put(&store, synced(append(&main_stream(), first, 1))).expect("appends");
    }
    let copy = tempfile::tempdir().expect("a directory");
    copy_dir(store.dir.path(), copy.path());
    let segment = wal_segment(copy.path());
    let middle = wal_end(&segment) / 2;
    let file = OpenOptions::new()
        .write(true)
        .open(&segment)
        .expect("opens");
    file.write_all_at(&[0xEE; 8], middle).expect("garbles");
    assert!(matches!(open(copy.path(), ""), Err(Error::Corrupt { .. })));
}

/// STO-3: a failed write fails its group and stops writes; reads go on; nothing of it is there afterwards.
#[test]
fn a_failed_write_stops_writes() {
    for point in ["group.before_write", "group.after_write"] {
        let store = Fixture::with_failpoints(&format!("{point}=error@2"));
        must(&store, &main_stream(), 0, 1);
        for _ in 0..2 {
            let refused = put(&store, append(&main_stream(), 1, 1));
            assert!(
                matches!(refused, Err(Error::Unavailable { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(store.next_sequence(&main_stream(), None), Ok(1));
        let store = store.reopened();
        assert_eq!(store.next_sequence(&main_stream(), None), Ok(1));
        must(&store, &main_stream(), 1, 1);
    }
}

/// STO-60: one process owns the directory.
#[test]
fn a_second_opener_is_refused_by_name() {
    let store = Fixture::new();
    let refused = open(store.dir.path(), "").err();
    assert_eq!(
        refused,
        Some(Error::Locked {
            holder: Some(std::process::id())
        })
    );
}

/// STO-60: another process is told who holds the store. The child is this test binary with one test.
#[test]
fn another_process_is_locked_out() {
    let store = Fixture::new();
    let output = child("child_that_opens", store.dir.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(&format!("locked by process {}", std::process::id())),
        "{said}"
    );
}

#[test]
fn child_that_opens() {
    if let Ok(path) = std::env::var("child_that_opens") {
        let refused = open(Path::new(&path), "")
            .err()
            .map(|error| error.to_string());
        println!("{refused:?}");
    }
}

/// STO-60: a newer format is refused.
#[test]
fn a_newer_format_is_refused() {
    let store = Fixture::new();
    store.close().expect("closes");
    let db = rocksdb::DB::open_cf(
        &rocksdb::Options::default(),
        store.dir.path(),
        crate::key::Family::ALL.map(crate::key::Family::name),
    )
    .expect("opens");
    let meta = db.cf_handle("meta").expect("there");
    let newer = FORMAT_VERSION + 1;
    db.put_cf(meta, crate::key::META_FORMAT, newer.to_be_bytes())
        .expect("puts");
    drop(db);
    let refused = open(store.dir.path(), "").err();
    assert_eq!(
        refused,
        Some(Error::FormatTooNew {
            found: newer,
            supported: FORMAT_VERSION
        })
    );
}

/// A page that is gone from disk is told, by verify and by reads.
#[test]
fn missing_pages_are_corrupt_data() {
    let store = Fixture::new();
    for first in 0..3 {
        must(&store, &main_stream(), first, 1);
    }
    store.close().expect("closes");
    let mut options = rocksdb::Options::default();
    options.set_atomic_flush(true);
    let names = crate::key::Family::ALL.map(crate::key::Family::name);
    let db = rocksdb::DB::open_cf(&options, store.dir.path(), names).expect("opens");
    let events = db.cf_handle("events").expect("there");
    let key = crate::key::page(&crate::key::stream(1, &[1; 16]), 1);
    assert!(db.get_cf(events, key).expect("reads").is_some());
    db.delete_cf(events, key).expect("deletes");
    drop(db);
    let engine = open(store.dir.path(), "").expect("opens");
    assert!(matches!(engine.verify(), Err(Error::Corrupt { .. })));
    match engine.load(&main_stream(), 0, None, None) {
        Err(Error::Corrupt { location, .. }) => {
            assert_eq!(
                location,
                format!("events account/{}@angzarr sequence 1", "01".repeat(16))
            );
        }
        other => panic!("{other:?}"),
    }
}

/// A checkpoint is a whole store at one point of time, and leaves what it was taken from alone.
#[test]
fn a_checkpoint_opens_as_a_store() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 3);
    let target = store.dir.path().join("backup/one");
    store.checkpoint(&target).expect("copies");
    must(&store, &main_stream(), 3, 1);
    assert!(matches!(
        store.checkpoint(&target),
        Err(Error::InvalidInput { .. })
    ));
    let copy = open(&target, "").expect("opens");
    assert_eq!(copy.next_sequence(&main_stream(), None), Ok(3));
    must(&copy, &main_stream(), 3, 2);
    assert_eq!(copy.verify().expect("sound").page_count, 5);
    assert_eq!(store.next_sequence(&main_stream(), None), Ok(4));
}

/// STO-47: more than a log segment and a memtable, then an abort: flushes, rotation, release, recovery.
/// The child is this test binary with one test.
#[test]
fn much_data_survives_rotation_and_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    let status = child("child_that_aborts", dir.path()).status;
    assert!(!status.success());
    let engine = open(dir.path(), "").expect("recovers");
    assert_eq!(
        engine.verify().expect("sound").page_count,
        u64::from(LARGE_COUNT)
    );
}

const LARGE_COUNT: u8 = 150;

#[test]
fn child_that_aborts() {
    let Some(engine) = opened_by_parent("child_that_aborts") else {
        return;
    };
    let mut large = append(&main_stream(), 0, 1);
    large.pages[0].extend_from_slice(&[0xFA, 1, 0x80, 0x80, 0x40]);
    large.pages[0].extend_from_slice(&vec![7; 1 << 20]);
    for root in 0..LARGE_COUNT {
        let stream = stream("account", MAIN, root);
        put(
            &engine,
            Append {
                stream,
                ..large.clone()
            },
        )
        .expect("appends");
    }
    std::process::abort();
}

fn child(test: &str, store: &Path) -> std::process::Output {
    std::process::Command::new(std::env::current_exe().expect("known"))
        .args([
            "--exact",
            &format!("tests::durability::{test}"),
            "--nocapture",
        ])
        .env(test, store)
        .output()
        .expect("runs")
}

fn opened_by_parent(test: &str) -> Option<Engine> {
    let path = std::env::var(test).ok()?;
    Some(open(Path::new(&path), "").expect("opens"))
}
