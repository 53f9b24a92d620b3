//! The policies in force, ready to decide with.

use crate::Ledger;
use crate::database::Row;
use crate::error::LedgerError;
use crate::notices::read_filling;
use regua_domain::ids::{ChannelId, NoticeId, PolicyId};
use regua_domain::policy::{ClosedDay, PolicyPlan, StagePlan};
use regua_domain::render::NoticePlan;
use regua_domain::stage::Stage;

impl Ledger {
    /// The enabled policies, best first, each with the stages that are switched on.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`] for a notice whose variables no version of Régua would have accepted.
    pub async fn policies(&self) -> Result<Vec<PolicyPlan>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT p.id AS policy_id, p.name, p.filters, COALESCE(p.stated_activated_on, ps.activated_on, p.activated_on) AS active_from,
                            ps.stage, ps.days, ps.only_after_notice, ps.closed_day, COALESCE(ps.hours, p.hours) AS hours, n.id AS notice_id,
                            n.channel_id, n.template_id, n.variables, n.payment, n.media, c.provider_id AS provider_channel_id
                     FROM policies p LEFT JOIN policy_stages ps ON ps.policy_id = p.id AND ps.enabled
                     LEFT JOIN notices n ON n.id = ps.notice_id LEFT JOIN channels c ON c.id = n.channel_id
                     WHERE p.enabled ORDER BY p.priority, p.name"
                ),
                vec![],
            )
            .await?;
        let mut plans: Vec<PolicyPlan> = Vec::new();
        for row in &rows {
            let id = PolicyId(row.id("policy_id")?);
            // One without stages speaks for its customers all the same: it keeps them from every later policy.
            let stage = row.opt_text("stage")?.map(|_| read_stage(row)).transpose()?;
            match plans.last_mut().filter(|plan| plan.id == id) {
                Some(plan) => plan.stages.extend(stage),
                None => plans.push(PolicyPlan {
                    id,
                    name: row.text("name")?,
                    filters: row.json("filters")?,
                    stages: stage.into_iter().collect(),
                }),
            }
        }
        for plan in &mut plans {
            plan.stages.sort_by_key(|stage| stage.stage);
        }
        Ok(plans)
    }
}

fn read_stage(row: &Row) -> Result<StagePlan, LedgerError> {
    let stage = row.named("stage", Stage::parse)?;
    Ok(StagePlan {
        stage,
        days: row.opt_int("days")?,
        active_from: row.date("active_from")?,
        only_after_notice: row.flag("only_after_notice")?,
        closed_day: crate::configuration::read_closed_day(row, stage)?.unwrap_or(ClosedDay::default_of(stage)),
        hours: row.opt_json("hours")?,
        notice: NoticePlan {
            id: NoticeId(row.id("notice_id")?),
            channel_id: ChannelId(row.id("channel_id")?),
            provider_channel_id: row.text("provider_channel_id")?,
            template_id: row.text("template_id")?,
            filling: read_filling(row)?,
        },
    })
}
