//! What the raw loops will write and send, worked out beforehand with the evaluator's own pure functions.

use crate::provider;
use crate::world::World;
use anyhow::Context as _;
use bytes::Bytes;
use regua_domain::consent::Reach;
use regua_domain::decide::{Day, decide, expires_at};
use regua_domain::ids::ChannelId;
use regua_ledger::new_id;
use regua_ledger::runs::LeasedRun;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// One message, from its row to its request.
#[derive(Clone)]
pub(crate) struct Planned {
    pub id: Uuid,
    pub attempt: Uuid,
    pub subject: String,
    pub stage: &'static str,
    pub stage_rank: i64,
    pub due_on: String,
    pub notice: Uuid,
    pub channel: Uuid,
    pub business: Uuid,
    pub phone_key: String,
    pub facts_version: String,
    pub expires_at_us: i64,
    pub phone: String,
    pub provider_channel_id: String,
    pub template_id: String,
    /// The values as the ledger keeps them: JSON.
    pub variables: String,
    /// Where the request goes.
    pub url: String,
    /// What it says.
    pub body: Bytes,
}

/// A whole day of messages.
pub(crate) struct Plan {
    pub run: Arc<LeasedRun>,
    pub source: Uuid,
    pub policy: Uuid,
    /// In the order in which the evaluator comes to them.
    pub messages: Vec<Arc<Planned>>,
}

impl Plan {
    /// Decides every invoice of the provider, as `run` would.
    pub async fn make(world: &World, run: LeasedRun) -> anyhow::Result<Self> {
        let ledger = &world.pipeline.ledger;
        let source = ledger.sources().await?.into_iter().next().context("the configuration has a source")?.id.0;
        let policy = ledger.policies().await?.into_iter().next().context("the configuration has a policy")?;
        let settings = ledger.settings().await?;
        let routes: HashMap<_, _> = ledger.routes().await?.into_iter().map(|route| (route.channel_id, route)).collect();
        let mut invoices: Vec<_> = (0..world.invoices).map(|number| (provider::invoice(number, 1), number)).collect();
        invoices.sort_by(|(a, _), (b, _)| (a.due_on, &a.id.0).cmp(&(b.due_on, &b.id.0)));
        let day = Day {
            today: provider::today(),
            now: ledger.now().await?,
            times: settings.times(),
            provider: &settings.provider,
            days_between_stages: settings.caps.days_between_stages,
        };
        let mut messages = Vec::with_capacity(invoices.len());
        for (invoice, number) in invoices {
            let customer = provider::customer(number);
            let decided = decide(&policy, &invoice, Some(&customer), &[], None, day, &Reach::EVERYBODY)
                .ok()
                .context("every invoice is due")?;
            let text = decided.text.map_err(|why| anyhow::anyhow!("no message is skipped, but this one is {why}"))?;
            let route = &routes[&decided.stage.notice.channel_id];
            let (id, attempt) = (new_id(), new_id());
            let body = json!({
                "contato": {"canalCliente": text.phone},
                "template": {"_id": text.template_id, "variaveis": text.values.by_position()},
                "canal": text.provider_channel_id,
                "allowSendingToStartedCustomerService": false,
                "metadata": {"ledger": world.pipeline.ledger_id, "message": id, "attempt": attempt},
            });
            messages.push(Arc::new(Planned {
                id,
                attempt,
                subject: invoice.id.0,
                stage: decided.stage.stage.as_str(),
                stage_rank: decided.stage.stage.rank().into(),
                due_on: invoice.due_on.to_string(),
                notice: decided.stage.notice.id.0,
                channel: route.channel_id.0,
                business: route.business_id.0,
                facts_version: text.facts_version(),
                expires_at_us: expires_at(&decided.window, decided.opens_at, decided.last_day, settings.expiry.open_windows)
                    .timestamp_micros(),
                url: format!("{}/template/send", route.url),
                body: serde_json::to_vec(&body)?.into(),
                variables: serde_json::to_string(&text.values)?,
                phone: text.phone,
                phone_key: text.phone_key,
                provider_channel_id: text.provider_channel_id,
                template_id: text.template_id,
            }));
        }
        Ok(Self { run: Arc::new(run), source, policy: policy.id.0, messages })
    }

    /// The same number of messages to other people about other invoices, that were due a year earlier.
    pub fn into_history(self) -> Self {
        let earlier = |message: Arc<Planned>| {
            let message = Arc::unwrap_or_clone(message);
            let (id, attempt) = (new_id(), new_id());
            Arc::new(Planned {
                id,
                attempt,
                subject: message.subject.replacen('i', "h", 1),
                due_on: message.due_on.replacen("2026", "2025", 1),
                phone_key: message.phone_key.replacen("11", "21", 1),
                ..message
            })
        };
        Self { messages: self.messages.into_iter().map(earlier).collect(), ..self }
    }

    /// A channel's messages, best first: all are of one stage and due date, so by id.
    pub fn ids_of(&self, channel: ChannelId) -> Vec<Uuid> {
        self.messages.iter().filter(|message| message.channel == channel.0).map(|message| message.id).collect()
    }
}
