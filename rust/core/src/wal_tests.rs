use super::*;

fn reopen(dir: &Path, applied: u64) -> Result<(Wal, Vec<Vec<u8>>)> {
    let mut seen = Vec::new();
    let recovered = recover(dir, applied, |payload| {
        seen.push(payload.to_vec());
        Ok(())
    })?;
    Ok((Wal::start(dir, &recovered)?, seen))
}

fn only_segment(dir: &Path) -> PathBuf {
    segment_path(
        dir,
        list(dir).expect("lists").0.last().expect("a segment").0,
    )
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("opens");
    file.write_all_at(bytes, at).expect("writes");
}

/// A log of five records, each synced or none, and where they begin.
fn five(dir: &Path, is_synced: bool) -> Vec<u64> {
    let (mut wal, _) = reopen(dir, 0).expect("new");
    let mut offsets = Vec::new();
    for index in 0..5u8 {
        wal.append(&[index; 100]).expect("writes");
        offsets.push(wal.last_offset);
        if is_synced {
            wal.sync().expect("syncs");
        }
    }
    offsets
}

/// STO-2: what was written is there after a crash of the process.
#[test]
fn records_come_back_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    five(dir.path(), true);
    let (wal, seen) = reopen(dir.path(), 2).expect("recovers");
    assert_eq!(seen, [vec![2; 100], vec![3; 100], vec![4; 100]]);
    assert_eq!(wal.next_lsn(), 6);
}

/// STO-47: a torn last write is repaired.
#[test]
fn a_torn_last_record_is_dropped() {
    for at in [0, 4, 9, 30, 123] {
        let dir = tempfile::tempdir().expect("a directory");
        let offsets = five(dir.path(), true);
        overwrite(&only_segment(dir.path()), offsets[4] + at, &[0xEE]);
        let (_, seen) = reopen(dir.path(), 0).expect("recovers");
        assert_eq!(seen.len(), 4);
    }
}

#[test]
fn a_cut_file_is_recovered_to_a_prefix() {
    let dir = tempfile::tempdir().expect("a directory");
    let offsets = five(dir.path(), true);
    let file = OpenOptions::new()
        .write(true)
        .open(only_segment(dir.path()))
        .expect("opens");
    file.set_len(offsets[3] + 50).expect("cuts");
    assert_eq!(reopen(dir.path(), 0).expect("recovers").1.len(), 3);
}

/// STO-2: acknowledged data never vanishes silently.
#[test]
fn damage_before_durable_records_is_an_error() {
    for index in 0..4 {
        for at in [0, 4, 8, 50] {
            let dir = tempfile::tempdir().expect("a directory");
            let offsets = five(dir.path(), true);
            overwrite(&only_segment(dir.path()), offsets[index] + at, &[0xEE; 3]);
            assert!(
                matches!(reopen(dir.path(), 0), Err(Error::Corrupt { .. })),
                "{index} {at}"
            );
        }
    }
}

/// STO-2: with sync=false a machine crash may lose a suffix, never a middle.
#[test]
fn an_unsynced_suffix_may_be_lost_from_its_first_hole_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let offsets = five(dir.path(), false);
    overwrite(&only_segment(dir.path()), offsets[2], &[0; 64]);
    let (mut wal, seen) = reopen(dir.path(), 0).expect("recovers");
    assert_eq!(seen.len(), 2);
    wal.append(b"new").expect("writes");
    drop(wal);
    let (_, seen) = reopen(dir.path(), 2).expect("recovers");
    assert_eq!(seen, [b"new".to_vec()]);
}

#[test]
fn a_damaged_header_before_records_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    five(dir.path(), true);
    overwrite(&only_segment(dir.path()), 3, &[0xEE]);
    assert!(matches!(reopen(dir.path(), 0), Err(Error::Corrupt { .. })));
}

#[test]
fn records_that_rocksdb_lacks_must_not_be_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    five(dir.path(), true);
    drop(reopen(dir.path(), 5).expect("recovers"));
    assert!(matches!(reopen(dir.path(), 3), Err(Error::Corrupt { .. })));
}

#[test]
fn segments_rotate_are_recycled_and_read_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut wal, _) = reopen(dir.path(), 0).expect("new");
    wal.set_segment_bytes(1000);
    for index in 0..100u8 {
        wal.append(&[index; 90]).expect("writes");
        if wal.rotate_if_full().expect("rotates") && index < 50 {
            let flushed = wal.next_lsn() - 1;
            wal.release(flushed).expect("releases");
        }
    }
    drop(wal);
    let (_, seen) = reopen(dir.path(), 45).expect("recovers");
    assert_eq!(
        seen,
        (45..100u8).map(|index| vec![index; 90]).collect::<Vec<_>>()
    );
}

#[test]
fn a_missing_middle_segment_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut wal, _) = reopen(dir.path(), 0).expect("new");
    wal.set_segment_bytes(500);
    for index in 0..30u8 {
        wal.append(&[index; 90]).expect("writes");
        wal.rotate_if_full().expect("rotates");
    }
    drop(wal);
    fs::remove_file(segment_path(dir.path(), 2)).expect("removes");
    assert!(matches!(reopen(dir.path(), 0), Err(Error::Corrupt { .. })));
}

/// A record that failed is taken back, so that it does not come true at the next open.
#[test]
fn a_wiped_record_does_not_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut wal, _) = reopen(dir.path(), 0).expect("new");
    wal.append(b"kept").expect("writes");
    wal.append(b"failed").expect("writes");
    wal.wipe_last();
    drop(wal);
    assert_eq!(
        reopen(dir.path(), 0).expect("recovers").1,
        [b"kept".to_vec()]
    );
}

/// A recycled segment of 50 MB took an hour to open: what an earlier use had left behind looked like headers of long
/// records, and each of them was checksummed.
#[test]
fn what_a_recycled_file_holds_is_not_checksummed_over_and_over() {
    let dir = tempfile::tempdir().expect("a directory");
    five(dir.path(), true);
    let word = (15 << 20 << 32) | 1u64; // as a header's second half a length, else a number
    let old = word.to_le_bytes().repeat(4 << 20);
    overwrite(&only_segment(dir.path()), 256 << 10, &old);
    assert_eq!(reopen(dir.path(), 0).expect("recovers").1.len(), 5);
}

/// The same for a segment that was being created when the process ended.
#[test]
fn a_recycled_file_without_a_header_of_its_own_is_no_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    five(dir.path(), true);
    let segment = only_segment(dir.path());
    let next = segment_path(dir.path(), 2);
    fs::copy(&segment, &next).expect("copies");
    let (wal, seen) = reopen(dir.path(), 0).expect("recovers");
    assert_eq!((seen.len(), wal.next_lsn()), (5, 6));
}
