//! Declared editions: their table, and its rules without I/O (EDN-20 to EDN-25).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::api::{EDITION_DEPTH_MAX, Edition, MAIN, Usage};
use crate::error::{Error, Result};
use crate::key;
use crate::prepare::invalid;
use crate::record::text;

type Name = Arc<str>;

/// Records by name. Readers have the one that tells what is durable, the committer has its own.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    records: HashMap<Name, Arc<Edition>>,
    children: HashMap<Name, BTreeSet<Name>>,
}

impl Declared {
    pub fn get(&self, name: &str) -> Option<&Arc<Edition>> {
        self.records.get(name)
    }

    /// Names ascending.
    pub fn all(&self) -> Vec<Edition> {
        let mut all: Vec<_> = self.records.values().map(|one| (**one).clone()).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn parent(&self, name: &str) -> &str {
        self.get(name).map_or(MAIN, |record| &record.parent)
    }

    /// What `name` is a branch of, that one's parent and so on, without main.
    pub fn parents(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut parent = self.parent(name);
        // Judged when they were declared: neither endless nor longer than this.
        while parent != MAIN && found.len() < EDITION_DEPTH_MAX {
            found.push(parent.to_owned());
            parent = self.parent(parent);
        }
        found
    }

    pub fn put(&mut self, record: Arc<Edition>) {
        let name = Name::from(record.name.as_str());
        let children = self.children.entry(record.parent.as_str().into());
        children.or_default().insert(Name::clone(&name));
        self.records.insert(name, record);
    }

    pub fn remove(&mut self, name: &str) {
        if let Some(record) = self.records.remove(name)
            && let Some(children) = self.children.get_mut(record.parent.as_str())
        {
            children.remove(name);
            if children.is_empty() {
                self.children.remove(record.parent.as_str());
            }
        }
    }

    fn children(&self, name: &str) -> impl Iterator<Item = &Name> {
        self.children.get(name).into_iter().flatten()
    }

    /// The record that declaring `wanted` leads to. `has_pages`: in any domain.
    pub fn judge(
        &self,
        mut wanted: Edition,
        has_pages: impl FnOnce() -> Result<bool>,
    ) -> Result<Edition> {
        check_form(&wanted)?;
        let known = self.get(&wanted.name);
        let parent = self.parent(&wanted.name);
        if wanted.parent != parent && (known.is_some() || has_pages()?) {
            return Err(Error::EditionConflict {
                edition: wanted.name,
                parent: parent.into(),
                requested: wanted.parent,
            });
        }
        if known.is_none() {
            self.check_chain(&wanted)?;
        }
        let above_ns = self
            .get(&wanted.parent)
            .map_or(0, |above| above.expires_at_ns);
        if wanted.expires_at_ns == 0 {
            wanted.expires_at_ns = above_ns;
        }
        self.check_expiry(&wanted, above_ns)?;
        if let Some(known) = known {
            wanted.created_at_ns = known.created_at_ns;
        }
        Ok(wanted)
    }

    /// A new branch closes no circle and makes no chain too long (EDN-21).
    fn check_chain(&self, wanted: &Edition) -> Result<()> {
        let (mut above, mut parent) = (0, wanted.parent.as_str());
        while parent != MAIN {
            above += 1;
            if parent == wanted.name {
                let limit = format!("no branch of {}", wanted.name);
                return Err(invalid("parent", &limit, &wanted.parent));
            }
            parent = self.parent(parent);
        }
        let levels = above + self.levels(&wanted.name);
        if levels > EDITION_DEPTH_MAX {
            let limit = format!("at most {EDITION_DEPTH_MAX} levels above main");
            return Err(invalid("parent", &limit, &levels.to_string()));
        }
        Ok(())
    }

    /// Those of the branches of `name` and its own.
    fn levels(&self, name: &str) -> usize {
        let deepest = self.children(name).map(|child| self.levels(child)).max();
        1 + deepest.unwrap_or(0)
    }

    /// It expires neither after its parent nor before one of its branches (EDN-24).
    fn check_expiry(&self, wanted: &Edition, above_ns: i64) -> Result<()> {
        let expires_at_ns = wanted.expires_at_ns;
        let refused = |limit: &str| invalid("expires_at_ns", limit, &expires_at_ns.to_string());
        if above_ns > 0 && expires_at_ns > above_ns {
            return Err(refused(&format!("at most {above_ns}, the parent's")));
        }
        if expires_at_ns == 0 {
            return Ok(());
        }
        for child in self.children(&wanted.name) {
            let below_ns = self.get(child).map_or(0, |child| child.expires_at_ns);
            if below_ns == 0 {
                return Err(refused("0, which is that of a branch of it"));
            }
            if below_ns > expires_at_ns {
                let limit = format!("at least {below_ns}, that of a branch of it");
                return Err(refused(&limit));
            }
        }
        Ok(())
    }

    /// Nothing is a branch of it, nor has it pages of its own that would be in the way.
    pub fn check_unused(&self, name: &str, has_pages: bool) -> Result<()> {
        let children: Vec<_> = self
            .children(name)
            .map(|child| child.as_ref().into())
            .collect();
        if children.is_empty() && !has_pages {
            return Ok(());
        }
        Err(Error::EditionInUse {
            edition: name.into(),
            children,
        })
    }

    pub fn check_alive(&self, name: &str, now_ns: i64) -> Result<()> {
        match self.get(name).map_or(0, |record| record.expires_at_ns) {
            expired_at_ns if expired_at_ns > 0 && now_ns >= expired_at_ns => {
                Err(Error::EditionExpired {
                    edition: name.into(),
                    expired_at_ns,
                })
            }
            _ => Ok(()),
        }
    }
}

fn check_form(wanted: &Edition) -> Result<()> {
    if wanted.name.is_empty() || wanted.name == MAIN {
        return Err(Error::MainProtected(String::new()));
    }
    if wanted.expires_at_ns < 0 {
        let value = wanted.expires_at_ns.to_string();
        return Err(invalid("expires_at_ns", "0 or more", &value));
    }
    Ok(())
}

impl Edition {
    /// Whether its usage is counted.
    pub(crate) fn has_quota(&self) -> bool {
        self.max_pages > 0 || self.max_bytes > 0
    }

    /// `held` may be what it has then.
    pub(crate) fn check_quota(&self, held: Usage) -> Result<()> {
        let limits = [
            ("max_pages", self.max_pages, held.page_count),
            ("max_bytes", self.max_bytes, held.byte_count),
        ];
        for (field, limit, value) in limits {
            if limit > 0 && value > limit {
                return Err(Error::QuotaExceeded {
                    edition: self.name.clone(),
                    field,
                    limit,
                    value,
                });
            }
        }
        Ok(())
    }

    /// The stored record; its name is in the key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.parent.len());
        out.extend_from_slice(&self.created_at_ns.to_be_bytes());
        out.extend_from_slice(&self.expires_at_ns.to_be_bytes());
        out.extend_from_slice(&self.max_pages.to_be_bytes());
        out.extend_from_slice(&self.max_bytes.to_be_bytes());
        out.extend_from_slice(self.parent.as_bytes());
        out
    }

    pub(crate) fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let number = |index: usize| key::parse_u64(value.get(8 * index..8 * index + 8)?);
        Some(Self {
            name: text(name)?,
            created_at_ns: number(0)?.cast_signed(),
            expires_at_ns: number(1)?.cast_signed(),
            max_pages: number(2)?,
            max_bytes: number(3)?,
            parent: text(value.get(32..)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edition(name: &str, parent: &str, expires_at_ns: i64) -> Edition {
        Edition {
            name: name.into(),
            parent: parent.into(),
            created_at_ns: 1,
            expires_at_ns,
            max_pages: 0,
            max_bytes: 0,
        }
    }

    fn declare(table: &mut Declared, name: &str, parent: &str, expires_at_ns: i64) -> Result<()> {
        let record = table.judge(edition(name, parent, expires_at_ns), || Ok(false))?;
        table.put(Arc::new(record));
        Ok(())
    }

    fn is_refused(answer: &Result<()>, wanted: &str) -> bool {
        matches!(answer, Err(Error::InvalidInput { field, .. }) if field == wanted)
    }

    /// EDN-21: whichever end of a chain is declared last.
    #[test]
    fn chains_end_and_are_not_too_long() {
        let mut table = Declared::default();
        for level in (1..EDITION_DEPTH_MAX).rev() {
            declare(
                &mut table,
                &format!("e{level}"),
                &format!("e{}", level - 1),
                0,
            )
            .expect("declares");
        }
        assert_eq!(table.parents("e15").len(), 15);
        assert_eq!(
            declare(&mut table, "top", "e15", 0),
            Err(invalid("parent", "at most 16 levels above main", "17",))
        );
        let circle = declare(&mut table, "e0", "e15", 0);
        assert!(is_refused(&circle, "parent"));
        declare(&mut table, "bottom", MAIN, 0).expect("declares");
        assert!(is_refused(
            &declare(&mut table, "e0", "bottom", 0),
            "parent"
        ));
        declare(&mut table, "e0", MAIN, 0).expect("declares");
    }

    /// EDN-24.
    #[test]
    fn branches_expire_no_later_than_their_parents() {
        let mut table = Declared::default();
        declare(&mut table, "a", MAIN, 10).expect("declares");
        declare(&mut table, "b", "a", 0).expect("declares");
        assert_eq!(table.get("b").map(|b| b.expires_at_ns), Some(10));
        assert!(is_refused(
            &declare(&mut table, "b", "a", 11),
            "expires_at_ns"
        ));
        assert!(is_refused(
            &declare(&mut table, "a", MAIN, 9),
            "expires_at_ns"
        ));
        declare(&mut table, "a", MAIN, 0).expect("forever");
        declare(&mut table, "b", "a", 0).expect("forever");
        assert!(is_refused(
            &declare(&mut table, "a", MAIN, 9),
            "expires_at_ns"
        ));
        assert!(is_refused(
            &declare(&mut table, "a", MAIN, -1),
            "expires_at_ns"
        ));
    }

    /// EDN-20.
    #[test]
    fn parents_never_change() {
        let mut table = Declared::default();
        declare(&mut table, "a", "p", 0).expect("declares");
        let conflict = |edition: &str, parent: &str, requested: &str| Error::EditionConflict {
            edition: edition.into(),
            parent: parent.into(),
            requested: requested.into(),
        };
        assert_eq!(
            declare(&mut table, "a", MAIN, 0),
            Err(conflict("a", "p", MAIN))
        );
        let written = table.judge(edition("b", "a", 0), || Ok(true));
        assert_eq!(written, Err(conflict("b", MAIN, "a")));
        table
            .judge(edition("b", MAIN, 0), || Ok(true))
            .expect("as it is");
        declare(&mut table, "a", "p", 5).expect("other limits");
    }

    proptest! {
        #[test]
        fn records_round_trip_within_their_size(
            name in "[a-z]{1,64}", parent in "[a-z]{1,64}",
            created_at_ns: i64, expires_at_ns: i64, max_pages: u64, max_bytes: u64,
        ) {
            let record = Edition { name, parent, created_at_ns, expires_at_ns, max_pages, max_bytes };
            let value = record.encode();
            prop_assert!(value.len() + record.name.len() + 8 <= 1024);
            prop_assert_eq!(Edition::parse(record.name.as_bytes(), &value), Some(record));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Edition::parse(&bytes, &bytes);
        }
    }
}
