//! What is asked: a closed list of resources, filters in the ERP's form, always by ascending id and always the first page.

use chrono::NaiveDate;
use serde::Serialize;
use std::fmt::Display;

/// The resources that may be read. Nothing else can be put into a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Titles.
    Invoices,
    /// Customers.
    Customers,
    /// Contracts.
    Contracts,
    /// The provider's own companies: the cheapest list there is.
    Companies,
    /// States of Brazil.
    States,
    /// Cities.
    Cities,
    /// The ERP's general parameters.
    Parameters,
    /// Its integrations with omnichannel platforms.
    OmnichannelGateways,
}

impl Resource {
    /// The ERP's table, which is also the last part of the URL.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Invoices => "fn_areceber",
            Self::Customers => "cliente",
            Self::Contracts => "cliente_contrato",
            Self::Companies => "empresa",
            Self::States => "uf",
            Self::Cities => "cidade",
            Self::Parameters => "parametros",
            Self::OmnichannelGateways => "gateway_omnichannel",
        }
    }
}

/// The operators in use. `BE` is not among them: on dates it is broken on some installations (contracts §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// A list separated by commas.
    In,
}

impl Operator {
    const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::In => "IN",
        }
    }
}

/// One condition on a column.
#[derive(Clone, Debug)]
pub struct Filter {
    column: &'static str,
    operator: Operator,
    value: String,
}

impl Filter {
    /// A condition; `column` without its table.
    pub fn new(column: &'static str, operator: Operator, value: impl Display) -> Self {
        Self { column, operator, value: value.to_string() }
    }

    /// `id` is one of these.
    pub fn id_in(ids: &[u64]) -> Self {
        let list: Vec<String> = ids.iter().map(u64::to_string).collect();
        Self::new("id", Operator::In, list.join(","))
    }
}

/// A list: all filters must hold.
#[derive(Clone, Debug)]
pub struct Query {
    /// What to list.
    pub resource: Resource,
    /// The first goes into `qtype`, the rest into `grid_param`.
    first: Filter,
    rest: Vec<Filter>,
    /// The most rows wanted.
    pub rows_max: usize,
}

impl Query {
    /// A list by one filter.
    pub const fn new(resource: Resource, first: Filter, rows_max: usize) -> Self {
        Self { resource, first, rest: Vec::new(), rows_max }
    }

    /// Adds a filter.
    pub fn and(mut self, filter: Filter) -> Self {
        self.rest.push(filter);
        self
    }

    /// The JSON body; every scalar is a string and `grid_param` is JSON inside a string (contracts §2.1).
    pub fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        let table = self.resource.table();
        let qualified = |column: &str| format!("{table}.{column}");
        let grid: Vec<GridFilter> = self
            .rest
            .iter()
            .map(|filter| GridFilter { tb: qualified(filter.column), op: filter.operator.symbol(), p: &filter.value })
            .collect();
        let grid_param = if grid.is_empty() { None } else { Some(serde_json::to_string(&grid)?) };
        serde_json::to_vec(&Body {
            qtype: qualified(self.first.column),
            query: &self.first.value,
            oper: self.first.operator.symbol(),
            page: "1",
            rp: self.rows_max.to_string(),
            sortname: qualified("id"),
            sortorder: "asc",
            grid_param,
        })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    qtype: String,
    query: &'a str,
    oper: &'static str,
    page: &'static str,
    rp: String,
    sortname: String,
    sortorder: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid_param: Option<String>,
}

#[derive(Serialize)]
struct GridFilter<'a> {
    #[serde(rename = "TB")]
    tb: String,
    #[serde(rename = "OP")]
    op: &'static str,
    #[serde(rename = "P")]
    p: &'a str,
}

/// How an installation writes dates in filters. Documented is `DD/MM/YYYY`; some understand only the other (contracts §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateForm {
    /// `DD/MM/YYYY`
    Documented,
    /// `YYYY-MM-DD`
    Iso,
}

impl DateForm {
    /// The documented one first.
    pub const ALL: [Self; 2] = [Self::Documented, Self::Iso];

    /// The date in this form.
    pub fn write(self, date: NaiveDate) -> String {
        match self {
            Self::Documented => date.format("%d/%m/%Y").to_string(),
            Self::Iso => date.format("%Y-%m-%d").to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_query_is_strings_only_with_the_table_in_every_name() {
        let query = Query::new(Resource::Invoices, Filter::new("data_vencimento", Operator::AtLeast, "01/11/2026"), 500)
            .and(Filter::new("id", Operator::Greater, 42))
            .and(Filter::new("status", Operator::NotEqual, "R"));
        let body: Value = serde_json::from_slice(&query.body().expect("a body")).expect("JSON");
        assert_eq!(
            body,
            json!({
                "qtype": "fn_areceber.data_vencimento", "query": "01/11/2026", "oper": ">=", "page": "1", "rp": "500",
                "sortname": "fn_areceber.id", "sortorder": "asc",
                "grid_param": "[{\"TB\":\"fn_areceber.id\",\"OP\":\">\",\"P\":\"42\"},{\"TB\":\"fn_areceber.status\",\"OP\":\"!=\",\"P\":\"R\"}]",
            })
        );
    }

    #[test]
    fn a_list_of_ids_is_separated_by_commas() {
        let query = Query::new(Resource::Customers, Filter::id_in(&[2, 3]), 2);
        let body: Value = serde_json::from_slice(&query.body().expect("a body")).expect("JSON");
        assert_eq!((&body["qtype"], &body["query"], &body["oper"]), (&json!("cliente.id"), &json!("2,3"), &json!("IN")));
        assert!(body.get("grid_param").is_none());
    }
}
