//! The dispatcher's bounds, and the relations between them that make its promises true.

use chrono::TimeDelta;
use regua_domain::admission::LATENESS_UNPACED;
use regua_domain::gate::REST;
use std::time::Duration;

/// Hints held unacked: the sum of what the lanes may hold.
pub const PREFETCH: u16 = 2000;
/// Attempts of one channel in this dispatcher, from start to the committed finish: a killed dispatcher leaves at most so many in doubt.
pub const IN_FLIGHT_MAX: usize = 32;
/// How long a hint waits in its lane before it is settled in the ledger instead.
pub const LANE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long it waits in a lane that can't start now (no token, a ledger too slow, a silent provider): others may be able to.
pub const LANE_WAIT_STUCK: Duration = Duration::from_secs(1);
/// Messages that one start of a lane takes.
pub const START_MAX: usize = 64;
/// Free places that a channel without a limit waits for before it starts again, so that a start is worth its transaction.
pub const START_UNPACED_MIN: usize = IN_FLIGHT_MAX / 2;
/// The least lead of a slot.
pub const LEAD_MIN: Duration = Duration::from_millis(20);
/// A lead above this says that the ledger is too slow to send on time; it grows no further.
pub const LEAD_MAX: Duration = Duration::from_millis(150);
/// How long a result waits for others to be written with it, while no lane needs its place. What was answered and isn't written would be in
/// doubt after a crash: this is little beside what waits for its slot or for its answer.
pub const GATHER: Duration = Duration::from_millis(20);
/// How far ahead slots are taken, by every dispatcher alike: one that looked less far would find the slots that it may take gone to those that
/// look further, and one that looked further would leave a gap behind those that don't.
pub const HORIZON: Duration = Duration::from_millis(200);
/// How long before the lead eats into the taken slots the next start is made: a start may be held up for so long without a slot being lost.
/// Much more often than that, dispatchers would meet at the gate for two or three slots at a time.
pub const SLACK: Duration = Duration::from_millis(100);
/// How much of the horizon is let run free at least before the next start, however long the lead.
pub const REFILL: Duration = Duration::from_millis(30);
/// A slot that is later than this is given back, not sent late.
pub const LATE_MAX: Duration = Duration::from_millis(10);
/// From asking for a start to the socket write, by any clock: a process that was suspended for longer sends nothing (F2).
pub const START_BUDGET: Duration = Duration::from_secs(2);
/// How long the connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// What a ledger that is slow may take to get the result before the lease runs out. A result is never given up, but after that it settles a doubt.
pub const FINISH_RETRY: Duration = Duration::from_secs(20);
/// What is left between the sum of these and the lease.
pub const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// How long an attempt may take until it counts as doubtful.
pub const LEASE: TimeDelta = TimeDelta::seconds(LEASE_S.cast_signed());
const LEASE_S: u64 = 60;

/// Attempts of one message that use one up.
pub const ATTEMPTS_MAX: u32 = 5;
/// Attempts of one channel in this dispatcher, in a row, that were doubtful or never reached the provider: then the gate's breaker opens.
pub const FAILURES_IN_A_ROW_MAX: u32 = 5;
/// No answer at all for this long, with [`BRAKE_FROM`] requests on the wire: nothing more is started.
pub const BRAKE_AFTER: Duration = Duration::from_secs(2);
/// Requests on the wire from which the brake counts.
pub const BRAKE_FROM: usize = 4;

const _: () = assert!(
    LEAD_MAX.as_millis() + REFILL.as_millis() < HORIZON.as_millis(),
    "a dispatcher at its longest lead still takes the slot that comes next"
);
const _: () = assert!(
    START_BUDGET.as_secs() <= LATENESS_UNPACED.num_seconds().unsigned_abs(),
    "what a channel without a limit begins late is no later than its start allowed for"
);
const _: () = assert!(
    START_BUDGET.as_secs()
        + CONNECT_TIMEOUT.as_secs()
        + REQUEST_TIMEOUT.as_secs()
        + FINISH_RETRY.as_secs()
        + LEASE_MARGIN.as_secs()
        < LEASE_S,
    "an attempt that goes well must be reported before its lease expires"
);

const _: () = assert!(
    START_BUDGET.as_secs() + CONNECT_TIMEOUT.as_secs() + REQUEST_TIMEOUT.as_secs() < REST.num_seconds().unsigned_abs(),
    "what was on the wire when a breaker opened has ended when the probe goes"
);

/// This host's name, for the record of attempts.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "dispatcher".to_owned(), |name| name.trim().to_owned())
}
