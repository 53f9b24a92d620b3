//! The header: which columns are there, in any order.

use super::error::{FileError, Note};
use super::records::Fields;
use crate::columns::{Columns, Scalar};
use crate::record::Record;
use regua_domain::mirror::{Customer, Invoice};
use std::sync::Arc;

/// A record that files may hold.
pub trait FileRecord: Record {
    /// Columns that must be there; of each group any one will do.
    const REQUIRED: &'static [&'static [&'static str]];

    /// Columns whose absence decides something, and what it is taken for.
    const TAKEN_FOR: &'static [(&'static str, &'static str)];

    /// The id, for telling duplicates.
    fn key(&self) -> &str;
}

impl FileRecord for Customer {
    const REQUIRED: &'static [&'static [&'static str]] = &[&["id"], &["razao"], &["telefone_celular", "whatsapp"]];
    const TAKEN_FOR: &'static [(&'static str, &'static str)] = &[
        ("participa_cobranca", "every customer takes part in collection"),
        ("participa_pre_cobranca", "every customer gets reminders before the due date"),
    ];

    fn key(&self) -> &str {
        &self.id.0
    }
}

impl FileRecord for Invoice {
    const REQUIRED: &'static [&'static [&'static str]] =
        &[&["id"], &["id_cliente"], &["valor"], &["data_vencimento"], &["status"]];
    const TAKEN_FOR: &'static [(&'static str, &'static str)] =
        &[("liberado", "every invoice is released"), ("valor_aberto", "an open invoice owes all of its `valor`")];

    fn key(&self) -> &str {
        &self.id.0
    }
}

/// Parts of the names of columns that carry personal data of no use here.
const PERSONAL: [&str; 8] = ["senha", "nascim", "_mae", "_pai", "conjuge", "identidade", "email", "endereco"];

/// Where each field of a record belongs.
#[derive(Debug)]
pub struct Header {
    /// By position; `None` for a column that is not read.
    columns: Vec<Option<&'static str>>,
}

impl Header {
    /// Reads the header; the notes tell what is ignored and what is absent.
    pub fn read<T: FileRecord>(file: &Arc<str>, line: u64, fields: &Fields) -> Result<(Self, Vec<Note>), FileError> {
        let mut columns: Vec<Option<&'static str>> = Vec::with_capacity(fields.len());
        let mut ignored = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let name = field.trim().to_lowercase();
            let known = T::Columns::NAMES.iter().copied().find(|column| *column == name);
            if let Some(column) = known.filter(|column| columns.contains(&Some(*column))) {
                return Err(FileError::DuplicateColumn { file: file.clone(), line, column });
            }
            if known.is_none() && !name.is_empty() {
                ignored.push(as_name(&name).map_or_else(|| format!("column {}", index + 1), str::to_owned));
            }
            columns.push(known);
        }
        let has = |column: &str| columns.contains(&Some(column));
        let missing = missing_columns::<T>(has);
        if !missing.is_empty() {
            return Err(FileError::MissingColumns { file: file.clone(), line, found: columns.len(), missing });
        }
        let notes = ignored_note(line, ignored).into_iter().chain(absent_notes::<T>(has)).collect();
        Ok((Self { columns }, notes))
    }

    /// How many fields a record has.
    pub const fn len(&self) -> usize {
        self.columns.len()
    }

    /// Puts the fields of one record into its columns; those that are not read are dropped here.
    pub fn columns<C: Columns>(&self, fields: &Fields) -> C {
        let mut columns = C::default();
        for (name, field) in self.columns.iter().zip(fields.iter()) {
            if let Some(slot) = name.and_then(|name| columns.slot(name)) {
                *slot = Scalar::Text(field.to_owned());
            }
        }
        columns
    }
}

fn missing_columns<T: FileRecord>(has: impl Fn(&str) -> bool) -> String {
    let missing = T::REQUIRED.iter().filter(|any_of| !any_of.iter().any(|column| has(column)));
    missing.map(|any_of| any_of.join(" or ")).collect::<Vec<_>>().join(", ")
}

/// What the absence of columns is taken for.
pub fn absent_notes<T: FileRecord>(has: impl Fn(&str) -> bool) -> Vec<Note> {
    let absent = T::TAKEN_FOR.iter().filter(|(column, _)| !has(column));
    absent.map(|(column, taken_for)| Note::AbsentColumn { column, taken_for }).collect()
}

/// One note for all names.
pub fn ignored_note(line: u64, names: Vec<String>) -> Option<Note> {
    if names.is_empty() {
        return None;
    }
    let personal = names.iter().filter(|name| PERSONAL.iter().any(|part| name.contains(part))).cloned().collect();
    Some(Note::IgnoredColumns { line, names, personal })
}

/// The name if it looks like one: a value that stands where a name belongs is not repeated.
pub fn as_name(name: &str) -> Option<&str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (begins_well && name.len() <= 64 && name.bytes().all(is_part)).then_some(name)
}
