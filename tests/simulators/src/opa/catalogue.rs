//! The base that every simulated Opa! Suite has, whatever its seed: configuration files can name these ids.

use serde_json::{Value, json};

use super::variables::Variables;

/// The WhatsApp number that is in use.
pub const CHANNEL_WHATSAPP: &str = "64f1c0de0a1b2c3d4e5f6001";
/// A second WhatsApp number that is in use.
pub const CHANNEL_WHATSAPP_SECOND: &str = "64f1c0de0a1b2c3d4e5f6002";
/// A WhatsApp number that was switched off (`status` I).
pub const CHANNEL_INACTIVE: &str = "64f1c0de0a1b2c3d4e5f6003";
/// An Instagram account: templates can't be sent through it.
pub const CHANNEL_INSTAGRAM: &str = "64f1c0de0a1b2c3d4e5f6004";

/// `lembrete_vencimento`: named variables, name, value and due date.
pub const TEMPLATE_PRE_DUE: &str = "64f1c0de0a1b2c3d4e5f7001";
/// `vence_hoje`: named variables, name, value and due date.
pub const TEMPLATE_DUE_DAY: &str = "64f1c0de0a1b2c3d4e5f7002";
/// `aviso_cobranca`: numbered variables, name, value and due date.
pub const TEMPLATE_OVERDUE: &str = "64f1c0de0a1b2c3d4e5f7003";
/// `pagamento_confirmado`: name and value.
pub const TEMPLATE_SETTLED: &str = "64f1c0de0a1b2c3d4e5f7004";
/// `fatura_cancelada`: name and value.
pub const TEMPLATE_CANCELLED: &str = "64f1c0de0a1b2c3d4e5f7005";
/// `fatura_renegociada`: name and value.
pub const TEMPLATE_RENEGOTIATED: &str = "64f1c0de0a1b2c3d4e5f7006";
/// `boas_vindas`: no variable at all.
pub const TEMPLATE_WITHOUT_VARIABLES: &str = "64f1c0de0a1b2c3d4e5f7007";
/// `fatura_disponivel`: the vendor's own example to the letter, numbered variables, name, value and due date.
pub const TEMPLATE_OF_THE_GUIDE: &str = "64f1c0de0a1b2c3d4e5f7008";
/// `fatura_para_pagar`: the payment template (contracts §1.5), which takes the details of a Pix or a boleto and no positional values.
pub const TEMPLATE_PAYMENT: &str = "64f1c0de0a1b2c3d4e5f7f01";

const DEPARTMENT: &str = "64f1c0de0a1b2c3d4e5f8001";
const ATTENDANT: &str = "64f1c0de0a1b2c3d4e5f9001";

/// A *canal de comunicação* (contracts §1.4).
#[derive(Debug)]
pub(crate) struct Channel {
    pub id: &'static str,
    pub name: &'static str,
    pub active: bool,
    pub kind: &'static str,
    pub integration: &'static str,
}

pub(crate) const CHANNELS: [Channel; 4] = [
    Channel { id: CHANNEL_WHATSAPP, name: "Cobrança WhatsApp", active: true, kind: "Whatsapp", integration: "dialog360" },
    Channel {
        id: CHANNEL_WHATSAPP_SECOND,
        name: "Atendimento WhatsApp",
        active: true,
        kind: "Whatsapp",
        integration: "dialog360",
    },
    Channel { id: CHANNEL_INACTIVE, name: "WhatsApp antigo", active: false, kind: "Whatsapp", integration: "dialog360" },
    Channel { id: CHANNEL_INSTAGRAM, name: "Instagram", active: true, kind: "Instagram", integration: "facebook" },
];

/// A message template (contracts §1.4).
#[derive(Debug)]
pub(crate) struct Template {
    pub id: &'static str,
    pub name: &'static str,
    pub text: &'static str,
    /// The 8-character token that people mistake for the id (contracts §1.1).
    pub channel_token: &'static str,
}

pub(crate) const TEMPLATES: [Template; 9] = [
    Template {
        id: TEMPLATE_PRE_DUE,
        name: "lembrete_vencimento",
        text: "Olá {{nome_cliente}}! Sua fatura com valor {{valor}} e com data de vencimento {{vencimento}} já se encontra disponível.",
        channel_token: "Ab3dEf7h",
    },
    Template {
        id: TEMPLATE_DUE_DAY,
        name: "vence_hoje",
        text: "Olá {{nome_cliente}}! Sua fatura com valor {{valor}} vence hoje, {{vencimento}}.",
        channel_token: "Bc4eFg8i",
    },
    Template {
        id: TEMPLATE_OVERDUE,
        name: "aviso_cobranca",
        text: "Olá {{1}}! Não identificamos o pagamento da fatura com valor {{2}} e com data de vencimento {{3}}.",
        channel_token: "Cd5fGh9j",
    },
    Template {
        id: TEMPLATE_SETTLED,
        name: "pagamento_confirmado",
        text: "Olá {{nome_cliente}}! Recebemos o pagamento da sua fatura com valor {{valor}}. Obrigado!",
        channel_token: "De6gHi1k",
    },
    Template {
        id: TEMPLATE_CANCELLED,
        name: "fatura_cancelada",
        text: "Olá {{nome_cliente}}! Sua fatura com valor {{valor}} foi cancelada.",
        channel_token: "Ef7hIj2l",
    },
    Template {
        id: TEMPLATE_RENEGOTIATED,
        name: "fatura_renegociada",
        text: "Olá {{nome_cliente}}! Sua fatura com valor {{valor}} foi renegociada.",
        channel_token: "Fg8iJk3m",
    },
    Template { id: TEMPLATE_WITHOUT_VARIABLES, name: "boas_vindas", text: "Olá! Seja bem-vindo.", channel_token: "Gh9jKl4n" },
    Template {
        id: TEMPLATE_OF_THE_GUIDE,
        name: "fatura_disponivel",
        text: "Olá {{1}}! Sua fatura com valor {{2}} e com data de vencimento {{3}} já se encontra disponível.",
        channel_token: "Hi2kLm5o",
    },
    // [inferred] Its text has no placeholder: an object has no order in which it could fill one.
    Template {
        id: TEMPLATE_PAYMENT,
        name: "fatura_para_pagar",
        text: "Olá! Sua fatura está pronta para pagamento.",
        channel_token: "Ij3lMn6p",
    },
];

impl Channel {
    pub fn find(id: &str) -> Option<&'static Self> {
        CHANNELS.iter().find(|channel| channel.id == id)
    }

    pub fn is_whatsapp(&self) -> bool {
        self.kind == "Whatsapp"
    }

    /// The record in lists (contracts §1.4).
    pub fn record(&self) -> Value {
        json!({
            "_id": self.id, "nome": self.name, "id_atendente": ATTENDANT, "status": if self.active { "A" } else { "I" },
            "canal": self.kind, "integracao": self.integration, "prioridadeListagemAtendimentos": 5,
        })
    }

    /// The record by id: `id_atendente` expanded (contracts §1.3).
    pub fn expanded(&self) -> Value {
        let mut record = self.record();
        record["id_atendente"] = json!({ "_id": ATTENDANT, "nome": ATTENDANT_NAME, "status": "A" });
        record
    }
}

/// The attendant whom an in-service refusal names: errors can echo names (contracts §4, last row).
pub(crate) const ATTENDANT_NAME: &str = "Joana Atendente";

impl Template {
    pub fn find(id: &str) -> Option<&'static Self> {
        TEMPLATES.iter().find(|template| template.id == id)
    }

    /// The record of the general list (contracts §1.4).
    pub fn record(&self) -> Value {
        json!({
            "_id": self.id, "texto": self.text, "atalho": self.name, "tipo_mensagem": "dialog360", "departamentos": [DEPARTMENT],
        })
    }

    /// The record by id: `departamentos` expanded (contracts §1.3).
    pub fn expanded(&self) -> Value {
        let mut record = self.record();
        record["departamentos"] = json!([{ "_id": DEPARTMENT, "nome": "Financeiro", "status": "A" }]);
        record
    }

    /// The richer record of a channel's list (contracts §1.4); what `dados` holds is unknown but that it is JSON inside a string.
    pub fn channel_record(&self) -> Value {
        let mut record = self.record();
        record["identificadorCanal"] = json!(self.channel_token);
        record["dados"] = json!(json!({ "name": self.name, "language": "pt_BR" }).to_string());
        record["anexo"] = Value::Null;
        record["flow"] = Value::Null;
        // [inferred] The contracts name the mark and not its place or value: a member of the richer record, true where it applies.
        if self.is_payment() {
            record["paymentDetailTemplate"] = json!(true);
        }
        record
    }

    /// Whether a send must bring a payment's details in place of positional values (contracts §1.5).
    pub fn is_payment(&self) -> bool {
        self.id == TEMPLATE_PAYMENT
    }

    /// How many values a send must bring: the placeholders of the text, named or numbered, in order of appearance
    /// (contracts §1.4). Each appearance counts, also of a repeated name, which is the simulator's choice.
    pub fn placeholders(&self) -> usize {
        placeholders(self.text).count()
    }

    /// The text as the contact reads it; a payment's details stand beside it.
    pub fn rendered(&self, variables: &Variables) -> String {
        let values = variables.positional();
        let mut text = String::with_capacity(self.text.len());
        let mut end = 0;
        for ((start, after), value) in placeholders(self.text).zip(values) {
            text.push_str(&self.text[end..start]);
            text.push_str(value);
            end = after;
        }
        text.push_str(&self.text[end..]);
        text
    }
}

/// The byte ranges of `{{…}}` in `text`.
fn placeholders(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find("{{")?;
        let end = start + text[start..].find("}}")? + 2;
        from = end;
        Some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_dunning_templates_take_name_value_and_due_date() {
        for id in [TEMPLATE_PRE_DUE, TEMPLATE_DUE_DAY, TEMPLATE_OVERDUE] {
            assert_eq!(Template::find(id).map(Template::placeholders), Some(3), "{id}");
        }
    }

    #[test]
    fn values_are_filled_in_by_position_whatever_the_names() {
        let values = Variables::Positional(["Ana", "R$1,00", "01/02/2026"].map(str::to_owned).into());
        let text = Template::find(TEMPLATE_DUE_DAY).map(|template| template.rendered(&values));
        assert_eq!(text.as_deref(), Some("Olá Ana! Sua fatura com valor R$1,00 vence hoje, 01/02/2026."));
    }

    #[test]
    fn every_id_is_24_lower_case_hex_digits() {
        let ids = CHANNELS.iter().map(|channel| channel.id).chain(TEMPLATES.iter().map(|template| template.id));
        for id in ids {
            assert!(id.len() == 24 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        }
    }
}
