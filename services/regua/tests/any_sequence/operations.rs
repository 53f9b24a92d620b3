//! What may happen, in any order; each says itself in words.

use crate::world::{CUSTOMERS, DATED, Hours, INVOICES, PHONES, PHONES_MAX, hours};
use proptest::prelude::*;
use std::fmt;

/// Operations of a sequence, or days of them.
const PARTS_MAX: usize = 22;

/// A change at the ERP, seen by Régua only after the next sync.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Pay,
    PayPart,
    Reverse,
    Cancel,
    Renegotiate,
    MoveDueDate(i64),
    Amount(i64),
    Hide,
    Show,
}

/// A change of the settings.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    /// Switches a stage on or off: its place in the policy.
    Stage(usize, bool),
    /// Moves a dated stage from its usual day by some, or back.
    Offset(usize, i64),
    Policy(bool),
    Caps(u16, u16),
    Window(Hours),
    Template(u8),
    Pilot(bool),
}

/// How an attempt, begun if none is open, ends at the provider and in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Sent,
    /// The provider's answer is not known; whether it took the message is known to nobody but this test.
    Doubt {
        took: bool,
    },
    /// The dispatcher died with it: nothing is reported.
    Lost {
        took: bool,
    },
    Retry,
    /// The provider throttles.
    Defer,
    Fail,
    GiveBack,
}

/// One step of a sequence.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Wait {
        seconds: i64,
    },
    /// The mirror becomes what the ERP has.
    Sync,
    /// A run planned so many hours ago is done now: 0 is on time, more was missed.
    Run {
        hours_late: i64,
    },
    /// The run that was done last is ticked again.
    RunAgain,
    TwoRunsAtOnce,
    /// An evaluator reads and decides, and stops before its commit.
    TakePage {
        evaluator: usize,
    },
    CommitPage {
        evaluator: usize,
    },
    DropPage {
        evaluator: usize,
    },
    Erp {
        invoice: usize,
        change: Change,
    },
    Phone {
        customer: usize,
        phone: usize,
    },
    Listed {
        customer: usize,
        listed: bool,
    },
    Set(Setting),
    OptOut {
        phone: usize,
        out: bool,
    },
    /// A hold on an invoice (or its customer) for some days; none lifts it.
    Hold {
        invoice: usize,
        whole_customer: bool,
        days: Option<i64>,
    },
    Release,
    TopUp {
        lost: usize,
        twice: bool,
    },
    /// A dispatcher starts some of the hints, topped up if there are none; a redelivered one stays in the queue.
    Start {
        hints: usize,
        redelivered: bool,
    },
    /// Two dispatchers start the same hints.
    StartTwice {
        hints: usize,
    },
    Finish {
        attempts: usize,
        end: End,
    },
    /// Twice the same result.
    FinishTwice {
        end: End,
    },
    LateEvidence,
    Rescue,
    Expire,
    Unqueue,
    Resolve {
        how: usize,
    },
    Restored {
        hours: i64,
    },
    /// Sync, run, release, and then it is this hour of the provider's.
    Morning {
        hour: u32,
    },
    /// Sync, run, release, and all that follows until the provider's midnight.
    Day,
}

impl Op {
    /// Whether it is what services do by themselves, so that any number of them may do it at once.
    pub const fn is_service(self) -> bool {
        match self {
            Self::Run { .. }
            | Self::RunAgain
            | Self::TwoRunsAtOnce
            | Self::Release
            | Self::TopUp { .. }
            | Self::Start { .. }
            | Self::StartTwice { .. }
            | Self::Finish { .. }
            | Self::FinishTwice { .. }
            | Self::LateEvidence
            | Self::Rescue
            | Self::Expire
            | Self::Unqueue => true,
            Self::Wait { .. }
            | Self::Sync
            | Self::TakePage { .. }
            | Self::CommitPage { .. }
            | Self::DropPage { .. }
            | Self::Erp { .. }
            | Self::Phone { .. }
            | Self::Listed { .. }
            | Self::Set(_)
            | Self::OptOut { .. }
            | Self::Hold { .. }
            | Self::Resolve { .. }
            | Self::Restored { .. }
            | Self::Morning { .. }
            | Self::Day => false,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Wait { seconds } if seconds % 3600 == 0 => write!(f, "{} h pass", seconds / 3600),
            Self::Wait { seconds } => write!(f, "{seconds} s pass"),
            Self::Sync => write!(f, "the mirror is synced"),
            Self::Run { hours_late: 0 } => write!(f, "a run decides"),
            Self::Run { hours_late } => write!(f, "a run planned {hours_late} h ago decides"),
            Self::RunAgain => write!(f, "the last run is ticked again"),
            Self::TwoRunsAtOnce => write!(f, "two runs decide at once"),
            Self::TakePage { evaluator } => {
                write!(f, "evaluator {evaluator} reads and decides a page, and stops before its commit")
            }
            Self::CommitPage { evaluator } => write!(f, "evaluator {evaluator} commits its page"),
            Self::DropPage { evaluator } => write!(f, "evaluator {evaluator} dies with its page"),
            Self::Erp { invoice, change } => write!(f, "ERP: invoice i{invoice}: {change:?}"),
            Self::Phone { customer, phone } => write!(f, "ERP: customer c{customer} has phone {phone}"),
            Self::Listed { customer, listed } => write!(f, "ERP: customer c{customer} negatively listed: {listed}"),
            Self::Set(setting) => write!(f, "settings: {setting:?}"),
            Self::OptOut { phone, out: true } => write!(f, "phone {phone} opts out"),
            Self::OptOut { phone, out: false } => write!(f, "the opt-out of phone {phone} is removed"),
            Self::Hold { invoice, whole_customer, days } => {
                let whose = if whole_customer { "the customer of " } else { "" };
                match days {
                    Some(days) => write!(f, "hold {whose}i{invoice} for {days} days"),
                    None => write!(f, "the hold on {whose}i{invoice} is lifted"),
                }
            }
            Self::Release => write!(f, "what runs decided so far is released"),
            Self::TopUp { lost, twice } => {
                write!(f, "top-up; {lost} hints are lost{}", if twice { ", one comes twice" } else { "" })
            }
            Self::Start { hints, redelivered } => {
                write!(f, "a dispatcher starts {hints} hints{}", if redelivered { ", which stay in the queue" } else { "" })
            }
            Self::StartTwice { hints } => write!(f, "two dispatchers start the same {hints} hints at once"),
            Self::Finish { attempts, end } => write!(f, "{attempts} attempts end: {end:?}"),
            Self::FinishTwice { end } => write!(f, "an attempt's end is reported twice: {end:?}"),
            Self::LateEvidence => write!(f, "late evidence about all doubtful attempts"),
            Self::Rescue => write!(f, "rescue"),
            Self::Expire => write!(f, "expire"),
            Self::Unqueue => write!(f, "lost hints are unqueued"),
            Self::Resolve { how } => {
                write!(f, "a person resolves a doubt: {}", ["sent, if it was", "resend", "drop, if it wasn't"][how])
            }
            Self::Restored { hours } => write!(f, "a backup of {hours} h ago was restored"),
            Self::Morning { hour } => write!(f, "sync, run, release, and it is {hour}:00"),
            Self::Day => write!(f, "sync, run, release, and the pipeline to midnight"),
        }
    }
}

fn waits() -> impl Strategy<Value = Op> {
    let minute = 60;
    let hour = 60 * minute;
    let seconds = prop_oneof![
        1 => Just(3),
        1 => Just(7),
        1 => Just(61),
        1 => Just(12 * minute),
        1 => Just(hour),
        1 => Just(3 * hour),
        1 => Just(9 * hour),
        2 => Just(24 * hour),
        1 => Just(72 * hour)
    ];
    seconds.prop_map(|seconds| Op::Wait { seconds })
}

fn changes() -> impl Strategy<Value = Op> {
    let change = prop_oneof![
        2 => Just(Change::Pay),
        1 => Just(Change::PayPart),
        2 => Just(Change::Reverse),
        1 => Just(Change::Cancel),
        1 => Just(Change::Renegotiate),
        1 => (-6_i64..6).prop_map(Change::MoveDueDate),
        1 => (1_i64..9).prop_map(|n| Change::Amount(n * 1111)),
        1 => Just(Change::Hide),
        2 => Just(Change::Show),
    ];
    prop_oneof![
        4 => (0..INVOICES, change).prop_map(|(invoice, change)| Op::Erp { invoice, change }),
        1 => (0..CUSTOMERS, 0..PHONES_MAX).prop_map(|(customer, phone)| Op::Phone { customer, phone }),
        1 => (0..CUSTOMERS, any::<bool>()).prop_map(|(customer, listed)| Op::Listed { customer, listed }),
    ]
}

fn settings() -> impl Strategy<Value = Op> {
    let setting = prop_oneof![
        1 => (0..DATED.len() + 4, any::<bool>()).prop_map(|(stage, on)| Setting::Stage(stage, on)),
        1 => (0..DATED.len(), 0_i64..=1).prop_map(|(stage, by)| Setting::Offset(stage, by)),
        1 => prop::bool::weighted(0.7).prop_map(Setting::Policy),
        1 => (1_u16..=3, 2_u16..=5).prop_map(|(day, week)| Setting::Caps(day, week)),
        1 => hours().prop_map(Setting::Window),
        1 => (1_u8..5).prop_map(Setting::Template),
        1 => prop::bool::weighted(0.3).prop_map(Setting::Pilot),
    ];
    let days = prop_oneof![Just(None), (0_i64..5).prop_map(Some)];
    prop_oneof![
        3 => setting.prop_map(Op::Set),
        1 => (0..PHONES.len(), any::<bool>()).prop_map(|(phone, out)| Op::OptOut { phone, out }),
        2 => (0..INVOICES, any::<bool>(), days)
            .prop_map(|(invoice, whole_customer, days)| Op::Hold { invoice, whole_customer, days }),
    ]
}

pub fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Sent),
        1 => any::<bool>().prop_map(|took| End::Doubt { took }),
        1 => any::<bool>().prop_map(|took| End::Lost { took }),
        1 => Just(End::Retry),
        1 => Just(End::Defer),
        1 => Just(End::Fail),
        1 => Just(End::GiveBack),
    ]
}

fn evaluators() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop_oneof![5 => Just(0), 1 => Just(5), 1 => Just(20)].prop_map(|hours_late| Op::Run { hours_late }),
        1 => Just(Op::RunAgain),
        1 => Just(Op::TwoRunsAtOnce),
        2 => (0_usize..2).prop_map(|evaluator| Op::TakePage { evaluator }),
        2 => (0_usize..2).prop_map(|evaluator| Op::CommitPage { evaluator }),
        1 => (0_usize..2).prop_map(|evaluator| Op::DropPage { evaluator }),
    ]
}

/// What schedulers and dispatchers do: safe at any time, beside any other.
pub fn pipeline() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_usize..2, any::<bool>()).prop_map(|(lost, twice)| Op::TopUp { lost, twice }),
        4 => (1_usize..5, prop::bool::weighted(0.2)).prop_map(|(hints, redelivered)| Op::Start { hints, redelivered }),
        1 => (1_usize..5).prop_map(|hints| Op::StartTwice { hints }),
        5 => (1_usize..4, end()).prop_map(|(attempts, end)| Op::Finish { attempts, end }),
        1 => end().prop_map(|end| Op::FinishTwice { end }),
        1 => Just(Op::LateEvidence),
        1 => Just(Op::Rescue),
        1 => Just(Op::Expire),
        1 => Just(Op::Unqueue),
    ]
}

fn any_operation() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => waits(),
        3 => Just(Op::Sync),
        5 => evaluators(),
        5 => changes(),
        3 => settings(),
        1 => Just(Op::Release),
        6 => pipeline(),
        1 => (0_usize..3).prop_map(|how| Op::Resolve { how }),
        1 => prop::option::weighted(0.2, (0_i64..3).prop_map(|days| days * 30))
            .prop_map(|hours| hours.map_or(Op::Rescue, |hours| Op::Restored { hours })),
        2 => Just(Op::Day),
    ]
}

/// What happens within the hours of a day in which messages leave.
fn within_a_day() -> impl Strategy<Value = Vec<Op>> {
    let short = prop_oneof![Just(3), Just(7), Just(61), Just(720)].prop_map(|seconds| Op::Wait { seconds });
    let operation = prop_oneof![
        8 => pipeline(),
        2 => short,
        2 => changes(),
        1 => settings(),
        1 => Just(Op::Sync),
        1 => evaluators(),
        1 => (0_usize..3).prop_map(|how| Op::Resolve { how }),
    ];
    ((10_u32..17).prop_map(|hour| Op::Morning { hour }), prop::collection::vec(operation, 1..9)).prop_map(
        |(morning, mut rest)| {
            rest.insert(0, morning);
            rest
        },
    )
}

/// Any operations in any order, and days on which much happens among them.
pub fn operations() -> impl Strategy<Value = Vec<Op>> {
    let part = prop_oneof![3 => any_operation().prop_map(|operation| vec![operation]), 1 => within_a_day()];
    prop::collection::vec(part, 1..PARTS_MAX).prop_map(|parts| parts.concat())
}
