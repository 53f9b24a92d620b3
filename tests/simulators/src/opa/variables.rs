//! `template.variaveis` of a send: positional values, or a payment's details (contracts §1.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::order::Refusal;

/// What a template's variables were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Variables {
    /// An ordinary template's values, in order.
    Positional(Vec<String>),
    /// A payment template's details, by their members' names.
    Payment(BTreeMap<String, String>),
}

/// What a template takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// So many values.
    Positional(usize),
    /// A payment's details.
    Payment,
}

/// The members of a Pix, and no others.
const PIX: &[&str] = &["valor", "tipoPagamento", "codigo", "merchantName", "pixKey", "pixKeyType"];
/// The members of a boleto, and no others.
const BOLETO: &[&str] = &["valor", "tipoPagamento", "linhaDigitavel"];

impl Variables {
    /// Reads `template.variaveis`; an absent one is no value at all.
    ///
    /// # Errors
    /// It has not the form that is expected, or a text is none that the platform takes.
    pub(crate) fn read(value: &Value, takes: Takes) -> Result<Self, Refusal> {
        let variables = match (value, takes) {
            (Value::Object(members), Takes::Payment) => Self::Payment(details(members)?),
            (_, Takes::Payment) => return Err(Refusal::Missing("template.variaveis as an object of a payment's details")),
            (Value::Null, Takes::Positional(number)) => Self::Positional(positional(&[], number)?),
            (Value::Array(values), Takes::Positional(number)) => Self::Positional(positional(values, number)?),
            (_, Takes::Positional(_)) => {
                return Err(Refusal::Missing("template.variaveis as an array of texts"));
            }
        };
        variables.check_texts()?;
        Ok(variables)
    }

    /// The values in order; none of a payment.
    pub fn positional(&self) -> &[String] {
        match self {
            Self::Positional(values) => values,
            Self::Payment(_) => &[],
        }
    }

    fn check_texts(&self) -> Result<(), Refusal> {
        let texts: Vec<&String> = match self {
            Self::Positional(values) => values.iter().collect(),
            Self::Payment(details) => details.values().collect(),
        };
        // Contracts §1.2 refuses four spaces and §3.2 only more than four: the stricter holds here.
        if texts.iter().any(|text| text.contains(['\n', '\r', '\t']) || text.contains("    ")) {
            return Err(Refusal::VariableText);
        }
        // Contracts §3.2: empty strings are rejected.
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(Refusal::VariableEmpty);
        }
        Ok(())
    }
}

fn positional(values: &[Value], expected: usize) -> Result<Vec<String>, Refusal> {
    if expected != values.len() {
        return Err(Refusal::VariableCount { expected, given: values.len() });
    }
    let texts: Option<Vec<String>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    texts.ok_or(Refusal::Missing("template.variaveis as an array of texts"))
}

/// Exactly the members of the payment that `tipoPagamento` names.
fn details(members: &Map<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let shape = match members.get("tipoPagamento").and_then(Value::as_str) {
        Some("pix") => PIX,
        // [inferred] The contracts write the value of a Pix and leave a boleto's open.
        Some("boleto") => BOLETO,
        _ => return Err(Refusal::PaymentDetail("tipoPagamento")),
    };
    let text = |member: &&'static str| {
        let text = members.get(*member).and_then(Value::as_str).ok_or(Refusal::PaymentDetail(member))?;
        Ok(((*member).to_owned(), text.to_owned()))
    };
    let details: BTreeMap<_, _> = shape.iter().map(text).collect::<Result<_, _>>()?;
    if members.len() > details.len() {
        return Err(Refusal::Missing("template.variaveis with no member but its payment's"));
    }
    Ok(details)
}
