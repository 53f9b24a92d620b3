//! Reading the ERP: customers and invoices from its webservice ([`webservice`]) or from files in its own column names ([`files`]).
//!
//! Both give [`regua_domain::mirror::Customer`] and [`regua_domain::mirror::Invoice`] through the same reading of the same columns.
//! A record of the ERP carries the customer's password and birth date. Only the columns named in this crate are ever read into memory
//! that outlives the answer or the line, and no error, problem or note repeats a value: they tell its shape.

mod columns;
pub mod files;
mod problem;
mod record;
mod value;
pub mod webservice;

pub use problem::{BadRowBudget, FieldProblem, RowProblem, TooManyBadRows};
pub use record::Record;
