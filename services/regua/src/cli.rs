//! The command line, as interface.md names it. Exit status: 0 done; 1 it did not hold or something failed; 2 usage or configuration.

mod audit;
mod config;
mod date;
mod failures;
mod hold;
mod in_doubt;
mod notice;
mod opt_out;
mod recount;
mod secrets;
mod stop;
mod support_bundle;
mod webhooks;

use crate::check::Part;
use crate::commands::{self, Outcome, PlaceArgs};
use crate::demo::{self, DemoOptions};
use crate::output::Format;
use crate::simulate::{self, SimulateOptions};
use crate::up;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Sends an internet provider's billing notices over WhatsApp, through Opa! Suite.
#[derive(Debug, Parser)]
#[command(name = "regua", version, about, after_help = "Settings come from the environment: see README.md, \"Environment\".")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in this process: scheduler, billing-evaluator, dispatcher, console
    Up,
    /// A whole day on simulators: customers, invoices, notices, and a table that adds up
    Demo(DemoArgs),
    /// Many days in seconds, on simulators and a clock of its own: what would be sent each day, by stage, and what not, and why
    Simulate(SimulateArgs),
    /// The configuration file
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Import customers or invoices from a file in the ERP's own column names
    Import(ImportArgs),
    /// Run a task now
    Run(RunArgs),
    /// The newest runs, and those that wait for a person's consent
    Runs {
        #[command(subcommand)]
        command: Option<RunsCommand>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Which policy decides, and why
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// The text of a notice as the customer of an invoice will read it; nothing is sent
    Preview {
        /// The notice's name
        notice: String,
        /// The invoice's id in the ERP
        #[arg(long)]
        invoice: String,
        /// The date on which it would be read; today if left out
        #[arg(long, value_parser = date::date)]
        on: Option<NaiveDate>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Notices and their templates at Opa! Suite
    #[command(subcommand)]
    Notice(notice::NoticeCommand),
    /// Messages, by state or run
    Messages(MessagesArgs),
    /// One message with its attempts and receipts
    Message {
        /// Its id
        id: uuid::Uuid,
        #[command(flatten)]
        json: JsonArg,
    },
    /// What runs and how far, what binds, what needs a person, who is alive
    Status(JsonArg),
    /// Environment, ledger, broker, clocks, Opa! Suite, IXC, tasks, tomorrow's volume: each problem with its mend, and exit status 1 for one
    Check {
        /// Look only at this; at everything if left out
        part: Option<Part>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Everything that whoever helps needs to see, in one file, without anybody's data
    SupportBundle(support_bundle::SupportBundleArgs),
    /// Messages that the provider may have taken
    #[command(subcommand)]
    InDoubt(in_doubt::InDoubtCommand),
    /// Messages that failed and that nobody set aside
    #[command(subcommand)]
    Failures(failures::FailuresCommand),
    /// Stop sending: everything, or what is named
    Pause(stop::PauseArgs),
    /// Go on sending
    Resume(stop::ResumeArgs),
    /// A backup was restored: what was sent since is unknown
    Restored {
        /// The instant from which on nothing is known, RFC 3339
        #[arg(long, required_unless_present = "nothing_lost")]
        lost_since: Option<DateTime<Utc>>,
        /// The ledger was moved with everything in it, while nothing was running
        #[arg(long, conflicts_with = "lost_since")]
        nothing_lost: bool,
    },
    /// People who asked not to be written to
    #[command(subcommand)]
    OptOut(opt_out::OptOutCommand),
    /// Customers and invoices that are left alone to the end of a date
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Who changed what, when and why, the newest first
    Audit(audit::AuditArgs),
    /// Tokens that the ledger keeps sealed; none is ever shown again
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Set the counts that metrics and status read to what the messages are, and say what differed
    Recount(recount::RecountArgs),
    /// What Opa! Suite and the ERP tell by themselves
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// Schedules
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// The holidays of a place: date, scope, name; tabs between
    Calendar {
        #[command(flatten)]
        place: PlaceArgs,
        /// The year
        #[arg(long)]
        year: i32,
    },
    /// Whether messages may leave: `open until T` or `closed until T`
    Window(WindowArgs),
    /// Phone numbers: input, `+55…` or `-`, reason; tabs between
    Phone {
        /// Numbers; one per line on standard input if there are none
        numbers: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct JsonArg {
    /// One JSON object, or one per line for lists
    #[arg(long)]
    json: bool,
}

impl JsonArg {
    const fn format(self) -> Format {
        if self.json { Format::Json } else { Format::Human }
    }
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Customers of the simulated provider
    #[arg(long, default_value_t = 2000)]
    customers: u32,
    /// The same seed gives the same provider
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The demo's date; its hour is 10:00 in São Paulo
    #[arg(long, value_parser = date::date)]
    today: Option<NaiveDate>,
    /// End when every message has found its end
    #[arg(long)]
    once: bool,
    /// One JSON object instead of bars and a table
    #[arg(long)]
    json: bool,
    /// Keep the ledger and the configuration file in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Runs the services themselves with a ledger in memory, over simulators of Opa! Suite and IXC, on one clock that is moved: every limit, window,
/// schedule, budget and expiry holds as it would. Left out: answers come at once and never fail, nobody is in service or opts out, and what
/// changes in the ERP changes at midnight. The exit status is 1 if runs, messages and provider don't add up.
#[derive(Debug, Args)]
struct SimulateArgs {
    /// How many days, at most ten years
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    /// Customers of the simulated provider
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    customers: u32,
    /// The same seed gives the same days
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The first day; a Tuesday in November 2026 if left out
    #[arg(long, alias = "on", value_parser = date::date)]
    from: Option<NaiveDate>,
    /// Another configuration than ops/examples/demo.toml. Its addresses and tokens give way to the simulators'; the simulated Opa! Suite
    /// has its channels and templates, and of its sources the first is simulated
    #[arg(long)]
    config: Option<PathBuf>,
    /// One JSON object per day, then one for all of them
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// What the file holds
    #[arg(value_parser = ["customers", "invoices"])]
    kind: String,
    /// CSV or JSON Lines
    file: PathBuf,
    /// Keep nothing unless every line is good
    #[arg(long)]
    all_or_nothing: bool,
    /// The file has every open title: what it lacks isn't charged any more
    #[arg(long)]
    full: bool,
    /// Why
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    json: JsonArg,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The task
    #[arg(value_parser = ["update-collections", "send-queued-messages"])]
    task: String,
    /// The date to evaluate; today if left out
    #[arg(long, value_parser = date::date)]
    on: Option<NaiveDate>,
    /// Write nothing: say what update-collections would decide from the mirror as it is, and how long sending would take
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Don't wait for its end
    #[arg(long)]
    no_wait: bool,
    /// Why
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    json: JsonArg,
}

#[derive(Debug, Args)]
struct MessagesArgs {
    /// Only those in this state
    #[arg(long)]
    state: Option<String>,
    /// Only those that this run wrote
    #[arg(long)]
    run: Option<uuid::Uuid>,
    #[command(flatten)]
    json: JsonArg,
}

#[derive(Debug, Args)]
struct WindowArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The instant, RFC 3339; now if left out
    #[arg(long)]
    at: Option<DateTime<chrono::FixedOffset>>,
    /// The policy of a stage with hours of its own
    #[arg(long, requires = "stage")]
    policy: Option<String>,
    /// That stage
    #[arg(long, requires = "policy")]
    stage: Option<String>,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// Let the messages go of a run that is larger than usual
    Approve {
        /// The run
        id: uuid::Uuid,
        /// Why it is right that it is so large
        #[arg(long)]
        why: String,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Which policy decides for an invoice, what its stages are, and what is due
    Explain {
        /// The invoice's id in the ERP
        invoice: String,
        /// The date to decide for; today if left out
        #[arg(long, value_parser = date::date)]
        on: Option<NaiveDate>,
        #[command(flatten)]
        json: JsonArg,
    },
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// The next fires of a schedule, one RFC 3339 instant with offset per line
    Next {
        /// "MIN HOUR DOM MON DOW", as in cron
        schedule: String,
        /// The zone of the fields
        #[arg(long, default_value = "America/Sao_Paulo")]
        zone: Tz,
        /// Fires later than this; now if left out
        #[arg(long)]
        from: Option<DateTime<chrono::FixedOffset>>,
        /// How many
        #[arg(long, default_value_t = 5)]
        count: usize,
    },
}

/// Parses the arguments, does what they say, and says how it went.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up => up::up(),
        Command::Demo(args) => demo::main(DemoOptions {
            customers: args.customers,
            seed: args.seed,
            today: args.today.unwrap_or_else(demo::business_tuesday),
            once: args.once,
            json: args.json,
            keep: args.keep,
        }),
        Command::Simulate(args) => simulate::main(&SimulateOptions {
            days: args.days,
            customers: args.customers,
            seed: args.seed,
            from: args.from.unwrap_or_else(demo::business_tuesday),
            config: args.config,
            json: args.json,
        }),
        Command::Phone { numbers } => report(commands::phone(&numbers)),
        Command::Config(config::ConfigCommand::Check { file }) => report(Ok(commands::config_check(&file))),
        Command::Secrets(secrets::SecretsCommand::NewKey) => {
            commands::new_key();
            ExitCode::SUCCESS
        }
        Command::Schedule(ScheduleCommand::Next { schedule, zone, from, count }) => {
            report(Ok(commands::schedule_next(&schedule, zone, from.map(|from| from.to_utc()), count)))
        }
        Command::Check { part, json } => report(commands::check(part, json.format())),
        Command::SupportBundle(args) => report(commands::support_bundle(&args.out, &args.from)),
        command => report(on_ledger(command)),
    }
}

fn report(outcome: anyhow::Result<Outcome>) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::DidNotHold) => ExitCode::from(1),
        Ok(Outcome::Misused(why)) => {
            eprintln!("regua: {why}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("regua: {error:#}");
            ExitCode::from(1)
        }
    }
}

#[tokio::main]
async fn on_ledger(command: Command) -> anyhow::Result<Outcome> {
    let session = match commands::Session::open().await? {
        Ok(session) => session,
        Err(outcome) => return Ok(outcome),
    };
    let outcome = dispatch(&session, command).await;
    session.close().await;
    outcome
}

async fn dispatch(session: &commands::Session, command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Config(command) => config::run(session, command).await,
        Command::Import(args) => {
            let json = args.json.format();
            session.import(args.kind == "invoices", &args.file, args.all_or_nothing, args.full, args.why, json).await
        }
        Command::Run(args) if args.dry_run && args.task == "update-collections" => {
            session.forecast(args.on, args.json.format()).await
        }
        Command::Run(args) if args.dry_run => Ok(Outcome::Misused("--dry-run is for update-collections only".into())),
        Command::Run(args) => session.run(&args.task, args.on, args.why, !args.no_wait, args.json.format()).await,
        Command::Runs { command: None, json } => session.runs(json.format()).await,
        Command::Runs { command: Some(RunsCommand::Approve { id, why }), json } => {
            session.approve_run(id, why, json.format()).await
        }
        Command::Policy(PolicyCommand::Explain { invoice, on, json }) => session.explain(&invoice, on, json.format()).await,
        Command::Preview { notice, invoice, on, json } => session.preview(&notice, &invoice, on, json.format()).await,
        Command::Notice(command) => notice::run(session, command).await,
        Command::Messages(args) => session.messages(args.state.as_deref(), args.run, args.json.format()).await,
        Command::Message { id, json } => session.message(id, json.format()).await,
        Command::Status(json) => session.status(json.format()).await,
        Command::Failures(command) => failures::run(session, command).await,
        Command::InDoubt(command) => in_doubt::run(session, command).await,
        Command::Pause(args) => stop::pause(session, args).await,
        Command::Resume(args) => stop::resume(session, args).await,
        Command::Calendar { place, year } => session.calendar(&place, year).await,
        Command::Window(args) => session.window(&args.place, args.at.map(|at| at.to_utc()), args.policy.zip(args.stage)).await,
        Command::Restored { lost_since, nothing_lost: _ } => session.restored(lost_since).await,
        Command::OptOut(command) => opt_out::run(session, command).await,
        Command::Hold(command) => hold::run(session, command).await,
        Command::Audit(args) => audit::run(session, args).await,
        Command::Secrets(command) => secrets::run(session, command).await,
        Command::Recount(args) => recount::run(session, args).await,
        Command::Webhooks(command) => webhooks::run(session, command).await,
        Command::Up
        | Command::Demo(_)
        | Command::Simulate(_)
        | Command::Phone { .. }
        | Command::Schedule(_)
        | Command::Check { .. }
        | Command::SupportBundle(_) => {
            unreachable!("done without a session")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
