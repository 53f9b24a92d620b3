//! The named columns of the ERP's records: the only ones that are read. Any other is skipped without being kept.

use crate::problem::FieldProblem;
use crate::value::{self, Expected, Origin};
use chrono::NaiveDate;
use regua_domain::money::Centavos;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A scalar as it arrives: text, number, truth value or null, for installations differ (contracts §2.1).
#[derive(Clone, Default)]
pub enum Scalar {
    /// The column is not there.
    #[default]
    Absent,
    /// The value as text; null is empty.
    Text(String),
    /// A list or an object where a scalar belongs; its content is not kept.
    Odd(&'static str),
}

impl Scalar {
    /// What was found, for error texts.
    pub fn shape(&self) -> String {
        match self {
            Self::Absent => "absent".to_owned(),
            Self::Text(text) => value::shape(text),
            Self::Odd(kind) => (*kind).to_owned(),
        }
    }

    /// The text; empty when absent, `None` for a list or an object.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Absent => Some(""),
            Self::Text(text) => Some(text),
            Self::Odd(_) => None,
        }
    }

    /// Whether the column is there at all.
    pub const fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }
    fn visit_string<E: Error>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Text(number.to_string()))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Text(number.to_string()))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Text(number.to_string()))
    }
    fn visit_bool<E: Error>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Text(if truth { "S" } else { "N" }.to_owned()))
    }
    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Text(String::new()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Odd("a list"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Scalar, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Odd("an object"))
    }
}

/// A set of named columns, all scalars.
pub trait Columns: Default {
    /// The ERP's names, in lower case.
    const NAMES: &'static [&'static str];

    /// The place of a column by its name; `None` for one that is not read.
    fn slot(&mut self, name: &str) -> Option<&mut Scalar>;

    /// Whether a column arrived.
    fn has(&self, name: &str) -> bool;
}

/// Declares a struct of scalars, one per column of the ERP.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($column:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        #[allow(missing_docs, reason = "the fields are the ERP's own column names, explained in regua_domain::mirror")]
        pub struct $name { $(pub $column: $crate::columns::Scalar),* }

        impl $crate::columns::Columns for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($column)),*];

            fn slot(&mut self, name: &str) -> Option<&mut $crate::columns::Scalar> {
                match name {
                    $(stringify!($column) => Some(&mut self.$column),)*
                    _ => None,
                }
            }

            fn has(&self, name: &str) -> bool {
                match name {
                    $(stringify!($column) => self.$column.is_present(),)*
                    _ => false,
                }
            }
        }
    };
}
pub(crate) use columns;

columns! {
    /// The columns of `cliente` that are read.
    CustomerColumns {
        id, razao, fantasia, cnpj_cpf, tipo_pessoa, telefone_celular, whatsapp, cidade, uf, filial_id, id_tipo_cliente,
        participa_cobranca, participa_pre_cobranca, num_dias_cob, ativo_serasa,
    }
}

columns! {
    /// The columns of `fn_areceber` that are read, and those that only a file has (`status_contrato`, `aviso_atraso`,
    /// `nao_avisar_ate`, `pix_copia_e_cola`, `link_pagamento`).
    InvoiceColumns {
        id, id_cliente, documento, status, liberado, valor, valor_aberto, data_emissao, data_vencimento, pagamento_data,
        data_cancelamento, filial_id, id_carteira_cobranca, id_contrato, id_contrato_principal, id_contrato_avulso, status_contrato, aviso_atraso, nao_avisar_ate,
        tipo_recebimento, linha_digitavel, pix_copia_e_cola, link_pagamento, gateway_link, aguardando_confirmacao_pagamento, estornado,
        titulo_protestado, previsao, id_renegociacao_novo, id_renegociacao,
    }
}

/// Reads an object into its named columns; `other` hears the name of every other one, whose value is skipped unread.
pub struct ColumnsSeed<'a, C, F: FnMut(&str)> {
    other: &'a mut F,
    columns: PhantomData<C>,
}

impl<'a, C, F: FnMut(&str)> ColumnsSeed<'a, C, F> {
    /// A seed that tells `other` each name that is not read.
    pub const fn new(other: &'a mut F) -> Self {
        Self { other, columns: PhantomData }
    }
}

impl<'de, C: Columns, F: FnMut(&str)> serde::de::DeserializeSeed<'de> for ColumnsSeed<'_, C, F> {
    type Value = C;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<C, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, C: Columns, F: FnMut(&str)> Visitor<'de> for ColumnsSeed<'_, C, F> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<C, A::Error> {
        let mut columns = C::default();
        while let Some(name) = object.next_key::<String>()? {
            if let Some(slot) = columns.slot(&name) {
                *slot = object.next_value()?;
            } else {
                object.next_value::<IgnoredAny>()?;
                (self.other)(&name);
            }
        }
        Ok(columns)
    }
}

/// One column while it is read, with its name for the problem it may have.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// The ERP's column name.
    pub name: &'static str,
    /// What arrived.
    pub scalar: &'a Scalar,
    /// Which written forms are allowed.
    pub origin: Origin,
}

impl Field<'_> {
    /// The problem of this column.
    pub fn problem(self, expected: Expected) -> FieldProblem {
        FieldProblem { field: self.name, shape: self.scalar.shape(), expected }
    }

    fn read<T>(self, read: impl FnOnce(&str) -> Result<T, Expected>) -> Result<T, FieldProblem> {
        let text = self.scalar.as_text().ok_or_else(|| self.problem("a scalar"))?;
        read(text).map_err(|expected| self.problem(expected))
    }

    /// Free text, trimmed; empty when absent.
    pub fn text(self) -> Result<String, FieldProblem> {
        self.read(value::text)
    }

    /// A key to another record; empty when absent, empty or `0`.
    pub fn key(self) -> Result<String, FieldProblem> {
        self.read(value::key)
    }

    /// A date; `None` when absent, empty or `0000-00-00`.
    pub fn date(self) -> Result<Option<NaiveDate>, FieldProblem> {
        self.read(|text| value::date(text, self.origin))
    }

    /// Money; `None` when absent or empty.
    pub fn money(self) -> Result<Option<Centavos>, FieldProblem> {
        self.read(value::money)
    }

    /// A switch; `absent` where the column is not there.
    pub fn switch(self, absent: bool) -> Result<bool, FieldProblem> {
        if self.scalar.is_present() { self.read(value::switch) } else { Ok(absent) }
    }

    /// A switch that only an `N` turns off: absent and empty are on (`aviso_atraso`, contracts §2.3).
    pub fn unless_off(self) -> Result<bool, FieldProblem> {
        Ok(self.text()?.is_empty() || self.switch(true)?)
    }

    /// A switch that the webservice must send, and that counts as on where a file has no such column.
    pub fn consent(self) -> Result<bool, FieldProblem> {
        match self.origin {
            Origin::Webservice if !self.scalar.is_present() => Err(self.problem("S, N or empty")),
            Origin::Webservice | Origin::File => self.switch(true),
        }
    }

    /// A flag that is on at `1` alone and off at any other word; `None` when absent: what isn't said can't have changed.
    pub fn flag(self) -> Result<Option<bool>, FieldProblem> {
        if self.scalar.is_present() { self.read(|text| Ok(Some(text.trim() == "1"))) } else { Ok(None) }
    }

    /// A small count; 0 when absent or empty.
    pub fn count(self) -> Result<u16, FieldProblem> {
        self.read(|text| match text.trim() {
            "" => Ok(0),
            text => text.parse().map_err(|_| "a whole number from 0 to 65535"),
        })
    }
}
