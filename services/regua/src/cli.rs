//! The command line, as interface.md names it. Exit status: 0 done; 1 it did not hold or something failed; 2 usage or configuration.

mod hold;

use crate::check::Part;
use crate::commands::{self, Outcome, PlaceArgs};
use crate::demo::{self, DemoOptions};
use crate::output::Format;
use crate::simulate::{self, SimulateOptions};
use crate::up;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use clap::{Args, Parser, Subcommand};
use regua_domain::stop::StopScope;
use regua_ledger::doubt::Resolution;
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
    /// Everything in this process: scheduler, billing-evaluator, dispatcher
    Up,
    /// A whole day on simulators: customers, invoices, notices, and a table that adds up
    Demo(DemoArgs),
    /// Many days in seconds, on simulators and a clock of its own: what would be sent each day, by stage, and what not, and why
    Simulate(SimulateArgs),
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
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
        #[arg(long)]
        on: Option<NaiveDate>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Notices and their templates at Opa! Suite
    #[command(subcommand)]
    Notice(NoticeCommand),
    /// Messages, by state or run
    Messages(MessagesArgs),
    /// One message with its attempts
    Message {
        /// Its id
        id: uuid::Uuid,
        #[command(flatten)]
        json: JsonArg,
    },
    /// What there is, what runs, what is stopped
    Status(JsonArg),
    /// Configuration, ledger, broker, Opa! Suite, IXC: each problem with its mend
    Check {
        /// Look only at this; at everything if left out
        part: Option<Part>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Messages that the provider may have taken
    #[command(subcommand)]
    InDoubt(InDoubtCommand),
    /// Stop sending: everything, or what is named
    Pause(StopArgs),
    /// Go on sending
    Resume(ResumeArgs),
    /// A backup was restored: what was sent since is unknown
    Restored {
        /// The instant from which on nothing is known, RFC 3339
        #[arg(long)]
        lost_since: DateTime<Utc>,
    },
    /// People who asked not to be written to
    #[command(subcommand)]
    OptOut(OptOutCommand),
    /// Customers and invoices that are left alone to the end of a date
    #[command(subcommand)]
    Hold(hold::HoldCommand),
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
    #[arg(long)]
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
    #[arg(long)]
    from: Option<NaiveDate>,
    /// Another configuration than ops/examples/demo.toml. Its addresses and tokens give way to the simulators'; the simulated Opa! Suite
    /// has its channels and templates, and of its sources the first is simulated
    #[arg(long)]
    config: Option<PathBuf>,
    /// One JSON object per day, then one for all of them
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Apply a file: all of it or nothing
    Apply {
        /// The TOML file
        file: PathBuf,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Say what is wrong with a file, line by line
    Check {
        /// The TOML file
        file: PathBuf,
    },
    /// Print what is in force, as a file
    Export,
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
    #[command(flatten)]
    json: JsonArg,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The task
    #[arg(value_parser = ["update-collections", "send-queued-messages"])]
    task: String,
    /// The date to evaluate; today if left out
    #[arg(long)]
    on: Option<NaiveDate>,
    /// Write nothing: say what update-collections would decide from the mirror as it is, and how long sending would take
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Don't wait for its end
    #[arg(long)]
    no_wait: bool,
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
        #[arg(long)]
        on: Option<NaiveDate>,
        #[command(flatten)]
        json: JsonArg,
    },
}

#[derive(Debug, Subcommand)]
enum NoticeCommand {
    /// All notices with their templates: accepted, changed (with what differs), gone, or never seen
    List(JsonArg),
    /// Accept the text of a notice's template as Opa! Suite has it now, so that its messages go on
    Accept {
        /// The notice's name
        notice: String,
        /// Why the new text is right
        #[arg(long)]
        why: String,
    },
    /// Send one message to try a notice; it is marked as a test and counted apart
    Test {
        /// The notice's name
        notice: String,
        /// The phone that shall get it
        #[arg(long)]
        phone: String,
        /// The invoice whose values are sent; invented ones if left out
        #[arg(long)]
        invoice: Option<String>,
        #[command(flatten)]
        json: JsonArg,
    },
}

#[derive(Debug, Subcommand)]
enum InDoubtCommand {
    /// Those that nobody settled
    List(JsonArg),
    /// Settle one
    Resolve {
        /// The message
        id: uuid::Uuid,
        /// It was sent
        #[arg(long, group = "how")]
        sent: bool,
        /// Send it again: the customer may get it twice
        #[arg(long, group = "how")]
        resend: bool,
        /// Let it go
        #[arg(long, group = "how")]
        drop: bool,
        /// How you know, or why you decide so
        #[arg(long)]
        why: String,
    },
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// An integration's name
    #[arg(long)]
    integration: Option<String>,
    /// A channel's name
    #[arg(long)]
    channel: Option<String>,
    /// A policy's name
    #[arg(long)]
    policy: Option<String>,
    /// A stage's name
    #[arg(long)]
    stage: Option<String>,
    /// A template's id
    #[arg(long)]
    template: Option<String>,
    /// A business's name
    #[arg(long)]
    business: Option<String>,
}

#[derive(Debug, Args)]
struct StopArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why
    #[arg(long)]
    why: String,
}

#[derive(Debug, Args)]
struct ResumeArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why
    #[arg(long)]
    why: Option<String>,
}

#[derive(Debug, Subcommand)]
enum OptOutCommand {
    /// Add numbers
    Add {
        /// Phone numbers
        #[arg(required = true)]
        numbers: Vec<String>,
        /// Who asked, how
        #[arg(long, default_value = "asked")]
        why: String,
        #[command(flatten)]
        scope: OptOutScopeArg,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Remove a number; messages come back only when they are evaluated again
    Remove {
        /// The phone number
        number: String,
        /// Only this opt-out: `all`, or a business's name; every one if left out
        #[arg(long)]
        scope: Option<String>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// All of them
    List(JsonArg),
    /// Add the numbers of a file: one per line, or phone;date;why
    Import {
        /// The file
        file: PathBuf,
        /// Who asked, how, where the line doesn't say
        #[arg(long, default_value = "imported")]
        why: String,
        #[command(flatten)]
        scope: OptOutScopeArg,
        /// Keep nothing unless every line is good
        #[arg(long)]
        all_or_nothing: bool,
        #[command(flatten)]
        json: JsonArg,
    },
}

#[derive(Debug, Args)]
struct OptOutScopeArg {
    /// Whose messages end: `all`, or a business's name (or that of a channel that belongs to none)
    #[arg(long, default_value = "all")]
    scope: String,
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
        Command::Schedule(ScheduleCommand::Next { schedule, zone, from, count }) => {
            report(Ok(commands::schedule_next(&schedule, zone, from.map(|from| from.to_utc()), count)))
        }
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
        Command::Config(ConfigCommand::Apply { file, dry_run }) => session.config_apply(&file, dry_run).await,
        Command::Config(ConfigCommand::Check { file }) => Ok(session.config_check(&file)),
        Command::Config(ConfigCommand::Export) => session.config_export().await,
        Command::Import(args) => {
            session.import(args.kind == "invoices", &args.file, args.all_or_nothing, args.full, args.json.format()).await
        }
        Command::Run(args) if args.dry_run && args.task == "update-collections" => {
            session.forecast(args.on, args.json.format()).await
        }
        Command::Run(args) if args.dry_run => Ok(Outcome::Misused("--dry-run is for update-collections only".into())),
        Command::Run(args) => session.run(&args.task, args.on, !args.no_wait, args.json.format()).await,
        Command::Runs { command: None, json } => session.runs(json.format()).await,
        Command::Runs { command: Some(RunsCommand::Approve { id, why }), json } => {
            session.approve_run(id, why, json.format()).await
        }
        Command::Policy(PolicyCommand::Explain { invoice, on, json }) => session.explain(&invoice, on, json.format()).await,
        Command::Preview { notice, invoice, on, json } => session.preview(&notice, &invoice, on, json.format()).await,
        Command::Notice(NoticeCommand::List(json)) => session.notices(json.format()).await,
        Command::Notice(NoticeCommand::Accept { notice, why }) => session.accept_template(notice, why).await,
        Command::Notice(NoticeCommand::Test { notice, phone, invoice, json }) => {
            session.test_notice(notice, phone, invoice, json.format()).await
        }
        Command::Messages(args) => session.messages(args.state.as_deref(), args.run, args.json.format()).await,
        Command::Message { id, json } => session.message(id, json.format()).await,
        Command::Status(json) => session.status(json.format()).await,
        Command::Check { part, json } => session.check(part, json.format()).await,
        Command::InDoubt(InDoubtCommand::List(json)) => session.messages(Some("in_doubt"), None, json.format()).await,
        Command::InDoubt(InDoubtCommand::Resolve { id, sent, resend, drop: _, why }) if sent || resend => {
            let how = if sent { Resolution::Sent } else { Resolution::Resend };
            session.resolve_doubt(id, how, why).await
        }
        Command::InDoubt(InDoubtCommand::Resolve { id, drop: true, why, .. }) => {
            session.resolve_doubt(id, Resolution::Drop, why).await
        }
        Command::InDoubt(InDoubtCommand::Resolve { .. }) => Ok(Outcome::Misused("say --sent, --resend or --drop".into())),
        Command::Pause(args) => {
            let (scope, name) = scope(args.scope);
            session.pause(scope, name, args.why).await
        }
        Command::Resume(args) => {
            let (scope, name) = scope(args.scope);
            session.resume(scope, name, args.why).await
        }
        Command::Calendar { place, year } => session.calendar(&place, year).await,
        Command::Window(args) => session.window(&args.place, args.at.map(|at| at.to_utc()), args.policy.zip(args.stage)).await,
        Command::Restored { lost_since } => session.restored(lost_since).await,
        Command::OptOut(OptOutCommand::Add { numbers, why, scope, json }) => {
            session.opt_out_add(numbers, why, scope.scope, json.format()).await
        }
        Command::OptOut(OptOutCommand::Import { file, why, scope, all_or_nothing, json }) => {
            session.opt_out_import(&file, why, scope.scope, all_or_nothing, json.format()).await
        }
        Command::OptOut(OptOutCommand::Remove { number, scope, json }) => {
            session.opt_out_remove(number, scope, json.format()).await
        }
        Command::OptOut(OptOutCommand::List(json)) => session.opt_out_list(json.format()).await,
        Command::Hold(command) => hold::run(session, command).await,
        Command::Up | Command::Demo(_) | Command::Simulate(_) | Command::Phone { .. } | Command::Schedule(_) => {
            unreachable!("done without a ledger")
        }
    }
}

fn scope(args: ScopeArgs) -> (StopScope, String) {
    let named = [
        (StopScope::Integration, args.integration),
        (StopScope::Channel, args.channel),
        (StopScope::Policy, args.policy),
        (StopScope::Stage, args.stage),
        (StopScope::Template, args.template),
        (StopScope::Business, args.business),
    ];
    named.into_iter().find_map(|(scope, name)| Some((scope, name?))).unwrap_or((StopScope::Everything, String::new()))
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
