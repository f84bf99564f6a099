use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;

/// STO-10, STO-40: of concurrent appends with one expectation exactly one succeeds.
#[test]
fn one_of_many_writers_wins_each_round() {
    let store = Fixture::new();
    let (engine, barrier) = (store.engine.clone(), Arc::new(Barrier::new(16)));
    let won = Arc::new(AtomicU64::new(0));
    let writer = |_| {
        let (engine, barrier, won) = (engine.clone(), Arc::clone(&barrier), Arc::clone(&won));
        thread::spawn(move || {
            for round in 0..50 {
                barrier.wait();
                match put(&engine, append(&main_stream(), round, 1)) {
                    Ok(_) => won.fetch_add(1, Ordering::SeqCst),
                    Err(Error::SequenceConflict { expected, actual }) => {
                        assert_eq!((expected, actual), (round, round + 1));
                        0
                    }
                    Err(error) => panic!("{error}"),
                };
                barrier.wait();
            }
        })
    };
    let threads: Vec<_> = (0..16).map(writer).collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(won.load(Ordering::SeqCst), 50);
    store.verify().expect("sound");
}

/// STO-44: concurrent duplicates store one.
#[test]
fn duplicates_in_one_group_store_one() {
    let store = Fixture::new();
    let (sender, answers) = std::sync::mpsc::channel();
    for _ in 0..32 {
        let sender = sender.clone();
        let key = Some(Key::Provenance(b"k".to_vec()));
        let write = Write::Append(Box::new(Append {
            key,
            ..append(&main_stream(), 0, 1)
        }));
        store
            .submit(write, Box::new(move |written| drop(sender.send(written))))
            .expect("queues");
    }
    let answers: Vec<_> = answers.iter().take(32).collect();
    let appended = Ok(Written::Appended { first: 0, last: 0 });
    assert_eq!(
        answers.iter().filter(|answer| **answer == appended).count(),
        1
    );
    let duplicate = Ok(Written::Duplicate { first: 0, last: 0 });
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == duplicate)
            .count(),
        31
    );
}

/// STO-60: members of a group see what earlier members did, refusals disturb nobody, and the group is one write.
#[test]
fn a_group_is_checked_in_order() {
    let store = Fixture::new();
    let (sender, answers) = std::sync::mpsc::channel();
    let submit = |index: usize, write| {
        let sender = sender.clone();
        let done = Box::new(move |written| drop(sender.send((index, written))));
        store.submit(write, done).expect("queues");
    };
    let append_at = |first| Write::Append(Box::new(append(&main_stream(), first, 2)));
    for (index, first) in [0, 2, 2, 4, 9].into_iter().enumerate() {
        submit(index, append_at(first));
    }
    let mut answers: Vec<_> = answers.iter().take(5).collect();
    answers.sort_by_key(|(index, _)| *index);
    let is_ok: Vec<_> = answers.iter().map(|(_, answer)| answer.is_ok()).collect();
    assert_eq!(is_ok, [true, true, false, true, false]);
    let facts = store.facts().expect("facts");
    assert_eq!((facts.log_head, facts.append_count), (6, 3));
    assert!(facts.group_count <= 3);
}

/// STO-14: once a reader has seen position p nothing ≤ p appears later, whoever writes meanwhile.
#[test]
fn the_log_never_has_a_gap() {
    let store = Fixture::new();
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (engine, is_done) = (store.engine.clone(), Arc::clone(&is_done));
        thread::spawn(move || {
            let (mut position, mut next) = (0, HashMap::new());
            loop {
                let was_done = is_done.load(Ordering::SeqCst);
                let entries = engine.tail(position, 100).expect("reads");
                if entries.is_empty() && was_done {
                    return position;
                }
                for entry in entries {
                    assert_eq!(entry.first_position, position + 1);
                    position = entry.position;
                    let cover = entry.book[2..40].to_vec();
                    let next = next.entry(cover).or_insert(0);
                    for sequence in sequences(&entry.book) {
                        assert_eq!(sequence, *next);
                        *next += 1;
                    }
                }
            }
        })
    };
    let writer = |index: u8| {
        let engine = store.engine.clone();
        thread::spawn(move || {
            let stream = stream("account", MAIN, index);
            let mut next = 0;
            for count in (1..=3).cycle().take(200) {
                put(&engine, append(&stream, next, count)).expect("appends");
                next += count;
            }
            next
        })
    };
    let writers: Vec<_> = (0..8).map(writer).collect();
    let written: u64 = writers
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .sum();
    is_done.store(true, Ordering::SeqCst);
    assert_eq!(reader.join().expect("no panic"), written);
    assert_eq!(store.verify().expect("sound").page_count, written);
}

/// STO-4: reads see every append that returned before they began, from the hot tails too, and never go back.
#[test]
fn hot_tails_agree_with_the_store_under_concurrency() {
    let store = Fixture::new();
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..4).map(|_| AtomicU64::new(0)).collect());
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = |seed: usize| {
        let (engine, acknowledged, is_done) = (
            store.engine.clone(),
            Arc::clone(&acknowledged),
            Arc::clone(&is_done),
        );
        thread::spawn(move || {
            let mut seen = [0u64; 4];
            for turn in seed.. {
                if is_done.load(Ordering::SeqCst) {
                    return;
                }
                let index = turn % 4;
                let stream = stream("account", MAIN, u8::try_from(index).expect("small"));
                let least = acknowledged[index].load(Ordering::SeqCst).max(seen[index]);
                let (pages, next) = match turn % 3 {
                    0 => {
                        let book = engine.load_latest(&stream, None).expect("loads");
                        let pages = sequences(&book.data);
                        let snapshot = pages.first().copied().unwrap_or(book.next_sequence);
                        assert!(snapshot % 10 == 0, "{snapshot}");
                        (pages, book.next_sequence)
                    }
                    1 => {
                        let book = engine.load_until(&stream, i64::MAX, None).expect("loads");
                        (sequences(&book.data), book.next_sequence)
                    }
                    _ => {
                        let book = engine.load(&stream, 0, None, None).expect("loads");
                        (sequences(&book.data), book.next_sequence)
                    }
                };
                assert!(next >= least, "{next} after {least}");
                let first = pages.first().copied().unwrap_or(next);
                assert_eq!(pages, (first..next).collect::<Vec<_>>());
                seen[index] = next;
            }
        })
    };
    let readers: Vec<_> = (0..3).map(reader).collect();
    let writer = |index: usize| {
        let (engine, acknowledged) = (store.engine.clone(), Arc::clone(&acknowledged));
        thread::spawn(move || {
            let stream = stream("account", MAIN, u8::try_from(index).expect("small"));
            for next in 0..400 {
                let snapshot = (next % 20 == 9).then(|| snapshot(next));
                put(
                    &engine,
                    Append {
                        snapshot,
                        ..append(&stream, next, 1)
                    },
                )
                .expect("appends");
                acknowledged[index].store(next + 1, Ordering::SeqCst);
            }
        })
    };
    let writers: Vec<_> = (0..4).map(writer).collect();
    writers
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    is_done.store(true, Ordering::SeqCst);
    readers
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
}

/// OPS-13, STO-6: a full queue answers at once, and nothing is written.
#[test]
fn a_full_queue_is_overloaded_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = options(dir.path());
    options.limits.writer_queue = 2;
    let engine = Engine::open(options).expect("opens");
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let (started, is_started) = std::sync::mpsc::channel();
    let first = Write::Append(Box::new(append(&main_stream(), 0, 1)));
    let hold = move |_| {
        started.send(()).expect("listens");
        let _ = gate.recv();
    };
    engine.submit(first, Box::new(hold)).expect("queues");
    is_started.recv().expect("the committer is held");
    let submit = |root| {
        let write = Write::Append(Box::new(append(&stream("account", MAIN, root), 0, 1)));
        engine.submit(write, Box::new(|_| ()))
    };
    assert_eq!((submit(2), submit(3)), (Ok(()), Ok(())));
    assert_eq!(
        submit(4),
        Err(Error::Overloaded {
            queue: "writer_queue".into(),
            limit: 2
        })
    );
    drop(release);
    engine.close().expect("closes");
    let engine = open(dir.path(), "").expect("opens");
    assert_eq!(engine.verify().expect("sound").stream_count, 3);
}

fn alone(engine: &Engine, stream: &Stream, first: u64) -> Option<Result<Written>> {
    let write = Write::Append(Box::new(append(stream, first, 1)));
    let done = Box::new(|_| panic!("a lone write is not told to anybody"));
    engine
        .submit_alone(write, done)
        .expect("takes it")
        .map(|(written, _)| written)
}

/// STO-2, STO-60: what a lone writer commits on its own thread is what the committer would have written.
#[test]
fn a_lone_write_is_committed_when_the_call_returns() {
    let store = Fixture::new();

    let written = alone(&store, &main_stream(), 0);

    let appended = Written::Appended { first: 0, last: 0 };
    assert_eq!(written, Some(Ok(appended)));
    let (_copy, engine) = store.crashed();
    assert_eq!(log(&engine.expect("opens")).len(), 1);
}

/// STO-10: a lone write is refused as any other one.
#[test]
fn a_lone_write_is_checked() {
    let store = Fixture::new();

    let written = alone(&store, &main_stream(), 3);

    let (expected, actual) = (3, 0);
    let conflict = Error::SequenceConflict { expected, actual };
    assert_eq!(written, Some(Err(conflict)));
    assert_eq!(store.log_head(), Ok(0));
}

/// CMD-37, OPS-13: nobody waits for another's flush: while one commits, what comes is queued.
#[test]
fn a_write_beside_another_one_is_queued() {
    let store = Fixture::new();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let (started, is_started) = std::sync::mpsc::channel();
    let first = Write::Append(Box::new(append(&main_stream(), 0, 1)));
    let hold = move |_| {
        started.send(()).expect("listens");
        let _ = gate.recv();
    };
    store.submit(first, Box::new(hold)).expect("queues");
    is_started.recv().expect("the committer is held");
    let (sender, answer) = std::sync::mpsc::channel();
    let second = Write::Append(Box::new(append(&main_stream(), 1, 1)));

    let sent = store.submit_alone(second, Box::new(move |written| drop(sender.send(written))));

    assert!(sent.expect("takes it").is_none());
    drop(release);
    let appended = Written::Appended { first: 1, last: 1 };
    assert_eq!(answer.recv(), Ok(Ok(appended)));
}

/// An event loop does not wait for a disk that is not known to be quick.
#[test]
fn a_lone_durable_write_is_queued_until_flushes_are_known_to_be_quick() {
    let store = Fixture::new();
    let (sender, answer) = std::sync::mpsc::channel();
    let write = Write::Append(Box::new(Append {
        sync: Some(true),
        ..append(&main_stream(), 0, 1)
    }));

    let sent = store.submit_alone(write, Box::new(move |written| drop(sender.send(written))));

    assert!(sent.expect("takes it").is_none());
    answer.recv().expect("answers").expect("appends");
}

/// STO-40, STO-14: threads that commit by themselves, and the committer, leave one sound store.
#[test]
fn lone_and_queued_writes_mix() {
    let store = Fixture::new();
    let lone = |root: u8| {
        let engine = store.engine.clone();
        thread::spawn(move || {
            let stream = stream("account", MAIN, root);
            (0..300).for_each(|sequence| must(&engine, &stream, sequence, 1));
        })
    };
    let queued = |root: u8| {
        let engine = store.engine.clone();
        thread::spawn(move || {
            let stream = stream("account", MAIN, root);
            for sequence in 0..300 {
                let (sender, answer) = std::sync::mpsc::channel();
                let write = Write::Append(Box::new(append(&stream, sequence, 1)));
                let done = Box::new(move |written| drop(sender.send(written)));
                engine.submit(write, done).expect("queues");
                answer.recv().expect("answers").expect("appends");
            }
        })
    };
    let threads = [lone(1), queued(2), lone(3), queued(4)];

    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));

    let verified = store.verify().expect("sound");
    assert_eq!((verified.stream_count, verified.position), (4, 1200));
}

/// STO-5: the end of a store waits for a lone write, and later ones are refused.
#[test]
fn a_closed_store_takes_no_lone_write() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 1);
    store.close().expect("closes");

    let write = Write::Append(Box::new(append(&main_stream(), 1, 1)));
    let refused = store.submit_alone(write, Box::new(|_| ()));

    assert!(matches!(refused, Err(Error::Closed)));
}
