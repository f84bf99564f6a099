//! What a branch inherits: the stretches of other streams that lie below its own pages (EDN-21).

use std::sync::Arc;

use crate::key::{self, StreamKey};

const STRETCH_BYTES: usize = 12;
/// A pin of format 1: a sequence, below which all is main's.
const OLD_PIN_BYTES: usize = 8;

/// Pages of one stream that others inherit: its own, from where the stretch before ends, up to `stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub stream: StreamKey,
    pub stop: u64,
}

/// Stretches from main up, as they follow each other, each with at least one page.
pub type Stretches = Arc<[Stretch]>;

/// What lies below a stream's own pages: `stretches`, which end where these begin, at `end`. Nothing on main.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub end: u64,
    pub stretches: Stretches,
}

impl Base {
    /// The base of a branch that leaves, at `end`, a composite stream of this base and the own pages of `own`.
    pub fn below(&self, own: Option<&StreamKey>, end: u64) -> Self {
        let inherited = self.spans().take_while(|(_, from)| *from < end);
        let cut = inherited.map(|(stretch, _)| Stretch {
            stop: stretch.stop.min(end),
            ..*stretch
        });
        let mut stretches: Vec<_> = cut.collect();
        if let Some(own) = own
            && end > self.end
        {
            stretches.push(Stretch {
                stream: *own,
                stop: end,
            });
        }
        let stretches = stretches.into();
        Self { end, stretches }
    }

    /// (stretch, its first sequence), ascending.
    pub fn spans(&self) -> impl DoubleEndedIterator<Item = (&Stretch, u64)> {
        let from = |index: usize| match index.checked_sub(1) {
            Some(before) => self.stretches[before].stop,
            None => 0,
        };
        let all = self.stretches.iter().enumerate();
        all.map(move |(index, stretch)| (stretch, from(index)))
    }

    /// The base of the stream that stretch `index` belongs to: what lies below it.
    pub fn under(&self, index: usize) -> Self {
        let below = &self.stretches[..index];
        Self {
            end: below.last().map_or(0, |stretch| stretch.stop),
            stretches: below.into(),
        }
    }

    /// A pin record: `end`, then timeline and stop of each stretch. Their root is the stream's own.
    pub fn encode(&self) -> Vec<u8> {
        let count = self.stretches.len();
        let mut out = Vec::with_capacity(OLD_PIN_BYTES + STRETCH_BYTES * count);
        out.extend_from_slice(&self.end.to_be_bytes());
        for stretch in &*self.stretches {
            out.extend_from_slice(&key::timeline_of(&stretch.stream).to_be_bytes());
            out.extend_from_slice(&stretch.stop.to_be_bytes());
        }
        out
    }

    /// A stored pin of the stream `own`. `main`: gives the main timeline of its domain, which pins of format 1 do not
    /// tell; without one these are no pins.
    pub fn parse(
        value: &[u8],
        own: &StreamKey,
        main: impl FnOnce() -> Option<u32>,
    ) -> Option<Self> {
        let root = key::root_of(own);
        let (end, rest) = value.split_at_checked(OLD_PIN_BYTES)?;
        let end = key::parse_u64(end)?;
        let mut stretches = Vec::with_capacity(rest.len() / STRETCH_BYTES);
        if rest.is_empty() && end > 0 {
            let stream = key::stream(main()?, &root);
            stretches.push(Stretch { stream, stop: end });
        }
        for part in rest.chunks(STRETCH_BYTES) {
            let (timeline, stop) = part.split_at_checked(4)?;
            stretches.push(Stretch {
                stream: key::stream(key::parse_u32(timeline)?, &root),
                stop: key::parse_u64(stop)?,
            });
        }
        let is_ascending = stretches.is_sorted_by(|a, b| a.stop < b.stop);
        let last = stretches.last().map_or(0, |stretch| stretch.stop);
        let is_whole = last == end && stretches.first().is_none_or(|first| first.stop > 0);
        (is_ascending && is_whole).then_some(Self {
            end,
            stretches: stretches.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: [u8; 16] = [5; 16];

    fn stretch(timeline: u32, stop: u64) -> Stretch {
        Stretch {
            stream: key::stream(timeline, &ROOT),
            stop,
        }
    }

    fn base(parts: &[(u32, u64)]) -> Base {
        Base {
            end: parts.last().map_or(0, |part| part.1),
            stretches: parts.iter().map(|part| stretch(part.0, part.1)).collect(),
        }
    }

    /// EDN-21's example: main 1, `a` 2, `b` 3.
    #[test]
    fn bases_of_nested_branches_follow_the_example() {
        let of_a = Base::default().below(Some(&key::stream(1, &ROOT)), 4);
        assert_eq!(of_a, base(&[(1, 4)]));
        let of_b = of_a.below(Some(&key::stream(2, &ROOT)), 6);
        assert_eq!(of_b, base(&[(1, 4), (2, 6)]));
        assert_eq!(of_b.below(Some(&key::stream(3, &ROOT)), 3), base(&[(1, 3)]));
        assert_eq!(of_b.under(1), of_a);
        let spans: Vec<_> = of_b
            .spans()
            .map(|(stretch, from)| (from, stretch.stop))
            .collect();
        assert_eq!(spans, [(0, 4), (4, 6)]);
    }

    #[test]
    fn a_base_of_nothing_has_no_stretches() {
        assert_eq!(base(&[(1, 4)]).below(Some(&[0; 20]), 0), Base::default());
        assert_eq!(Base::default().below(None, 0), Base::default());
    }

    #[test]
    fn pins_of_format_1_are_one_stretch_of_main() {
        let own = key::stream(9, &ROOT);
        let parse = |end: u64, main| Base::parse(&end.to_be_bytes(), &own, || main);
        assert_eq!(parse(7, Some(1)), Some(base(&[(1, 7)])));
        assert_eq!(parse(7, None), None);
        assert_eq!(parse(0, None), Some(Base::default()));
    }

    fn bases() -> impl Strategy<Value = Base> {
        proptest::collection::vec((any::<u32>(), 1u64..1000), 0..16).prop_map(|parts| {
            let mut stop = 0;
            let ascending: Vec<_> = parts
                .into_iter()
                .map(|(timeline, length)| {
                    stop += length;
                    (timeline, stop)
                })
                .collect();
            base(&ascending)
        })
    }

    proptest! {
        #[test]
        fn pins_round_trip_within_their_size(base in bases()) {
            let value = base.encode();
            prop_assert!(value.len() <= 1024);
            let parsed = Base::parse(&value, &key::stream(0, &ROOT), || None);
            prop_assert_eq!(parsed, Some(base));
        }

        #[test]
        fn a_cut_covers_exactly_what_is_below_it(base in bases(), more in 0u64..50, at in 0u64..20_000) {
            let (own, at) = (key::stream(7, &ROOT), at.min(base.end + more));
            let cut = base.below(Some(&own), at);
            prop_assert_eq!(cut.end, at);
            prop_assert_eq!(cut.stretches.last().map_or(0, |last| last.stop), at);
            prop_assert!(cut.spans().all(|(stretch, from)| from < stretch.stop));
            let owner = |base: &Base, sequence| {
                let mut spans = base.spans();
                let found = spans.find(|(stretch, _)| sequence < stretch.stop);
                found.map_or(own, |(stretch, _)| stretch.stream)
            };
            for sequence in 0..at {
                prop_assert_eq!(owner(&cut, sequence), owner(&base, sequence));
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Base::parse(&bytes, &[0; 20], || Some(1));
        }
    }
}
