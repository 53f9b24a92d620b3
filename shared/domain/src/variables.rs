//! The variables of a notice: what fills a template's placeholders, in order.
//!
//! The seed writes them as `#cliente_razao#,#areceber_valor#,#areceber_data_vencimento#`: entries with commas
//! between, one for each placeholder of the template in order of appearance.

mod template;
mod value;

pub use template::{fill, placeholder_names, placeholders, repeats_a_placeholder};
pub use value::{Circumstances, Facts, RenderError, Totals, VALUE_CHARS_MAX, render};
pub(crate) use value::{clean, digitable_line, pix_code};

use crate::provider::IdentityField;
use crate::stage::Stage;
use std::fmt;
use thiserror::Error;

macro_rules! variables {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(| $alias:literal)*;)+) => {
        /// A fact of a customer, an invoice or the provider that a notice may name, as `#name#`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Variable {$(
            $(#[$doc])*
            $variant,
        )+}

        impl Variable {
            /// Every variable.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name between the `#` signs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Other names that are understood, too.
            pub const fn aliases(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($alias),*],)+
                }
            }
        }
    };
}

variables! {
    /// The legal or full name.
    CustomerName = "cliente_razao";
    /// The trade name.
    CustomerTradeName = "cliente_fantasia";
    /// The first word of the name, `João` even where the ERP writes `JOÃO`.
    CustomerFirstName = "cliente_primeiro_nome";
    /// CPF or CNPJ, masked: `***.456.789-**`, `**.345.678/0001-**`. A message that reaches the wrong person must not tell it (contracts §4, LGPD).
    CustomerTaxId = "cliente_cnpj_cpf" | "cliente_cpf_cnpj";
    /// The city.
    CustomerCity = "cliente_cidade";
    /// The state's two letters.
    CustomerState = "cliente_uf";
    /// The invoice's number as the customer sees it.
    InvoiceNumber = "areceber_numero" | "areceber_documento";
    /// The invoice's amount: `R$1.234,56`.
    InvoiceAmount = "areceber_valor";
    /// What is still owed of it: `R$1.234,56`.
    InvoiceOpenAmount = "areceber_valor_aberto";
    /// The date of issue: `01/07/2023`.
    InvoiceIssuedOn = "areceber_data_emissao";
    /// The due date: `19/07/2023`.
    InvoiceDueOn = "areceber_data_vencimento";
    /// Days late on the provider's date, from [`DaysLateFrom`](crate::provider::DaysLateFrom) on; `0` before that.
    InvoiceDaysLate = "areceber_dias_atraso";
    /// Where it can be paid.
    InvoiceLink = "areceber_link" | "areceber_link_pagamento";
    /// The boleto's digits for typing, in their printed grouping; only ever written when every check digit is right.
    DigitableLine = "linha_digitavel" | "areceber_linha_digitavel";
    /// The Pix code for copying; only ever written when it is whole and asks for no other amount than what is owed.
    PixCode = "pix_copia_e_cola" | "areceber_pix_copia_e_cola";
    /// The id of the contract that the invoice belongs to.
    ContractNumber = "contrato_numero" | "contrato_id";
    /// What the customer owes in all, this invoice included: `R$1.234,56`.
    TotalOpenAmount = "total_em_aberto";
    /// How many invoices that is.
    OpenInvoices = "quantidade_titulos";
    /// The provider's legal name, or the one of the invoice's branch.
    ProviderName = "empresa_razao" | "empresa_nome";
    /// The provider's trade name, or the branch's.
    ProviderTradeName = "empresa_fantasia";
    /// The provider's CNPJ, or the branch's, in full: the law wants it named (contracts §4, CDC art. 42-A).
    ProviderTaxId = "empresa_cnpj" | "empresa_cnpj_cpf";
    /// The provider's address, or the branch's.
    ProviderAddress = "empresa_endereco";
    /// The provider's phone, or the branch's.
    ProviderPhone = "empresa_telefone" | "empresa_fone";
    /// When the first open title of the renegotiation is due that replaced the invoice: `19/07/2023`.
    RenegotiatedDueOn = "renegociacao_vencimento";
}

impl Variable {
    /// What to do where it is empty for an invoice.
    pub(crate) fn mend_if_empty(self) -> &'static str {
        match self {
            Self::PixCode => {
                "update-collections asks the ERP for it, for what is due and says it in a stage in use; else there is none that could be paid"
            }
            _ if self.identity_field().is_some() => "fill it in [provider] or the [[branch]], or take it out of the notice",
            _ => "fill it in the ERP, or take it out of the notice",
        }
    }

    /// The variable of a name, or of another name of it, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|variable| variable.names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The first known variable that contains the name, else the one that takes the fewest changes of a letter.
    fn nearest(name: &str) -> Self {
        let name = name.to_lowercase();
        let distance = |variable: &Self| {
            let changes = variable.names().map(|known| edit_distance(&name, known)).min().unwrap_or(usize::MAX);
            if variable.as_str().contains(&name) { 0 } else { changes.saturating_add(1) }
        };
        Self::ALL.iter().copied().min_by_key(distance).expect("there are variables")
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.as_str()).chain(self.aliases().iter().copied())
    }

    /// What part of the provider's identity it is, if it is one.
    pub const fn identity_field(self) -> Option<IdentityField> {
        match self {
            Self::ProviderName => Some(IdentityField::Name),
            Self::ProviderTradeName => Some(IdentityField::TradeName),
            Self::ProviderTaxId => Some(IdentityField::TaxId),
            Self::ProviderAddress => Some(IdentityField::Address),
            Self::ProviderPhone => Some(IdentityField::Phone),
            _ => None,
        }
    }

    /// Whether it speaks of all that the customer owes, which must be added up first.
    pub const fn is_total(self) -> bool {
        matches!(self, Self::TotalOpenAmount | Self::OpenInvoices)
    }

    /// Whether a message of this stage can ever have a value for it: what concerns a customer as such has no invoice.
    pub const fn is_known_at(self, stage: Stage) -> bool {
        match self {
            Self::RenegotiatedDueOn => matches!(stage, Stage::Renegotiated),
            Self::InvoiceNumber
            | Self::InvoiceAmount
            | Self::InvoiceOpenAmount
            | Self::InvoiceIssuedOn
            | Self::InvoiceDueOn
            | Self::InvoiceDaysLate
            | Self::InvoiceLink
            | Self::DigitableLine
            | Self::PixCode
            | Self::ContractNumber => !matches!(stage, Stage::BureauRemoved),
            Self::CustomerName
            | Self::CustomerTradeName
            | Self::CustomerFirstName
            | Self::CustomerTaxId
            | Self::CustomerCity
            | Self::CustomerState
            | Self::TotalOpenAmount
            | Self::OpenInvoices
            | Self::ProviderName
            | Self::ProviderTradeName
            | Self::ProviderTaxId
            | Self::ProviderAddress
            | Self::ProviderPhone => true,
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}#", self.as_str())
    }
}

/// What fills one placeholder: text and variables, at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

impl Entry {
    /// The variables in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = Variable> + '_ {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(variable) => Some(*variable),
        })
    }
}

/// Why a `variables` field isn't understood. Entries are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VariablesError {
    /// Nothing between two commas, or only blanks.
    #[error("entry {entry} of the variables is empty; remove its comma or write `\\,` for a comma in the text")]
    EmptyEntry {
        /// Which entry.
        entry: usize,
    },
    /// A `#` without its second.
    #[error("entry {entry} of the variables opens a `#` and never closes it; write `\\#` for a number sign in the text")]
    Unclosed {
        /// Which entry.
        entry: usize,
    },
    /// No such variable.
    #[error("entry {entry} of the variables names #{name}#, which is not known; is {nearest} meant?")]
    Unknown {
        /// Which entry.
        entry: usize,
        /// What stands between the `#` signs.
        name: String,
        /// The known variable that is spelled most alike.
        nearest: Variable,
    },
}

/// Reads the `variables` field of a notice: entries separated by commas, each of text and `#variables#`. `\,`, `\#`
/// and `\\` stand for the signs themselves. A blank field has no entries, for a template without placeholders.
///
/// # Errors
/// An empty entry, an unclosed `#`, and a variable that isn't known.
pub fn parse(field: &str) -> Result<Vec<Entry>, VariablesError> {
    if field.trim().is_empty() {
        return Ok(Vec::new());
    }
    let signs = signs(field);
    let is_comma = |sign: &Sign| *sign == Sign::Active(',');
    signs.split(is_comma).zip(1..).map(|(signs, entry)| parse_entry(signs, entry)).collect()
}

/// A character of the field, with or without a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Taken as it is.
    Plain(char),
    /// An unescaped `,` or `#`.
    Active(char),
}

impl Sign {
    const fn char(self) -> char {
        match self {
            Self::Plain(c) | Self::Active(c) => c,
        }
    }
}

fn signs(field: &str) -> Vec<Sign> {
    let mut chars = field.chars().peekable();
    let mut signs = Vec::new();
    while let Some(c) = chars.next() {
        signs.push(match c {
            '\\' => Sign::Plain(chars.next_if(|next| matches!(next, ',' | '#' | '\\')).unwrap_or('\\')),
            ',' | '#' => Sign::Active(c),
            _ => Sign::Plain(c),
        });
    }
    signs
}

fn parse_entry(signs: &[Sign], entry: usize) -> Result<Entry, VariablesError> {
    if signs.iter().filter(|sign| **sign == Sign::Active('#')).count() % 2 == 1 {
        return Err(VariablesError::Unclosed { entry });
    }
    let mut parts = Vec::new();
    for (place, piece) in signs.split(|sign| *sign == Sign::Active('#')).enumerate() {
        let text: String = piece.iter().map(|sign| sign.char()).collect();
        if place % 2 == 0 {
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
        } else {
            let name = text.trim();
            let unknown = || VariablesError::Unknown { entry, name: name.to_owned(), nearest: Variable::nearest(name) };
            parts.push(Part::Variable(Variable::parse(name).ok_or_else(unknown)?));
        }
    }
    let is_blank = |part: &Part| matches!(part, Part::Text(text) if clean(text).is_empty());
    if parts.iter().all(is_blank) { Err(VariablesError::EmptyEntry { entry }) } else { Ok(Entry(parts)) }
}

/// How many letters must be put in, taken out or changed (Levenshtein).
pub(crate) fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.chars().enumerate() {
            let change = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.chars().count()]
}
