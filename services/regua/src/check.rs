//! `regua check`: is everything there that a day needs? Each problem with its mend.

use regua_domain::configuration::{Configuration, SourceKind};
use regua_ixc::webservice::{IxcClient, IxcConfig};
use regua_ledger::Ledger;
use regua_opa_suite::{BaseUrl, OpaClient, OpaClientConfig};
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::environment::Environment;
use regua_telemetry::logging::Chain;
use serde::Serialize;
use std::time::Duration;

/// How far this host's clock may be off the ledger's.
const SKEW_MAX: Duration = Duration::from_secs(2);

/// How long the broker may take to answer.
const BROKER_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked.
const BROKER_AGAIN: Duration = Duration::from_millis(200);

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// Whether it is in order.
    pub ok: bool,
    /// What was found.
    pub result: String,
    /// What to do about it.
    pub mend: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>, result: impl Into<String>) -> Self {
        Self { what: what.into(), ok: true, result: result.into(), mend: None }
    }

    fn bad(what: impl Into<String>, result: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), ok: false, result: result.into(), mend: Some(mend.into()) }
    }
}

/// Looks at everything.
pub async fn check(ledger: &Ledger, config: &ServiceConfig, environment: &Environment) -> anyhow::Result<Vec<Finding>> {
    let skew = ledger.host_skew().await?;
    let mut findings = vec![if skew > SKEW_MAX {
        Finding::bad(
            "ledger",
            format!("reached, but this host's clock is {:.1} s off", skew.as_secs_f64()),
            "set the clock by NTP",
        )
    } else {
        Finding::good("ledger", "reached, clocks agree")
    }];
    findings.push(check_broker(ledger, config).await?);
    let Some(configuration) = ledger.configuration().await? else {
        findings.push(Finding::bad(
            "configuration",
            "nothing is configured",
            "write a file like ops/examples/demo.toml and run `regua config apply FILE`",
        ));
        return Ok(findings);
    };
    findings.push(Finding::good(
        "configuration",
        format!("{} policies, {} tasks", configuration.policies.len(), configuration.tasks.len()),
    ));
    let allow_private = regua_pipeline::allows_private_urls(ledger, config).await?;
    for integration in &configuration.integrations {
        let what = format!("Opa! Suite {:?}", integration.name);
        let client = regua_pipeline::token(&integration.token, &integration.name, environment)
            .map_err(|error| Chain(&error).to_string())
            .and_then(|token| {
                let (base, _) = BaseUrl::parse(integration.url.as_str(), allow_private).map_err(|error| error.to_string())?;
                OpaClient::new(OpaClientConfig::new(base, token)).map_err(|error| Chain(&error).to_string())
            });
        match client {
            Err(why) => findings.push(Finding::bad(what, why, "mend the integration's url or token")),
            Ok(client) => check_opa(&client, &what, &configuration, &integration.name, &mut findings).await,
        }
    }
    for source in &configuration.sources {
        if let SourceKind::Ixc { url, token, .. } = &source.kind {
            let what = format!("IXC {:?}", source.name);
            match regua_pipeline::token(token, &source.name, environment) {
                Err(error) => findings.push(Finding::bad(what, Chain(&error).to_string(), "set the source's token")),
                Ok(token) => findings.extend(check_ixc(what, url.as_str(), token, allow_private).await),
            }
        }
    }
    let now = ledger.now().await?;
    for source in ledger.sources().await?.iter().filter(|source| !source.is_fresh(now)) {
        let age = source.complete_at.map_or_else(|| "never".to_owned(), |at| at.to_rfc3339());
        let mend = if source.kind == "ixc" { "run `regua run update-collections`" } else { "run `regua import invoices FILE`" };
        findings.push(Finding::bad(
            format!("mirror of {:?}", source.name),
            format!("too old to decide from: synced {age}"),
            mend,
        ));
    }
    Ok(findings)
}

/// Whether the broker can be reached; the in-process one always can.
async fn check_broker(ledger: &Ledger, config: &ServiceConfig) -> anyhow::Result<Finding> {
    let url = secrecy::SecretString::from(config.broker_url.expose().to_owned());
    if regua_broker::is_memory(&url) {
        return Ok(Finding::good("broker", "in the process of `regua up`"));
    }
    let broker = regua_broker::connect(&url, ledger.id().await?)?;
    let reached = tokio::time::timeout(BROKER_WITHIN, async {
        while broker.ready_hints().await.is_err() {
            tokio::time::sleep(BROKER_AGAIN).await;
        }
    })
    .await;
    let finding = if reached.is_ok() {
        Finding::good("broker", "reached")
    } else {
        let why = broker.status().problem().unwrap_or_else(|| "it doesn't answer".into());
        Finding::bad("broker", why, "check REGUA_BROKER_URL, its user and password, and that RabbitMQ runs")
    };
    broker.close().await;
    Ok(finding)
}

/// Whether the webservice answers, and whether its user may list what the switches of the contracts are in.
async fn check_ixc(what: String, url: &str, token: secrecy::SecretString, allow_private: bool) -> Vec<Finding> {
    let mut config = IxcConfig::new(url.to_owned(), token);
    config.allow_private = allow_private;
    let client = match IxcClient::new(&config) {
        Err(error) => return vec![Finding::bad(what, Chain(&error).to_string(), "mend the source's url or token")],
        Ok(client) => client,
    };
    if let Err(error) = client.probe().await {
        let mend = "see the message; the webservice also checks this host's IP address";
        return vec![Finding::bad(what, Chain(&error).to_string(), mend)];
    }
    let contracts = format!("contracts of {what}");
    let reached = Finding::good(what, "reached, token accepted");
    let contracts = match client.probe_contracts().await {
        Ok(()) => Finding::good(contracts, "aviso_atraso and nao_avisar_ate are honoured"),
        Err(error) => Finding::bad(
            contracts,
            format!("aviso_atraso and nao_avisar_ate can't be honoured: {}", Chain(&error)),
            "allow `cliente_contrato` in the ERP's user group of the token",
        ),
    };
    vec![reached, contracts]
}

/// Channels of the integration, and the templates that its notices use.
async fn check_opa(
    client: &OpaClient,
    what: &str,
    configuration: &Configuration,
    integration: &str,
    findings: &mut Vec<Finding>,
) {
    let there = match client.channels().await {
        Err(error) => {
            findings.push(Finding::bad(
                what,
                Chain(&error).to_string(),
                "check the url, the token and its permission profile of type API",
            ));
            return;
        }
        Ok(list) => list,
    };
    findings.push(Finding::good(what, format!("reached, token accepted, {} channels", there.len())));
    for channel in configuration.channels.iter().filter(|channel| channel.integration == integration) {
        let what = format!("channel {:?}", channel.name);
        match there.iter().find(|known| known.id == channel.id) {
            None => {
                let ids: Vec<_> = there.iter().map(|known| format!("{} ({})", known.id, known.name)).collect();
                findings.push(Finding::bad(
                    what,
                    "there is no channel of this id",
                    format!("its id is one of {}", ids.join(", ")),
                ));
                continue;
            }
            Some(known) if !known.is_active || !known.is_whatsapp() => {
                findings.push(Finding::bad(what, "is no active WhatsApp channel", "activate it in Opa! Suite, or name another"));
                continue;
            }
            Some(_) => {}
        }
        let allowance = match client.daily_allowance(&channel.id).await {
            Ok(Some(allowance)) => format!("{} of {} recipients left today", allowance.available, allowance.limit),
            Ok(None) => "no daily limit reported".to_owned(),
            Err(error) => Chain(&error).to_string(),
        };
        findings.push(Finding::good(what, format!("active; {allowance}")));
        check_templates(client, configuration, channel, findings).await;
    }
}

async fn check_templates(
    client: &OpaClient,
    configuration: &Configuration,
    channel: &regua_domain::configuration::Channel,
    findings: &mut Vec<Finding>,
) {
    let templates = match client.channel_templates(&channel.id).await {
        Ok(list) => list,
        Err(error) => {
            let mend = "give the token's profile the right to list templates";
            findings.push(Finding::bad(format!("templates of {:?}", channel.name), Chain(&error).to_string(), mend));
            return;
        }
    };
    for notice in configuration.notices.iter().filter(|notice| notice.channel == channel.name) {
        let what = format!("notice {:?}", notice.name);
        let given = regua_domain::variables::parse(&notice.variables).map_or(0, |entries| entries.len());
        findings.push(match templates.iter().find(|template| template.id == notice.template) {
            None => {
                let ids: Vec<_> = templates.iter().map(|template| format!("{} ({})", template.id, template.name)).collect();
                Finding::bad(what, "its template isn't on this channel", format!("its template is one of {}", ids.join(", ")))
            }
            Some(template) if template.placeholders() != given => Finding::bad(
                what,
                format!("its template expects {} variables, {given} are given", template.placeholders()),
                "give them in the template's order",
            ),
            Some(template) => Finding::good(
                what,
                format!("template {}, {given} variables (approval can't be read from the API)", template.name),
            ),
        });
    }
}
