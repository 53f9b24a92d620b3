//! One statement, two dialects. The macros are found by their place in the text: `concat!` can't follow paths to them.

/// A statement in both dialects, made at compile time by `sql!`.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    pub(crate) postgres: &'static str,
    pub(crate) sqlite: &'static str,
}

/// Writes a statement once. Its parts are string literals and, where the dialects differ:
///
/// | part | PostgreSQL | SQLite |
/// |---|---|---|
/// | `for_update` | `FOR UPDATE` | nothing: the one writer is alone |
/// | `(rows 1 r id: uuid, n: bigint)` | a row set `r` from the JSON text in `$1` | the same by `json_each` |
/// | `(any 1 uuid)` | the elements of the JSON array in `$1` | the same |
/// | `(id 1)` | `$1` as a `uuid` that may be null | `$1` |
/// | `{ postgres: "…", sqlite: "…" }` | the first | the second |
macro_rules! sql {
    ($($part:tt),+ $(,)?) => {
        $crate::database::Sql {
            postgres: concat!($(postgres_part!($part)),+),
            sqlite: concat!($(sqlite_part!($part)),+),
        }
    };
}

macro_rules! postgres_part {
    ($text:literal) => { $text };
    (for_update) => { " FOR UPDATE " };
    ((rows $n:literal $alias:ident $first:ident : $first_kind:ident $(, $column:ident : $kind:ident)*)) => {
        concat!("jsonb_to_recordset($", $n, "::jsonb) AS ", stringify!($alias), "(", stringify!($first), " ", stringify!($first_kind),
                $(", ", stringify!($column), " ", stringify!($kind),)* ")")
    };
    ((any $n:literal $kind:ident)) => {
        concat!("(SELECT CAST(value AS ", stringify!($kind), ") FROM jsonb_array_elements_text($", $n, "::jsonb))")
    };
    ((id $n:literal)) => { concat!("CAST($", $n, " AS uuid)") };
    ({ postgres: $postgres:literal, sqlite: $sqlite:literal }) => { $postgres };
}

macro_rules! sqlite_part {
    ($text:literal) => { $text };
    (for_update) => { " " };
    ((rows $n:literal $alias:ident $first:ident : $first_kind:ident $(, $column:ident : $kind:ident)*)) => {
        concat!("(SELECT value ->> '$.", stringify!($first), "' AS ", stringify!($first),
                $(", value ->> '$.", stringify!($column), "' AS ", stringify!($column),)*
                " FROM json_each($", $n, ")) AS ", stringify!($alias))
    };
    ((any $n:literal $kind:ident)) => { concat!("(SELECT value FROM json_each($", $n, "))") };
    ((id $n:literal)) => { concat!("$", $n) };
    ({ postgres: $postgres:literal, sqlite: $sqlite:literal }) => { $sqlite };
}
