//! The resources that can be listed, each a view on the books.

use chrono::{Days, NaiveDate};

use super::OwnSender;
use super::books::Books;
use super::columns::{
    CIDADE, CLIENTE, CLIENTE_CONTRATO, Columns, EMPRESA, FILIAL, FN_ARECEBER, GATEWAY_OMNICHANNEL, PARAMETROS, UF,
};
use super::customers::{Contract, Customer};
use super::payment_codes::{boleto_line, pix_txid};
use super::people::{CITIES, STATES};
use super::provider::{OddTitle, Provider, Title, TitleStatus};
use super::table::Table;
use super::value::Value;
use crate::mix::draw;

const RECEIPT: u64 = 401;
const UPDATE: u64 = 402;
const BRANCHES: u64 = 2;

/// `fn_areceber` (contracts §2.2).
pub(crate) struct Titles<'b>(pub &'b Books);

/// `cliente` (contracts §2.3).
pub(crate) struct Customers<'b>(pub &'b Provider);

/// `cliente_contrato` (contracts §2.3).
pub(crate) struct Contracts<'b>(pub &'b Provider);

/// `parametros` (contracts §2.6).
pub(crate) struct Parameters<'s>(pub &'s OwnSender);

/// `gateway_omnichannel` (contracts §2.6).
pub(crate) struct Gateways<'s>(pub &'s OwnSender);

/// A few rows that are always the same: `cidade`, `uf`, `filial`, `empresa`.
#[derive(Clone, Copy)]
pub(crate) enum Fixed {
    Cities,
    States,
    Branches,
    Company,
}

impl Table for Titles<'_> {
    type Row = Title;
    const TOTAL_IS_TEXT: bool = true;

    fn name(&self) -> &'static str {
        "fn_areceber"
    }

    fn columns(&self) -> Columns {
        FN_ARECEBER
    }

    fn last_id(&self) -> u64 {
        self.0.last_title_id()
    }

    fn row(&self, id: u64) -> Option<Title> {
        self.0.title(id)
    }

    fn version(&self) -> u64 {
        self.0.version
    }

    fn value(&self, title: &Title, column: &str) -> Option<Value> {
        let seed = self.0.provider.seed;
        let receipt = || draw(seed, RECEIPT, title.id);
        let one_off = || receipt() % 50 == 7;
        let by_boleto = || receipt() % 10 < 6 && title.odd != Some(OddTitle::WithoutDueDate);
        let received_on = || title.ended_on.filter(|_| title.status == TitleStatus::Received);
        let cancelled_on = || title.ended_on.filter(|_| title.status == TitleStatus::Cancelled);
        Some(match column {
            "id" | "documento" | "id_saida" => Value::Number(title.id),
            "id_cliente" => match (title.odd == Some(OddTitle::WithoutCustomer), title.id % 2) {
                (false, _) => Value::Number(title.customer),
                (true, 0) => Value::text("0"),
                (true, _) => Value::text(""),
            },
            "filial_id" => Value::Number(1 + title.customer % BRANCHES),
            "status" => Value::text(match title.status {
                TitleStatus::Open => "A",
                TitleStatus::Partial => "P",
                TitleStatus::Received => "R",
                TitleStatus::Cancelled => "C",
            }),
            "valor" => Value::Cents(title.amount_cents),
            "valor_recebido" => Value::Cents(title.received_cents),
            "valor_aberto" => Value::Cents(if title.is_open() { title.amount_cents - title.received_cents } else { 0 }),
            "valor_cancelado" if title.status == TitleStatus::Cancelled => {
                Value::Cents(title.amount_cents - title.received_cents)
            }
            "data_emissao" => Value::Date(Some(title.issued_on)),
            "data_inicial" => Value::Date(Some(title.due_on - Days::new(30))),
            "data_final" => Value::Date(Some(title.due_on)),
            "data_vencimento" => Value::Date((title.odd != Some(OddTitle::WithoutDueDate)).then_some(title.due_on)),
            "pagamento_data" | "baixa_data" | "credito_data" => Value::DateOrEmpty(received_on()),
            "data_cancelamento" => Value::DateOrEmpty(cancelled_on()),
            "pagamento_valor" if title.status == TitleStatus::Received => Value::Cents(title.amount_cents),
            "liberado" => flag(title.odd != Some(OddTitle::Unreleased)),
            "aguardando_confirmacao_pagamento" => flag(title.odd == Some(OddTitle::AwaitingConfirmation) && title.is_open()),
            "titulo_protestado" => flag(title.odd == Some(OddTitle::Protested)),
            // Contracts §2.2: `S` is what the vendor's sample of an ordinary title has.
            "previsao" => Value::text(if title.odd == Some(OddTitle::Forecast) { "M" } else { "S" }),
            // Contracts §2.2: one-off titles have only `id_contrato_avulso`.
            "id_contrato" => {
                if one_off() {
                    Value::text("")
                } else {
                    Value::Number(title.contract)
                }
            }
            "id_contrato_avulso" => {
                if one_off() {
                    Value::Number(title.contract)
                } else {
                    Value::text("")
                }
            }
            "id_renegociacao" => title.renegotiation.map_or(Value::text(""), Value::Number),
            "id_renegociacao_novo" => title.replaces.map_or(Value::text(""), Value::Number),
            "tipo_renegociacao" if title.renegotiation.is_some() => Value::text("R"),
            "titulo_renegociado" => flag(title.renegotiation.is_some()),
            "id_carteira_cobranca" => Value::Number(1 + title.contract % 3),
            "tipo_recebimento" => Value::text(match receipt() % 10 {
                0..6 => "Boleto",
                6..8 => "Gateway",
                _ => "Pix",
            }),
            "linha_digitavel" if by_boleto() => Value::text(boleto_line(title.id, title.amount_cents, title.due_on)),
            // Contracts §2.2: in practice the txid, not the Pix code.
            "pix_txid" if receipt() % 10 >= 8 => Value::text(pix_txid(title.id)),
            "ultima_atualizacao" => Value::text(match title.changed_at {
                Some(at) => at.format("%Y-%m-%d %H:%M:%S").to_string(),
                None => updated(title.changed_on, draw(seed, UPDATE, title.id)),
            }),
            _ => return None,
        })
    }
}

impl Table for Customers<'_> {
    type Row = Customer;
    const TOTAL_IS_TEXT: bool = false;

    fn name(&self) -> &'static str {
        "cliente"
    }

    fn columns(&self) -> Columns {
        CLIENTE
    }

    fn last_id(&self) -> u64 {
        self.0.customers
    }

    fn row(&self, id: u64) -> Option<Customer> {
        self.0.customer(id)
    }

    fn version(&self) -> u64 {
        0
    }

    fn value(&self, customer: &Customer, column: &str) -> Option<Value> {
        Some(match column {
            "id" => Value::Number(customer.id),
            "razao" => Value::text(customer.name.clone()),
            "fantasia" => Value::text(if customer.company { customer.name.clone() } else { String::new() }),
            "cnpj_cpf" => Value::text(customer.tax_id.clone()),
            "tipo_pessoa" => Value::text(if customer.company { "J" } else { "F" }),
            "whatsapp" => Value::text(customer.whatsapp.clone()),
            "telefone_celular" => Value::text(customer.mobile.clone()),
            "email" | "hotsite_email" => Value::text(format!("cliente{}@example.invalid", customer.id)),
            "cidade" => Value::Number(customer.city.id),
            "uf" => Value::Number(state_id(customer.state?)),
            "filial_id" => Value::Number(1 + customer.id % BRANCHES),
            "id_tipo_cliente" => Value::Number(1 + customer.id % 4),
            // Contracts §2.3: unchecked arrives empty, not N.
            "participa_cobranca" => Value::text(if customer.in_dunning { "S" } else { "" }),
            "participa_pre_cobranca" => flag(customer.in_pre_due),
            // The record carries secrets, as the real one does: a leak test can look for them.
            "senha" => Value::text(format!("segredo-{}", customer.id)),
            "data_nascimento" => Value::Date(Some(customer.born_on)),
            "endereco" => Value::text("Rua do Simulador"),
            "numero" => Value::Number(customer.id % 2000 + 1),
            "ultima_atualizacao" => {
                let drawn = draw(self.0.seed, UPDATE, customer.id);
                Value::text(updated(self.0.opened_on - Days::new(1 + drawn % 300), drawn >> 16))
            }
            _ => return None,
        })
    }
}

impl Table for Contracts<'_> {
    type Row = Contract;
    const TOTAL_IS_TEXT: bool = true;

    fn name(&self) -> &'static str {
        "cliente_contrato"
    }

    fn columns(&self) -> Columns {
        CLIENTE_CONTRATO
    }

    fn last_id(&self) -> u64 {
        self.0.contracts()
    }

    fn row(&self, id: u64) -> Option<Contract> {
        self.0.contract(id)
    }

    fn version(&self) -> u64 {
        0
    }

    fn value(&self, contract: &Contract, column: &str) -> Option<Value> {
        Some(match column {
            "id" => Value::Number(contract.id),
            "id_cliente" => Value::Number(contract.customer),
            "id_filial" => Value::Number(1 + contract.customer % BRANCHES),
            "status" => Value::text(contract.status),
            "status_internet" => Value::text(if contract.status == "A" { "A" } else { "D" }),
            "aviso_atraso" => flag(contract.warns_of_delay),
            "nao_avisar_ate" => Value::Date(contract.no_warning_until),
            "id_carteira_cobranca" => Value::Number(1 + contract.id % 3),
            _ => return None,
        })
    }
}

impl Table for Parameters<'_> {
    type Row = ();
    const TOTAL_IS_TEXT: bool = false;

    fn name(&self) -> &'static str {
        "parametros"
    }

    fn columns(&self) -> Columns {
        PARAMETROS
    }

    fn last_id(&self) -> u64 {
        1
    }

    fn row(&self, id: u64) -> Option<()> {
        (id == 1).then_some(())
    }

    fn version(&self) -> u64 {
        0
    }

    fn value(&self, (): &(), column: &str) -> Option<Value> {
        Some(match column {
            "id" => Value::Number(1),
            "ativar_regua_cobranca" => flag(self.0.regua),
            "utiliza_cobranca_auto" => flag(self.0.crm),
            "gateway_omnichannel_default" if !self.0.gateways.is_empty() => Value::Number(1),
            _ => return None,
        })
    }
}

impl Table for Gateways<'_> {
    type Row = (u64, String);
    const TOTAL_IS_TEXT: bool = false;

    fn name(&self) -> &'static str {
        "gateway_omnichannel"
    }

    fn columns(&self) -> Columns {
        GATEWAY_OMNICHANNEL
    }

    fn last_id(&self) -> u64 {
        u64::try_from(self.0.gateways.len()).expect("a few")
    }

    fn row(&self, id: u64) -> Option<(u64, String)> {
        let place = usize::try_from(id.checked_sub(1)?).ok()?;
        self.0.gateways.get(place).map(|url| (id, url.clone()))
    }

    fn version(&self) -> u64 {
        0
    }

    fn value(&self, (id, url): &(u64, String), column: &str) -> Option<Value> {
        match column {
            "id" => Some(Value::Number(*id)),
            "url" => Some(Value::text(url.clone())),
            _ => None,
        }
    }
}

impl Table for Fixed {
    type Row = u64;
    const TOTAL_IS_TEXT: bool = false;

    fn name(&self) -> &'static str {
        match self {
            Self::Cities => "cidade",
            Self::States => "uf",
            Self::Branches => "filial",
            Self::Company => "empresa",
        }
    }

    fn columns(&self) -> Columns {
        match self {
            Self::Cities => CIDADE,
            Self::States => UF,
            Self::Branches => FILIAL,
            Self::Company => EMPRESA,
        }
    }

    fn last_id(&self) -> u64 {
        match self {
            Self::Cities => CITIES.iter().map(|city| city.id).max().unwrap_or(0),
            Self::States => state_id(STATES.len() - 1),
            Self::Branches => BRANCHES,
            Self::Company => 1,
        }
    }

    fn row(&self, id: u64) -> Option<u64> {
        let exists = match self {
            Self::Cities => CITIES.iter().any(|city| city.id == id),
            Self::States | Self::Branches | Self::Company => (1..=self.last_id()).contains(&id),
        };
        exists.then_some(id)
    }

    fn version(&self) -> u64 {
        0
    }

    fn value(&self, id: &u64, column: &str) -> Option<Value> {
        if column == "id" {
            return Some(Value::Number(*id));
        }
        match self {
            Self::Cities => {
                let city = CITIES.iter().find(|city| city.id == *id)?;
                match column {
                    "nome" => Some(Value::text(city.name)),
                    "uf" => Some(Value::Number(state_id(city.state))),
                    _ => None,
                }
            }
            Self::States => {
                let (name, abbreviation) = STATES.get(usize::try_from(*id - 1).ok()?)?;
                match column {
                    "nome" => Some(Value::text(*name)),
                    "sigla" => Some(Value::text(*abbreviation)),
                    _ => None,
                }
            }
            Self::Branches => match column {
                "razao" | "fantasia" => Some(Value::text(format!("Filial {id}"))),
                "cnpj" => Some(Value::text(super::people::cnpj(0, *id))),
                _ => None,
            },
            Self::Company => None,
        }
    }
}

fn flag(yes: bool) -> Value {
    Value::text(if yes { "S" } else { "N" })
}

fn state_id(index: usize) -> u64 {
    u64::try_from(index + 1).expect("there are 27")
}

/// Contracts §2.1: local date and time without a zone.
fn updated(on: NaiveDate, drawn: u64) -> String {
    let second = drawn % 86_400;
    format!("{on} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}
