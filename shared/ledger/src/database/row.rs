//! Values in and rows out, the same for both databases.

use super::from_micros;
use crate::error::LedgerError;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value, of a type: PostgreSQL keeps a prepared statement's parameter types from its first use.
    Null(Kind),
    /// A truth value.
    Flag(bool),
    /// Any whole number.
    Int(i64),
    /// Any text, JSON included.
    Text(String),
    /// An identifier: `uuid` in PostgreSQL, its text in SQLite.
    Id(Uuid),
}

/// The type of a missing value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As [`Value::Flag`].
    Flag,
    /// As [`Value::Int`].
    Int,
    /// As [`Value::Text`].
    Text,
    /// As [`Value::Id`].
    Id,
}

/// What can be missing in a parameter list.
pub trait Nullable: Into<Value> {
    /// The type of its null.
    const KIND: Kind;
}

macro_rules! value_from {
    ($($type:ty => $kind:ident, $convert:expr;)+) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self { ($convert)(value) }
        }
        impl Nullable for $type {
            const KIND: Kind = Kind::$kind;
        }
    )+};
}

value_from! {
    bool => Flag, Self::Flag;
    i64 => Int, Self::Int;
    i32 => Int, |n| Self::Int(i64::from(n));
    u32 => Int, |n| Self::Int(i64::from(n));
    u16 => Int, |n| Self::Int(i64::from(n));
    u8 => Int, |n| Self::Int(i64::from(n));
    usize => Int, |n| Self::Int(i64::try_from(n).unwrap_or(i64::MAX));
    &str => Text, |text: &str| Self::Text(text.to_owned());
    String => Text, Self::Text;
    &String => Text, |text: &String| Self::Text(text.clone());
    Uuid => Id, Self::Id;
    DateTime<Utc> => Int, |at| Self::Int(super::micros(at));
    NaiveDate => Text, |day: NaiveDate| Self::Text(day.format("%Y-%m-%d").to_string());
}

macro_rules! value_from_id {
    ($($id:ident)+) => {$(
        impl From<regua_domain::ids::$id> for Value {
            fn from(id: regua_domain::ids::$id) -> Self { Self::Id(id.0) }
        }
        impl Nullable for regua_domain::ids::$id {
            const KIND: Kind = Kind::Id;
        }
    )+};
}
value_from_id!(LedgerId IntegrationId ChannelId BusinessId NoticeId PolicyId TaskId SourceId RunId MessageId AttemptId HoldId StopId);

impl<T: Nullable> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::KIND), Into::into)
    }
}

/// Builds the parameter list of a statement from values of different types.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::database::Value::from($value)),*] };
}

/// One row of a result; columns are asked for by name and type.
pub enum Row {
    /// From PostgreSQL.
    Postgres(PgRow),
    /// From SQLite.
    Sqlite(SqliteRow),
}

macro_rules! get {
    ($self:ident, $name:ident, $type:ty) => {
        match $self {
            Self::Postgres(row) => row.try_get::<$type, _>($name),
            Self::Sqlite(row) => row.try_get::<$type, _>($name),
        }
        .map_err(LedgerError::from)
    };
}

impl Row {
    /// A whole number.
    pub fn int(&self, name: &str) -> Result<i64, LedgerError> {
        get!(self, name, i64)
    }

    /// A whole number or nothing.
    pub fn opt_int(&self, name: &str) -> Result<Option<i64>, LedgerError> {
        get!(self, name, Option<i64>)
    }

    /// A count: a whole number that can't be negative.
    pub fn count(&self, name: &str) -> Result<u64, LedgerError> {
        self.int(name).map(|n| u64::try_from(n).unwrap_or(0))
    }

    /// A small count.
    pub fn small(&self, name: &str) -> Result<u32, LedgerError> {
        self.int(name).map(|n| u32::try_from(n).unwrap_or(0))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<String, LedgerError> {
        get!(self, name, String)
    }

    /// A text or nothing.
    pub fn opt_text(&self, name: &str) -> Result<Option<String>, LedgerError> {
        get!(self, name, Option<String>)
    }

    /// A truth value.
    pub fn flag(&self, name: &str) -> Result<bool, LedgerError> {
        get!(self, name, bool)
    }

    /// An identifier.
    pub fn id(&self, name: &str) -> Result<Uuid, LedgerError> {
        self.opt_id(name)?.ok_or_else(|| LedgerError::unreadable(name, "nothing"))
    }

    /// An identifier or nothing.
    pub fn opt_id(&self, name: &str) -> Result<Option<Uuid>, LedgerError> {
        match self {
            Self::Postgres(row) => row.try_get::<Option<Uuid>, _>(name).map_err(LedgerError::from),
            Self::Sqlite(row) => row
                .try_get::<Option<String>, _>(name)?
                .map(|text| text.parse().map_err(|_| LedgerError::unreadable(name, &text)))
                .transpose(),
        }
    }

    /// An instant.
    pub fn instant(&self, name: &str) -> Result<DateTime<Utc>, LedgerError> {
        self.int(name).map(from_micros)
    }

    /// An instant or nothing.
    pub fn opt_instant(&self, name: &str) -> Result<Option<DateTime<Utc>>, LedgerError> {
        Ok(self.opt_int(name)?.map(from_micros))
    }

    /// A date, stored as `YYYY-MM-DD`.
    pub fn date(&self, name: &str) -> Result<NaiveDate, LedgerError> {
        let text = self.text(name)?;
        text.parse().map_err(|_| LedgerError::unreadable(name, &text))
    }

    /// A date or nothing.
    pub fn opt_date(&self, name: &str) -> Result<Option<NaiveDate>, LedgerError> {
        self.opt_text(name)?.map(|text| text.parse().map_err(|_| LedgerError::unreadable(name, &text))).transpose()
    }

    /// A value of a closed set, by its stored name.
    pub fn named<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, LedgerError> {
        let text = self.text(name)?;
        parse(&text).ok_or_else(|| LedgerError::unreadable(name, &text))
    }

    /// A value of a closed set or nothing.
    pub fn opt_named<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, LedgerError> {
        self.opt_text(name)?.map(|text| parse(&text).ok_or_else(|| LedgerError::unreadable(name, &text))).transpose()
    }

    /// A value stored as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, LedgerError> {
        serde_json::from_str(&self.text(name)?).map_err(|_| LedgerError::unreadable(name, "JSON of another shape"))
    }

    /// A value stored as JSON, or nothing.
    pub fn opt_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LedgerError> {
        self.opt_text(name)?
            .map(|text| serde_json::from_str(&text).map_err(|_| LedgerError::unreadable(name, "JSON of another shape")))
            .transpose()
    }
}
