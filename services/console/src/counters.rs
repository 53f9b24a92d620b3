//! What the console counts and says, one function per event.

use crate::answer::Refusal;
use crate::keys::Product;
use regua_domain::receipt::ReceiptStatus;
use regua_ledger::mirror::told::ToldAnswer;
use regua_ledger::receipts::{ReceiptAnswer, Received, Told};
use regua_pipeline::story;
use regua_telemetry::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The console's counters. Clones count together.
#[derive(Clone)]
pub struct Counters {
    metrics: Metrics,
    /// Whether it was said that early receipts were dropped.
    told_dropped: Arc<AtomicBool>,
}

impl Counters {
    pub fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), told_dropped: Arc::default() }
    }

    fn call(&self, product: Product, outcome: &'static str) {
        let product = match product {
            Product::Opa => "opa",
            Product::Erp => "erp",
        };
        let labels = [("webhook", product), ("outcome", outcome)];
        self.metrics.counter("regua_webhooks_total", "Calls of webhooks by outcome.", &labels).increment();
    }

    fn receipts(&self, outcome: &'static str, number: u64) {
        let help = "What calls of Opa! Suite's webhook told of messages, by what came of it.";
        self.metrics.counter("regua_receipts_total", help, &[("outcome", outcome)]).add(number);
    }

    pub fn taken(&self, product: Product) {
        self.call(product, "taken");
    }

    pub fn refused(&self, product: Product, refusal: &Refusal) {
        self.call(product, refusal.reason());
        tracing::debug!(?product, reason = refusal.reason(), "webhook.refused");
    }

    pub fn foreign(&self) {
        self.receipts("foreign", 1);
    }

    pub fn not_understood(&self) {
        self.receipts("not_understood", 1);
    }

    /// What a batch of receipts did. One that goes on waiting for its attempt was counted when it came, and isn't `again`.
    pub fn received(&self, received: &Received, again: bool) {
        let all = received.answers.iter().zip(&received.about);
        for (answer, about) in all.filter(|(answer, _)| !(again && **answer == ReceiptAnswer::Early)) {
            self.answered(*answer, about.as_ref());
        }
        self.beyond(received);
    }

    fn answered(&self, answer: ReceiptAnswer, about: Option<&Told>) {
        let outcome = match answer {
            ReceiptAnswer::Moved { .. } => "moved",
            ReceiptAnswer::Noted => "noted",
            ReceiptAnswer::Repeated => "repeated",
            ReceiptAnswer::Early => "early",
            ReceiptAnswer::Unmatched => "unmatched",
            ReceiptAnswer::Unknown => "unknown",
        };
        self.receipts(outcome, 1);
        let is_new = matches!(answer, ReceiptAnswer::Moved { .. } | ReceiptAnswer::Noted);
        let Some(told) = about.filter(|_| is_new) else { return };
        let contradicts = matches!(answer, ReceiptAnswer::Moved { contradicts: true, .. });
        let _in_its_trace = story::receipt(told, contradicts).entered();
        if told.status == ReceiptStatus::Failed {
            tracing::warn!(message_id = %told.message, "receipt.failed: the provider took it and could not deliver it");
        }
        match answer {
            ReceiptAnswer::Moved { message, from, to, contradicts: true } => {
                self.contradicting();
                tracing::error!(message_id = %message, %from, %to, "receipt.contradicts: it counted as unsent and was sent; it won't be sent again");
            }
            ReceiptAnswer::Moved { message, from, to, contradicts: false } => {
                tracing::info!(message_id = %message, %from, %to, "receipt.moved");
            }
            ReceiptAnswer::Noted
            | ReceiptAnswer::Repeated
            | ReceiptAnswer::Early
            | ReceiptAnswer::Unmatched
            | ReceiptAnswer::Unknown => {}
        }
    }

    /// What a batch did beyond its messages.
    fn beyond(&self, received: &Received) {
        for message in &received.doubled {
            self.contradicting();
            let _in_its_trace = story::doubled(*message).entered();
            tracing::error!(message_id = %message, "receipt.contradicts: an attempt of it that counted as refused was taken, and another one was sent, too");
        }
        for stop in &received.stops {
            tracing::error!(scope = %stop.scope, target = stop.target, why = stop.why, "stop.raised: lift it with `regua resume` when its cause is gone");
        }
        if received.dropped > 0 {
            self.receipts("dropped", received.dropped);
            if !self.told_dropped.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "receipt.dropped: too many wait that have no id of ours; have Opa! Suite's webhook send `metadata` back. Told once: see regua_receipts_total{{outcome=\"dropped\"}}"
                );
            }
        }
        if received.opted_out > 0 {
            tracing::info!(people = received.opted_out, "opt_out.by_webhook");
        }
    }

    fn contradicting(&self) {
        regua_pipeline::contradicting_receipts(&self.metrics).increment();
    }

    pub fn told(&self, answer: &ToldAnswer) {
        let told = |outcome, number| {
            let help = "Invoices of which an ERP's webhook told something, and messages that this skipped.";
            self.metrics.counter("regua_told_total", help, &[("outcome", outcome)]).add(number);
        };
        told("noted", answer.noted);
        told("unknown", answer.unknown.len() as u64);
        told("skipped", answer.skipped);
        told("dropped", answer.dropped);
        tracing::info!(
            noted = answer.noted,
            skipped = answer.skipped,
            unknown = answer.unknown.len(),
            dropped = answer.dropped,
            "invoices.told"
        );
    }
}
