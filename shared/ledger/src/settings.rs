//! Settings that hold for the whole provider: window, caps, expiry, who it is.

use crate::database::{Tx, micros};
use crate::error::LedgerError;
use crate::stops::Stops;
use chrono::{DateTime, Utc};
use regua_domain::admission::Terms;
use regua_domain::calendar::Calendar;
use regua_domain::configuration::{Approval, Caps, Expiry, Price, Retention, WindowSettings};
use regua_domain::pilot::Pilot;
use regua_domain::provider::Provider;
use regua_domain::sending_times::SendingTimes;
use regua_domain::window::WeekHours;
use serde::{Deserialize, Serialize};

/// What the configuration file's `[window]`, `[[holiday]]`, `[caps]`, `[expiry]`, `[approval]`, `[retention]`, `[price]`, `[provider]` and `[[branch]]` say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// When messages may be sent.
    pub window: WindowSettings,
    /// The holidays that no rule of the law tells.
    #[serde(default)]
    pub calendar: Calendar,
    /// The hours that policies and stages have of their own, each once: whether anything may be open is asked many times a second.
    #[serde(default)]
    pub own_hours: Vec<WeekHours>,
    /// How much one person may receive.
    pub caps: Caps,
    /// How long a message may wait.
    pub expiry: Expiry,
    /// How large a run may be before a person must agree to it.
    #[serde(default)]
    pub approval: Approval,
    /// How long personal data is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Whom messages reach while the provider tries Régua out.
    #[serde(default)]
    pub pilot: Pilot,
    /// What sending costs.
    #[serde(default)]
    pub price: Price,
    /// Who sends.
    #[serde(default)]
    pub provider: Provider,
}

impl Settings {
    /// The defaults: Monday to Friday 9 to 18 in the provider's zone, two messages per person and day, one open window, consent from 1000 on.
    pub fn new(zone: chrono_tz::Tz) -> Self {
        Self {
            window: WindowSettings::business_hours(zone),
            calendar: Calendar::default(),
            own_hours: Vec::new(),
            caps: Caps::default(),
            expiry: Expiry::default(),
            approval: Approval::default(),
            retention: Retention::default(),
            pilot: Pilot::Off,
            price: Price::default(),
            provider: Provider::default(),
        }
    }

    /// What every message is written and sent under.
    pub const fn terms(&self) -> Terms<'_> {
        Terms { times: self.times(), provider: &self.provider, pilot: &self.pilot }
    }

    /// When messages may leave.
    pub const fn times(&self) -> SendingTimes<'_> {
        SendingTimes { settings: &self.window, calendar: &self.calendar }
    }
}

pub(crate) async fn load(tx: &mut Tx) -> Result<Settings, LedgerError> {
    let row = tx.fetch_optional(sql!("SELECT value FROM settings WHERE name = 'provider'"), vec![]).await?;
    match row {
        Some(row) => row.json("value"),
        None => Ok(Settings::new(chrono_tz::America::Sao_Paulo)),
    }
}

/// Writes them, and that a configuration was applied `now`.
pub(crate) async fn store(tx: &mut Tx, settings: &Settings, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let text = serde_json::to_string(settings).map_err(|_| LedgerError::unreadable("settings", "settings that are no JSON"))?;
    tx.execute(
        sql!(
            "INSERT INTO settings (name, value) VALUES ('provider', $1), ('applied_at', $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        values![text, micros(now).to_string()],
    )
    .await?;
    Ok(())
}

/// The ledger's clock with all that holds for the whole provider at that moment, in one round trip. Call it after the locks are held.
pub(crate) async fn now_in_force(tx: &mut Tx) -> Result<(DateTime<Utc>, Settings, Stops), LedgerError> {
    let host_clock = tx.host_clock();
    let row = tx
        .fetch_one(
            sql!(
                "SELECT ", (clock 1), " AS now, (SELECT value FROM settings WHERE name = 'provider') AS settings,
                        EXISTS (SELECT 1 FROM stops WHERE lifted_at IS NULL) AS stopped FROM ledger"
            ),
            vec![host_clock],
        )
        .await?;
    let now = row.instant("now")?;
    let settings = row.opt_json("settings")?.unwrap_or_else(|| Settings::new(chrono_tz::America::Sao_Paulo));
    let stops = if row.flag("stopped")? { Stops::load(tx, now).await? } else { Stops::default() };
    Ok((now, settings, stops))
}

impl crate::Ledger {
    /// The settings in force.
    pub async fn settings(&self) -> Result<Settings, LedgerError> {
        load(&mut self.db.read().await?).await
    }
}
