//! The base that every simulated Opa! Suite has unless it is given its own, whatever its seed: configuration files can name these ids.

use super::OwnBase;
use serde_json::{Value, json};
use std::borrow::Cow;

use super::variables::{Takes, Variables};

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
/// The one attendant.
pub(crate) const ATTENDANT: &str = "64f1c0de0a1b2c3d4e5f9001";

/// A *canal de comunicação* (contracts §1.4).
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub id: Cow<'static, str>,
    pub name: Cow<'static, str>,
    pub active: bool,
    pub kind: &'static str,
    pub integration: &'static str,
}

static CHANNELS: [Channel; 4] = [
    Channel {
        id: Cow::Borrowed(CHANNEL_WHATSAPP),
        name: Cow::Borrowed("Cobrança WhatsApp"),
        active: true,
        kind: "Whatsapp",
        integration: "dialog360",
    },
    Channel {
        id: Cow::Borrowed(CHANNEL_WHATSAPP_SECOND),
        name: Cow::Borrowed("Atendimento WhatsApp"),
        active: true,
        kind: "Whatsapp",
        integration: "dialog360",
    },
    Channel {
        id: Cow::Borrowed(CHANNEL_INACTIVE),
        name: Cow::Borrowed("WhatsApp antigo"),
        active: false,
        kind: "Whatsapp",
        integration: "dialog360",
    },
    Channel {
        id: Cow::Borrowed(CHANNEL_INSTAGRAM),
        name: Cow::Borrowed("Instagram"),
        active: true,
        kind: "Instagram",
        integration: "facebook",
    },
];

/// A message template (contracts §1.4).
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub id: Cow<'static, str>,
    pub name: Cow<'static, str>,
    pub text: Cow<'static, str>,
    /// The 8-character token that people mistake for the id (contracts §1.1).
    pub channel_token: &'static str,
    /// Whether it takes a payment's details in place of positional values (contracts §1.5).
    pub is_payment: bool,
}

static TEMPLATES: [Template; 9] = [
    Template {
        id: Cow::Borrowed(TEMPLATE_PRE_DUE),
        name: Cow::Borrowed("lembrete_vencimento"),
        text: Cow::Borrowed(
            "Olá {{nome_cliente}}! Sua fatura com valor {{valor}} e com data de vencimento {{vencimento}} já se encontra disponível.",
        ),
        channel_token: "Ab3dEf7h",
        is_payment: false,
    },
    Template {
        id: Cow::Borrowed(TEMPLATE_DUE_DAY),
        name: Cow::Borrowed("vence_hoje"),
        text: Cow::Borrowed("Olá {{nome_cliente}}! Sua fatura com valor {{valor}} vence hoje, {{vencimento}}."),
        channel_token: "Bc4eFg8i",
        is_payment: false,
    },
    Template {
        id: Cow::Borrowed(TEMPLATE_OVERDUE),
        name: Cow::Borrowed("aviso_cobranca"),
        text: Cow::Borrowed("Olá {{1}}! Não identificamos o pagamento da fatura com valor {{2}} e com data de vencimento {{3}}."),
        channel_token: "Cd5fGh9j",
        is_payment: false,
    },
    Template {
        id: Cow::Borrowed(TEMPLATE_SETTLED),
        name: Cow::Borrowed("pagamento_confirmado"),
        text: Cow::Borrowed("Olá {{nome_cliente}}! Recebemos o pagamento da sua fatura com valor {{valor}}. Obrigado!"),
        channel_token: "De6gHi1k",
        is_payment: false,
    },
    Template {
        id: Cow::Borrowed(TEMPLATE_CANCELLED),
        name: Cow::Borrowed("fatura_cancelada"),
        text: Cow::Borrowed("Olá {{nome_cliente}}! Sua fatura com valor {{valor}} foi cancelada."),
        channel_token: "Ef7hIj2l",
        is_payment: false,
    },
    Template {
        id: Cow::Borrowed(TEMPLATE_RENEGOTIATED),
        name: Cow::Borrowed("fatura_renegociada"),
        text: Cow::Borrowed("Olá {{nome_cliente}}! Sua fatura com valor {{valor}} foi renegociada."),
        channel_token: "Fg8iJk3m",
        is_payment: false,
    },
    Template {
        id: Cow::Borrowed(TEMPLATE_WITHOUT_VARIABLES),
        name: Cow::Borrowed("boas_vindas"),
        text: Cow::Borrowed("Olá! Seja bem-vindo."),
        channel_token: "Gh9jKl4n",
        is_payment: false,
    },
    Template {
        id: Cow::Borrowed(TEMPLATE_OF_THE_GUIDE),
        name: Cow::Borrowed("fatura_disponivel"),
        text: Cow::Borrowed("Olá {{1}}! Sua fatura com valor {{2}} e com data de vencimento {{3}} já se encontra disponível."),
        channel_token: "Hi2kLm5o",
        is_payment: false,
    },
    // [inferred] Its text has no placeholder: an object has no order in which it could fill one.
    Template {
        id: Cow::Borrowed(TEMPLATE_PAYMENT),
        name: Cow::Borrowed("fatura_para_pagar"),
        text: Cow::Borrowed("Olá! Sua fatura está pronta para pagamento."),
        channel_token: "Ij3lMn6p",
        is_payment: true,
    },
];

/// The channels and templates that a simulated Opa! Suite has.
#[derive(Debug)]
pub(crate) struct Base {
    pub channels: Vec<Channel>,
    pub templates: Vec<Template>,
}

impl Base {
    /// The one of this module, or exactly what somebody else's has.
    pub fn new(own: Option<&OwnBase>) -> Self {
        match own {
            None => Self { channels: CHANNELS.to_vec(), templates: TEMPLATES.to_vec() },
            Some(own) => Self {
                channels: own.channels.iter().map(|id| Channel::own(id)).collect(),
                templates: own.templates.iter().map(|(id, takes)| Template::own(id, *takes)).collect(),
            },
        }
    }

    pub fn channel(&self, id: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    pub fn template(&self, id: &str) -> Option<&Template> {
        self.templates.iter().find(|template| template.id == id)
    }
}

impl Channel {
    /// A WhatsApp number that is in use.
    fn own(id: &str) -> Self {
        Self { id: Cow::Owned(id.to_owned()), ..CHANNELS[0].clone() }
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
    /// One whose text says nothing but its values.
    fn own(id: &str, takes: Takes) -> Self {
        let placeholders = match takes {
            Takes::Positional(number) => number,
            Takes::Payment => 0,
        };
        let values: Vec<String> = (1..=placeholders).map(|number| format!("{{{{{number}}}}}")).collect();
        let text = format!("Mensagem simulada. {}", values.join(", "));
        Self {
            id: Cow::Owned(id.to_owned()),
            name: Cow::Owned(format!("modelo_{id}")),
            text: Cow::Owned(text),
            channel_token: "Ij3mNo6p",
            is_payment: matches!(takes, Takes::Payment),
        }
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
        if self.is_payment {
            record["paymentDetailTemplate"] = json!(true);
        }
        record
    }

    /// What a send must bring (contracts §1.5).
    pub fn takes(&self) -> Takes {
        if self.is_payment { Takes::Payment } else { Takes::Positional(self.placeholders()) }
    }

    /// How many values a send must bring: the placeholders of the text, named or numbered, in order of appearance
    /// (contracts §1.4). Each appearance counts, also of a repeated name, which is the simulator's choice.
    fn placeholders(&self) -> usize {
        placeholders(&self.text).count()
    }

    /// The text as the contact reads it; a payment's details stand beside it.
    pub fn rendered(&self, variables: &Variables) -> String {
        let values = variables.positional();
        let mut text = String::with_capacity(self.text.len());
        let mut end = 0;
        for ((start, after), value) in placeholders(&self.text).zip(values) {
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
            assert_eq!(Base::new(None).template(id).map(Template::placeholders), Some(3), "{id}");
        }
    }

    #[test]
    fn values_are_filled_in_by_position_whatever_the_names() {
        let values = Variables::Positional(["Ana", "R$1,00", "01/02/2026"].map(str::to_owned).into());
        let text = Base::new(None).template(TEMPLATE_DUE_DAY).map(|template| template.rendered(&values));
        assert_eq!(text.as_deref(), Some("Olá Ana! Sua fatura com valor R$1,00 vence hoje, 01/02/2026."));
    }

    #[test]
    fn every_id_is_24_lower_case_hex_digits() {
        let ids = CHANNELS.iter().map(|channel| &channel.id).chain(TEMPLATES.iter().map(|template| &template.id));
        for id in ids {
            assert!(id.len() == 24 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        }
    }
}
