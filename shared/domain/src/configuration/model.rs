//! What a configuration file says, checked. Plain data: entries refer to each other by name.

use super::retention::Retention;
use super::window_settings::WindowSettings;
use crate::calendar::MunicipalHoliday;
use crate::filling::Filling;
use crate::frequency::Frequency;
use crate::media::Media;
use crate::message::names;
use crate::money::UnitPrice;
use crate::payment::PaymentTerms;
use crate::pilot::Pilot;
use crate::policy::{ClosedDay, PolicyFilters};
use crate::provider::Provider;
use crate::schedule::{Missed, Schedule, ScheduleError, TaskKind};
use crate::stage::Stage;
use crate::variables::VariablesError;
use crate::window::WeekHours;
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use url::Url;

/// One whole configuration. Every name it refers to exists in it, names are unique in their section, and exactly the relations
/// that [`Configuration::parse`] checks hold; one that is built by hand should go through [`export`](super::export()) and `parse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// `[[integration]]`.
    pub integrations: Vec<Integration>,
    /// `[[business]]`.
    pub businesses: Vec<Business>,
    /// `[[channel]]`.
    pub channels: Vec<Channel>,
    /// `[[notice]]`.
    pub notices: Vec<Notice>,
    /// `[[policy]]`.
    pub policies: Vec<Policy>,
    /// `[[task]]`.
    pub tasks: Vec<Task>,
    /// `[[source]]`.
    pub sources: Vec<Source>,
    /// `[window]` and `[[window.state]]`.
    pub window: WindowSettings,
    /// `[[holiday]]`: those that no rule of the law tells.
    #[serde(default)]
    pub holidays: Vec<MunicipalHoliday>,
    /// `[caps]`.
    pub caps: Caps,
    /// `[expiry]`.
    pub expiry: Expiry,
    /// `[approval]`.
    pub approval: Approval,
    /// `[retention]`.
    #[serde(default)]
    pub retention: Retention,
    /// `[pilot]`.
    #[serde(default)]
    pub pilot: Pilot,
    /// `[price]`.
    #[serde(default)]
    pub price: Price,
    /// `[provider]` and `[[branch]]`.
    #[serde(default)]
    pub provider: Provider,
}

impl Configuration {
    /// The notices of the stages that are switched on.
    pub fn notices_in_use(&self) -> Vec<&Notice> {
        let stages = self.policies.iter().filter(|policy| policy.enabled).flat_map(|policy| &policy.stages);
        let names: BTreeSet<&str> = stages.filter(|stage| stage.enabled).map(|stage| stage.notice.as_str()).collect();
        self.notices.iter().filter(|notice| names.contains(notice.name.as_str())).collect()
    }
}

/// Where a secret is found; never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// The name of an environment variable of the process that uses it.
    Env(String),
    /// The path of a file that the process reads.
    File(String),
    /// The name of a secret that the ledger keeps sealed.
    Ledger(String),
}

/// One Opa! Suite base (Integração Omnichannel).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// Unique.
    pub name: String,
    /// Free text, empty when absent.
    pub description: String,
    /// The product.
    pub gateway: Gateway,
    /// The base of the API, normalised: `https://host/api/v1`.
    pub url: Url,
    /// The API token.
    pub token: SecretRef,
    /// Whether notices and channels that name no integration belong to this one. At most one is the default; an only one is.
    pub default: bool,
    /// When what was decided may be sent.
    pub release: Release,
    /// Whether it is in use. No notice of a file belongs to one that isn't, so nothing is sent through it.
    pub enabled: bool,
    /// What its webhook must say to be heard; nobody is heard without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretRef>,
    /// Whether doubtful messages are looked for in its talks with customers, see [`look_up`](crate::look_up).
    #[serde(default)]
    pub look_up: bool,
}

/// The products that an integration can speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gateway {
    /// Opa! Suite.
    OpaSuite,
}

impl Gateway {
    /// Every gateway by its name in the file.
    pub const ALL: [(&'static str, Self); 1] = [("opa-suite", Self::OpaSuite)];

    /// The name in the file, in SQL and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpaSuite => "opa-suite",
        }
    }
}

/// When messages that were decided may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Release {
    /// When send-queued-messages has run, as the ERP does it.
    #[default]
    OnTask,
    /// As soon as they are decided.
    Immediate,
}

impl Release {
    /// Every value by its name in the file.
    pub const ALL: [(&'static str, Self); 2] = [("on-task", Self::OnTask), ("immediate", Self::Immediate)];

    /// The name in the file, in SQL and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnTask => "on-task",
            Self::Immediate => "immediate",
        }
    }
}

/// The WhatsApp business whose 24-hour recipient budget several channels share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Business {
    /// Unique.
    pub name: String,
    /// Different recipients in any moving 24 hours; `None` is unlimited.
    pub recipients_per_24h: Option<NonZeroU32>,
}

/// One WhatsApp number of an integration (canal de comunicação).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Unique.
    pub name: String,
    /// The integration's name.
    pub integration: String,
    /// `_id` in Opa! Suite: 24 lower-case hexadecimal digits (contracts §1.1).
    pub id: String,
    /// Messages per second, at most 1000; `None` is unlimited.
    pub per_second: Option<NonZeroU16>,
    /// The business's name.
    pub business: Option<String>,
}

/// What to say (Mensagem omnichannel).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Unique.
    pub name: String,
    /// The integration's name; the channel's is the same.
    pub integration: String,
    /// The channel's name.
    pub channel: String,
    /// The template's `_id` in Opa! Suite: 24 lower-case hexadecimal digits. Its shortcut (`atalho`) can't be sent (contracts §1.5).
    pub template: String,
    /// The variables in the template's order, separated by commas: `#cliente_razao#,#areceber_valor#`. They parse. Empty for a payment.
    pub variables: String,
    /// What a payment template gets in place of variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentTerms>,
    /// What the template's header shows in place of its own media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
}

impl Notice {
    /// What it fills its template with.
    ///
    /// # Errors
    /// Never for what [`Configuration::parse`] gave.
    pub fn filling(&self) -> Result<Filling, VariablesError> {
        Filling::of(&self.variables, self.payment, self.media.clone())
    }
}

/// Which customers hear what, when (Parâmetro da cobrança).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Unique.
    pub name: String,
    /// Of two policies that match a customer the one with the smaller number decides; of equal ones the name that sorts first.
    pub priority: u16,
    /// Whether it takes part at all.
    pub enabled: bool,
    /// Whom it speaks for; everybody when there is none.
    pub filters: PolicyFilters,
    /// The date from which its stages count, whatever came before having been said by somebody else. `None`: each stage counts from the
    /// date on which it is first applied.
    pub activated_on: Option<NaiveDate>,
    /// The hours of its messages everywhere, in place of `[window]` and the states'.
    #[serde(default)]
    pub hours: Option<WeekHours>,
    /// At most one for each stage, in the order of the file.
    pub stages: Vec<PolicyStage>,
}

/// One tab of a policy (etapa).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStage {
    /// Which.
    pub stage: Stage,
    /// Days after the due date (negative: before); `None` for, and only for, stages that follow an event.
    pub days: Option<i16>,
    /// The notice's name.
    pub notice: String,
    /// Whether it is sent.
    pub enabled: bool,
    /// Whether it is only for those who may have had a dated notice before; `Some` for, and only for, stages that follow an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_after_notice: Option<bool>,
    /// What it means that its day is closed to the recipient; `None` for, and only for, stages that follow an event.
    #[serde(default)]
    pub closed_day: Option<ClosedDay>,
    /// The hours of its messages everywhere, in place of the policy's.
    #[serde(default)]
    pub hours: Option<WeekHours>,
}

/// A schedule (tarefa).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique; the kind's name when the file gives none.
    pub name: String,
    /// What it does.
    #[serde(with = "by_name")]
    pub kind: TaskKind,
    /// As in cron: 0-59.
    pub minute: String,
    /// As in cron: 0-23.
    pub hour: String,
    /// As in cron: 1-31.
    pub day_of_month: String,
    /// As in cron: 1-12.
    pub month: String,
    /// As in cron: 0-7, 0 and 7 are Sunday.
    pub day_of_week: String,
    /// The zone of the five fields.
    pub zone: Tz,
    /// Whether it fires.
    pub enabled: bool,
    /// What becomes of a fire that nobody acted on within its minute.
    pub missed: Missed,
    /// How long after its fire a run may still be begun, in seconds: 1 minute to 7 days.
    pub catch_up_s: u32,
}

impl Task {
    /// Its five fields, read.
    ///
    /// # Errors
    /// Never for what [`Configuration::parse`] gave.
    pub fn schedule(&self) -> Result<Schedule, ScheduleError> {
        Schedule::parse(&self.minute, &self.hour, &self.day_of_month, &self.month, &self.day_of_week)
    }
}

/// A task's kind by its name in the file.
mod by_name {
    use crate::schedule::TaskKind;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub fn serialize<S: Serializer>(kind: &TaskKind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TaskKind, D::Error> {
        let name = String::deserialize(deserializer)?;
        TaskKind::parse(&name).ok_or_else(|| D::Error::custom("not a task's kind"))
    }
}

/// Where customers and invoices come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Unique.
    pub name: String,
    /// How they are read.
    pub kind: SourceKind,
    /// Age of the mirror in seconds (of the last import, for files) beyond which nothing is sent from it.
    pub max_age_s: u32,
    /// What its webhook must say to be heard; nobody is heard without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretRef>,
}

/// How a source is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// From IXC Provedor's webservice.
    Ixc {
        /// The base of the webservice, normalised: `https://host/webservice/v1`.
        url: Url,
        /// The token, `<user id>:<hexadecimal>` (contracts §2.1).
        token: SecretRef,
        /// Open titles due at most so many days ago are listed. Older ones already known are re-read by id.
        days_back: u16,
        /// Open titles due at most so many days from today are listed.
        days_ahead: u16,
        /// Whether, and how, a title is read once more before its message starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_look: Option<LastLook>,
    },
    /// From files that `regua import` reads.
    Files,
}

/// The last look at the ERP: a title is read once more, by its id, before its message starts, so that who has paid since the last
/// sync isn't written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLook {
    /// How old the look at a title may be when its message starts, in seconds.
    pub max_age_s: u32,
    /// What becomes of a message when the ERP can't be asked.
    pub unanswered: Unanswered,
}

names! {
    /// What becomes of a message whose title can't be read once more.
    Unanswered {
        /// It waits until the ERP answers, or expires.
        Hold = "hold",
        /// It goes by what the mirror knows, as long as that is younger than the source's `max_age`.
        Send = "send",
    }
}

impl SourceKind {
    /// The name in the file, in SQL and in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ixc { .. } => "ixc",
            Self::Files => "files",
        }
    }
}

/// How much one person may receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StatedCaps")]
pub struct Caps {
    /// Messages to one phone on one local day, over every business and channel; 1 to 50.
    pub per_day: u16,
    /// Messages to one phone on seven local days in a row, today included; from `per_day` to 350. Not stated: 4, or `per_day` if that is more.
    pub per_7_days: u16,
    /// Days that lie at least between two messages about one invoice, 0 to 30.
    pub days_between_stages: u16,
}

impl Default for Caps {
    fn default() -> Self {
        Self::from(StatedCaps::default())
    }
}

impl Caps {
    /// How often a person may be written to.
    pub const fn frequency(self) -> Frequency {
        Frequency { per_day: self.per_day as u32, per_7_days: self.per_7_days as u32 }
    }
}

/// What a file, or a ledger of before a key, says of the caps.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatedCaps {
    pub per_day: Option<u16>,
    pub per_7_days: Option<u16>,
    pub days_between_stages: Option<u16>,
}

impl From<StatedCaps> for Caps {
    fn from(stated: StatedCaps) -> Self {
        let per_day = stated.per_day.unwrap_or(2);
        Self {
            per_day,
            per_7_days: stated.per_7_days.unwrap_or(4).max(per_day),
            days_between_stages: stated.days_between_stages.unwrap_or(3),
        }
    }
}

/// How long a message may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// It expires at the end of this many open windows, the first of which is on or after its day; 1 to 30.
    pub open_windows: u16,
}

impl Default for Expiry {
    fn default() -> Self {
        Self { open_windows: 1 }
    }
}

/// How large a run may be before a person must agree to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Approval {
    /// A run that would hold more messages than this, and more than three times the median of the last ten, waits for `regua runs approve`.
    /// `None`: no run waits.
    pub above: Option<NonZeroU32>,
}

/// What sending costs, for forecasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Of one message; `None`: forecasts tell no costs.
    pub per_message: Option<UnitPrice>,
}

impl Approval {
    /// What a run may hold that is alone, or follows on small ones, when the file doesn't say.
    const ABOVE: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
}

impl Default for Approval {
    fn default() -> Self {
        Self { above: Some(Self::ABOVE) }
    }
}
