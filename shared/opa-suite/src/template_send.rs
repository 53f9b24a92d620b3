//! The request that sends one template to one contact (contracts §1.5).

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
    /// The values of the template's placeholders, in order of appearance. Sent as they are: Opa! Suite doesn't clean them either.
    pub variables: Vec<String>,
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
            .field("variables", &self.variables.len())
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
            template: TemplateRef { id: &self.template_id, variables: &self.variables, media: self.header_media.as_deref() },
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
    #[serde(rename = "variaveis", skip_serializing_if = "<[String]>::is_empty")]
    variables: &'a [String],
    #[serde(rename = "midiaAlternativa", skip_serializing_if = "Option::is_none")]
    media: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> SendTemplate {
        SendTemplate {
            phone_e164: "+5511900000000".into(),
            template_id: "b1c2d3e4f5a60718293a4b5c".into(),
            variables: vec!["Fulana".into(), "R$99,90".into()],
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
            variables: vec![],
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

    #[test]
    fn its_debug_text_shows_no_personal_data() {
        let shown = format!("{:?}", request());
        assert!(!shown.contains("5511") && !shown.contains("Fulana") && !shown.contains("99,90"), "{shown}");
    }
}
