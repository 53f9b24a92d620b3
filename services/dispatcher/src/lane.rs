//! One channel's lane: hints wait here, unacked, for a slot and a free place.

use crate::Dispatcher;
use crate::attempt::{self, Order};
use crate::config::{
    HORIZON, IN_FLIGHT_MAX, LANE_WAIT_MAX, LANE_WAIT_STUCK, LEAD_MAX, LEAD_MIN, LEASE, REFILL, SLACK, START_MAX,
    START_UNPACED_MIN,
};
use crate::events::LaneGauges;
use crate::finisher::Finisher;
use crate::pulse::Pulse;
use crate::routes::Way;
use chrono::{DateTime, TimeDelta, Utc};
use regua_broker::{AckTag, Acker};
use regua_domain::ids::{AttemptId, ChannelId, MessageId};
use regua_domain::settlement::Settlement;
use regua_ledger::finish::Finished;
use regua_ledger::gates::ProbeEnd;
use regua_ledger::start::{StartAnswer, StartBatch, StartReply};
use regua_ledger::{LedgerError, new_id};
use regua_telemetry::logging::Chain;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The shortest wait between two starts that got no slot.
const NAP_MIN: Duration = Duration::from_millis(1);
/// The longest: within it a pause, a new hint or a change of the limit is seen.
const NAP_MAX: Duration = Duration::from_millis(100);
/// How often a lane without hints shows its attempts.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a ledger that fails is left alone.
const START_AGAIN: Duration = Duration::from_millis(500);

/// A hint that waits.
pub struct Waiting {
    pub message: MessageId,
    pub trace: Option<String>,
    pub ack: AckTag,
    pub since: Instant,
}

/// One channel's lane.
pub struct Lane {
    dispatcher: Arc<Dispatcher>,
    channel: ChannelId,
    hints: mpsc::UnboundedReceiver<Waiting>,
    queue: VecDeque<Waiting>,
    places: Arc<Semaphore>,
    pulse: Arc<Pulse>,
    finisher: Finisher,
    acker: Acker,
    attempts: JoinSet<()>,
    /// Whether the channel has a limit per second, as its last start said: only then can a slow ledger make a slot late.
    is_paced: bool,
    /// Once the channel's name is known.
    gauges: Option<LaneGauges>,
}

impl Lane {
    pub fn new(
        dispatcher: Arc<Dispatcher>,
        channel: ChannelId,
        hints: mpsc::UnboundedReceiver<Waiting>,
        finisher: Finisher,
        acker: Acker,
    ) -> Self {
        Self {
            dispatcher,
            channel,
            hints,
            queue: VecDeque::new(),
            places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            pulse: Pulse::new(),
            finisher,
            acker,
            attempts: JoinSet::new(),
            is_paced: true,
            gauges: None,
        }
    }

    /// Starts what waits, as slots and places come free, until the shutdown begins; then waits for what is on the wire.
    pub async fn run(mut self) {
        let shutdown = self.dispatcher.process.shutdown.clone();
        while !shutdown.has_begun() {
            self.tell_gauges();
            if self.queue.is_empty() {
                tokio::select! {
                    () = shutdown.begun() => break,
                    hint = self.hints.recv() => match hint {
                        Some(hint) => self.queue.push_back(hint),
                        None => break,
                    },
                    // Attempts end without a hint, too.
                    () = tokio::time::sleep(TELL_EVERY) => continue,
                }
            }
            while let Ok(hint) = self.hints.try_recv() {
                self.queue.push_back(hint);
            }
            self.settle_overdue().await;
            let nap = self.start().await;
            while self.attempts.try_join_next().is_some() {}
            if let Some(nap) = nap {
                tokio::select! {
                    () = shutdown.begun() => break,
                    () = tokio::time::sleep(nap.clamp(NAP_MIN, NAP_MAX)) => {}
                }
            }
        }
        while let Some(ended) = self.attempts.join_next().await {
            if let Err(error) = ended {
                tracing::error!(channel = %self.channel, %error, "attempt.panicked: it will be in doubt when its lease expires");
            }
        }
    }

    /// Hints that waited too long are settled in the ledger: they wait there, and are hinted at again when there is room.
    async fn settle_overdue(&mut self) {
        let wait_max = if self.can_start() && !self.is_slow() { LANE_WAIT_MAX } else { LANE_WAIT_STUCK };
        let overdue = self.queue.iter().take_while(|hint| hint.since.elapsed() > wait_max).count();
        if overdue == 0 {
            return;
        }
        let overdue: Vec<Waiting> = self.queue.drain(..overdue).collect();
        let messages = overdue.iter().map(|hint| hint.message).collect();
        match self.dispatcher.pipeline.ledger.unqueue_unpublished(messages).await {
            Ok(_) => self.acker.ack(overdue.into_iter().map(|hint| hint.ack)),
            Err(error) => {
                tracing::debug!(channel = %self.channel, error = %Chain(&error), "lane.overdue_not_settled");
                for hint in overdue.into_iter().rev() {
                    self.queue.push_front(hint);
                }
            }
        }
    }

    /// Starts one batch; how long to wait before the next, if there is no reason to start at once.
    async fn start(&mut self) -> Option<Duration> {
        if !self.can_start() {
            return Some(NAP_MAX);
        }
        let is_slow = self.is_slow();
        if !self.is_paced {
            self.wait_for_places(START_UNPACED_MIN).await;
            if self.dispatcher.process.shutdown.has_begun() || !self.can_start() {
                return Some(NAP_MAX);
            }
        }
        let batch = self.take_batch(is_slow);
        if batch.is_empty() {
            self.wait_for_places(1).await;
            return None;
        }
        let request = StartBatch {
            dispatcher: self.dispatcher.name.clone(),
            requests: batch.values().map(|taken| (taken.hint.message, taken.attempt)).collect(),
            lead: delta(self.lead()),
            horizon: delta(HORIZON),
            lease: LEASE,
        };
        let asked = Asked { at: Instant::now(), wall: SystemTime::now() };
        let started = self.dispatcher.pipeline.ledger.start(request).await;
        self.dispatcher.events.start_took(asked.at.elapsed());
        match started {
            Ok(reply) => {
                let received = Instant::now();
                let clock = &self.dispatcher.clock;
                clock.sample(reply.now, received);
                let took = received.saturating_duration_since(clock.local(reply.now));
                let nap = self.act(reply, batch, asked);
                if self.is_paced {
                    self.dispatcher.clock.starts().add(received, took);
                }
                if is_slow { Some(NAP_MAX) } else { nap }
            }
            Err(error) => {
                self.give_back_whatever_began(batch, &error);
                Some(START_AGAIN)
            }
        }
    }

    /// Waits until so many places are free, or long enough to see a shutdown. No place is waited for that no hint would take.
    async fn wait_for_places(&self, number: usize) {
        let number = u32::try_from(number.min(self.queue.len())).unwrap_or(u32::MAX);
        let _waits = self.finisher.hurry();
        tokio::select! {
            biased;
            places = self.places.acquire_many(number) => drop(places),
            () = tokio::time::sleep(NAP_MAX) => {}
        }
    }

    /// How far ahead a slot must lie for this dispatcher.
    fn lead(&self) -> Duration {
        self.dispatcher.clock.starts().lead(Instant::now()).clamp(LEAD_MIN, LEAD_MAX)
    }

    /// Whether anything can be started at all just now.
    fn can_start(&self) -> bool {
        let goes = |way: Way| !self.dispatcher.effects.hold(&way.route, None);
        !self.pulse.brakes() && self.dispatcher.routes.of(self.channel).is_some_and(goes)
    }

    /// Whether the ledger is usually too slow: nearly every slot would come late, and others may be nearer to it. A ledger that is slow now and
    /// then costs the slots that it makes late, no others.
    fn is_slow(&self) -> bool {
        self.is_paced && self.dispatcher.clock.starts().median(Instant::now()) * 2 > LEAD_MAX
    }

    /// Takes hints for as many places as are free, and one alone while the ledger is slow. Each message once, each with the id that its attempt
    /// shall have.
    fn take_batch(&mut self, is_slow: bool) -> HashMap<MessageId, Taken> {
        let mut batch = HashMap::new();
        while batch.len() < if is_slow { 1 } else { START_MAX } {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { break };
            let Some(hint) = self.queue.pop_front() else { break };
            if batch.contains_key(&hint.message) {
                self.acker.ack([hint.ack]);
                continue;
            }
            batch.insert(hint.message, Taken { attempt: AttemptId(new_id()), hint, place });
        }
        batch
    }

    /// Does what the ledger answered.
    fn act(&mut self, reply: StartReply, mut batch: HashMap<MessageId, Taken>, asked: Asked) -> Option<Duration> {
        let mut no_slot: Option<DateTime<Utc>> = None;
        let mut last_slot: Option<DateTime<Utc>> = None;
        let mut back = Vec::new();
        for (message, answer) in reply.answers {
            let Some(taken) = batch.remove(&message) else { continue };
            match answer {
                StartAnswer::Started(started) => {
                    if started.channel_id == self.channel {
                        if !started.is_probe {
                            self.pulse.breaker_is_closed();
                        }
                        self.is_paced = started.is_paced;
                        last_slot = last_slot.max(started.is_paced.then_some(started.slot_at));
                    }
                    let Some(way) = self.dispatcher.routes.of(started.channel_id) else {
                        if started.is_probe {
                            self.give_probe_back(started.channel_id, started.attempt_id);
                        }
                        self.finisher.finish(not_begun(message, started.attempt_id), Some(taken.hint.ack), taken.place);
                        continue;
                    };
                    let Waiting { trace, ack, since: hinted, .. } = taken.hint;
                    let order = Order { message, started, way, trace, ack, place: taken.place, asked, hinted };
                    let (dispatcher, finisher) = (Arc::clone(&self.dispatcher), self.finisher.clone());
                    self.attempts.spawn(attempt::make(dispatcher, order, Arc::clone(&self.pulse), finisher));
                }
                StartAnswer::NoSlot { free_at } => {
                    no_slot = Some(no_slot.map_or(free_at, |at| at.min(free_at)));
                    back.push(taken.hint);
                }
                StartAnswer::Postponed { why } => {
                    self.dispatcher.events.postponed(message, why);
                    self.acker.ack([taken.hint.ack]);
                }
                StartAnswer::Skipped { why } => {
                    self.dispatcher.events.skipped(message, why);
                    self.acker.ack([taken.hint.ack]);
                }
                // Unknown can only be a message that another process deleted between two looks: nothing does.
                StartAnswer::NotWaiting | StartAnswer::Unknown => self.acker.ack([taken.hint.ack]),
            }
        }
        // In their old order, which is best first.
        back.sort_by_key(|hint| std::cmp::Reverse(hint.since));
        for hint in back {
            self.queue.push_front(hint);
        }
        let ahead = (self.lead() + SLACK).min(HORIZON.saturating_sub(REFILL));
        let until = |slot| self.dispatcher.clock.local(slot).saturating_duration_since(Instant::now() + ahead);
        match no_slot {
            Some(slot) => Some(until(slot)),
            // As many as there are places reach as far: no sooner is the next start worth its transaction.
            None => last_slot.map(until).filter(|nap| !nap.is_zero()),
        }
    }

    /// The channel's next start is the probe then, at once.
    fn give_probe_back(&self, channel: ChannelId, attempt: AttemptId) {
        let ledger = self.dispatcher.pipeline.ledger.clone();
        tokio::spawn(async move {
            if let Err(error) = ledger.end_probe(channel, attempt, ProbeEnd::NotMade).await {
                tracing::debug!(%channel, error = %Chain(&error), "breaker.probe_not_ended");
            }
        });
    }

    /// A start that failed may have been committed all the same: whatever began is given back, fenced by its attempt; the hints wait on.
    fn give_back_whatever_began(&mut self, batch: HashMap<MessageId, Taken>, error: &LedgerError) {
        tracing::warn!(channel = %self.channel, messages = batch.len(), error = %Chain(error), "start.failed");
        for (message, taken) in batch {
            self.finisher.finish(not_begun(message, taken.attempt), None, taken.place);
            self.queue.push_back(taken.hint);
        }
    }

    /// Shows how many hints wait here, how many attempts are open, and whether the brake is on.
    fn tell_gauges(&mut self) {
        if self.gauges.is_none() {
            let way = self.dispatcher.routes.of(self.channel);
            self.gauges = way.map(|way| self.dispatcher.events.lane(&way.route.channel));
        }
        let Some(gauges) = &self.gauges else { return };
        let shown = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        gauges.in_flight.set(shown(IN_FLIGHT_MAX.saturating_sub(self.places.available_permits())));
        gauges.hints.set(shown(self.queue.len() + self.hints.len()));
        gauges.brake.set(i64::from(self.pulse.brakes()));
    }
}

/// A hint on its way into a start.
struct Taken {
    attempt: AttemptId,
    hint: Waiting,
    place: OwnedSemaphorePermit,
}

/// When a start was asked for, by two clocks: one stops while the host is suspended, the other may be set.
#[derive(Clone, Copy)]
pub struct Asked {
    pub at: Instant,
    pub wall: SystemTime,
}

impl Asked {
    /// How long ago, by whichever clock says more.
    pub fn elapsed(&self) -> Duration {
        self.at.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

/// The result of an attempt that was never begun.
pub fn not_begun(message_id: MessageId, attempt_id: AttemptId) -> Finished {
    Finished { message_id, attempt_id, settlement: Settlement::GiveBack, http_status: None, provider_code: None, latency_ms: 0 }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
