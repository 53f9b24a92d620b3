//! What Opa! Suite says of the templates in use: read when a configuration is applied and before every update of collections.

use crate::{TokenError, Tokens};
use regua_domain::configuration::{Configuration, Integration, Notice};
use regua_domain::template::TemplateText;
use regua_ledger::templates::SeenTemplate;
use regua_opa_suite::{BaseUrl, ListError, OpaClient, OpaClientConfig, Template};
use regua_telemetry::logging::Chain;
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// How long all channels together may take to be asked.
const LOOK_WITHIN: Duration = Duration::from_secs(30);

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// The templates of the notices whose channel answered, each once.
    pub seen: Vec<SeenTemplate>,
    /// What each channel that answered has, by its name.
    pub offered: BTreeMap<String, Vec<Template>>,
    /// The channels that gave no answer.
    pub unseen: Vec<Unseen>,
}

/// A channel whose templates could not be read.
#[derive(Debug)]
pub struct Unseen {
    /// The channel's name.
    pub channel: String,
    /// Why.
    pub why: String,
}

/// Why an integration can't be asked.
#[derive(Debug, Error)]
enum NotAsked {
    #[error("its token isn't here")]
    Token(#[source] TokenError),
    #[error("its url can't be used: {0}")]
    Url(String),
    #[error("its client can't be made")]
    Client(#[source] regua_opa_suite::BuildError),
    #[error("Opa! Suite gave no list")]
    List(#[source] ListError),
    #[error("Opa! Suite took longer than {} s for all channels", LOOK_WITHIN.as_secs())]
    TooLate,
}

/// Asks Opa! Suite for the templates of `notices`: one list per channel, bounded in time. What doesn't answer is said, not waited for.
pub async fn look_at_templates(configuration: &Configuration, notices: &[&Notice], tokens: &Tokens, allow_private: bool) -> Look {
    let until = Instant::now() + LOOK_WITHIN;
    let mut look = Look::default();
    for integration in &configuration.integrations {
        let of_channel = by_channel(notices, &integration.name);
        let mut client = if of_channel.is_empty() { continue } else { client(integration, tokens, allow_private) };
        for (channel, notices) in of_channel {
            let Some(known) = configuration.channels.iter().find(|known| known.name == channel) else { continue };
            let answer = match &client {
                Ok(client) => listed(client, &known.id, until).await.map_err(|error| {
                    // Who doesn't answer for one channel isn't asked for the next.
                    let is_down = matches!(error, NotAsked::List(ListError::Unreachable { .. }) | NotAsked::TooLate);
                    (Chain(&error).to_string(), is_down)
                }),
                Err(why) => Err((why.clone(), false)),
            };
            match answer {
                Ok(templates) => {
                    look.seen.extend(seen(&integration.name, &notices, &templates));
                    look.offered.insert(channel.to_owned(), templates);
                }
                Err((why, is_down)) => {
                    look.unseen.push(Unseen { channel: channel.to_owned(), why: why.clone() });
                    if is_down {
                        client = Err(why);
                    }
                }
            }
        }
    }
    look.seen.sort_by(|a, b| (&a.integration, &a.template_id).cmp(&(&b.integration, &b.template_id)));
    // A template that one of its channels has is there.
    look.seen.dedup_by(|next, first| {
        let is_same = (&next.integration, &next.template_id) == (&first.integration, &first.template_id);
        if is_same && first.now.is_none() {
            first.now = next.now.take();
        }
        is_same
    });
    look
}

fn by_channel<'a>(notices: &[&'a Notice], integration: &str) -> BTreeMap<&'a str, Vec<&'a Notice>> {
    let mut of_channel: BTreeMap<&str, Vec<&Notice>> = BTreeMap::new();
    for notice in notices.iter().filter(|notice| notice.integration == integration) {
        of_channel.entry(&notice.channel).or_default().push(notice);
    }
    of_channel
}

fn client(integration: &Integration, tokens: &Tokens, allow_private: bool) -> Result<OpaClient, String> {
    let made = || {
        let token = tokens.of(&integration.token, &integration.name).map_err(NotAsked::Token)?;
        let (base, _) =
            BaseUrl::parse(integration.url.as_str(), allow_private).map_err(|error| NotAsked::Url(error.to_string()))?;
        OpaClient::new(OpaClientConfig::new(base, token)).map_err(NotAsked::Client)
    };
    made().map_err(|error: NotAsked| Chain(&error).to_string())
}

async fn listed(client: &OpaClient, channel_id: &str, until: Instant) -> Result<Vec<Template>, NotAsked> {
    match tokio::time::timeout_at(until, client.channel_templates(channel_id)).await {
        Ok(listed) => listed.map_err(NotAsked::List),
        Err(_) => Err(NotAsked::TooLate),
    }
}

fn seen<'a>(
    integration: &'a str,
    notices: &'a [&'a Notice],
    templates: &'a [Template],
) -> impl Iterator<Item = SeenTemplate> + 'a {
    notices.iter().map(move |notice| SeenTemplate {
        integration: integration.to_owned(),
        template_id: notice.template.clone(),
        now: templates
            .iter()
            .find(|template| template.id == notice.template)
            .map(|template| TemplateText { name: template.name.clone(), text: template.text.clone() }),
    })
}
