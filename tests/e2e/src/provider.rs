//! What the simulated Opa! Suite took, and how fast.

use regua_domain::ids::MessageId;
use regua_simulators::opa::Sent;
use std::fmt;

/// One accepted request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Microseconds since 1970 of the simulator's clock.
    pub at_us: i64,
    /// The message that it names.
    pub message: Option<MessageId>,
    /// To whom.
    pub phone: String,
    /// The values of the template's variables.
    pub variables: Vec<String>,
}

impl From<Sent> for Request {
    fn from(sent: Sent) -> Self {
        let message = sent.metadata["message"].as_str().and_then(|id| id.parse().ok());
        Self { at_us: sent.at_us, message, phone: sent.phone, variables: sent.variaveis.positional().to_vec() }
    }
}

/// How fast a series of instants was.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The most in any half-open second.
    pub most_in_1s: usize,
    /// The most in any half-open five seconds.
    pub most_in_5s: usize,
    /// Per second, over the middle: from the first to the last whole second in which it ran, both left out. 0 when it was too short.
    pub middle: f64,
    /// How many seconds that middle lasted.
    pub middle_s: f64,
}

impl Rate {
    /// The rate of instants in microseconds, in any order.
    pub fn of(instants: &[i64]) -> Self {
        let mut sorted = instants.to_vec();
        sorted.sort_unstable();
        let (middle, middle_s) = middle(&sorted);
        Self { most_in_1s: most_in(&sorted, 1_000_000), most_in_5s: most_in(&sorted, 5_000_000), middle, middle_s }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at most {} in 1 s and {} in 5 s; {:.1}/s over the middle {:.1} s",
            self.most_in_1s, self.most_in_5s, self.middle, self.middle_s
        )
    }
}

/// The most instants in any half-open window of this length.
fn most_in(sorted: &[i64], window_us: i64) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in sorted.iter().enumerate() {
        while sorted[first] <= at - window_us {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// The rate between one second after the first instant and the 90th percentile of them, which leaves the end out: there only those wait that
/// were asked to (two messages to one phone are 6 s apart).
#[allow(clippy::cast_precision_loss, reason = "counts and microseconds of a test")]
fn middle(sorted: &[i64]) -> (f64, f64) {
    let (Some(first), Some(last)) = (sorted.first(), sorted.get(sorted.len() * 9 / 10)) else { return (0.0, 0.0) };
    let (from, to) = (first + 1_000_000, *last);
    if to <= from {
        return (0.0, 0.0);
    }
    let inside = sorted.iter().filter(|at| (from..to).contains(*at)).count();
    let seconds = (to - from) as f64 / 1e6;
    (inside as f64 / seconds, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_half_open() {
        let every_5_ms: Vec<i64> = (0..400).map(|n| n * 5_000).collect();
        assert_eq!(Rate::of(&every_5_ms).most_in_1s, 200);
        assert_eq!(Rate::of(&every_5_ms).most_in_5s, 400);
        assert_eq!(Rate::of(&[0, 1_000_000, 1_000_001]).most_in_1s, 2);
        assert_eq!(Rate::of(&[]).most_in_1s, 0);
    }

    #[test]
    fn the_middle_leaves_beginning_and_end_out() {
        let mut instants: Vec<i64> = (0..4000).map(|n| n * 5_000).collect();
        instants.push(3_600_000_000);
        let rate = Rate::of(&instants);
        assert!((rate.middle - 200.0).abs() < 0.1, "{rate}");
        assert!((rate.middle_s - 17.0).abs() < 0.1, "{rate}");
    }
}
