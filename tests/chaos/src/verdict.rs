//! What must hold once everything has healed: a comparison of three witnesses that don't know of each other.
//!
//! The generator says which invoices were due, the ledger says what became of them, and the provider's log says what it took. Pure, so that a
//! test can break each rule by hand.

use regua_domain::ids::{AttemptId, MessageId};
use regua_ledger::conservation::Violation;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

/// Attempts of one channel in one dispatcher: a killed one leaves at most so many in doubt (invariant 3).
pub const IN_FLIGHT_MAX: usize = 32;

/// An invoice that was issued so that it is due for its one notice, as the generator knows it.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its id in the ERP.
    pub invoice: String,
    /// The round in which it was issued.
    pub round: usize,
    /// It was paid, and the ledger told so, before anything was released.
    pub is_paid: bool,
}

/// What the ledger says of a message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its invoice.
    pub invoice: String,
    /// Its state.
    pub state: String,
    /// Why, where the state has a reason.
    pub reason: String,
}

/// An attempt that the ledger has as doubtful, or that nobody ever reported.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// Its message.
    pub message: MessageId,
    /// The process that made it.
    pub process: u32,
    /// Its slot, in microseconds of the ledger's clock.
    pub slot_at: i64,
}

/// A request that the provider took.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The invoice that its text names.
    pub invoice: String,
    /// The attempt that its metadata names.
    pub attempt: Option<AttemptId>,
}

/// A fault that struck.
#[derive(Clone, Debug)]
pub struct Wound {
    /// Which kind.
    pub kind: &'static str,
    /// In which round.
    pub round: usize,
    /// From when on, in microseconds of the ledger's clock …
    pub from: i64,
    /// … until when attempts may be in doubt because of it.
    pub until: i64,
    /// Whose.
    pub doubts: Doubts,
}

/// Whose attempts a fault may leave in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubts {
    /// Nobody's: what was on the wire must be known in the end.
    Nobodys,
    /// One dispatcher's, which was killed with them.
    Of(u32),
    /// So many dispatchers', for the provider was at fault.
    Everybodys(usize),
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The generator's list.
    pub due: Vec<Due>,
    /// The ledger's messages.
    pub messages: Vec<Message>,
    /// The ledger's doubtful and unreported attempts.
    pub doubts: Vec<Doubt>,
    /// Messages that the operator let go, knowing from the provider's log that they never arrived.
    pub dropped: HashSet<MessageId>,
    /// The provider's log.
    pub taken: Vec<Taken>,
    /// The faults.
    pub wounds: Vec<Wound>,
    /// Attempts of processes that were suspended past the lease: nothing of them may have been sent.
    pub overslept: HashSet<AttemptId>,
    /// What invariant 2's comparison says.
    pub violations: Vec<Violation>,
    /// Runs that are neither done nor waiting for their time: id and state.
    pub bad_runs: Vec<(String, String)>,
}

/// Something that isn't as promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A due message was neither sent nor let go for a reason that the generator knows.
    Lost {
        /// The invoice.
        invoice: String,
        /// What became of it instead.
        instead: String,
    },
    /// An invoice stands more than once in the provider's log.
    Duplicated {
        /// The invoice.
        invoice: String,
        /// How often.
        times: usize,
    },
    /// It was sent although it had been paid.
    SentAfterPaid(String),
    /// There is a message that no due invoice asks for.
    Undue(String),
    /// It waits, though nothing keeps it.
    Stuck {
        /// The invoice.
        invoice: String,
        /// Its state.
        state: String,
    },
    /// An attempt is doubtful and no fault explains it.
    UnexplainedDoubt {
        /// Its message.
        message: MessageId,
        /// The process that made it.
        process: u32,
    },
    /// A fault left more doubt than its dispatchers can have had on the wire.
    TooMuchDoubt {
        /// The fault.
        kind: &'static str,
        /// How much.
        doubts: usize,
        /// How much it may leave.
        bound: usize,
    },
    /// A process that slept past its lease sent after it woke.
    SentAfterWaking(AttemptId),
    /// Invariant 2 doesn't hold.
    NotConserved(Violation),
    /// Something wasn't ready again, or not worked off, in time.
    NotRecovered(String),
    /// A run failed, or nobody works on it.
    BadRun {
        /// Its id.
        run: String,
        /// Its state.
        state: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { invoice, instead } => write!(f, "lost: the notice of invoice {invoice}; {instead}"),
            Self::Duplicated { invoice, times } => write!(f, "duplicated: the provider took invoice {invoice} {times} times"),
            Self::SentAfterPaid(invoice) => write!(f, "sent after payment: invoice {invoice}"),
            Self::Undue(invoice) => write!(f, "not due, yet there: invoice {invoice:?}"),
            Self::Stuck { invoice, state } => write!(f, "stuck: invoice {invoice} is {state}"),
            Self::UnexplainedDoubt { message, process } => {
                write!(f, "unexplained doubt: message {message}, attempted by process {process}")
            }
            Self::TooMuchDoubt { kind, doubts, bound } => write!(f, "too much doubt: {kind} left {doubts}, at most {bound}"),
            Self::SentAfterWaking(attempt) => write!(f, "sent after its lease by a process that slept: attempt {attempt}"),
            Self::NotConserved(violation) => write!(f, "not conserved: {violation}"),
            Self::NotRecovered(what) => write!(f, "not recovered: {what}"),
            Self::BadRun { run, state } => write!(f, "run {run} is {state}"),
        }
    }
}

/// Everything that isn't as promised; and how many doubts each fault, by its place in [`Evidence::wounds`], explains.
pub fn judge(evidence: &Evidence) -> (Vec<Finding>, Vec<usize>) {
    let mut findings = ends(evidence);
    findings.extend(provider(evidence));
    let (doubtful, explained) = doubts(evidence);
    findings.extend(doubtful);
    findings.extend(evidence.violations.iter().cloned().map(Finding::NotConserved));
    findings.extend(evidence.bad_runs.iter().map(|(run, state)| Finding::BadRun { run: run.clone(), state: state.clone() }));
    (findings, explained)
}

/// Each due invoice has one message that came to an end which the generator accepts; and there are no others.
fn ends(evidence: &Evidence) -> Vec<Finding> {
    let mut messages: BTreeMap<&str, &Message> =
        evidence.messages.iter().map(|message| (message.invoice.as_str(), message)).collect();
    let taken: BTreeSet<&str> = evidence.taken.iter().map(|taken| taken.invoice.as_str()).collect();
    let mut findings = Vec::new();
    for due in &evidence.due {
        let message = messages.remove(due.invoice.as_str());
        findings.extend(end(due, message, taken.contains(due.invoice.as_str()), &evidence.dropped));
    }
    findings.extend(messages.into_keys().map(|invoice| Finding::Undue(invoice.to_owned())));
    findings
}

fn end(due: &Due, message: Option<&Message>, is_taken: bool, dropped: &HashSet<MessageId>) -> Option<Finding> {
    let invoice = due.invoice.clone();
    let lost = |instead: String| Some(Finding::Lost { invoice: due.invoice.clone(), instead });
    let Some(message) = message else {
        // Paid before a run could decide it: nobody is to be told.
        return if due.is_paid && !is_taken { None } else { lost("no message was ever written".into()) };
    };
    if due.is_paid && (is_taken || message.state == "sent") {
        return Some(Finding::SentAfterPaid(invoice));
    }
    match message.state.as_str() {
        "sent" | "delivered" | "read" if is_taken => None,
        "sent" | "delivered" | "read" => lost("it counts as sent, and the provider never took it".into()),
        "skipped" if due.is_paid && message.reason == "paid" => None,
        "failed" if dropped.contains(&message.id) && !is_taken => None,
        "skipped" | "failed" => lost(format!("it is {}: {}", message.state, message.reason)),
        // Doubt that the operator didn't settle is stuck as well.
        _ => Some(Finding::Stuck { invoice, state: message.state.clone() }),
    }
}

/// The provider took each invoice at most once, only due ones, and nothing of who slept.
fn provider(evidence: &Evidence) -> Vec<Finding> {
    let due: BTreeSet<&str> = evidence.due.iter().map(|due| due.invoice.as_str()).collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for taken in &evidence.taken {
        *times.entry(taken.invoice.as_str()).or_default() += 1;
    }
    let undue = times.keys().filter(|invoice| !due.contains(*invoice)).map(|invoice| Finding::Undue((*invoice).to_owned()));
    let twice = times
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(invoice, times)| Finding::Duplicated { invoice: (*invoice).to_owned(), times: *times });
    let slept = evidence.taken.iter().filter_map(|taken| taken.attempt).filter(|attempt| evidence.overslept.contains(attempt));
    undue.chain(twice).chain(slept.map(Finding::SentAfterWaking)).collect()
}

/// Each doubt is explained by a fault, and no fault explains more than its dispatchers had on the wire.
fn doubts(evidence: &Evidence) -> (Vec<Finding>, Vec<usize>) {
    let mut explained = vec![0; evidence.wounds.len()];
    let mut findings = Vec::new();
    for doubt in &evidence.doubts {
        // A kill explains its own before the provider's fault does, which would explain any.
        let narrow = |wound: &&Wound| matches!(wound.doubts, Doubts::Of(_));
        let explains = |wound: &Wound| {
            (wound.from..=wound.until).contains(&doubt.slot_at)
                && match wound.doubts {
                    Doubts::Nobodys => false,
                    Doubts::Of(process) => process == doubt.process,
                    Doubts::Everybodys(_) => true,
                }
        };
        let found = |of_one: bool| evidence.wounds.iter().position(|wound| narrow(&wound) == of_one && explains(wound));
        match found(true).or_else(|| found(false)) {
            Some(place) => explained[place] += 1,
            None => findings.push(Finding::UnexplainedDoubt { message: doubt.message, process: doubt.process }),
        }
    }
    for (wound, doubts) in evidence.wounds.iter().zip(&explained) {
        let bound = match wound.doubts {
            Doubts::Nobodys => 0,
            Doubts::Of(_) => IN_FLIGHT_MAX,
            Doubts::Everybodys(dispatchers) => IN_FLIGHT_MAX * dispatchers,
        };
        if *doubts > bound {
            findings.push(Finding::TooMuchDoubt { kind: wound.kind, doubts: *doubts, bound });
        }
    }
    (findings, explained)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
