//! Columns in the making: what was read in the order of streams becomes rows in the log's order.

use std::collections::HashMap;

use crate::api::{Columns, FieldColumn, FieldKind, FieldSpec};
use crate::fields::{Plan, Value};
use crate::key::{self, StreamKey};
use crate::scan::Window;
use crate::timelines::Name;
use crate::wire;

/// Names and their codes, in order of first appearance.
#[derive(Debug, Default)]
struct Vocabulary {
    names: Vec<String>,
    codes: HashMap<String, u32>,
    byte_count: usize,
}

impl Vocabulary {
    fn code(&mut self, name: &str) -> u32 {
        if let Some(code) = self.codes.get(name) {
            return *code;
        }
        let code = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.byte_count += name.len();
        self.names.push(name.to_owned());
        self.codes.insert(name.to_owned(), code);
        code
    }
}

/// Pages of some commits, in the order in which they were read.
pub struct Part<'a> {
    /// Where each row belongs, counted from the window's base.
    rows: Vec<u32>,
    times: Vec<i64>,
    types: Vec<u32>,
    type_names: Vocabulary,
    known: Known<'a>,
    fields: Vec<Field>,
    payloads: Vec<usize>,
}

/// Types that were met, by their URLs.
struct Known<'a> {
    specs: &'a [FieldSpec],
    types: Vec<Type>,
    by_url: HashMap<Vec<u8>, usize>,
    /// Events of one type often follow each other.
    last: usize,
}

struct Type {
    url: Vec<u8>,
    /// None of framework events, which are no rows.
    code: Option<u32>,
    plan: Option<Plan>,
}

/// A field's values, one a row; `valid` is 0 where there is none.
struct Field {
    valid: Vec<u8>,
    values: Values,
}

enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<u8>),
    Text(Vec<u32>, Vocabulary),
    /// The bytes of all, and where each ends.
    Payload(Vec<u8>, Vec<usize>),
}

impl<'a> Part<'a> {
    pub fn new(specs: &'a [FieldSpec]) -> Self {
        let is_payload = |(_, spec): &(usize, &FieldSpec)| spec.kind == FieldKind::Payload;
        Self {
            rows: Vec::new(),
            times: Vec::new(),
            types: Vec::new(),
            type_names: Vocabulary::default(),
            known: Known {
                specs,
                types: Vec::new(),
                by_url: HashMap::new(),
                last: 0,
            },
            fields: specs.iter().map(|spec| Field::new(spec.kind)).collect(),
            payloads: specs
                .iter()
                .enumerate()
                .filter(is_payload)
                .map(|(column, _)| column)
                .collect(),
        }
    }

    /// Adds `count` framed pages, the first of which belongs to `row`; the row after them. None if they are malformed.
    pub fn add(&mut self, row: u32, count: u64, frames: &[u8]) -> Option<u32> {
        let mut row = row;
        let mut rest = frames;
        for _ in 0..count {
            let (_, page) = wire::take_frame(&mut rest)?;
            self.add_page(row, page)?;
            row += 1;
        }
        Some(row)
    }

    fn add_page(&mut self, row: u32, page: &[u8]) -> Option<()> {
        let page = wire::Event::parse(page)?;
        let (type_url, payload) = page.event.unwrap_or_default();
        let found = self.known.find(type_url, &mut self.type_names)?;
        let Some(code) = found.code else {
            return Some(());
        };
        self.rows.push(row);
        self.times.push(page.created_at_ns);
        self.types.push(code);
        let fields = &mut self.fields;
        for field in fields.iter_mut() {
            field.push();
        }
        if page.event.is_some() {
            for column in &self.payloads {
                fields[*column].set_payload(payload);
            }
            if let Some(plan) = &found.plan {
                plan.read(payload, |column, value| fields[column].set(&value));
            }
        }
        Some(())
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds the rows of `other`.
    pub fn absorb(&mut self, other: Part) {
        self.rows.extend(other.rows);
        self.times.extend(other.times);
        absorb_codes(
            (&mut self.types, &mut self.type_names),
            (&other.types, &other.type_names),
        );
        for (field, other) in self.fields.iter_mut().zip(other.fields) {
            field.absorb(other);
        }
    }

    /// Bytes of payloads and texts.
    pub fn byte_count(&self) -> usize {
        let of = |field: &Field| match &field.values {
            Values::Payload(bytes, _) => bytes.len(),
            Values::Text(_, vocabulary) => 2 * vocabulary.byte_count,
            _ => 0,
        };
        self.fields.iter().map(of).sum()
    }
}

impl Known<'_> {
    /// None if the URL is no text.
    fn find(&mut self, url: &[u8], names: &mut Vocabulary) -> Option<&Type> {
        let is_last = self.types.get(self.last).is_some_and(|one| one.url == url);
        if !is_last {
            self.last = match self.by_url.get(url) {
                Some(index) => *index,
                None => self.learn(url, names)?,
            };
        }
        self.types.get(self.last)
    }

    fn learn(&mut self, url: &[u8], names: &mut Vocabulary) -> Option<usize> {
        let text = std::str::from_utf8(url).ok()?;
        let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
        let is_framework = wire::is_framework(name);
        self.types.push(Type {
            url: url.to_owned(),
            code: (!is_framework).then(|| names.code(name)),
            plan: Plan::new(text, self.specs),
        });
        let index = self.types.len() - 1;
        self.by_url.insert(url.to_owned(), index);
        Some(index)
    }
}

impl Field {
    fn new(kind: FieldKind) -> Self {
        let values = match kind {
            FieldKind::Int => Values::Int(Vec::new()),
            FieldKind::Float => Values::Float(Vec::new()),
            FieldKind::Bool => Values::Bool(Vec::new()),
            FieldKind::Text => Values::Text(Vec::new(), Vocabulary::default()),
            FieldKind::Payload => Values::Payload(Vec::new(), Vec::new()),
        };
        Self {
            valid: Vec::new(),
            values,
        }
    }

    /// A row without a value.
    fn push(&mut self) {
        self.valid.push(0);
        match &mut self.values {
            Values::Int(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Bool(values) => values.push(0),
            Values::Text(codes, _) => codes.push(0),
            Values::Payload(bytes, ends) => ends.push(bytes.len()),
        }
    }

    /// The last row's value; plans give what fits the column.
    fn set(&mut self, value: &Value) {
        match (&mut self.values, value) {
            (Values::Int(values), Value::Int(value)) => replace_last(values, *value),
            (Values::Float(values), Value::Float(value)) => replace_last(values, *value),
            (Values::Bool(values), Value::Bool(value)) => replace_last(values, u8::from(*value)),
            (Values::Text(codes, vocabulary), Value::Text(text)) => {
                replace_last(codes, vocabulary.code(text));
            }
            _ => return,
        }
        replace_last(&mut self.valid, 1);
    }

    fn absorb(&mut self, other: Field) {
        self.valid.extend(other.valid);
        match (&mut self.values, other.values) {
            (Values::Int(values), Values::Int(others)) => values.extend(others),
            (Values::Float(values), Values::Float(others)) => values.extend(others),
            (Values::Bool(values), Values::Bool(others)) => values.extend(others),
            (Values::Text(codes, names), Values::Text(other_codes, other_names)) => {
                absorb_codes((codes, names), (&other_codes, &other_names));
            }
            (Values::Payload(bytes, ends), Values::Payload(other_bytes, other_ends)) => {
                let before = bytes.len();
                bytes.extend(other_bytes);
                ends.extend(other_ends.into_iter().map(|end| before + end));
            }
            _ => {}
        }
    }

    fn set_payload(&mut self, payload: &[u8]) {
        if let Values::Payload(bytes, ends) = &mut self.values {
            bytes.extend_from_slice(payload);
            replace_last(ends, bytes.len());
            replace_last(&mut self.valid, 1);
        }
    }
}

fn replace_last<T>(values: &mut [T], value: T) {
    if let Some(last) = values.last_mut() {
        *last = value;
    }
}

fn absorb_codes(
    (codes, names): (&mut Vec<u32>, &mut Vocabulary),
    (other_codes, other_names): (&[u32], &Vocabulary),
) {
    let new: Vec<u32> = other_names
        .names
        .iter()
        .map(|name| names.code(name))
        .collect();
    // Rows without a value have code 0 in a vocabulary that may be empty.
    let renamed = |code: &u32| new.get(*code as usize).copied().unwrap_or(0);
    codes.extend(other_codes.iter().map(renamed));
}

/// The answer: the rows of `part` with a position above `after`, in the log's order. `names`: (domain, edition) of a
/// stream; None for a deleted edition, whose rows are left out.
pub fn assemble(
    window: &Window,
    part: Part,
    after: u64,
    names: impl Fn(&StreamKey) -> Option<(Name, Name)>,
) -> Columns {
    let row_count = window.last - window.base;
    let mut places = vec![u32::MAX; usize::try_from(row_count).unwrap_or(0)];
    for (place, row) in (0u32..).zip(&part.rows) {
        places[*row as usize] = place;
    }
    let count = part.rows.len();
    let mut columns = Columns {
        last: window.last,
        positions: Vec::with_capacity(8 * count),
        sequences: Vec::with_capacity(4 * count),
        domains: Vec::with_capacity(4 * count),
        editions: Vec::with_capacity(4 * count),
        roots: Vec::with_capacity(16 * count),
        ..Columns::default()
    };
    let (mut domains, mut editions) = (Vocabulary::default(), Vocabulary::default());
    let mut codes: Vec<Option<(u32, u32)>> = vec![None; window.streams.len()];
    let mut picks = Vec::with_capacity(count);
    for commit in &window.commits {
        let stream = &window.streams[commit.stream as usize];
        for index in 0..commit.count {
            let row = commit.row + index;
            let position = window.base + 1 + u64::from(row);
            let place = places[row as usize];
            if place == u32::MAX || position <= after {
                continue;
            }
            let known = &mut codes[commit.stream as usize];
            if known.is_none() {
                *known = names(stream)
                    .map(|(domain, edition)| (domains.code(&domain), editions.code(&edition)));
            }
            let Some((domain, edition)) = known else {
                break;
            };
            picks.push(place);
            columns.positions.extend(position.to_le_bytes());
            columns
                .sequences
                .extend((commit.first + index).to_le_bytes());
            columns.domains.extend(domain.to_le_bytes());
            columns.editions.extend(edition.to_le_bytes());
            columns.roots.extend(key::root_of(stream));
        }
    }
    columns.count = picks.len() as u64;
    columns.domain_names = domains.names;
    columns.edition_names = editions.names;
    columns.times = gathered(&picks, &part.times, |time| time.to_le_bytes());
    (columns.types, columns.type_names) =
        gathered_codes(&picks, &part.types, part.type_names, None);
    let fields = part.fields.into_iter();
    columns.fields = fields.map(|field| field.column(&picks)).collect();
    columns
}

impl Field {
    fn column(self, picks: &[u32]) -> FieldColumn {
        let mut column = FieldColumn {
            valid: gathered(picks, &self.valid, |valid| [*valid]),
            ..FieldColumn::default()
        };
        match self.values {
            Values::Int(values) => {
                column.values = gathered(picks, &values, |value| value.to_le_bytes());
            }
            Values::Float(values) => {
                column.values = gathered(picks, &values, |value| value.to_le_bytes());
            }
            Values::Bool(values) => column.values = gathered(picks, &values, |value| [*value]),
            Values::Text(codes, names) => {
                (column.values, column.vocabulary) =
                    gathered_codes(picks, &codes, names, Some(&self.valid));
            }
            Values::Payload(bytes, ends) => {
                column.values.reserve(bytes.len());
                column.offsets.extend(0u64.to_le_bytes());
                for place in picks {
                    let place = *place as usize;
                    let start = place.checked_sub(1).map_or(0, |before| ends[before]);
                    column.values.extend_from_slice(&bytes[start..ends[place]]);
                    let end = column.values.len() as u64;
                    column.offsets.extend(end.to_le_bytes());
                }
            }
        }
        column
    }
}

fn gathered<T, const N: usize>(
    picks: &[u32],
    values: &[T],
    bytes: impl Fn(&T) -> [u8; N],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(picks.len() * N);
    for place in picks {
        out.extend(bytes(&values[*place as usize]));
    }
    out
}

/// Codes and names in order of first appearance among the picks. `valid`: 0 where there is no value.
fn gathered_codes(
    picks: &[u32],
    codes: &[u32],
    names: Vocabulary,
    valid: Option<&[u8]>,
) -> (Vec<u8>, Vec<String>) {
    let mut new: Vec<Option<u32>> = vec![None; names.names.len()];
    let mut order: Vec<usize> = Vec::new();
    let mut out = Vec::with_capacity(4 * picks.len());
    for place in picks {
        let place = *place as usize;
        let mut code = 0;
        if valid.is_none_or(|valid| valid[place] == 1) {
            let old = codes[place] as usize;
            code = *new[old].get_or_insert_with(|| {
                order.push(old);
                u32::try_from(order.len() - 1).unwrap_or(u32::MAX)
            });
        }
        out.extend(code.to_le_bytes());
    }
    let mut names = names.names;
    let names = order.into_iter().map(|old| std::mem::take(&mut names[old]));
    (out, names.collect())
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
