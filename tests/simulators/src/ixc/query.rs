//! What a list is asked for: the body in any of the forms that the webservice takes, and its filters (contracts §2.1).

use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::Value as Json;

use super::columns::Columns;
use super::value::{Operand, Value};
use crate::exchange::Request;

/// Rows of a page that names no `rp`: not in the contracts, the simulator's choice.
const ROWS_DEFAULT: u64 = 20;

/// Why a list can't be made: every one of these is the same generic HTML error to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadQuery {
    Body,
    /// Contracts §2.1: `table.field` is mandatory, and the table must be the resource's.
    Column(String),
    Operator(String),
    GridParam,
}

/// A list's filters, page and order.
#[derive(Debug)]
pub(crate) struct Query {
    pub filters: Vec<Filter>,
    /// From 1.
    pub page: u64,
    pub rows: u64,
    pub sort: &'static str,
    pub descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Equal,
    Different,
    Greater,
    Less,
    AtLeast,
    AtMost,
    Like,
    NotLike,
    In,
    NotIn,
    Between,
    NotBetween,
}

/// One condition; all of a query's must hold, there is no OR.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub column: &'static str,
    pub operator: Operator,
    /// What was sent, for telling filters apart.
    pub sent: String,
    pub operands: Vec<Operand>,
}

/// The scalars of a request's body, whether JSON, URL-encoded or multipart (contracts §2.1).
pub(crate) fn members(request: &Request) -> Result<HashMap<String, String>, BadQuery> {
    let kind = request.header("content-type").unwrap_or_default();
    let body = std::str::from_utf8(&request.body).map_err(|_| BadQuery::Body)?;
    if kind.starts_with("application/x-www-form-urlencoded") {
        return Ok(form_members(body));
    }
    if let Some((_, boundary)) = kind.split_once("boundary=") {
        return Ok(multipart_members(body, boundary.trim_matches('"')));
    }
    if body.trim().is_empty() {
        return Ok(HashMap::new());
    }
    let Ok(Json::Object(object)) = serde_json::from_str(body) else { return Err(BadQuery::Body) };
    let scalar = |value: Json| match value {
        Json::String(text) => text,
        other => other.to_string(),
    };
    Ok(object.into_iter().map(|(name, value)| (name, scalar(value))).collect())
}

impl Query {
    /// Understands the members of a list of `table`, whose columns are `columns`.
    pub fn read(
        members: &HashMap<String, String>,
        table: &str,
        columns: Columns,
        iso_dates_only: bool,
    ) -> Result<Self, BadQuery> {
        let member = |name: &str| members.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let column = |name: &str| {
            let known = name.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'));
            let found = known.and_then(|known| columns.iter().find(|(column, _)| *column == known));
            found.map(|(column, _)| *column).ok_or_else(|| BadQuery::Column(name.to_owned()))
        };
        let filter = |name: &str, operator: &str, first: &str, second: Option<&str>| {
            Filter::new(column(name)?, operator, first, second, iso_dates_only)
        };
        let mut filters = Vec::new();
        if let Some(name) = member("qtype") {
            filters.push(filter(name, member("oper").unwrap_or("="), member("query").unwrap_or_default(), None)?);
        }
        if let Some(grid) = member("grid_param") {
            // Contracts §2.1: JSON inside a string.
            let Ok(Json::Array(rows)) = serde_json::from_str(grid) else { return Err(BadQuery::GridParam) };
            for row in rows {
                let text = |name: &str| row[name].as_str();
                let name = text("TB").ok_or(BadQuery::GridParam)?;
                filters.push(filter(
                    name,
                    text("OP").unwrap_or("="),
                    text("P").unwrap_or_default(),
                    text("P2").filter(|text| !text.is_empty()),
                )?);
            }
        }
        let number = |name: &str, default: u64| member(name).and_then(|text| text.trim().parse().ok()).unwrap_or(default);
        Ok(Self {
            filters,
            page: number("page", 1).max(1),
            rows: number("rp", ROWS_DEFAULT),
            sort: member("sortname").map_or(Ok("id"), column)?,
            descending: member("sortorder").is_some_and(|order| order.eq_ignore_ascii_case("desc")),
        })
    }
}

impl Filter {
    fn new(column: &'static str, operator: &str, first: &str, second: Option<&str>, iso: bool) -> Result<Self, BadQuery> {
        let operator = match operator {
            "=" => Operator::Equal,
            "!=" => Operator::Different,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" => Operator::AtLeast,
            "<=" => Operator::AtMost,
            "L" => Operator::Like,
            "NL" => Operator::NotLike,
            "IN" => Operator::In,
            "NI" => Operator::NotIn,
            "BE" => Operator::Between,
            "NBE" => Operator::NotBetween,
            other => return Err(BadQuery::Operator(other.to_owned())),
        };
        let operands = match operator {
            Operator::In | Operator::NotIn => first.split(',').map(|part| Operand::new(part, iso)).collect(),
            _ => std::iter::once(first).chain(second).map(|text| Operand::new(text, iso)).collect(),
        };
        let sent = format!("{column} {operator:?} {first} {}", second.unwrap_or_default());
        Ok(Self { column, operator, sent, operands })
    }

    /// Whether a row with this value in the column fulfils the condition.
    pub fn holds(&self, value: &Value) -> bool {
        let is = |ordering: Ordering| move |operand: &Operand| value.compare(operand) == ordering;
        let first = &self.operands[0];
        match self.operator {
            Operator::Equal => is(Ordering::Equal)(first),
            // Contracts §2.1: the official "open and partial" example is `status != R` with a second operand C: neither.
            Operator::Different | Operator::NotIn => !self.operands.iter().any(is(Ordering::Equal)),
            Operator::In => self.operands.iter().any(is(Ordering::Equal)),
            Operator::Greater => is(Ordering::Greater)(first),
            Operator::Less => is(Ordering::Less)(first),
            Operator::AtLeast => !is(Ordering::Less)(first),
            Operator::AtMost => !is(Ordering::Greater)(first),
            Operator::Like => value.contains(first),
            Operator::NotLike => !value.contains(first),
            // Contracts §2.1: BE on dates is broken, it matches rows with 0000-00-00 whatever the range.
            Operator::Between if value.is_date() => value.is_absent_date(),
            Operator::Between => self.between(value),
            Operator::NotBetween => !self.between(value),
        }
    }

    fn between(&self, value: &Value) -> bool {
        let (first, last) = (&self.operands[0], self.operands.last().unwrap_or(&self.operands[0]));
        value.compare(first) != Ordering::Less && value.compare(last) != Ordering::Greater
    }
}

fn form_members(body: &str) -> HashMap<String, String> {
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (url_decoded(name), url_decoded(value))).collect()
}

fn url_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = if *byte == b'%' { after.get(..2) } else { None };
        let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        rest = after;
        match (byte, escaped) {
            (_, Some(escaped)) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text parts only, as IXC's own PHP helper posts them (contracts §2.1).
fn multipart_members(body: &str, boundary: &str) -> HashMap<String, String> {
    let part = |part: &str| {
        let (head, content) = part.split_once("\r\n\r\n")?;
        let (_, name) = head.split_once("name=\"")?;
        let (name, _) = name.split_once('"')?;
        Some((name.to_owned(), content.strip_suffix("\r\n").unwrap_or(content).to_owned()))
    };
    body.split(&format!("--{boundary}")).filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    #[track_caller]
    fn check(value: &Value, operator: &str, first: &str, second: Option<&str>, expected: bool) {
        let filter = Filter::new("x", operator, first, second, false).expect("a known operator");
        assert_eq!(filter.holds(value), expected, "{value:?} {operator} {first} {second:?}");
    }

    #[test]
    fn each_operator_selects_what_it_says() {
        let status = Value::text("P");
        check(&status, "=", "P", None, true);
        check(&status, "!=", "R", Some("C"), true);
        check(&status, "!=", "R", Some("P"), false);
        check(&status, "IN", "A,P", None, true);
        check(&status, "NI", "A,P", None, false);
        let amount = Value::Cents(9990);
        check(&amount, ">", "99.89", None, true);
        check(&amount, ">", "99.90", None, false);
        check(&amount, "<", "100", None, true);
        check(&amount, ">=", "99.90", None, true);
        check(&amount, "<=", "99.90", None, true);
        check(&amount, "BE", "99", Some("100"), true);
        check(&amount, "NBE", "99", Some("100"), false);
        let name = Value::text("Ana Lima");
        check(&name, "L", "lima", None, true);
        check(&name, "NL", "lima", None, false);
    }

    #[test]
    fn between_on_dates_finds_only_rows_without_a_date() {
        let date = Value::Date(NaiveDate::from_ymd_opt(2026, 3, 10));
        check(&date, "BE", "2026-03-01", Some("2026-03-31"), false);
        check(&Value::Date(None), "BE", "2026-03-01", Some("2026-03-31"), true);
    }

    #[test]
    fn url_encoding_is_undone() {
        assert_eq!(url_decoded("a%3D1+b%"), "a=1 b%");
    }
}
