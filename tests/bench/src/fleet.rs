//! A day of many providers on some ledgers, as a flow: when is each provider's day sent?
//!
//! Every provider has messages to send from the moment of its release, through a number with a limit per second. A ledger carries so many messages per
//! second in all; while more is wanted, those that have something to send share it evenly, as the lanes of a dispatcher do, and none gets more
//! than its limit. Providers differ in size as a log-normal distribution does, and are placed on ledgers the largest first, each where
//! least is. Nothing is drawn at random: the same question has the same answer.

/// The question.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Providers.
    pub providers: usize,
    /// Messages of all of them in the day.
    pub messages: f64,
    /// How unequal they are: the standard deviation of the logarithm of a provider's messages. 0 is all alike.
    pub spread: f64,
    /// Messages per second that each provider's number may send.
    pub limit: f64,
    /// Ledgers.
    pub ledgers: usize,
    /// Messages per second that one ledger carries.
    pub carries: f64,
    /// Seconds over which the providers' releases are spread evenly; 0 is all at once.
    pub released_over: f64,
}

/// The answer, in seconds from the first release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// Half of the providers are done.
    pub half_done: f64,
    /// All but one in a hundred are done.
    pub nearly_done: f64,
    /// The last one is done.
    pub done: f64,
    /// The longest that a provider took from its own release, over what its limit alone would have taken.
    pub slowed: f64,
}

/// What a provider has to send.
#[derive(Clone, Copy)]
struct Wanted {
    released_at: f64,
    messages: f64,
}

impl Fleet {
    /// Plays the day. A fleet without providers or ledgers has none.
    pub fn day(&self) -> Day {
        let mut places: Vec<(f64, Vec<Wanted>)> = vec![(0.0, Vec::new()); self.ledgers];
        for wanted in self.wanted() {
            let least = places.iter_mut().min_by(|(a, _), (b, _)| a.total_cmp(b));
            if let Some((sum, providers)) = least {
                *sum += wanted.messages;
                providers.push(wanted);
            }
        }
        let mut ends: Vec<f64> = Vec::with_capacity(self.providers);
        let mut slowed: f64 = 1.0;
        for (_, providers) in places {
            for (wanted, done_at) in self.play(&providers) {
                slowed = slowed.max((done_at - wanted.released_at) / (wanted.messages / self.limit));
                ends.push(done_at);
            }
        }
        ends.sort_by(f64::total_cmp);
        let of =
            |per_cent: usize| ends.get((ends.len() * per_cent / 100).min(ends.len().saturating_sub(1))).copied().unwrap_or(0.0);
        Day { half_done: of(50), nearly_done: of(99), done: of(100), slowed }
    }

    /// The providers, the largest first.
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    fn wanted(&self) -> Vec<Wanted> {
        let count = self.providers as f64;
        let weights: Vec<f64> =
            (0..self.providers).rev().map(|place| (self.spread * normal_quantile((place as f64 + 0.5) / count)).exp()).collect();
        let whole: f64 = weights.iter().sum();
        // Sizes and releases in no relation: a stride that shares no factor with the number of providers visits each once.
        let near = self.providers * 618 / 1000;
        let stride = (near + 1..=near + self.providers).find(|stride| gcd(*stride, self.providers) == 1).unwrap_or(1);
        let at = |place: usize| self.released_over * ((place * stride) % self.providers) as f64 / count;
        weights
            .iter()
            .enumerate()
            .map(|(place, weight)| Wanted { released_at: at(place), messages: self.messages * weight / whole })
            .collect()
    }

    /// One ledger's day: its providers and when each is done.
    fn play(&self, providers: &[Wanted]) -> Vec<(Wanted, f64)> {
        let mut coming: Vec<Wanted> = providers.to_vec();
        coming.sort_by(|a, b| b.released_at.total_cmp(&a.released_at));
        let mut active: Vec<(Wanted, f64)> = Vec::new();
        let mut done = Vec::with_capacity(providers.len());
        let mut now = 0.0;
        loop {
            while let Some(next) = coming.pop_if(|next| next.released_at <= now) {
                active.push((next, next.messages));
            }
            #[allow(clippy::cast_precision_loss, reason = "some thousands")]
            let rate = self.limit.min(self.carries / active.len() as f64);
            let ends = active.iter().map(|(_, left)| now + left / rate).min_by(f64::total_cmp);
            let arrives = coming.last().map(|next| next.released_at);
            let Some(next) = [ends, arrives].into_iter().flatten().min_by(f64::total_cmp) else { return done };
            for (_, left) in &mut active {
                *left -= rate * (next - now);
            }
            now = next;
            active.retain(|(wanted, left)| {
                let goes_on = *left > NOTHING;
                if !goes_on {
                    done.push((*wanted, now));
                }
                goes_on
            });
        }
    }
}

/// Less than this of a message is none.
const NOTHING: f64 = 1e-6;

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The quantile of the standard normal distribution, to four digits (Abramowitz and Stegun, 26.2.23).
fn normal_quantile(share: f64) -> f64 {
    let tail = share.min(1.0 - share);
    let t = (-2.0 * tail.ln()).sqrt();
    let above =
        t - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t) / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t);
    if share < 0.5 { -above } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIKE: Fleet =
        Fleet { providers: 100, messages: 100_000.0, spread: 0.0, limit: 10.0, ledgers: 1, carries: 500.0, released_over: 0.0 };

    #[track_caller]
    fn check(fleet: Fleet, half_done: f64, done: f64, slowed: f64) {
        let day = fleet.day();
        let is_near = |a: f64, b: f64| (a - b).abs() <= 0.01 * b;
        assert!(is_near(day.half_done, half_done) && is_near(day.done, done) && is_near(day.slowed, slowed), "{day:?}");
    }

    #[test]
    fn what_a_ledger_carries_is_shared_and_nobody_gets_more_than_the_limit() {
        check(ALIKE, 200.0, 200.0, 2.0);
        check(Fleet { ledgers: 2, ..ALIKE }, 100.0, 100.0, 1.0);
        check(Fleet { ledgers: 20, ..ALIKE }, 100.0, 100.0, 1.0);
        check(Fleet { providers: 1, messages: 1000.0, ..ALIKE }, 100.0, 100.0, 1.0);
    }

    #[test]
    fn who_is_released_later_is_done_later_and_less_slowed() {
        // Ten a second arrive, each needs a tenth of a second of the ledger's second: just carried.
        check(Fleet { released_over: 1000.0, ..ALIKE }, 600.0, 1090.0, 1.0);
        let crowded = Fleet { released_over: 100.0, ..ALIKE }.day();
        assert!(crowded.slowed > 1.2 && crowded.slowed < 2.0 && crowded.done >= 200.0, "{crowded:?}");
    }

    #[test]
    fn a_ledger_is_never_idle_while_something_waits_and_the_largest_provider_ends_last() {
        let unequal = Fleet { spread: 1.0, carries: 100.0, ..ALIKE };
        let day = unequal.day();
        // The whole work at full speed, but for the end, where the largest ones are left alone with their limits.
        assert!(day.done >= 1000.0 && day.half_done < day.nearly_done && day.nearly_done <= day.done, "{day:?}");
        let largest = unequal.wanted()[0].messages;
        assert!(unequal.wanted().iter().all(|wanted| wanted.messages <= largest));
        let sum: f64 = unequal.wanted().iter().map(|wanted| wanted.messages).sum();
        assert!((sum - unequal.messages).abs() < 1.0, "{sum}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (share, quantile) in [(0.5, 0.0), (0.841_345, 1.0), (0.022_75, -2.0), (0.998_65, 3.0)] {
            assert!((normal_quantile(share) - quantile).abs() < 1e-3, "{share}");
        }
    }
}
