//! What is wrong with a configuration file, where, and how to mend it.

use super::url::UrlFault;
use crate::media::MediaFault;
use crate::payment_codes::{NotAPixKey, PixKeyKind};
use crate::phone::PhoneRefusal;
use crate::provider::IdentityField;
use crate::schedule::{Clash, ScheduleError};
use crate::stage::Stage;
use crate::variables::{Variable, VariablesError};
use crate::window::{HoursError, WindowError};
use std::fmt;
use thiserror::Error;

/// Problems of one file that are told; whoever has more mends these first.
pub const PROBLEMS_MAX: usize = 200;

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigurationErrors {
    /// The file's name as the caller gave it.
    pub file: String,
    /// At least one, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigurationErrors {
    /// One line for each problem: `FILE:LINE: FIELD = VALUE: WHAT; MEND`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{problem}", self.file)?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 1-based. For something that is missing, the line of its section's header.
    pub line: usize,
    /// The path of the field; entries are counted from 1: `policy[1].stage[3].days`. Empty for the file as a whole.
    pub field: String,
    /// The value in TOML's notation, at most 80 characters; empty when there is none; only its length where it may be a secret.
    pub value: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Problem {
    /// What the operator should write instead.
    pub fn mend(&self) -> String {
        self.fault.mend()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        match (self.field.is_empty(), self.value.is_empty()) {
            (true, true) => {}
            (true, false) => write!(f, "{}: ", self.value)?,
            (false, true) => write!(f, "{}: ", self.field)?,
            (false, false) => write!(f, "{} = {}: ", self.field, self.value)?,
        }
        write!(f, "{}", self.fault)?;
        let mut source = std::error::Error::source(&self.fault);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        write!(f, "; {}", self.mend())
    }
}

/// Something that was understood, but that the operator should know: a corrected address, a secret that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// 1-based.
    pub line: usize,
    /// As in [`Problem::field`].
    pub field: String,
    /// One sentence.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.line, self.field, self.text)
    }
}

/// Every way in which a configuration file is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The file is larger than any real one.
    #[error("the file has more than {limit} bytes")]
    TooLarge {
        /// The largest file that is read, in bytes.
        limit: usize,
    },
    /// A file without any section: applied, it would switch everything off.
    #[error("the file has no section")]
    Empty,
    /// Not TOML.
    #[error("is not TOML: {0}")]
    Syntax(String),
    /// A key that this section doesn't have.
    #[error("is not a key of this section")]
    UnknownKey {
        /// The known key that is spelled most alike.
        nearest: Option<String>,
        /// Every key of the section.
        known: Vec<&'static str>,
    },
    /// A secret written into the file.
    #[error("secrets are not read from this file")]
    SecretInFile,
    /// A required key is absent.
    #[error("is missing")]
    Missing {
        /// A line that would do.
        example: &'static str,
    },
    /// A key that doesn't go with another of the same section.
    #[error("does not go with {with}")]
    Conflict {
        /// The other key, or the other key's value.
        with: String,
    },
    /// Text where a number is expected, and the like.
    #[error("is {found}, expected {expected}")]
    WrongType {
        /// TOML's name of what is there.
        found: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// Text with nothing in it, too long, or with control characters.
    #[error("{0}")]
    UnusableText(&'static str),
    /// A number out of its bounds.
    #[error("is not {}", bounds(*.min, *.max))]
    OutOfBounds {
        /// The smallest allowed.
        min: i64,
        /// The largest allowed.
        max: i64,
        /// What else may be written, if anything, with its article or quotes.
        or: Option<&'static str>,
    },
    /// A word that is none of a closed list.
    #[error("is none of the known values")]
    NotInList {
        /// The value that is meant, as far as one can tell.
        nearest: Option<String>,
        /// Every allowed value, or a few if there are very many.
        allowed: Vec<String>,
    },
    /// A name that no section of that kind has.
    #[error("there is no [[{section}]] of this name")]
    UnknownName {
        /// The section that would define it.
        section: &'static str,
        /// The name that is spelled most alike.
        nearest: Option<String>,
    },
    /// The integration is left out and none is the default.
    #[error("is missing, and no integration is the default one for {user:?}")]
    NoDefault {
        /// The notice or channel that names none.
        user: String,
    },
    /// An integration that was removed, or never was, while something uses it.
    #[error("there is no [[integration]] of this name, and {user:?} uses it")]
    UnknownIntegration {
        /// The notice or channel that names it.
        user: String,
        /// The name that is spelled most alike.
        nearest: Option<String>,
    },
    /// An integration that is switched off while notices use it.
    #[error("is off while notices use it: {}", quoted(notices))]
    IntegrationInUse {
        /// Their names.
        notices: Vec<String>,
    },
    /// Two integrations are the default.
    #[error("a second default integration; the first is on line {first_line}")]
    SecondDefault {
        /// Where the first one says so.
        first_line: usize,
    },
    /// The same name, id or stage twice.
    #[error("was given before, on line {first_line}")]
    Duplicate {
        /// Where it was first given.
        first_line: usize,
        /// What to do about it.
        mend: &'static str,
    },
    /// A notice of one integration on a channel of another.
    #[error("belongs to the integration {channel:?}, but the notice to {notice:?}")]
    IntegrationsDiffer {
        /// The integration of the channel.
        channel: String,
        /// The integration of the notice.
        notice: String,
    },
    /// An environment variable's name that can't be one.
    #[error("is not the name of an environment variable")]
    NotAVariableName,
    /// A name that no secret of the ledger can have.
    #[error("is not the name of a secret")]
    NotASecretName,
    /// The environment variable is unset or empty.
    #[error("the environment variable is not set")]
    VariableNotSet,
    /// An address that can't be the base of an API.
    #[error("cannot be used")]
    Url(#[from] UrlFault),
    /// A WhatsApp channel's id.
    #[error("is not an id of 24 hexadecimal digits")]
    NotAChannelId,
    /// A template's id.
    #[error("is not an id of 24 hexadecimal digits")]
    NotATemplateId,
    /// A schedule's field, or all five together.
    #[error("is no schedule")]
    Schedule(#[source] ScheduleError),
    /// A notice's variables.
    #[error("cannot be understood")]
    Variables(#[source] VariablesError),
    /// A variable of the provider that neither `[provider]` nor any `[[branch]]` has a value for.
    #[error("{0} has no value: nothing in this file says it")]
    ProviderUnknown(Variable),
    /// A payment template without the unit of its amount.
    #[error("is missing: in which unit the platform reads the amount of a payment is documented nowhere")]
    NoPaymentAmount,
    /// A Pix payment whose account's key nothing says.
    #[error("needs the account's key, and nothing in this file says it: a dynamic Pix code, as gateways make them, names none")]
    NoPixKey,
    /// Not a key of its type.
    #[error(transparent)]
    PixKey(NotAPixKey),
    /// Not the address of a header's media.
    #[error("{0}")]
    Media(MediaFault),
    /// A payment for a stage at which nothing of the invoice is to be paid.
    #[error("asks for a payment, which a {0} message must not: it follows an event that ended the invoice")]
    PaymentAtEvent(Stage),
    /// Neither a CNPJ nor a CPF.
    #[error("is no CNPJ or CPF with right check digits")]
    NotATaxId,
    /// Not an hour and a minute.
    #[error("is not a time of the day")]
    NotATimeOfDay,
    /// The window never opens.
    #[error("no window")]
    Window(#[source] WindowError),
    /// Not the hours of a week.
    #[error("are no hours of a week")]
    Hours(#[source] HoursError),
    /// Not a day and month.
    #[error("is not a day of the year")]
    NotADayOfYear,
    /// More tasks than any provider has.
    #[error("there are more than {limit} tasks")]
    TooManyTasks {
        /// The most that are read.
        limit: usize,
    },
    /// The tasks' times don't go together.
    #[error("the tasks' times do not go together")]
    TaskPlan(#[source] Clash),
    /// A stage by date whose day is not later than that of the stage before it.
    #[error("is not later than the {days} of {before}, the stage before it (line {line})")]
    StageNotLater {
        /// The stage that comes before.
        before: Stage,
        /// Its day.
        days: i16,
        /// Its line.
        line: usize,
    },
    /// A day for a stage that follows an event.
    #[error("a {0} stage follows an event and has no day")]
    DayOfEvent(Stage),
    /// `only_after_notice` for a stage by date.
    #[error("a {0} stage is a notice itself")]
    NoticeOfDate(Stage),
    /// A notice that says what no message of the stage can know.
    #[error("names {variable}, which no {stage} message has")]
    UnknownAtStage {
        /// What it names.
        variable: Variable,
        /// The stage.
        stage: Stage,
    },
    /// Not a mobile number that can be written to.
    #[error("is not a mobile number")]
    NotAPhone(#[source] PhoneRefusal),
    /// A cap of seven days that is smaller than the day's.
    #[error("is less than a single day's {per_day}")]
    BelowPerDay {
        /// The day's cap.
        per_day: u16,
    },
    /// Not an amount of money, or nothing.
    #[error("is not an amount of money above zero")]
    NotAnAmount,
    /// Not a price.
    #[error("is not a price from R$0,0001 to R$100")]
    NotAPrice,
    /// Not a date.
    #[error("is not a date of the calendar")]
    NotADate,
    /// More values than a filter takes.
    #[error("there are more than {limit} values")]
    TooManyValues {
        /// The most that are read.
        limit: usize,
    },
    /// A reminder earlier than any source lists titles.
    #[error("is earlier than titles are listed: the source {source_name:?} looks {days_ahead} days ahead")]
    BeyondDaysAhead {
        /// The source.
        source_name: String,
        /// How far it looks.
        days_ahead: u16,
    },
    /// Not a duration.
    #[error("is not a time from 1 minute to {days_max} days")]
    NotADuration {
        /// The longest that is allowed.
        days_max: u32,
    },
}

impl Fault {
    /// What to write instead, as an order to the operator.
    pub fn mend(&self) -> String {
        match self {
            Self::TooLarge { .. } => "leave out what is no configuration".into(),
            Self::Empty => "begin with ops/examples/regua-completa.toml; to send nothing, `regua pause --why TEXT`".into(),
            Self::Syntax(_) => "write `key = value` with text in double quotes, and each section as [name] or [[name]]".into(),
            Self::UnknownKey { nearest: Some(nearest), .. } => format!("write {nearest}"),
            Self::UnknownKey { nearest: None, known } if known.is_empty() => "leave it out".into(),
            Self::UnknownKey { nearest: None, known } => format!("leave it out; the keys are {}", known.join(", ")),
            Self::SecretInFile => {
                "put it into an environment variable, a file, or the ledger (`regua secrets set NAME`), and write token_env = \"NAME\", \
                 token_file = \"PATH\", or token_secret = \"NAME\""
                    .into()
            }
            Self::Missing { example } => format!("write {example}"),
            Self::Conflict { with } => format!("leave out this or {with}"),
            Self::WrongType { expected, .. } => format!("write {expected}"),
            Self::UnusableText(_) => "write 1 to 500 characters on one line".into(),
            Self::OutOfBounds { min, max, or: None } => format!("write {}", bounds(*min, *max)),
            Self::OutOfBounds { min, max, or: Some(or) } => format!("write {}, or {or}", bounds(*min, *max)),
            Self::NotInList { nearest: Some(nearest), .. }
            | Self::UnknownName { nearest: Some(nearest), .. }
            | Self::UnknownIntegration { nearest: Some(nearest), .. } => {
                format!("write {nearest:?}")
            }
            Self::NotInList { nearest: None, allowed } => format!("write one of {}", allowed.join(", ")),
            Self::UnknownName { nearest: None, section } => format!("add a [[{section}]] of this name"),
            Self::UnknownIntegration { nearest: None, .. } => "add an [[integration]] of this name".into(),
            Self::IntegrationInUse { .. } => {
                "write integration = \"…\" of another one in each of them, or enabled = true here".into()
            }
            Self::NoDefault { .. } => "write integration = \"…\", or default = true in one [[integration]]".into(),
            Self::SecondDefault { .. } => "leave default = true in only one [[integration]]".into(),
            Self::Duplicate { mend, .. } => (*mend).into(),
            Self::IntegrationsDiffer { channel, .. } => {
                format!("write integration = {channel:?}, or a channel of the notice's own")
            }
            Self::NotAVariableName => {
                "write the variable's name in capitals, like REGUA_OPA_TOKEN, never the secret itself".into()
            }
            Self::NotASecretName => "write the name that `regua secrets list` shows, like opa-matriz, never the secret itself".into(),
            Self::VariableNotSet => "set it, or write url = \"https://…\"".into(),
            Self::Url(fault) => mend_of_url(fault),
            Self::NotAChannelId => {
                "copy the channel's _id from Opa! Suite; identificadorCanal, of 8 characters, is another thing".into()
            }
            Self::NotATemplateId => {
                "copy the template's _id from Opa! Suite (`regua check` lists them); its shortcut (atalho) can't be sent".into()
            }
            Self::Schedule(_) => "write it as in cron: 30, 8-18, */15, 1-5 for Monday to Friday, * for every value".into(),
            Self::Variables(VariablesError::Unknown { nearest, .. }) => format!("write {nearest}, or one of {}", all_variables()),
            Self::Variables(_) => "write the variables in the template's order, like \"#cliente_razao#,#areceber_valor#\"".into(),
            Self::ProviderUnknown(variable) => {
                let key = variable.identity_field().map_or("name", IdentityField::key);
                format!("write {key} = \"…\" in [provider], or leave {variable} out")
            }
            Self::NoPaymentAmount => {
                "write payment_amount = \"centavos\" while no stage names the notice, send it to your own phone with `regua notice test`, \
                 whose invoice is of R$123,00, and write \"reais\" if the phone shows another amount"
                    .into()
            }
            Self::NoPixKey => "write pix_key = \"…\" and pix_key_type = \"cnpj\" in [provider], or in each [[branch]]".into(),
            Self::PixKey(NotAPixKey(kind)) => mend_of_key(*kind).into(),
            Self::Media(_) => {
                format!("write {}, or an https address that anybody can open, like \"https://HOST/boleto.pdf\"", Variable::InvoiceLink)
            }
            Self::PaymentAtEvent(_) => "write a notice without payment".into(),
            Self::NotATaxId => "write the provider's CNPJ in double quotes, like \"12.345.678/0001-95\"".into(),
            Self::NotATimeOfDay => "write hour and minute in double quotes: \"09:00\"".into(),
            Self::Window(_) => "write days = \"1-5\", from = \"09:00\", to = \"18:00\"".into(),
            Self::Hours(_) => "write weekdays and hours as in \"1-5 08:00-20:00\", each day once".into(),
            Self::NotADayOfYear => "write day and month in double quotes, like \"25/08\"".into(),
            Self::TooManyTasks { .. } => "leave some out; one task can fire at many hours: hour = \"8,12,16\"".into(),
            Self::TaskPlan(_) => {
                "let send-queued-messages start at least 30 minutes after update-collections, at a minute of its own".into()
            }
            Self::StageNotLater { days, .. } => format!("write more than {days}, or enabled = false"),
            Self::DayOfEvent(_) => "leave it out".into(),
            Self::NoticeOfDate(_) => "leave it out; it is for settled, cancelled, renegotiated and bureau_removed".into(),
            Self::UnknownAtStage { variable, .. } => format!("write a notice without {variable}"),
            Self::NotAPhone(refusal) => match refusal.suggestion() {
                Some(meant) => format!("write {:?}, if that is meant", meant.e164()),
                None => "write +55, the area code and the nine digits in double quotes, like \"+5511987654321\"".into(),
            },
            Self::BelowPerDay { per_day } => format!("write {per_day} or more, or a smaller per_day"),
            Self::NotAnAmount => "write reais in double quotes, like \"50,00\", or a whole number of them".into(),
            Self::NotAPrice => "write reais in double quotes, like \"0,0435\"".into(),
            Self::NotADate => "write year, month and day, like 2026-11-30".into(),
            Self::TooManyValues { limit } => format!("keep at most {limit}"),
            Self::BeyondDaysAhead { .. } => "write a later day, or a larger days_ahead in the [[source]]".into(),
            Self::NotADuration { .. } => "write a whole number and m, h or d: \"90m\", \"6h\", \"2d\"".into(),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn all_variables() -> String {
    Variable::ALL.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn bounds(min: i64, max: i64) -> String {
    if min == max { min.to_string() } else { format!("a number from {min} to {max}") }
}

const fn mend_of_key(kind: PixKeyKind) -> &'static str {
    match kind {
        PixKeyKind::Cpf => {
            "write a CPF with right check digits in double quotes, like \"123.456.789-09\", or another pix_key_type"
        }
        PixKeyKind::Cnpj => {
            "write a CNPJ with right check digits in double quotes, like \"12.345.678/0001-95\", or another pix_key_type"
        }
        PixKeyKind::Phone => "write it with + and the country code, like \"+5511987654321\", or another pix_key_type",
        PixKeyKind::Email => "write an e-mail of at most 77 characters, or another pix_key_type",
        PixKeyKind::Evp => "write the random key's 32 hexadecimal digits and four hyphens, or another pix_key_type",
    }
}

fn mend_of_url(fault: &UrlFault) -> String {
    match fault {
        UrlFault::Empty | UrlFault::Malformed(_) | UrlFault::Scheme(_) => "write https:// and the host".into(),
        UrlFault::Credentials => "leave out what is before @; the token goes to token_env, token_file or token_secret".into(),
        UrlFault::Unencrypted => "write https://, or set REGUA_ALLOW_PRIVATE_URLS=true for a simulator or a LAN".into(),
        UrlFault::PrivateHost(_) => "write a public host, or set REGUA_ALLOW_PRIVATE_URLS=true for a simulator or a LAN".into(),
        UrlFault::UnknownPath { base, .. } => format!("write https://HOST{base}"),
    }
}
