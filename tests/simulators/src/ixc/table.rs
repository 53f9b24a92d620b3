//! Lists over tables that are computed, not stored: a page of a million rows costs the page, and `total` is counted once per filter.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::columns::Columns;
use super::query::{Filter, Operator, Query};
use super::value::Value;
use crate::mix::locked;

/// Rows counted together: the grain of what is remembered about a filter.
const BLOCK: u64 = 1024;
/// Filters whose counts are remembered.
const COUNTS_MAX: usize = 16;
/// Contracts §2.1: big pages provoke 504. Here pages above this do, which also bounds the simulator's memory.
const ROWS_MAX: u64 = 10_000;
/// So does sorting more matches than this by another column than `id`.
const SORTED_MAX: usize = 50_000;

/// A resource that can be listed.
pub(crate) trait Table {
    type Row;
    /// `fn_areceber` writes `total` as text, `cliente` as a number (contracts §2.1).
    const TOTAL_IS_TEXT: bool;

    fn name(&self) -> &'static str;
    fn columns(&self) -> Columns;
    fn last_id(&self) -> u64;
    fn row(&self, id: u64) -> Option<Self::Row>;
    /// What a row holds in a column; `None` means the column's default.
    fn value(&self, row: &Self::Row, column: &str) -> Option<Value>;
    /// Changes whenever rows did.
    fn version(&self) -> u64;
}

/// The page is more than the ERP can make in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// A page as JSON, and how many rows it has.
#[derive(Debug)]
pub(crate) struct Page {
    pub body: Vec<u8>,
    pub rows: usize,
}

/// How many rows of each block match a filter.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    known: Mutex<Vec<(String, Arc<Vec<u64>>)>>,
}

/// The ids that a query's conditions on `id` leave, and its other conditions.
struct Selection {
    low: u64,
    high: u64,
    /// Named one by one.
    only: Option<Vec<u64>>,
    others: Vec<Filter>,
}

/// Answers a list.
pub(crate) fn list<T: Table>(table: &T, query: &Query, counts: &Counts) -> Result<Page, TooMuch> {
    if query.rows > ROWS_MAX {
        return Err(TooMuch);
    }
    let selection = Selection::of(query, table.last_id());
    let offset = (query.page - 1).saturating_mul(query.rows);
    let (total, ids) = if query.sort != "id" {
        sorted(table, &selection, query, offset)?
    } else if let Some(only) = &selection.only {
        let mut ids: Vec<u64> = only.iter().copied().filter(|id| selection.takes(table, *id)).collect();
        ids.sort_unstable();
        ids.dedup();
        if query.descending {
            ids.reverse();
        }
        (as_u64(ids.len()), slice(ids.into_iter(), offset, query.rows))
    } else {
        let counts = counts.of(table, &selection.others);
        (total(table, &selection, &counts), walk(table, &selection, &counts, query, offset))
    };
    Ok(write(table, query, total, &ids))
}

impl Selection {
    fn of(query: &Query, last_id: u64) -> Self {
        let mut selection = Self { low: 1, high: last_id, only: None, others: Vec::new() };
        for filter in &query.filters {
            let id = filter.operands[0].id();
            match filter.operator {
                _ if filter.column != "id" => selection.others.push(filter.clone()),
                Operator::Greater => selection.low = selection.low.max(id.saturating_add(1)),
                Operator::AtLeast => selection.low = selection.low.max(id),
                Operator::Less => selection.high = selection.high.min(id.saturating_sub(1)),
                Operator::AtMost => selection.high = selection.high.min(id),
                Operator::Equal | Operator::In if selection.only.is_none() => {
                    selection.only = Some(filter.operands.iter().map(super::value::Operand::id).collect());
                }
                _ => selection.others.push(filter.clone()),
            }
        }
        selection
    }

    fn takes<T: Table>(&self, table: &T, id: u64) -> bool {
        (self.low..=self.high).contains(&id) && table.row(id).is_some_and(|row| matches(table, &row, &self.others))
    }
}

fn matches<T: Table>(table: &T, row: &T::Row, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| filter.holds(&value_or_default(table, row, filter.column)))
}

fn value_or_default<T: Table>(table: &T, row: &T::Row, column: &str) -> Value {
    table.value(row, column).unwrap_or_else(|| {
        let default = table.columns().iter().find(|(name, _)| *name == column).map_or("", |(_, default)| *default);
        if default == "0000-00-00" { Value::Date(None) } else { Value::text(default) }
    })
}

impl Counts {
    /// Counts every block once per filter and version of the table.
    fn of<T: Table>(&self, table: &T, filters: &[Filter]) -> Arc<Vec<u64>> {
        let mut key = format!("{} {} {}", table.name(), table.version(), table.last_id());
        for filter in filters {
            key.push('\u{1f}');
            key.push_str(&filter.sent);
        }
        if let Some((_, counts)) = locked(&self.known).iter().find(|(known, _)| *known == key) {
            return Arc::clone(counts);
        }
        let last = table.last_id();
        let blocks = (0..last.div_ceil(BLOCK)).map(|block| {
            let ids = block * BLOCK + 1..=((block + 1) * BLOCK).min(last);
            as_u64(ids.filter(|id| table.row(*id).is_some_and(|row| matches(table, &row, filters))).count())
        });
        let counts = Arc::new(blocks.collect::<Vec<_>>());
        let mut known = locked(&self.known);
        if known.len() >= COUNTS_MAX {
            known.remove(0);
        }
        known.push((key, Arc::clone(&counts)));
        counts
    }
}

/// The block of an id, if the id is the first of the block in the direction of travel and the block lies within the bounds.
fn whole_block(id: u64, selection: &Selection, descending: bool) -> Option<(u64, u64)> {
    let block = (id - 1) / BLOCK;
    let (first, last) = (block * BLOCK + 1, (block + 1) * BLOCK);
    if descending {
        (id == last && first >= selection.low).then(|| (block, first.saturating_sub(1)))
    } else {
        (id == first && last <= selection.high).then(|| (block, last + 1))
    }
}

fn count_of(counts: &[u64], block: u64) -> u64 {
    usize::try_from(block).ok().and_then(|block| counts.get(block)).copied().unwrap_or(0)
}

fn total<T: Table>(table: &T, selection: &Selection, counts: &[u64]) -> u64 {
    let (mut total, mut id) = (0, selection.low.max(1));
    while id <= selection.high {
        if let Some((block, next)) = whole_block(id, selection, false) {
            total += count_of(counts, block);
            id = next;
        } else {
            total += u64::from(selection.takes(table, id));
            id += 1;
        }
    }
    total
}

/// The ids of a page in the order of `id`: whole blocks before it are skipped by their counts.
fn walk<T: Table>(table: &T, selection: &Selection, counts: &[u64], query: &Query, mut offset: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    let mut id = if query.descending { selection.high } else { selection.low.max(1) };
    while id >= selection.low.max(1) && id <= selection.high && as_u64(ids.len()) < query.rows {
        if let Some((block, next)) = whole_block(id, selection, query.descending) {
            let count = count_of(counts, block);
            if count <= offset {
                offset -= count;
                id = next;
                continue;
            }
        }
        if selection.takes(table, id) {
            if offset == 0 {
                ids.push(id);
            } else {
                offset -= 1;
            }
        }
        id = if query.descending { id - 1 } else { id + 1 };
    }
    ids
}

fn sorted<T: Table>(table: &T, selection: &Selection, query: &Query, offset: u64) -> Result<(u64, Vec<u64>), TooMuch> {
    let mut matching = Vec::new();
    let candidates: Box<dyn Iterator<Item = u64>> = match &selection.only {
        Some(only) => Box::new(only.iter().copied()),
        None => Box::new(selection.low..=selection.high),
    };
    for id in candidates.filter(|id| selection.takes(table, *id)) {
        let Some(row) = table.row(id) else { continue };
        if matching.len() == SORTED_MAX {
            return Err(TooMuch);
        }
        matching.push((value_or_default(table, &row, query.sort), id));
    }
    matching.sort_by(|(a, a_id), (b, b_id)| a.order(b).then(a_id.cmp(b_id)));
    if query.descending {
        matching.reverse();
    }
    Ok((as_u64(matching.len()), slice(matching.into_iter().map(|(_, id)| id), offset, query.rows)))
}

fn slice(ids: impl Iterator<Item = u64>, offset: u64, rows: u64) -> Vec<u64> {
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    ids.skip(size(offset)).take(size(rows)).collect()
}

fn write<T: Table>(table: &T, query: &Query, total: u64, ids: &[u64]) -> Page {
    let mut body = Vec::new();
    let quote = if T::TOTAL_IS_TEXT { "\"" } else { "" };
    write!(body, "{{\"page\":\"{}\",\"total\":{quote}{total}{quote}", query.page).expect("memory takes every write");
    let rows: Vec<T::Row> = ids.iter().filter_map(|id| table.row(*id)).collect();
    // Contracts §2.1: what zero results look like was never captured, clients defend against both forms. So both exist here.
    if !(rows.is_empty() && T::TOTAL_IS_TEXT) {
        body.extend_from_slice(b",\"registros\":[");
        for (index, row) in rows.iter().enumerate() {
            body.extend_from_slice(if index == 0 { b"{" } else { b",{" });
            write_row(table, row, &mut body);
            body.push(b'}');
        }
        body.push(b']');
    }
    body.push(b'}');
    Page { body, rows: rows.len() }
}

fn write_row<T: Table>(table: &T, row: &T::Row, body: &mut Vec<u8>) {
    for (index, (column, default)) in table.columns().iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write!(body, "\"{column}\":").expect("memory takes every write");
        let written = table.value(row, column).map_or_else(|| (*default).into(), |value| value.written());
        serde_json::to_writer(&mut *body, &written).expect("text always becomes JSON");
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).expect("lengths fit 64 bits")
}
