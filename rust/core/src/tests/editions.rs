use std::sync::mpsc;

use super::*;
use crate::key::{self, Family};
use crate::store::KEY_PIN;

fn on(edition: &str) -> Stream {
    stream("account", edition, 1)
}

fn declare(engine: &Engine, edition: Edition) -> Result<Written> {
    engine.write(Write::DeclareEdition(edition))
}

fn forget(engine: &Engine, name: &str) -> Result<Written> {
    let name = name.to_owned();
    engine.write(Write::ForgetEdition { name })
}

fn delete(engine: &Engine, edition: &str) -> Result<Written> {
    engine.write(Write::DeleteEdition {
        domain: "account".into(),
        edition: edition.into(),
    })
}

fn limited(name: &str, max_pages: u64) -> Edition {
    Edition {
        max_pages,
        ..edition(name, MAIN)
    }
}

fn exceeded(name: &str, limit: u64, value: u64) -> Error {
    Error::QuotaExceeded {
        edition: name.into(),
        field: "max_pages",
        limit,
        value,
    }
}

fn in_use(name: &str, children: &[&str]) -> Error {
    Error::EditionInUse {
        edition: name.into(),
        children: children.iter().map(|child| (*child).to_owned()).collect(),
    }
}

/// EDN-20: durable, idempotent, the limits may change; what it was first stays.
#[test]
fn records_are_durable_and_keep_their_beginning() {
    let store = Fixture::new();
    let first = limited("a", 5);
    assert_eq!(
        declare(&store, first.clone()),
        Ok(Written::Edition(first.clone()))
    );
    let again = Edition {
        created_at_ns: 9,
        max_pages: 7,
        ..first.clone()
    };
    let wanted = Edition {
        created_at_ns: first.created_at_ns,
        ..again.clone()
    };
    assert_eq!(declare(&store, again), Ok(Written::Edition(wanted.clone())));
    declare(&store, edition("b", "a")).expect("declares");
    let (_dir, killed) = store.crashed();
    let all = vec![wanted, edition("b", "a")];
    assert_eq!(killed.expect("recovers").declared(), Ok(all.clone()));
    let store = store.reopened();
    assert_eq!(store.declared(), Ok(all));
    assert_eq!(store.edition("c"), Ok(None));
}

/// STO-3: a declaration that was not written is no declaration.
#[test]
fn a_failed_group_declares_nothing() {
    for point in ["group.before_write", "group.after_write"] {
        let store = Fixture::with_failpoints(&format!("{point}=error@1"));
        declare(&store, edition("a", MAIN)).expect_err("fails");
        assert_eq!(store.declared(), Ok(Vec::new()));
        let store = store.reopened();
        assert_eq!(store.declared(), Ok(Vec::new()));
    }
}

/// EDN-20: what was written on one base has that base.
#[test]
fn an_edition_with_pages_gets_no_other_parent() {
    let store = Fixture::new();
    must(&store, &on("a"), 0, 1);
    let conflict = Error::EditionConflict {
        edition: "a".into(),
        parent: MAIN.into(),
        requested: "p".into(),
    };
    assert_eq!(declare(&store, edition("a", "p")), Err(conflict));
    declare(&store, edition("a", MAIN)).expect("as it is");
    delete(&store, "a").expect("deletes");
    forget(&store, "a").expect("forgets");
    declare(&store, edition("a", "p")).expect("begins anew");
}

/// EDN-25.
#[test]
fn parents_and_editions_with_pages_stay() {
    let store = Fixture::new();
    declare(&store, edition("a", MAIN)).expect("declares");
    declare(&store, edition("c", "a")).expect("declares");
    declare(&store, edition("b", "a")).expect("declares");
    must(&store, &on("b"), 0, 1);
    assert_eq!(delete(&store, "a"), Err(in_use("a", &["b", "c"])));
    assert_eq!(forget(&store, "a"), Err(in_use("a", &["b", "c"])));
    assert_eq!(forget(&store, "b"), Err(in_use("b", &[])));
    assert_eq!(forget(&store, "c"), Ok(Written::Flag(true)));
    assert_eq!(forget(&store, "c"), Ok(Written::Flag(false)));
    assert_eq!(delete(&store, "b"), Ok(Written::Count(1)));
    assert_eq!(forget(&store, "b"), Ok(Written::Flag(true)));
    assert_eq!(delete(&store, "a"), Ok(Written::Count(0)));
    assert_eq!(forget(&store, "a"), Ok(Written::Flag(true)));
    let store = store.reopened();
    assert_eq!(store.declared(), Ok(Vec::new()));
}

/// A pin without pages goes with the record, so that no base outlives what it consists of.
#[test]
fn a_forgotten_edition_leaves_no_pin() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    declare(&store, edition("b", "a")).expect("declares");
    must(&store, &on("a"), 1, 1);
    let only_key = Append {
        key: Some(Key::External(b"k".to_vec())),
        ..append(&on("b"), 2, 0)
    };
    put(&store, only_key).expect("appends");
    assert_eq!(store.divergence(&on("b")), Ok(Some(2)));
    assert_eq!(forget(&store, "b"), Ok(Written::Flag(true)));
    assert_eq!(store.divergence(&on("b")), Ok(None));
    assert_eq!(delete(&store, "a"), Ok(Written::Count(1)));
    store.verify().expect("sound");
}

/// EDN-24: from that nanosecond on; reads go on.
#[test]
fn expired_editions_take_no_more_pages() {
    let store = Fixture::new();
    let expiring = Edition {
        expires_at_ns: 10,
        ..edition("a", MAIN)
    };
    declare(&store, expiring).expect("declares");
    let at = |first, now_ns| Append {
        now_ns,
        ..append(&on("a"), first, 1)
    };
    put(&store, at(0, 9)).expect("appends");
    let expired = Error::EditionExpired {
        edition: "a".into(),
        expired_at_ns: 10,
    };
    assert_eq!(put(&store, at(7, 10)), Err(expired));
    assert_eq!(store.next_sequence(&on("a"), None), Ok(1));
    declare(&store, edition("a", MAIN)).expect("goes on");
    put(&store, at(1, 10)).expect("appends");
}

/// EDN-23: pages of all domains count, what was there before too.
#[test]
fn quotas_hold_over_domains_and_reopening() {
    let store = Fixture::new();
    must(&store, &on("a"), 0, 2);
    must(&store, &stream("hand", "a", 1), 0, 1);
    declare(&store, limited("a", 5)).expect("declares");
    assert_eq!(
        put(&store, append(&on("a"), 2, 3)),
        Err(exceeded("a", 5, 6))
    );
    must(&store, &on("a"), 2, 1);
    let store = store.reopened();
    must(&store, &stream("hand", "a", 2), 0, 1);
    assert_eq!(
        put(&store, append(&on("a"), 3, 1)),
        Err(exceeded("a", 5, 6))
    );
    declare(&store, limited("a", 6)).expect("more room");
    must(&store, &on("a"), 3, 1);
    delete(&store, "a").expect("deletes");
    must(&store, &on("a"), 0, 4);
    assert_eq!(
        put(&store, append(&on("a"), 4, 1)),
        Err(exceeded("a", 6, 7))
    );
}

/// EDN-23: bytes are those of encoded pages.
#[test]
fn quotas_of_bytes_count_encoded_pages() {
    let store = Fixture::new();
    let page_bytes = page(0, "").len() as u64;
    let record = Edition {
        max_bytes: 3 * page_bytes,
        ..edition("a", MAIN)
    };
    declare(&store, record).expect("declares");
    must(&store, &on("a"), 0, 2);
    let usage = Usage {
        page_count: 2,
        byte_count: 2 * page_bytes,
    };
    assert_eq!(store.usage("a"), Ok(usage));
    let refused = put(&store, append(&on("a"), 2, 2));
    assert!(matches!(
        refused,
        Err(Error::QuotaExceeded {
            field: "max_bytes",
            ..
        })
    ));
    must(&store, &on("a"), 2, 1);
}

/// EDN-23: markers count and are never refused.
#[test]
fn markers_count_and_pass() {
    let store = Fixture::new();
    declare(&store, limited("a", 3)).expect("declares");
    put(&store, pending_append(&on("a"), 0, 2, "c1")).expect("appends");
    must(&store, &on("a"), 2, 1);
    let resolve = |cascade_id: &str| {
        store
            .write(Write::Decide {
                cascade_id: cascade_id.into(),
                verdict: Verdict::Commit,
                reason: String::new(),
                now_ns: 1,
            })
            .expect("decides");
        store.write(Write::Resolve {
            stream: on("a"),
            correlation_id: String::new(),
            cascade_id: cascade_id.into(),
            now_ns: 1,
        })
    };
    assert!(matches!(resolve("c1"), Ok(Written::Resolved(Some(_)))));
    assert_eq!(
        put(&store, append(&on("a"), 4, 1)),
        Err(exceeded("a", 3, 5))
    );
}

/// Members of a group see what members before them declared, wrote and used up.
#[test]
fn a_group_sees_its_own_editions() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    let (sender, answers) = mpsc::channel();
    let submit = |index: usize, write| {
        let sender = sender.clone();
        let done = Box::new(move |written| drop(sender.send((index, written))));
        store.submit(write, done).expect("queues");
    };
    let writes = [
        Write::DeclareEdition(edition("p", MAIN)),
        Write::Append(Box::new(append(&on("p"), 1, 2))),
        Write::DeclareEdition(Edition {
            max_pages: 3,
            ..edition("q", "p")
        }),
        Write::Append(Box::new(append(&on("q"), 3, 2))),
        Write::Append(Box::new(append(&on("q"), 5, 2))),
        Write::Append(Box::new(append(&on("q"), 5, 1))),
        Write::DeclareEdition(limited("p", 2)),
        Write::Append(Box::new(append(&on("p"), 3, 1))),
    ];
    let count = writes.len();
    for (index, write) in writes.into_iter().enumerate() {
        submit(index, write);
    }
    let mut answers: Vec<_> = answers.iter().take(count).collect();
    answers.sort_by_key(|(index, _)| *index);
    let refused: Vec<_> = answers
        .into_iter()
        .filter_map(|(_, answer)| answer.err())
        .collect();
    assert_eq!(refused, [exceeded("q", 3, 4), exceeded("p", 2, 3)]);
    assert_eq!(
        sequences(&store.load(&on("q"), 0, None, None).expect("loads").data),
        [0, 1, 2, 3, 4, 5]
    );
    store.verify().expect("sound");
}

/// EDN-19.
#[test]
fn branches_are_listed_in_pages() {
    let store = Fixture::new();
    for root in [3, 1, 2] {
        must(&store, &stream("account", MAIN, root), 0, 4);
        must(
            &store,
            &stream("account", "x", root),
            4 - u64::from(root),
            1,
        );
        must(
            &store,
            &stream("account", "x", root),
            5 - u64::from(root),
            1,
        );
    }
    let branch = |root: u8| Branch {
        root: [root; 16],
        divergence: 4 - u64::from(root),
        next_sequence: 6 - u64::from(root),
    };
    let list = |after: &[u8], limit| store.branches("account", "x", after, limit);
    assert_eq!(list(b"", 9), Ok(vec![branch(1), branch(2), branch(3)]));
    assert_eq!(list(&[1; 16], 1), Ok(vec![branch(2)]));
    assert_eq!(list(&[2; 3], 9), Ok(vec![branch(2), branch(3)]));
    assert_eq!(list(&[2; 17], 9), Ok(vec![branch(3)]));
    assert_eq!(list(b"", 0), Ok(Vec::new()));
    assert_eq!(store.branches("hand", "x", b"", 9), Ok(Vec::new()));
    let main = store.branches("account", MAIN, b"", 1).expect("reads");
    assert_eq!((main[0].divergence, main[0].next_sequence), (0, 4));
}

/// Writes a pin as it should not be, and says what `verify` finds.
fn verified_with_pin(value: impl Fn(u32) -> Vec<u8>) -> Result<Verified> {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 4);
    must(&store, &on("a"), 3, 2);
    store.close().expect("closes");
    change(store.dir.path(), |raw| {
        let main = raw.timelines.get("account", MAIN).expect("known");
        let own = raw.timelines.stream(&on("a")).expect("known");
        let key = key::idempotency(&own, KEY_PIN, b"");
        put_raw(raw, Family::Keys, &key, &value(main));
    });
    store.reopened().verify()
}

fn pin(end: u64, stretches: &[(u32, u64)]) -> Vec<u8> {
    let mut value = end.to_be_bytes().to_vec();
    for (timeline, stop) in stretches {
        value.extend_from_slice(&timeline.to_be_bytes());
        value.extend_from_slice(&stop.to_be_bytes());
    }
    value
}

/// Pins of format 1 say a sequence only.
#[test]
fn old_pins_are_branches_of_main() {
    assert!(verified_with_pin(|_| pin(3, &[])).is_ok());
    assert!(verified_with_pin(|main| pin(3, &[(main, 3)])).is_ok());
}

#[test]
fn verify_finds_bases_that_are_not_there() {
    for value in [
        |_| pin(3, &[(77, 3)]),
        |main| pin(3, &[(main, 2)]),
        |main| pin(3, &[(main, 2), (main, 3)]),
        |main| pin(3, &[(main, 3), (main, 3)]),
        |main| pin(2, &[(main, 2)]),
        |main| pin(3, &[(main + 1, 3)]),
    ] {
        let found = verified_with_pin(value);
        assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
    }
}
