//! `regua preview` and `regua notice`: what customers read, and the templates it is read from.

use crate::commands::changes::who;
use crate::commands::{Outcome, Session};
use crate::operator::Request;
use crate::output::{self, Format, NOTHING_CONFIGURED, remark, say};
use chrono::NaiveDate;
use regua_domain::configuration::Notice;
use regua_domain::filling::Values;
use regua_domain::ids::InvoiceId;
use regua_domain::payment::{Payment, PaymentCode};
use regua_domain::phone;
use regua_domain::provider::Provider;
use regua_domain::template::{Line, differences};
use regua_domain::variables::{self, Circumstances, Facts};
use regua_ledger::evaluation::Candidate;
use regua_ledger::templates::Template;
use serde_json::{Value, json};

impl Session {
    pub async fn preview(&self, notice: &str, invoice: &str, on: Option<NaiveDate>, format: Format) -> anyhow::Result<Outcome> {
        let Some(configuration) = self.ledger.configuration().await? else {
            output::note(NOTHING_CONFIGURED);
            return Ok(Outcome::DidNotHold);
        };
        let Some(notice) = configuration.notices.iter().find(|known| known.name == notice) else {
            return Ok(Outcome::Misused(format!("there is no notice named {notice:?}: see `regua notice list`")));
        };
        let settings = self.ledger.settings().await?;
        let now = self.ledger.now().await?;
        let today = on.unwrap_or_else(|| settings.times().date_at(now));
        let found = self.ledger.candidates_by_id(&InvoiceId(invoice.to_owned())).await?;
        if found.is_empty() {
            remark!("no source has an invoice {invoice}: it is read from the ERP when it is open and near its due date");
            return Ok(Outcome::DidNotHold);
        }
        let templates = self.ledger.templates().await?;
        let template = templates.iter().find(|template| is_of(template, notice));
        let mut written = true;
        for (_, candidate) in &found {
            let told = previewed(notice, template, candidate, &settings.provider, today);
            written &= told["missing"].is_null();
            match format {
                Format::Json => output::line(&told),
                Format::Human => print_preview(&told),
            }
        }
        Ok(if written { Outcome::Done } else { Outcome::DidNotHold })
    }

    pub async fn notices(&self, format: Format) -> anyhow::Result<Outcome> {
        let Some(configuration) = self.ledger.configuration().await? else {
            output::note(NOTHING_CONFIGURED);
            return Ok(Outcome::DidNotHold);
        };
        let templates = self.ledger.templates().await?;
        for notice in &configuration.notices {
            let told = notice_json(notice, templates.iter().find(|template| is_of(template, notice)));
            match format {
                Format::Json => output::line(&told),
                Format::Human => print_notice(&told),
            }
        }
        Ok(Outcome::Done)
    }

    pub async fn accept_template(&self, notice: String, why: String) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::AcceptTemplate { notice, why, by: who() }, Format::Human).await
    }

    pub async fn test_notice(
        &self,
        notice: String,
        phone: String,
        invoice: Option<String>,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        let invoice = invoice.map(InvoiceId);
        self.submit_and_tell(Request::TestSend { notice, phone, invoice, by: who() }, format).await
    }
}

fn is_of(template: &Template, notice: &Notice) -> bool {
    template.integration == notice.integration && template.template_id == notice.template
}

/// What one customer would read: `text`, or what keeps it from being written in `missing`.
fn previewed(
    notice: &Notice,
    template: Option<&Template>,
    candidate: &Candidate,
    provider: &Provider,
    today: NaiveDate,
) -> Value {
    let Candidate { invoice, customer, totals, .. } = candidate;
    let circumstances = Circumstances { today, provider, totals: *totals, renegotiated_to: None };
    let filled = match (customer, notice.filling()) {
        (None, _) => Err("the invoice's customer isn't in the mirror".to_owned()),
        (Some(_), Err(error)) => Err(error.to_string()),
        (Some(customer), Ok(filling)) => {
            filling.render(&Facts { customer, invoice: Some(invoice), circumstances }).map_err(|error| error.to_string())
        }
    };
    let accepted = template.and_then(|template| template.text.as_deref());
    let (values, media) =
        (filled.as_ref().map(|filled| &filled.values), filled.as_ref().ok().and_then(|filled| filled.media.as_ref()));
    let text = accepted.zip(values.ok()).map(|(text, values)| variables::fill(text, values.by_position()));
    let phone = customer.as_ref().map(|customer| phone::choose(&customer.whatsapp, &customer.mobile_phone));
    json!({
        "notice": notice.name, "template": notice.template, "invoice": invoice.id, "on": today,
        "text": text, "values": values.ok(), "media": media, "missing": values.err(),
        "to": phone.as_ref().and_then(|phone| phone.as_ref().ok()).map(|phone| format!("…{}", &phone.e164()[10..])),
        "no_phone": phone.and_then(Result::err).map(|refusal| refusal.to_string()),
        "template_state": state(template),
    })
}

fn print_preview(told: &Value) {
    let field = |name: &str| told[name].as_str();
    let to = field("to").map_or_else(|| format!("nobody: {}", field("no_phone").unwrap_or("no customer")), str::to_owned);
    say!("to {to}, on {}", field("on").unwrap_or_default());
    match (field("missing"), field("text")) {
        (Some(missing), _) => say!("nothing would be sent: {missing}"),
        (None, Some(text)) => say!("\n{text}"),
        (None, None) => {
            say!(
                "the template's text isn't known yet: it is read by `regua config apply` and update-collections; its values are"
            );
            for value in told["values"].as_array().into_iter().flatten() {
                say!("  {}", value.as_str().unwrap_or_default());
            }
        }
    }
    for line in beside_the_text(told) {
        say!("{line}");
    }
    match field("template_state") {
        Some("changed") => {
            say!("\nThe template's text changed since it was accepted, and its messages are stopped: see `regua notice list`.");
        }
        Some("gone") => say!("\nThe template is gone from Opa! Suite, and its messages are stopped."),
        _ => {}
    }
}

/// What a customer gets beside the template's text: the payment and the header's media; from JSON with `values` and `media`.
pub(super) fn beside_the_text(told: &Value) -> Vec<String> {
    let payment = serde_json::from_value::<Values>(told["values"].clone()).ok();
    let payment = payment.as_ref().and_then(Values::payment).map(payment_line);
    payment.into_iter().chain(told["media"].as_str().map(|media| format!("header media: {media}"))).collect()
}

/// `payment: Pix, R$123,00 (sent as "12300"), code 000201…, to … (evp key …)`.
fn payment_line(payment: &Payment) -> String {
    let (means, code) = match &payment.code {
        PaymentCode::Pix { code, merchant_name, key } => {
            ("Pix", format!("code {code}, to {merchant_name} ({} key {})", key.kind(), key.as_str()))
        }
        PaymentCode::Boleto { digitable_line } => ("boleto", format!("line {digitable_line}")),
    };
    format!("payment: {means}, {} (sent as {:?}), {code}", payment.amount.format_brl(), payment.amount_text())
}

/// `accepted`, `changed`, `gone`, or `unseen`.
fn state(template: Option<&Template>) -> &'static str {
    match template.map(|template| (template.text.as_deref(), template.seen_text.as_deref())) {
        None => "unseen",
        Some((_, None)) => "gone",
        Some((accepted, seen)) if accepted == seen => "accepted",
        Some(_) => "changed",
    }
}

fn notice_json(notice: &Notice, template: Option<&Template>) -> Value {
    json!({
        "notice": notice.name, "channel": notice.channel, "template": notice.template, "template_name": template.map(|template| &template.name),
        "variables": notice.variables, "payment": notice.payment.map(|terms| terms.means), "payment_amount": notice.payment.map(|terms| terms.amount),
        "media": notice.media, "state": state(template), "text": template.and_then(|template| template.text.as_deref()),
        "seen_at": template.map(|template| template.seen_at), "accepted_by": template.and_then(|template| template.accepted_by.as_deref()),
        "differences": template.filter(|_| state(template) == "changed").map(differences_of),
    })
}

/// As `diff` writes them: `- ` was accepted, `+ ` is there now.
fn differences_of(template: &Template) -> Vec<String> {
    let (old, new) = (template.text.as_deref().unwrap_or_default(), template.seen_text.as_deref().unwrap_or_default());
    differences(old, new)
        .into_iter()
        .map(|line| match line {
            Line::Same(text) => format!("  {text}"),
            Line::Old(text) => format!("- {text}"),
            Line::New(text) => format!("+ {text}"),
        })
        .collect()
}

/// The templates that stop their messages, for `regua status`.
pub(crate) fn not_as_accepted(templates: &[Template]) -> Vec<Value> {
    let of = |template: &Template| {
        json!({
            "template": template.template_id, "name": template.name, "state": state(Some(template)), "differences": differences_of(template),
        })
    };
    templates.iter().filter(|template| state(Some(template)) != "accepted").map(of).collect()
}

pub(super) fn print_not_as_accepted(told: &Value) {
    let field = |name: &str| told[name].as_str().unwrap_or_default();
    say!("TEMPLATE     {} {} is {}: see `regua notice list`", field("template"), field("name"), field("state"));
    for line in told["differences"].as_array().into_iter().flatten() {
        say!("  {}", line.as_str().unwrap_or_default());
    }
}

/// Tests by outcome; one without an outcome may have been sent.
pub(crate) fn tests_json(counts: &[(Option<String>, u64)]) -> Value {
    counts
        .iter()
        .map(|(outcome, n)| (outcome.clone().unwrap_or_else(|| "unknown".to_owned()), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn print_notice(told: &Value) {
    let field = |name: &str| told[name].as_str().unwrap_or_default();
    say!("{}: template {} {} ({})", field("notice"), field("template"), field("template_name"), field("state"));
    match told["payment"].as_str() {
        Some(means) => say!("  payment by {means}, its amount in {}", field("payment_amount")),
        None => say!("  variables {}", field("variables")),
    }
    if let Some(media) = told["media"].as_str() {
        say!("  header media {media}");
    }
    match told["differences"].as_array() {
        Some(lines) => {
            for line in lines {
                say!("  {}", line.as_str().unwrap_or_default());
            }
            say!("  its messages are stopped until `regua notice accept {:?} --why TEXT`", field("notice"));
        }
        None => {
            for line in field("text").lines() {
                say!("  {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::filling::Filling;
    use regua_domain::media::Media;
    use regua_domain::payment::{AmountUnit, PaymentMeans, PaymentTerms};
    use regua_domain::sample::{Sample, sample};

    /// The lines beside the text of the sample's message.
    fn lines(payment: Option<PaymentTerms>, media: Option<&str>) -> Vec<String> {
        let today = "2026-03-09".parse().expect("a date");
        let Sample { customer, invoice, .. } = sample(today);
        let filling = Filling::of("", payment, media.map(|text| Media::parse(text).expect("media"))).expect("no variables");
        let circumstances = Circumstances { today, provider: &Provider::default(), totals: None, renegotiated_to: None };
        let filled =
            filling.render(&Facts { customer: &customer, invoice: Some(&invoice), circumstances }).expect("it can be sent");
        beside_the_text(&json!({ "values": filled.values, "media": filled.media }))
    }

    #[test]
    fn a_preview_tells_the_payment_and_the_media_as_they_are_sent() {
        let by = |means, amount| Some(PaymentTerms { means, amount });
        let pix = lines(by(PaymentMeans::Pix, AmountUnit::Centavos), Some("#areceber_link#"));
        assert!(pix[0].starts_with("payment: Pix, R$123,00 (sent as \"12300\"), code 000201"), "{pix:?}");
        assert!(pix[0].ends_with("to Fulano de Tal (evp key 123e4567-e12b-12d1-a456-426655440000)"), "{pix:?}");
        assert_eq!(pix[1..], ["header media: https://example.com/teste"]);
        let boleto = lines(by(PaymentMeans::Boleto, AmountUnit::Reais), None);
        let expected = "payment: boleto, R$123,00 (sent as \"123.00\"), line 00190500954014481606906809350314337370000000100";
        assert_eq!(boleto, [expected]);
        assert!(lines(None, None).is_empty());
    }
}
