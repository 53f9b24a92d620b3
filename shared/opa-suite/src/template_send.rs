//! The request that sends one template to one contact (contracts §1.5).

use regua_domain::filling::Values;
use regua_domain::payment::{Payment, PaymentCode};
use regua_domain::payment_codes::PixKeyKind;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// One template for one contact.
#[derive(Clone, PartialEq, Eq)]
pub struct SendTemplate {
    /// `+`, country code and number, digits only: `+5511900000000`.
    pub phone_e164: String,
    /// The template's `_id`.
    pub template_id: String,
    /// The values of the template's placeholders, in order of appearance, or a payment. Sent as they are: Opa! Suite doesn't clean them either.
    pub values: Values,
    /// The channel's `_id`.
    pub channel_id: String,
    /// Comes back with the receipt, if receipts exist. Ids only, no personal data.
    pub metadata: Value,
    /// An address that replaces the media of the template's header.
    pub header_media: Option<String>,
    /// Whether to write into an open service. False for collection, which must not interrupt a talk.
    pub allow_in_service: bool,
}

impl fmt::Debug for SendTemplate {
    /// Without phone, values and media address: they are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendTemplate")
            .field("template_id", &self.template_id)
            .field("variables", &self.values.by_position().len())
            .field("payment", &self.values.payment().map(|payment| payment.code.means()))
            .field("channel_id", &self.channel_id)
            .field("metadata", &self.metadata)
            .field("allow_in_service", &self.allow_in_service)
            .finish_non_exhaustive()
    }
}

impl SendTemplate {
    /// The request's JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            contact: Contact { phone: &self.phone_e164 },
            template: TemplateRef {
                id: &self.template_id,
                variables: Variables::of(&self.values),
                media: self.header_media.as_deref(),
            },
            channel: &self.channel_id,
            allow_in_service: self.allow_in_service,
            metadata: &self.metadata,
        };
        serde_json::to_vec(&wire).expect("text, flags and JSON values are JSON")
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "contato")]
    contact: Contact<'a>,
    template: TemplateRef<'a>,
    #[serde(rename = "canal")]
    channel: &'a str,
    #[serde(rename = "allowSendingToStartedCustomerService")]
    allow_in_service: bool,
    #[serde(skip_serializing_if = "Value::is_null")]
    metadata: &'a Value,
}

#[derive(Serialize)]
struct Contact<'a> {
    #[serde(rename = "canalCliente")]
    phone: &'a str,
}

#[derive(Serialize)]
struct TemplateRef<'a> {
    #[serde(rename = "_id")]
    id: &'a str,
    #[serde(rename = "variaveis", skip_serializing_if = "Option::is_none")]
    variables: Option<Variables<'a>>,
    #[serde(rename = "midiaAlternativa", skip_serializing_if = "Option::is_none")]
    media: Option<&'a str>,
}

/// A list by position, or a payment template's object (contracts §1.5).
#[derive(Serialize)]
#[serde(untagged)]
enum Variables<'a> {
    ByPosition(&'a [String]),
    Payment {
        #[serde(rename = "valor")]
        amount: String,
        #[serde(flatten)]
        code: Code<'a>,
    },
}

#[derive(Serialize)]
#[serde(tag = "tipoPagamento", rename_all = "lowercase")]
enum Code<'a> {
    Pix {
        #[serde(rename = "codigo")]
        code: &'a str,
        #[serde(rename = "merchantName")]
        merchant_name: &'a str,
        #[serde(rename = "pixKey")]
        key: &'a str,
        #[serde(rename = "pixKeyType")]
        key_type: &'static str,
    },
    Boleto {
        #[serde(rename = "linhaDigitavel")]
        digitable_line: &'a str,
    },
}

impl<'a> Variables<'a> {
    /// `None` for a template without placeholders.
    fn of(values: &'a Values) -> Option<Self> {
        match values {
            Values::ByPosition(values) => (!values.is_empty()).then_some(Self::ByPosition(values)),
            Values::Payment(payment) => Some(Self::Payment { amount: payment.amount_text(), code: Code::of(payment) }),
        }
    }
}

impl<'a> Code<'a> {
    fn of(payment: &'a Payment) -> Self {
        match &payment.code {
            PaymentCode::Pix { code, merchant_name, key } => {
                Self::Pix { code, merchant_name, key: key.as_str(), key_type: key_type(key.kind()) }
            }
            PaymentCode::Boleto { digitable_line } => Self::Boleto { digitable_line },
        }
    }
}

/// The key's type in WhatsApp's words; that Opa! Suite takes the same ones is inferred (Meta's payments API for Brazil, `key_type`).
const fn key_type(kind: PixKeyKind) -> &'static str {
    match kind {
        PixKeyKind::Cpf => "CPF",
        PixKeyKind::Cnpj => "CNPJ",
        PixKeyKind::Phone => "PHONE",
        PixKeyKind::Email => "EMAIL",
        PixKeyKind::Evp => "EVP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::money::Centavos;
    use regua_domain::payment::{AmountUnit, MEMBERS};
    use regua_domain::payment_codes::PixKey;
    use serde_json::json;

    fn request() -> SendTemplate {
        SendTemplate {
            phone_e164: "+5511900000000".into(),
            template_id: "b1c2d3e4f5a60718293a4b5c".into(),
            values: Values::ByPosition(vec!["Fulana".into(), "R$99,90".into()]),
            channel_id: "a1b2c3d4e5f60718293a4b5c".into(),
            metadata: json!({ "message": "0192" }),
            header_media: None,
            allow_in_service: false,
        }
    }

    #[track_caller]
    fn check(request: &SendTemplate, expected: &Value) {
        let sent: Value = serde_json::from_slice(&request.to_json()).expect("JSON");
        assert_eq!(&sent, expected);
    }

    #[test]
    fn the_request_has_the_contracts_shape() {
        check(
            &request(),
            &json!({
                "contato": { "canalCliente": "+5511900000000" },
                "template": { "_id": "b1c2d3e4f5a60718293a4b5c", "variaveis": ["Fulana", "R$99,90"] },
                "canal": "a1b2c3d4e5f60718293a4b5c",
                "allowSendingToStartedCustomerService": false,
                "metadata": { "message": "0192" },
            }),
        );
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let bare = SendTemplate {
            values: Values::ByPosition(vec![]),
            metadata: Value::Null,
            header_media: Some("https://example.invalid/boleto.pdf".into()),
            allow_in_service: true,
            ..request()
        };
        check(
            &bare,
            &json!({
                "contato": { "canalCliente": "+5511900000000" },
                "template": { "_id": "b1c2d3e4f5a60718293a4b5c", "midiaAlternativa": "https://example.invalid/boleto.pdf" },
                "canal": "a1b2c3d4e5f60718293a4b5c",
                "allowSendingToStartedCustomerService": true,
            }),
        );
    }

    fn payment(unit: AmountUnit, code: PaymentCode) -> SendTemplate {
        let values = Values::Payment(Box::new(Payment { amount: Centavos(12_300), unit, code }));
        SendTemplate { values, header_media: Some("https://example.invalid/boleto.pdf".into()), ..request() }
    }

    fn pix(kind: PixKeyKind, key: &str) -> PaymentCode {
        let key = PixKey::parse(kind, key).expect("a key");
        PaymentCode::Pix { code: "000201…".into(), merchant_name: "Provedor".into(), key }
    }

    #[test]
    fn a_payment_is_an_object_in_place_of_the_list() {
        let template =
            |request: &SendTemplate| serde_json::from_slice::<Value>(&request.to_json()).expect("JSON")["template"].clone();
        assert_eq!(
            template(&payment(AmountUnit::Centavos, pix(PixKeyKind::Cnpj, "11.222.333/0001-81"))),
            json!({
                "_id": "b1c2d3e4f5a60718293a4b5c",
                "variaveis": {
                    "valor": "12300", "tipoPagamento": "pix", "codigo": "000201…", "merchantName": "Provedor",
                    "pixKey": "11222333000181", "pixKeyType": "CNPJ",
                },
                "midiaAlternativa": "https://example.invalid/boleto.pdf",
            }),
        );
        let digitable_line = "00190500954014481606906809350314337370000000100";
        assert_eq!(
            template(&payment(AmountUnit::Reais, PaymentCode::Boleto { digitable_line: digitable_line.into() }))["variaveis"],
            json!({ "valor": "123.00", "tipoPagamento": "boleto", "linhaDigitavel": digitable_line }),
        );
    }

    /// The members are those that a template check leaves to Opa! Suite.
    #[test]
    fn every_member_of_a_payment_is_known_as_one() {
        let line = PaymentCode::Boleto { digitable_line: "0".into() };
        for code in [pix(PixKeyKind::Email, "pix@provedor.example"), line] {
            let sent: Value = serde_json::from_slice(&payment(AmountUnit::Reais, code).to_json()).expect("JSON");
            let members = sent["template"]["variaveis"].as_object().expect("an object");
            assert!(members.keys().all(|member| MEMBERS.contains(&member.as_str())), "{members:?}");
        }
    }

    #[test]
    fn its_debug_text_shows_no_personal_data() {
        let paid = format!("{:?}", payment(AmountUnit::Reais, pix(PixKeyKind::Email, "pix@provedor.example")));
        for secret in ["5511", "000201", "Provedor", "provedor", "123", "example.invalid"] {
            assert!(!paid.replace("0192", "").replace("b1c2d3e4f5a60718293a4b5c", "").contains(secret), "{secret}: {paid}");
        }
        let shown = format!("{:?}", request());
        assert!(!shown.contains("5511") && !shown.contains("Fulana") && !shown.contains("99,90"), "{shown}");
    }
}
