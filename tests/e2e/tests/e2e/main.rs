//! The pipeline end to end, as an operator sees it: processes, queues, a database, two HTTP servers.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]

mod audit;
mod backup;
mod changes;
mod checks;
mod dashboards;
mod demo;
mod dry_run;
mod embedded;
mod events;
mod failure_schedules;
mod failures;
mod hints;
mod holds;
mod import;
mod last_look;
mod leaks;
mod look_ups;
mod metrics;
mod notices;
mod outages;
mod policies;
mod secrets;
mod seed;
mod separate;
mod shutdown;
mod simulate;
mod sources;
mod status;
mod stops;
mod support_bundle;
mod traces;
mod trouble;
mod upgrade;
mod webhooks;
