//! `regua check opa`: address, token, channels, templates and the daily allowance of each integration.

use super::{Finding, Grade, Scene, Told, What};
use crate::output::offer;
use chrono::{Days, NaiveDate};
use regua_domain::configuration::{Channel, Configuration, Integration, Notice};
use regua_domain::filling::Parameters;
use regua_domain::place::Place;
use regua_domain::template::{TemplateText, fits};
use regua_ledger::volume::Volume;
use regua_opa_suite::{BaseUrl, Channel as OpaChannel, DailyAllowance, ListError, OpaClient, OpaClientConfig, Template};
use regua_telemetry::logging::Chain;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// How long all that is asked of one integration may take.
const INTEGRATION_WITHIN: Duration = Duration::from_secs(45);
/// What is said of one that took longer.
const UNANSWERED: &str = "it took longer than 45 s to answer what was asked of it";

/// Looks at every integration.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if scene.configuration.integrations.is_empty() {
        findings.push(Finding::bad("Opa! Suite", "no integration is configured", "add an [[integration]]"));
        return Ok(findings);
    }
    let tomorrow = Tomorrow::look(scene).await?;
    for integration in &scene.configuration.integrations {
        let what = What::named("Opa! Suite", &integration.name);
        if !integration.enabled {
            findings.push(Finding::good(what, "switched off, not looked at"));
            continue;
        }
        match client(scene, integration) {
            Err(finding) => findings.push(finding),
            Ok(client) => {
                let looked = check_integration(&client, &what, scene.configuration, integration, &tomorrow, &mut findings);
                if tokio::time::timeout(INTEGRATION_WITHIN, looked).await.is_err() {
                    findings.push(Finding::bad(&what, UNANSWERED, "check the integration's url and this host's way to it"));
                }
            }
        }
    }
    Ok(findings)
}

fn client(scene: &Scene<'_>, integration: &Integration) -> Result<OpaClient, Finding> {
    let what = What::named("Opa! Suite", &integration.name);
    let token = scene
        .tokens
        .of(&integration.token, &integration.name)
        .map_err(|error| Finding::bad(&what, Chain(&error).to_string(), "mend the integration's token"))?;
    let (base, _) = BaseUrl::parse(integration.url.as_str(), scene.allow_private)
        .map_err(|error| Finding::bad(&what, error.to_string(), "mend the integration's url"))?;
    OpaClient::new(OpaClientConfig::new(base, token))
        .map_err(|error| Finding::bad(&what, Chain(&error).to_string(), "mend the integration's url or token"))
}

async fn check_integration(
    client: &OpaClient,
    what: &What,
    configuration: &Configuration,
    integration: &Integration,
    tomorrow: &Tomorrow,
    findings: &mut Vec<Finding>,
) {
    let there = match client.channels().await {
        Err(error) => return findings.push(Finding::bad(what, Chain(&error).to_string(), mend(&error))),
        Ok(list) => list,
    };
    let usable: Vec<&OpaChannel> = there.iter().filter(|known| known.is_active && known.is_whatsapp()).collect();
    findings.push(if usable.is_empty() {
        let result = format!("reached, token accepted, but none of its {} channels is an active WhatsApp number", there.len());
        Finding::bad(what, result, "activate a WhatsApp number in Opa! Suite: templates go through nothing else")
    } else {
        let result =
            format!("reached, token accepted; {} channels, {} of them active WhatsApp numbers", there.len(), usable.len());
        Finding::good(what, Told::ours(result))
    });
    let channels: Vec<_> = configuration.channels.iter().filter(|channel| channel.integration == integration.name).collect();
    if channels.is_empty() {
        findings.push(Finding::warning(what, "no [[channel]] uses it", format!("an id is one of {}", choices(&usable))));
    }
    for channel in channels {
        let finding = check_channel(client, channel, &there, &usable, tomorrow).await;
        let goes_on = finding.grade != Grade::Problem;
        findings.push(finding);
        if goes_on {
            check_templates(client, configuration, channel, findings).await;
        }
    }
    let notice = configuration.notices.iter().find(|notice| notice.integration == integration.name);
    if let Some(notice) = notice {
        findings.push(Finding::warning(
            What::named("templates of", &integration.name),
            "whether WhatsApp has approved a template can't be read from Opa! Suite's API",
            format!("send one to your own phone: `regua notice test {:?} --phone NUMBER`", notice.name),
        ));
    }
}

/// One channel of the configuration: is it one that may be used, and may it send enough?
async fn check_channel(
    client: &OpaClient,
    channel: &Channel,
    there: &[OpaChannel],
    usable: &[&OpaChannel],
    tomorrow: &Tomorrow,
) -> Finding {
    let what = What::named("channel", &channel.name);
    let other = || format!("its id is one of {}", choices(usable));
    match there.iter().find(|known| known.id == channel.id) {
        None => return Finding::bad(what, "there is no channel of this id", other()),
        Some(known) if !known.is_whatsapp() => {
            return Finding::bad(what, format!("is no WhatsApp number but {:?}", known.medium), other());
        }
        Some(known) if !known.is_active => {
            let mend = format!("activate it in Opa! Suite, or name another: {}", other());
            return Finding::bad(what, "is switched off in Opa! Suite", mend);
        }
        Some(_) => {}
    }
    match client.daily_allowance(&channel.id).await {
        Ok(allowance) => tomorrow.against(what, &channel.name, allowance),
        Err(error) => {
            Finding::warning(what, format!("active; its daily allowance is not known: {}", Chain(&error)), mend(&error))
        }
    }
}

async fn check_templates(client: &OpaClient, configuration: &Configuration, channel: &Channel, findings: &mut Vec<Finding>) {
    let mut notices = configuration.notices.iter().filter(|notice| notice.channel == channel.name).peekable();
    if notices.peek().is_none() {
        return;
    }
    match client.channel_templates(&channel.id).await {
        Ok(templates) => findings.extend(notices.map(|notice| check_notice(notice, &templates))),
        Err(error) => {
            findings.push(Finding::bad(What::named("templates of", &channel.name), Chain(&error).to_string(), mend(&error)));
        }
    }
}

/// One notice: is its template on its channel, and does it get as many values as it has placeholders?
fn check_notice(notice: &Notice, templates: &[Template]) -> Finding {
    let what = What::named("notice", &notice.name);
    let Some(template) = templates.iter().find(|template| template.id == notice.template) else {
        let ids = templates.iter().map(|template| (template.id.as_str(), template.name.as_str()));
        return Finding::bad(what, "its template isn't on this channel", format!("its template is one of {}", offer(ids)));
    };
    let Ok(filling) = notice.filling() else {
        return Finding::bad(what, "its variables are of another version of Régua", "apply its configuration again");
    };
    let now = TemplateText { name: template.name.clone(), text: template.text.clone() };
    if let Err(fault) = fits(&notice.template, Some(&now), &filling.parameters) {
        return Finding::bad(what, fault.to_string(), fault.mend());
    }
    let look = || format!("look at it: `regua notice test {:?} --phone NUMBER`", notice.name);
    match filling.parameters {
        Parameters::Payment(terms) => {
            let result = format!("template {:?}, a payment by {}, its amount in {}", template.name, terms.means, terms.amount);
            let doubt = format!(
                "{result}; whether it is a payment template that shows the right amount can't be read from Opa! Suite's API"
            );
            Finding::warning(what, doubt, look())
        }
        Parameters::ByPosition(entries) => {
            let result = format!("template {:?}, {} variables", template.name, entries.len());
            if template.repeats_a_placeholder() {
                let doubt =
                    format!("{result}; it repeats a placeholder, and whether Opa! Suite fills it once or twice is unknown");
                return Finding::warning(what, doubt, look());
            }
            Finding::good(what, result)
        }
    }
}

fn choices(channels: &[&OpaChannel]) -> String {
    offer(channels.iter().map(|channel| (channel.id.as_str(), channel.name.as_str())))
}

/// What to do about a list that can't be had.
fn mend(error: &ListError) -> &'static str {
    match error {
        ListError::Unreachable { .. } => "check the integration's url and this host's way to it",
        ListError::Unauthorized { .. } => {
            "in Opa! Suite give the token's user a profile with \"Grupo exclusivo para API\" on, and copy its token again"
        }
        ListError::Redirected { .. } => {
            "write the url with /api/v1 where the panel's has /atendente; if it has, the token is not accepted: copy it again"
        }
        ListError::NotFound { .. } => "copy the channel's _id of 24 hexadecimal digits; identificadorCanal is another thing",
        ListError::Throttled { .. } => "ask again in a minute",
        ListError::Refused { .. } => "give the token's profile the right to this list, or ask the vendor's support",
        ListError::Unparsable { .. } | ListError::TooLarge { .. } => "check that the url is that of Opa! Suite's API",
        ListError::TooManyPages { .. } => "remove what is no longer used in Opa! Suite",
    }
}

/// How much each channel may have to send on the next day on which the window opens.
struct Tomorrow {
    on: NaiveDate,
    /// By channel; `None` while no source was ever synced.
    messages: Option<HashMap<String, u64>>,
}

impl Tomorrow {
    async fn look(scene: &Scene<'_>) -> anyhow::Result<Self> {
        let (ledger, configuration) = (scene.ledger, scene.configuration);
        let settings = ledger.settings().await?;
        let today = settings.times().date_at(ledger.now().await?);
        let next = today + Days::new(1);
        // The provider's own window: what single states add or close moves little of a channel's volume.
        let anywhere = Place { uf: None, city: String::new(), zone: settings.window.zone };
        let window = settings.times().at(anywhere, None);
        let on = window.local_date(window.next_open(window.start_of_day(next))).max(next);
        let due = due_dates(configuration, today, on);
        let all: BTreeSet<NaiveDate> = due.values().flatten().copied().collect();
        let volume = ledger.volume(&all).await?;
        Ok(Self { on, messages: volume.is_known.then(|| messages(&volume, &due)) })
    }

    /// Compares a channel's allowance with what it may have to send.
    fn against(&self, what: What, channel: &str, allowance: Option<DailyAllowance>) -> Finding {
        let messages = self.messages.as_ref().map(|known| known.get(channel).copied().unwrap_or(0));
        let volume = messages.map_or_else(
            || "tomorrow's volume is not known before the first sync".to_owned(),
            |messages| format!("at most {messages} messages up to {}", self.on),
        );
        let Some(allowance) = allowance else {
            return Finding::good(what, Told::ours(format!("active; no daily limit reported; {volume}")));
        };
        let result = format!("active; {} of {} messages left today; {volume}", allowance.available, allowance.limit);
        if messages.is_some_and(|messages| messages > allowance.limit) {
            let mend = "spread the stages over more days or channels, or have WhatsApp raise the number's limit; what is over it waits and may expire";
            return Finding::bad(what, Told::ours(result), mend);
        }
        Finding::good(what, Told::ours(result))
    }
}

/// By channel, the due dates of the invoices that come to a stage of its notices after `today` and up to `until`.
fn due_dates(configuration: &Configuration, today: NaiveDate, until: NaiveDate) -> HashMap<String, BTreeSet<NaiveDate>> {
    let channel_of: HashMap<_, _> = configuration.notices.iter().map(|notice| (&notice.name, &notice.channel)).collect();
    let stages = configuration.policies.iter().filter(|policy| policy.enabled).flat_map(|policy| &policy.stages);
    let mut due: HashMap<String, BTreeSet<NaiveDate>> = HashMap::new();
    for stage in stages.filter(|stage| stage.enabled) {
        let (Some(days), Some(channel)) = (stage.days, channel_of.get(&stage.notice)) else { continue };
        let dates = today.iter_days().skip(1).take_while(|day| *day <= until);
        let due_on = dates.filter_map(|day| day.checked_sub_signed(chrono::TimeDelta::days(days.into())));
        due.entry((*channel).clone()).or_default().extend(due_on);
    }
    due
}

/// What waits and what comes due; more than will be sent, for filters, wishes of customers and payments are not looked at.
fn messages(volume: &Volume, due: &HashMap<String, BTreeSet<NaiveDate>>) -> HashMap<String, u64> {
    let mut messages = volume.waiting.clone();
    for (channel, dates) in due {
        let coming: u64 = dates.iter().filter_map(|date| volume.open_invoices.get(date)).sum();
        *messages.entry(channel.clone()).or_default() += coming;
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::payment::{AmountUnit, PaymentMeans, PaymentTerms};

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[track_caller]
    fn check_allowance(messages: Option<u64>, allowance: Option<(u64, u64)>, ok: bool, says: &str) {
        let known = messages.map(|messages| HashMap::from([("Cobrança".to_owned(), messages)]));
        let tomorrow = Tomorrow { on: date("2026-11-25"), messages: known };
        let allowance = allowance.map(|(sent, limit)| DailyAllowance { sent, limit, available: limit.saturating_sub(sent) });
        let finding = tomorrow.against("channel".into(), "Cobrança", allowance);
        assert_eq!((finding.grade == Grade::Ok, finding.mend.is_some()), (ok, !ok), "{finding:?}");
        assert!(finding.result.text().contains(says), "{finding:?}");
    }

    /// Contracts §1.4: an empty object is no limit, not zero.
    #[test]
    fn a_channels_allowance_is_compared_with_what_comes_up() {
        check_allowance(Some(5000), None, true, "no daily limit reported; at most 5000 messages up to 2026-11-25");
        check_allowance(Some(1000), Some((990, 1000)), true, "10 of 1000 messages left today");
        check_allowance(Some(1001), Some((0, 1000)), false, "at most 1001 messages");
        check_allowance(None, Some((0, 10)), true, "not known");
    }

    fn template(text: &str) -> Template {
        Template { id: "64f1c0de0a1b2c3d4e5f7003".into(), name: "aviso".into(), text: text.into() }
    }

    fn notice(variables: &str) -> Notice {
        Notice {
            name: "Aviso".into(),
            integration: "Opa".into(),
            channel: "Cobrança".into(),
            template: "64f1c0de0a1b2c3d4e5f7003".into(),
            variables: variables.into(),
            payment: None,
            media: None,
        }
    }

    #[track_caller]
    fn check_one_notice(variables: &str, templates: &[Template], ok: bool, says: &str) {
        let finding = check_notice(&notice(variables), templates);
        assert_eq!(finding.grade != Grade::Problem, ok, "{finding:?}");
        assert!(finding.cells().join(" ").contains(says), "{finding:?}");
    }

    #[test]
    fn a_notice_gives_as_many_variables_as_its_template_has_placeholders() {
        let two = "#cliente_razao#,#areceber_valor#";
        check_one_notice(two, &[template("Olá {{1}}, {{2}}")], true, "2 variables");
        check_one_notice(two, &[template("Olá {{1}}")], false, "has 1 placeholders, the notice has 2 variables");
        check_one_notice(two, &[template("{{nome}}, {{nome}}")], true, "regua notice test");
        check_one_notice(two, &[], false, "isn't on this channel");
        let others: Vec<_> = (0..30).map(|n| Template { id: format!("{n:024}"), ..template("") }).collect();
        check_one_notice(two, &others, false, "and 10 more");
    }

    #[test]
    fn a_payment_notice_is_told_to_be_looked_at_and_one_on_another_template_is_wrong() {
        let payment = PaymentTerms { means: PaymentMeans::Pix, amount: AmountUnit::Centavos };
        let notice = Notice { payment: Some(payment), ..notice("") };
        let finding = check_notice(&notice, &[template("Sua fatura chegou.")]);
        assert!(
            finding.grade == Grade::Warning && finding.result.text().contains("a payment by pix, its amount in centavos"),
            "{finding:?}"
        );
        assert!(finding.mend.is_some_and(|mend| mend.text().contains("regua notice test")), "nothing else shows the amount");
        let finding = check_notice(&notice, &[template("Olá {{1}}")]);
        assert!(finding.grade == Grade::Problem && finding.result.text().contains("no payment template"), "{finding:?}");
    }

    #[test]
    fn what_comes_up_is_counted_once_per_due_date_and_goes_up_to_the_next_open_day() {
        let text = r#"
            [[integration]]
            name = "Opa"
            url = "https://opa.example.com"
            token_env = "OPA_TOKEN"
            [[channel]]
            name = "Cobrança"
            id = "64f1c0de0a1b2c3d4e5f6001"
            [[notice]]
            name = "Aviso"
            channel = "Cobrança"
            template = "64f1c0de0a1b2c3d4e5f7003"
            [[policy]]
            name = "Todos"
            stage = [{ stage = "pre_due", days = -3, notice = "Aviso" }, { stage = "overdue", days = 3, notice = "Aviso" },
                     { stage = "settled", notice = "Aviso" }, { stage = "in_person", days = 9, notice = "Aviso", enabled = false }]
            [[policy]]
            name = "Outros"
            priority = 200
            stage = [{ stage = "overdue", days = 3, notice = "Aviso" }]
        "#;
        let defaults = regua_domain::configuration::Defaults {
            zone: chrono_tz::America::Sao_Paulo,
            allow_private_urls: false,
            now: chrono::DateTime::UNIX_EPOCH,
        };
        let configuration =
            Configuration::parse(text, "test.toml", &defaults, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        // On a Friday, up to Monday.
        let due = due_dates(&configuration, date("2026-11-27"), date("2026-11-30"));
        let expected = ["2026-11-25", "2026-11-26", "2026-11-27", "2026-12-01", "2026-12-02", "2026-12-03"].map(date);
        assert_eq!(due["Cobrança"].iter().copied().collect::<Vec<_>>(), expected);
        let volume = Volume {
            waiting: HashMap::from([("Cobrança".into(), 5), ("Vendas".into(), 2)]),
            open_invoices: HashMap::from([(date("2026-11-26"), 10), (date("2026-12-03"), 100), (date("2026-12-09"), 1000)]),
            is_known: true,
        };
        assert_eq!(messages(&volume, &due), HashMap::from([("Cobrança".into(), 115), ("Vendas".into(), 2)]));
    }
}
