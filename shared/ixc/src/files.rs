//! Files for import, in the ERP's own column names.
//!
//! UTF-8 or Windows-1252, `;` or `,`, or JSON Lines: all detected. A file is read twice, in constant memory but for eight bytes per id:
//! once to learn its encoding, then record by record. One bad line spoils only itself, and its message tells file, line, column, the
//! shape of what was found and what was expected. Columns that are not read are named once and their values never kept.

mod encoding;
mod error;
mod header;
mod json_lines;
mod lines;
mod parsed;
mod records;

pub use error::{FileError, LineProblem, Note};
pub use header::FileRecord;
pub use parsed::{Batch, Entry, Parsed};

use regua_domain::mirror::{Customer, Invoice};
use std::io::{Read, Seek};

/// How a file is read.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The file's name, for messages.
    pub name: String,
    /// The most bytes of one record, its line breaks included.
    pub line_bytes_max: usize,
    /// The most records of one file: it bounds the memory for duplicate ids.
    pub rows_max: u64,
}

impl FileOptions {
    /// The defaults: 64 KiB a record, two million records.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), line_bytes_max: 64 << 10, rows_max: 2_000_000 }
    }
}

/// Reads customers: `id, razao`, and `telefone_celular` or `whatsapp` are required; `fantasia, cnpj_cpf, tipo_pessoa, cidade, uf,
/// filial_id, id_tipo_cliente, participa_cobranca, participa_pre_cobranca, num_dias_cob` may be there. `bytes` is a file, or a
/// [`std::io::Cursor`] over memory.
///
/// # Errors
/// [`FileError`] when the file as a whole can't be read: no text, no header, a required column missing.
pub fn parse_customers<R: Read + Seek>(bytes: R, options: &FileOptions) -> Result<Parsed<Customer, R>, FileError> {
    Parsed::open(bytes, options)
}

/// Reads invoices: `id, id_cliente, valor, data_vencimento, status` are required; `valor_aberto, data_emissao, id_carteira_cobranca,
/// filial_id, id_contrato, status_contrato, aviso_atraso, nao_avisar_ate, liberado, estornado, aguardando_confirmacao_pagamento,
/// titulo_protestado, previsao, tipo_recebimento, linha_digitavel, pix_copia_e_cola, link_pagamento,
/// pagamento_data` and the ERP's other columns of [`Invoice`] may be there.
///
/// # Errors
/// As [`parse_customers`].
pub fn parse_invoices<R: Read + Seek>(bytes: R, options: &FileOptions) -> Result<Parsed<Invoice, R>, FileError> {
    Parsed::open(bytes, options)
}
