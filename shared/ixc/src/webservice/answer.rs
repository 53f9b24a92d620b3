//! What the ERP answers to a list: rows, or one of the two families of errors that come with HTTP 200 (contracts §2.1).

use super::error::{IxcError, Refusal};
use crate::columns::{Columns, ColumnsSeed, Scalar};
use crate::problem::RowProblem;
use crate::record::Record;
use crate::value::{self, Origin};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The rows of one answer, in its order.
#[derive(Debug)]
pub struct Listing<T> {
    /// Each row with its id where that is readable.
    pub rows: Vec<ListedRow<T>>,
    /// How many rows match all filters; `None` where the ERP doesn't say.
    pub total: Option<u64>,
}

/// One row.
#[derive(Debug)]
pub struct ListedRow<T> {
    /// Its id, also of a row that is otherwise unreadable.
    pub id: Option<u64>,
    /// The record, or what is wrong with it.
    pub row: Result<T, RowProblem>,
}

/// Reads the body of a 2xx answer to a list of at most `asked` rows.
///
/// # Errors
/// See [`IxcError`]: `Html`, `Refused`, `Unparsable`, `TotalDisagrees`.
pub fn read_listing<T: Record>(body: &[u8], asked: usize) -> Result<Listing<T>, IxcError> {
    let envelope: Envelope<T::Columns> = read_json(body)?;
    if envelope.kind.as_text() == Some("error") {
        let refusal = Refusal::read(envelope.message.as_text().unwrap_or_default());
        return Err(IxcError::Refused { resource: T::RESOURCE, refusal });
    }
    let is_list = envelope.page.is_present() || envelope.total.is_present() || envelope.registros.is_some();
    if !is_list {
        return Err(IxcError::Unparsable { line: 0, column: 0 });
    }
    let rows = envelope.registros.unwrap_or_default();
    let total = total(&envelope.total)?;
    if let Some(total) = total {
        let sent = rows.len() as u64;
        if sent < total.min(asked as u64) || sent > total {
            return Err(IxcError::TotalDisagrees { resource: T::RESOURCE, total, sent: rows.len(), asked });
        }
    }
    Ok(Listing { rows: rows.into_iter().map(listed_row).collect(), total })
}

/// Reads JSON, telling only where it is unreadable: the parser's own text would repeat values.
pub fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, IxcError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if body.first() == Some(&b'<') {
        return Err(IxcError::Html);
    }
    serde_json::from_slice(body).map_err(|error| IxcError::Unparsable { line: error.line(), column: error.column() })
}

/// A string or a number; absent and empty say nothing.
fn total(scalar: &Scalar) -> Result<Option<u64>, IxcError> {
    match scalar.as_text().map(str::trim) {
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| IxcError::Unparsable { line: 0, column: 0 }),
        None => Err(IxcError::Unparsable { line: 0, column: 0 }),
    }
}

fn listed_row<T: Record>(row: RawRow<T::Columns>) -> ListedRow<T> {
    let columns = match row {
        RawRow::Columns(columns) => columns,
        RawRow::Odd(shape) => {
            let shape = shape.to_owned();
            let problem =
                RowProblem { resource: T::RESOURCE, id: None, field: "registros", shape, expected: "an object per record" };
            return ListedRow { id: None, row: Err(problem) };
        }
    };
    let id = T::id_column(&columns).as_text().and_then(|text| value::erp_number(text.trim()));
    let row = T::from_columns(&columns, Origin::Webservice).map_err(|problem| RowProblem {
        resource: T::RESOURCE,
        id: id.map(|id| id.to_string()),
        field: problem.field,
        shape: problem.shape,
        expected: problem.expected,
    });
    ListedRow { id, row }
}

#[derive(serde::Deserialize)]
#[serde(bound = "C: Columns")]
struct Envelope<C> {
    #[serde(default, rename = "type")]
    kind: Scalar,
    #[serde(default)]
    message: Scalar,
    #[serde(default)]
    page: Scalar,
    #[serde(default)]
    total: Scalar,
    #[serde(default)]
    registros: Option<Vec<RawRow<C>>>,
}

/// A row before its columns are read. One that is no object spoils only itself.
enum RawRow<C> {
    Columns(C),
    Odd(&'static str),
}

impl<'de, C: Columns> Deserialize<'de> for RawRow<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowVisitor(std::marker::PhantomData))
    }
}

struct RowVisitor<C>(std::marker::PhantomData<C>);

impl<'de, C: Columns> Visitor<'de> for RowVisitor<C> {
    type Value = RawRow<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        let mut unheard = |_: &str| {};
        let columns = ColumnsSeed::new(&mut unheard).deserialize(serde::de::value::MapAccessDeserializer::new(object))?;
        Ok(RawRow::Columns(columns))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawRow::Odd("a list"))
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(RawRow::Odd("text"))
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(RawRow::Odd("a truth value"))
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(RawRow::Odd("a number"))
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(RawRow::Odd("a number"))
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(RawRow::Odd("a number"))
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(RawRow::Odd("null"))
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
