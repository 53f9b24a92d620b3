//! `regua check ixc`: address, token and lists of each ERP, and whether it notifies customers itself.

use super::{Finding, Scene, Told, What};
use chrono::Days;
use regua_domain::configuration::url::{Product, normalise_url};
use regua_domain::configuration::{Configuration, SourceKind};
use regua_ixc::webservice::{IxcClient, IxcConfig, IxcError, OmnichannelGateway, Refusal};
use regua_telemetry::logging::Chain;

/// Looks at every ERP.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let today = scene.ledger.settings().await?.times().date_at(scene.ledger.now().await?);
    let mut findings = Vec::new();
    for source in &scene.configuration.sources {
        let SourceKind::Ixc { url, token, days_back, days_ahead, .. } = &source.kind else { continue };
        let what = What::named("IXC", &source.name);
        let client = match scene.tokens.of(token, &source.name) {
            Err(error) => Err(Finding::bad(&what, Chain(&error).to_string(), "set the source's token")),
            Ok(token) => {
                let mut config = IxcConfig::new(url.as_str().to_owned(), token);
                config.allow_private = scene.allow_private;
                IxcClient::new(&config)
                    .map_err(|error| Finding::bad(&what, Chain(&error).to_string(), "mend the source's url or token"))
            }
        };
        let client = match client {
            Ok(client) => client,
            Err(finding) => {
                findings.push(finding);
                continue;
            }
        };
        if let Err(error) = client.probe().await {
            findings.push(Finding::bad(&what, Chain(&error).to_string(), mend(&error)));
            continue;
        }
        findings.push(Finding::good(&what, "reached, token accepted"));
        let (from, to) = (today - Days::new(u64::from(*days_back)), today + Days::new(u64::from(*days_ahead)));
        let titles = What::named("titles of IXC", &source.name);
        findings.push(match client.open_titles_page(None, from, to).await {
            Err(error) => Finding::bad(titles, Chain(&error).to_string(), mend(&error)),
            Ok(page) => {
                let more = if page.next.is_some() { "and more " } else { "" };
                let bad = page.problems.len();
                let result = format!("{} open titles {more}due from {from} to {to}, {bad} unreadable", page.rows.len());
                Finding::good(titles, Told::ours(result))
            }
        });
        findings.push(contracts(&client, &source.name).await);
        findings.push(own_senders(&client, &source.name, scene.configuration).await);
    }
    if findings.is_empty() {
        findings.push(Finding::good("IXC", "no [[source]] of kind \"ixc\" is configured"));
    }
    Ok(findings)
}

/// Whether the token's user may list what the switches of the contracts are in.
async fn contracts(client: &IxcClient, source: &str) -> Finding {
    let what = What::named("contracts of IXC", source);
    match client.probe_contracts().await {
        Ok(()) => Finding::good(what, "aviso_atraso and nao_avisar_ate are honoured"),
        Err(error) => {
            let result = format!("aviso_atraso and nao_avisar_ate can't be honoured: {}", Chain(&error));
            Finding::bad(what, result, "allow `cliente_contrato` in the ERP's user group of the token")
        }
    }
}

/// Where the ERP's own senders are set (contracts §2.6).
const WHERE: &str = "in IXC look at Sistema > CRM > Cobrança > Parâmetros da Cobrança (messages omnichannel of each tab), at the Régua de \
                     Cobrança (Sistema > Receber), and at the tasks Atualizar cobranças and Envia mensagens Omnichannel da fila";

/// The double-sender hazard: the ERP's own engines, set to write to the same customers through an omnichannel gateway of theirs.
async fn own_senders(client: &IxcClient, source: &str, configuration: &Configuration) -> Finding {
    let what = What::named("own senders of IXC", source);
    let unseen = |why: String| {
        let result = format!("whether the ERP itself notifies customers could not be checked: {why}");
        Finding::warning(&what, result, format!("{WHERE}: none may send what Régua sends, or customers hear everything twice"))
    };
    let settings = match client.own_collection().await {
        Err(error) => return unseen(Chain(&error).to_string()),
        Ok(None) => return unseen("it has no record of general parameters".into()),
        Ok(Some(settings)) => settings,
    };
    let on: Vec<&str> = [(settings.regua, "the Régua de Cobrança"), (settings.crm, "the automatic collection of the CRM")]
        .into_iter()
        .filter_map(|(is_on, name)| is_on.filter(|is_on| *is_on).map(|_| name))
        .collect();
    if on.is_empty() {
        return match (settings.regua, settings.crm) {
            (Some(_), Some(_)) => Finding::good(&what, "off: neither of the ERP's engines is switched on"),
            _ => unseen("its general parameters don't show ativar_regua_cobranca and utiliza_cobranca_auto".into()),
        };
    }
    let engines = on.join(" and ");
    let gateways = match client.omnichannel_gateways().await {
        Ok(gateways) if gateways.is_empty() => {
            return Finding::good(
                &what,
                format!("{engines} is on, but the ERP has no omnichannel gateway: it sends no WhatsApp"),
            );
        }
        Ok(gateways) if shares_an_address(&gateways, configuration) => "through the same Opa! Suite as Régua",
        Ok(_) => "through an omnichannel gateway of another address than Régua's",
        Err(_) => "perhaps through the same Opa! Suite (its gateways can't be read)",
    };
    let result = format!("{engines} is on and may notify the same customers {gateways}");
    Finding::bad(&what, result, format!("{WHERE}: leave their omnichannel messages empty, or switch here off what they send"))
}

/// Whether a gateway of the ERP leads to the host of an integration that is on. Addresses are compared as Régua would read them.
fn shares_an_address(gateways: &[OmnichannelGateway], configuration: &Configuration) -> bool {
    gateways.iter().filter_map(|gateway| normalise_url(&gateway.url, Product::OpaSuite, true).ok()).any(|(theirs, _)| {
        let mut ours = configuration.integrations.iter().filter(|integration| integration.enabled);
        ours.any(|ours| ours.url.host() == theirs.host() && ours.url.port_or_known_default() == theirs.port_or_known_default())
    })
}

/// What to do about a request that failed.
fn mend(error: &IxcError) -> &'static str {
    match error {
        IxcError::Unreachable(_) | IxcError::TimedOut(_) | IxcError::Interrupted(_) => {
            "check the source's url and this host's way to it; a refused connection means that the ERP's database is down"
        }
        IxcError::PrivateAddress => "set REGUA_ALLOW_PRIVATE_URLS=true if the ERP is in your own network",
        IxcError::Redirected { .. } | IxcError::BodyTooLarge { .. } | IxcError::Unparsable { .. } => {
            "write the source's url as https://HOST/webservice/v1"
        }
        IxcError::Unauthorized { .. } => "create the token again in the ERP's user, and see that the user is active",
        IxcError::Refused { refusal: Refusal::AddressNotAllowed, .. } => {
            "add this host's public address to Redes Permitidas of the user's group in the ERP"
        }
        IxcError::Refused { refusal: Refusal::ResourceUnavailable, .. } => {
            "give the group of the token's user the right to list this resource in the ERP"
        }
        IxcError::Refused { refusal: Refusal::Other(_), .. } => "see the ERP's message",
        IxcError::Status { .. } | IxcError::Html | IxcError::TotalDisagrees { .. } => "ask again later, or the vendor's support",
        IxcError::OrderIgnored { .. }
        | IxcError::PageRepeats { .. }
        | IxcError::DateFilterBroken
        | IxcError::IdNotNumeric { .. } => "ask the vendor's support: the webservice of this installation doesn't filter or sort",
    }
}
