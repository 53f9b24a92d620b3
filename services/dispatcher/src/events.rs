//! What the dispatcher counts and says, one function per event.

use crate::attempt::Order;
use crate::decide::Decision;
use regua_domain::ids::MessageId;
use regua_domain::message::{DeferReason, SkipReason};
use regua_opa_suite::Answer;
use regua_telemetry::metrics::{Counter, Gauge, Histogram, Metrics, SHORT};
use regua_telemetry::spans::note;
use std::time::Duration;
use tracing::Span;

/// The dispatcher's counters.
pub struct Events {
    metrics: Metrics,
    foreign: Counter,
    hint_to_request: Histogram,
    start: Histogram,
    finish: Histogram,
}

/// What one channel's lane shows of itself.
pub struct LaneGauges {
    pub in_flight: Gauge,
    pub hints: Gauge,
    pub brake: Gauge,
}

impl Events {
    pub fn new(metrics: &Metrics) -> Self {
        let short = |name, help| metrics.histogram(name, help, SHORT, &[]);
        Self {
            metrics: metrics.clone(),
            foreign: metrics.counter("regua_foreign_hints_total", "Hints of another ledger, or of none.", &[]),
            hint_to_request: short("regua_hint_to_request_seconds", "From the arrival of a hint to the request of its message."),
            start: short("regua_start_duration_seconds", "The transaction that opens attempts, a batch each."),
            finish: short("regua_finish_duration_seconds", "The transaction that writes results of attempts, a batch each."),
        }
    }

    /// The gauges of a channel's lane.
    pub fn lane(&self, channel: &str) -> LaneGauges {
        let gauge = |name, help| self.metrics.gauge(name, help, &[("channel", channel)]);
        LaneGauges {
            in_flight: gauge("regua_in_flight", "Attempts that are open in this process."),
            hints: gauge("regua_lane_hints", "Hints that wait in the lane of the channel."),
            brake: gauge("regua_brake", "Whether the provider is silent, so that this process starts nothing."),
        }
    }

    pub fn foreign_hints(&self, number: usize) {
        self.foreign.add(number as u64);
        tracing::warn!(hints = number, "hint.of_another_ledger");
    }

    pub fn start_took(&self, took: Duration) {
        self.start.observe(took);
    }

    pub fn finish_took(&self, took: Duration) {
        self.finish.observe(took);
    }

    pub fn postponed(&self, message: MessageId, why: DeferReason) {
        let help = "Messages that a start put off in the ledger.";
        self.metrics.counter("regua_starts_postponed_total", help, &[("reason", why.as_str())]).increment();
        tracing::debug!(message_id = %message, %why, trace_id = %message.0.simple(), "message.postponed");
    }

    pub fn skipped(&self, message: MessageId, why: SkipReason) {
        let help = "Messages that a start ended unsent.";
        self.metrics.counter("regua_starts_skipped_total", help, &[("reason", why.as_str())]).increment();
        tracing::debug!(message_id = %message, %why, trace_id = %message.0.simple(), "message.skipped");
    }

    /// The request went out so long after its hint had come.
    pub fn requested(&self, waited: Duration) {
        self.hint_to_request.observe(waited);
    }

    pub fn given_back(&self, order: &Order, why: &'static str) {
        self.attempt(order, "given_back", why);
        note(&Span::current(), "regua.attempt.given_back", why);
        tracing::debug!(message_id = %order.message, attempt = %order.started.attempt_id, why, "attempt.given_back");
    }

    pub fn finished(&self, order: &Order, answer: &Answer, decision: &Decision) {
        let outcome = answer.outcome.as_str();
        self.attempt(order, outcome, answer.outcome.reason().unwrap_or_default());
        let of = [("integration", order.way.route.integration.as_str()), ("outcome", outcome)];
        let help = "From a request to its answer, or to the end of the wait for one.";
        self.metrics.histogram("regua_request_duration_seconds", help, SHORT, &of).observe(answer.latency);
        tracing::info!(
            message_id = %order.message,
            attempt = %order.started.attempt_id,
            channel = %order.started.channel_id,
            number = order.started.number,
            redirected = order.started.text.redirected,
            outcome,
            reason = answer.outcome.reason(),
            settlement = decision.settlement.outcome(),
            http_status = answer.status,
            provider_code = answer.provider_code,
            latency_ms = u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX),
            "attempt.finished"
        );
    }

    fn attempt(&self, order: &Order, outcome: &'static str, reason: &str) {
        let of = [("channel", order.way.route.channel.as_str()), ("outcome", outcome), ("reason", reason)];
        self.metrics.counter("regua_attempts_total", "Attempts by channel, outcome and reason.", &of).increment();
    }
}
