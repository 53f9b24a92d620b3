//! Notices and their templates: a configuration is applied with what Opa! Suite says of them, a changed one is accepted, one is tried.

use super::{Answer, Office};
use crate::output::offer;
use regua_domain::configuration::{Configuration, Notice};
use regua_domain::filling::Filled;
use regua_domain::ids::InvoiceId;
use regua_domain::phone;
use regua_domain::sample::{Sample, sample};
use regua_domain::template::{TemplateFault, fits};
use regua_domain::variables::{Circumstances, Facts};
use regua_ledger::audit::By;
use regua_ledger::secrets::SecretUse;
use regua_ledger::templates::Accepted;
use regua_ledger::test_sends::{NewTest, TestEnd, TestStart};
use regua_ledger::{Ledger, LedgerError};
use regua_opa_suite::{BaseUrl, OpaClient, OpaClientConfig, Outcome, SendTemplate};
use regua_pipeline::{Look, look_at_templates};
use regua_telemetry::logging::Chain;
use serde_json::json;
use std::time::{Duration, Instant};

/// How far ahead the slot of a test lies: the ledger's answer must be back before.
const LEAD: chrono::TimeDelta = chrono::TimeDelta::milliseconds(60);
/// How late a test may be begun after its slot.
const LATE_MAX: Duration = Duration::from_millis(10);
/// How often a slot is asked for, and how far apart: a busy channel has none to spare at once.
const ASKS_MAX: u32 = 50;
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Applies a configuration, unless Opa! Suite says that one of its notices can't be sent. What doesn't answer is told and looked at later.
/// A `dry_run` asks the same and applies nothing.
pub(super) async fn apply(
    office: &Office<'_>,
    configuration: Configuration,
    dry_run: bool,
    by: By,
) -> Result<Answer, LedgerError> {
    let missing = office.ledger.missing_secrets(&configuration).await?;
    if !missing.is_empty() {
        let told: Vec<String> = missing.iter().map(SecretUse::missing).collect();
        return Ok(Answer::refused(format!("nothing is applied:\n{}", told.join("\n"))));
    }
    let notices: Vec<&Notice> = configuration.notices.iter().collect();
    let allow_private = regua_pipeline::allows_private_urls(office.ledger, office.config).await?;
    let tokens = office.tokens().await?;
    let look = look_at_templates(&configuration, &notices, &tokens, allow_private).await;
    let unfit: Vec<String> = notices.iter().filter_map(|notice| unfit(notice, &look)).collect();
    if !unfit.is_empty() {
        return Ok(Answer::refused(format!("nothing is applied:\n{}", unfit.join("\n"))));
    }
    let Look { seen, unseen, .. } = look;
    let (said, stopped) = if dry_run {
        ("dry run: it could be applied, and nothing was", Vec::new())
    } else {
        office.ledger.apply_configuration_by(configuration, by).await?;
        ("the configuration is applied", office.ledger.note_templates(seen).await?)
    };
    let told = unseen.iter().map(|unseen| {
        format!("notices of channel {:?} are unverified until the next update-collections: {}", unseen.channel, unseen.why)
    });
    let held = stopped
        .iter()
        .map(|stopped| format!("template {} is stopped: {}; see `regua notice list`", stopped.template_id, stopped.fault));
    let lines: Vec<String> = std::iter::once(said.to_owned()).chain(told).chain(held).collect();
    let unverified: Vec<_> = unseen.iter().map(|unseen| &unseen.channel).collect();
    let stopped: Vec<_> = stopped.iter().map(|stopped| &stopped.template_id).collect();
    Ok(Answer::done(lines.join("\n"), json!({ "applied": !dry_run, "unverified": unverified, "stopped": stopped })))
}

fn unfit(notice: &Notice, look: &Look) -> Option<String> {
    let seen = look.seen.iter().find(|seen| seen.integration == notice.integration && seen.template_id == notice.template)?;
    let filling = notice.filling().ok()?;
    let fault = fits(&notice.template, seen.now.as_ref(), &filling.parameters).err()?;
    let mend = match (&fault, look.offered.get(&notice.channel)) {
        (TemplateFault::Gone { .. }, Some(offered)) if !offered.is_empty() => {
            let named = offered.iter().map(|template| (template.id.as_str(), template.name.as_str()));
            format!("its channel has {}", offer(named))
        }
        _ => fault.mend().to_owned(),
    };
    Some(format!("notice {:?}: {fault}; {mend}", notice.name))
}

/// Accepts a notice's template as Opa! Suite had it at the last look.
pub(super) async fn accept(ledger: &Ledger, notice: String, why: String, by: String) -> Result<Answer, LedgerError> {
    Ok(match ledger.accept_template(notice.clone(), by, why).await? {
        Accepted::Accepted { resumed } => {
            let text = if resumed { "accepted: its messages go on" } else { "accepted; it was not stopped" };
            Answer::done(text, json!({ "notice": notice, "accepted": true, "resumed": resumed }))
        }
        Accepted::UnknownNotice => unknown(&notice),
        Accepted::NeverSeen => Answer::refused(
            "Opa! Suite was not asked for its template yet: `regua run update-collections` or `regua config apply` does that",
        ),
        Accepted::Unfit(fault) => Answer::refused(format!("{fault}: apply a configuration that fits it")),
    })
}

fn unknown(notice: &str) -> Answer {
    Answer::refused(format!("there is no notice named {notice:?}: see `regua notice list`"))
}

/// Sends one message to try a notice: with an invoice's values, or with invented ones.
pub(super) async fn test(
    office: &Office<'_>,
    notice: &str,
    typed: &str,
    invoice: Option<&InvoiceId>,
    by: String,
) -> Result<Answer, LedgerError> {
    let phone = match phone::parse(typed) {
        Ok(phone) => phone,
        Err(refusal) => return Ok(Answer::refused(format!("{typed}: {refusal}"))),
    };
    let Some(configuration) = office.ledger.configuration().await? else {
        return Ok(Answer::refused(crate::output::NOTHING_CONFIGURED));
    };
    let Some(notice) = configuration.notices.iter().find(|known| known.name == notice) else { return Ok(unknown(notice)) };
    let Filled { values, media } = match filled(office.ledger, notice, invoice).await? {
        Ok(filled) => filled,
        Err(why) => return Ok(Answer::refused(why)),
    };
    let client = match client(office, &configuration, notice).await? {
        Ok(client) => client,
        Err(why) => return Ok(Answer::refused(format!("the integration {:?} can't be used: {why}", notice.integration))),
    };
    let channel = configuration.channels.iter().find(|channel| channel.name == notice.channel);
    let request = SendTemplate {
        phone_e164: phone.e164().to_owned(),
        template_id: notice.template.clone(),
        values,
        channel_id: channel.map_or_else(String::new, |channel| channel.id.clone()),
        metadata: serde_json::Value::Null,
        header_media: media,
        allow_in_service: false,
    };
    let test = NewTest { notice: notice.name.clone(), phone: phone.key(), by, lead: LEAD };
    send(office.ledger, &client, test, request).await
}

/// What a test's message gets.
async fn filled(ledger: &Ledger, notice: &Notice, invoice: Option<&InvoiceId>) -> Result<Result<Filled, String>, LedgerError> {
    let settings = ledger.settings().await?;
    let today = settings.times().date_at(ledger.now().await?);
    let (customer, invoice, totals, renegotiated_to) = match invoice {
        None => {
            let Sample { customer, invoice, totals, renegotiated_to } = sample(today);
            (customer, invoice, Some(totals), Some(renegotiated_to))
        }
        Some(id) => match ledger.candidates_by_id(id).await?.into_iter().next() {
            Some((_, candidate)) => match candidate.customer {
                Some(customer) => (customer, candidate.invoice, candidate.totals, None),
                None => return Ok(Err(format!("the customer of invoice {} isn't in the mirror", id.0))),
            },
            None => return Ok(Err(format!("no source has an invoice {}", id.0))),
        },
    };
    let Ok(filling) = notice.filling() else {
        return Ok(Err("its variables are of another version of Régua: apply its configuration again".into()));
    };
    let circumstances = Circumstances { today, provider: &settings.provider, totals, renegotiated_to };
    let facts = Facts { customer: &customer, invoice: Some(&invoice), circumstances };
    Ok(filling.render(&facts).map_err(|error| error.to_string()))
}

async fn client(
    office: &Office<'_>,
    configuration: &Configuration,
    notice: &Notice,
) -> Result<Result<OpaClient, String>, LedgerError> {
    let allow_private = regua_pipeline::allows_private_urls(office.ledger, office.config).await?;
    let Some(integration) = configuration.integrations.iter().find(|known| known.name == notice.integration) else {
        return Ok(Err("it isn't configured".into()));
    };
    let token = office.tokens().await?.of(&integration.token, &integration.name);
    Ok(token.map_err(|error| Chain(&error).to_string()).and_then(|token| {
        let (base, _) = BaseUrl::parse(integration.url.as_str(), allow_private).map_err(|error| error.to_string())?;
        OpaClient::new(OpaClientConfig::new(base, token)).map_err(|error| Chain(&error).to_string())
    }))
}

/// Takes a slot, sends at it, and writes what came of it: at most one request, whatever happens.
async fn send(ledger: &Ledger, client: &OpaClient, test: NewTest, mut request: SendTemplate) -> Result<Answer, LedgerError> {
    let ledger_id = ledger.id().await?;
    let mut asks = 0;
    let (id, slot) = loop {
        match ledger.begin_test(test.clone()).await? {
            // Counted from the answer, so that the slot is never reached early.
            TestStart::Started { id, wait, .. } => break (id, Instant::now() + wait.to_std().unwrap_or_default()),
            TestStart::Refused(why) => return Ok(Answer::refused(why)),
            TestStart::NoSlot if asks == ASKS_MAX => return Ok(Answer::refused("the channel is busy: try again")),
            TestStart::NoSlot => asks += 1,
        }
        tokio::time::sleep(ASK_AGAIN).await;
    };
    tokio::time::sleep_until(slot.into()).await;
    if Instant::now().saturating_duration_since(slot) > LATE_MAX {
        let reason = Some("late".to_owned());
        let end = TestEnd { outcome: "given_back".into(), reason, http_status: None, provider_code: None, provider_id: None };
        ledger.finish_test(id, end).await?;
        return Ok(Answer::refused("this process was too slow for its slot, and nothing was sent: try again"));
    }
    request.metadata = json!({ "ledger": ledger_id, "test": id });
    let answer = client.send_template(&request).await;
    let provider_id = match &answer.outcome {
        Outcome::Accepted { provider_id } => Some(provider_id.clone()),
        _ => None,
    };
    let (outcome, reason) = (answer.outcome.as_str(), answer.outcome.reason());
    let code = answer.provider_code;
    let end = TestEnd {
        outcome: outcome.to_owned(),
        reason: reason.map(str::to_owned),
        http_status: answer.status,
        provider_code: answer.provider_code.map(|code| code.to_string()),
        provider_id: provider_id.clone(),
    };
    ledger.finish_test(id, end).await?;
    let told = reason.map_or_else(|| outcome.to_owned(), |reason| format!("{outcome}: {reason}"));
    let data = json!({ "test": id, "outcome": outcome, "reason": reason, "http_status": answer.status, "code": code, "provider_id": provider_id });
    Ok(match answer.outcome {
        Outcome::Accepted { .. } => Answer::done(format!("{told}; Opa! Suite took it, the phone says whether it arrived"), data),
        _ => Answer { done: false, text: format!("{told}{}; nothing is tried again", answered(answer.status, code)), data },
    })
}

/// What the provider answered, in numbers: its words are never kept, for they may name a person.
fn answered(status: Option<u16>, code: Option<u32>) -> String {
    let status = status.map_or_else(String::new, |status| format!(" (HTTP {status})"));
    let code = code.map_or_else(String::new, |code| format!(", WhatsApp's code {code}"));
    status + &code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_test_tells_the_providers_status_and_code() {
        assert_eq!(answered(Some(400), Some(132_000)), " (HTTP 400), WhatsApp's code 132000");
        assert_eq!(answered(Some(400), None), " (HTTP 400)");
        assert_eq!(answered(None, None), "");
    }
}
