//! Places where crash tests make the engine stop or fail. Off unless `ANGZARR_FAILPOINTS` names some at open:
//! `name=action[@n]`, comma-separated; action `kill` aborts the process, `error` acts as an I/O error; on the n-th hit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

pub const BEFORE_WRITE: &str = "group.before_write";
pub const AFTER_WRITE: &str = "group.after_write";
pub const BEFORE_ACK: &str = "group.before_ack";
pub const AFTER_ACK: &str = "group.after_ack";
pub const AFTER_RECOVER: &str = "open.after_recover";
pub const CHECKPOINT: &str = "checkpoint";

const NAMES: [&str; 6] = [
    BEFORE_WRITE,
    AFTER_WRITE,
    BEFORE_ACK,
    AFTER_ACK,
    AFTER_RECOVER,
    CHECKPOINT,
];

#[derive(Debug)]
struct Point {
    is_kill: bool,
    at: u64,
    hit_count: AtomicU64,
}

/// The failpoints of one open store.
#[derive(Debug, Default)]
pub struct Failpoints(HashMap<String, Point>);

impl Failpoints {
    pub fn from_environment() -> Result<Self> {
        match std::env::var("ANGZARR_FAILPOINTS") {
            Ok(text) => Self::parse(&text),
            Err(_) => Ok(Self::default()),
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        let mut points = HashMap::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, point) = parse_point(part).ok_or_else(|| Error::InvalidInput {
                field: "ANGZARR_FAILPOINTS".into(),
                limit: format!("name=kill|error[@n] with a name of {NAMES:?}"),
                value: part.into(),
            })?;
            points.insert(name, point);
        }
        Ok(Self(points))
    }

    /// Fails if `name` is set to fail now.
    pub fn hit(&self, name: &str) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some(point) = self.0.get(name) else {
            return Ok(());
        };
        if point.hit_count.fetch_add(1, Ordering::SeqCst) + 1 != point.at {
            return Ok(());
        }
        if point.is_kill {
            std::process::abort();
        }
        Err(Error::Unavailable {
            cause: format!("failpoint {name}"),
        })
    }
}

fn parse_point(part: &str) -> Option<(String, Point)> {
    let (name, action) = part.split_once('=')?;
    let (action, at) = match action.split_once('@') {
        Some((action, at)) => (action, at.parse().ok()?),
        None => (action, 1),
    };
    let is_kill = match action {
        "kill" => true,
        "error" => false,
        _ => return None,
    };
    NAMES.contains(&name).then(|| {
        (
            name.to_owned(),
            Point {
                is_kill,
                at,
                hit_count: AtomicU64::new(0),
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fails_on_the_nth_hit_only() {
        let points = Failpoints::parse("group.before_write=error@2").expect("well formed");
        assert!(points.hit(BEFORE_WRITE).is_ok());
        assert!(points.hit(BEFORE_WRITE).is_err());
        assert!(points.hit(BEFORE_WRITE).is_ok());
        assert!(points.hit(AFTER_ACK).is_ok());
    }

    #[test]
    fn unknown_names_and_actions_are_refused() {
        assert!(Failpoints::parse("nowhere=kill").is_err());
        assert!(Failpoints::parse("checkpoint=sleep").is_err());
        assert!(Failpoints::parse("checkpoint").is_err());
        assert!(Failpoints::parse("").is_ok());
    }
}
