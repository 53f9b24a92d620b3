//! One attempt: wait for the slot, look once more at the time, send, decide, hand the result over.

use crate::Dispatcher;
use crate::config::{CONNECT_TIMEOUT, LATE_MAX, START_BUDGET};
use crate::decide::{AttemptFacts, Effect, STOPPED, decide};
use crate::effects::{self, Unnoted};
use crate::finisher::Finisher;
use crate::lane::{Asked, not_begun};
use crate::pulse::Pulse;
use crate::routes::Way;
use regua_broker::AckTag;
use regua_domain::ids::MessageId;
use regua_domain::message::DeferReason;
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::finish::Finished;
use regua_ledger::gates::ProbeEnd;
use regua_ledger::start::Started;
use regua_opa_suite::{Answer, Outcome, SendTemplate, TooLate};
use regua_pipeline::story::{self, AttemptOf};
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::spans::{self, note};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

/// An open attempt, with all that its message needs.
pub struct Order {
    pub message: MessageId,
    pub started: Box<Started>,
    pub way: Way,
    pub trace: Option<String>,
    pub ack: AckTag,
    pub place: OwnedSemaphorePermit,
    pub asked: Asked,
    /// When its hint came.
    pub hinted: Instant,
}

/// Makes one attempt, as a part of its message's trace.
pub async fn make(dispatcher: Arc<Dispatcher>, order: Order, pulse: Arc<Pulse>, finisher: Finisher) {
    let of = AttemptOf {
        message: order.message,
        attempt: order.started.attempt_id,
        after: order.started.after,
        number: order.started.number,
        run_trace: order.started.run_trace.as_deref(),
        hint_trace: order.trace.as_deref(),
    };
    let span = story::attempt(&*dispatcher.pipeline.broker, &of);
    let learned = follow(&dispatcher, order, &pulse, &finisher).instrument(span).await;
    effects::insist(learned).await;
}

/// Makes one attempt and hands its result to the finisher; what is still to be noted of what it meant for others. What was not begun when the shutdown begins, or whose slot came too late, is given
/// back: it uses no attempt and is never sent late.
async fn follow<'a>(dispatcher: &'a Dispatcher, order: Order, pulse: &Arc<Pulse>, finisher: &Finisher) -> Vec<Unnoted<'a>> {
    let slot = dispatcher.clock.local(order.started.slot_at);
    tokio::select! {
        biased;
        () = dispatcher.process.shutdown.begun() => return give_back(dispatcher, order, finisher, "shutdown").await,
        () = tokio::time::sleep_until(slot) => {}
    }
    if order.started.is_paced && Instant::now().saturating_duration_since(slot) > LATE_MAX {
        return give_back(dispatcher, order, finisher, "late").await;
    }
    if order.asked.elapsed() > START_BUDGET {
        return give_back(dispatcher, order, finisher, "suspended").await;
    }
    if dispatcher.effects.hold(&order.way.route, None) {
        return give_back(dispatcher, order, finisher, "held_back").await;
    }
    if dispatcher.effects.hold(&order.way.route, Some(&order.started.text.template_id)) {
        return hold_back(dispatcher, order, finisher).await;
    }
    let on_wire = pulse.send();
    let waited = order.hinted.elapsed();
    let Ok(answer) = send(dispatcher, &order).await else {
        drop(on_wire);
        return give_back(dispatcher, order, finisher, "suspended").await;
    };
    dispatcher.events.requested(waited);
    let failed = matches!(answer.outcome, Outcome::Doubt { .. } | Outcome::NotSent { .. });
    let is_outage = on_wire.ended(failed) || (failed && order.started.is_probe);
    tell_reach(dispatcher, &order, &answer.outcome, is_outage);
    let facts = AttemptFacts { number: order.started.number, expires_at: order.started.expires_at, is_outage };
    let decision = decide(facts, &answer.outcome, dispatcher.clock.now(), rand::random());
    dispatcher.events.finished(&order, &answer, &decision);
    let template = &order.started.text.template_id;
    let mut effects = Vec::from_iter(decision.effect);
    effects.extend((is_outage && !order.started.is_probe).then_some(Effect::OpenBreaker));
    let rejections = dispatcher.rejections.note(template, &answer);
    effects.extend(rejections.map(|why| Effect::Stop { scope: StopScope::Template, why }));
    let learned = effects::learn(dispatcher, effects, &order.way.route, template);
    if order.started.is_probe {
        let end = if failed { ProbeEnd::Failed { jitter: rand::random() } } else { ProbeEnd::Answered };
        end_probe(dispatcher, &order, end).await;
    }
    let learned = effects::note(learned).await;
    let result = Finished {
        message_id: order.message,
        attempt_id: order.started.attempt_id,
        settlement: decision.settlement,
        http_status: answer.status,
        provider_code: answer.provider_code.map(|code| code.to_string()),
        latency_ms: u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX),
    };
    finisher.finish(result, Some(order.ack), order.place);
    learned
}

/// The request, as a part of the attempt's trace. The time is looked at once more when it is about to be written.
async fn send(dispatcher: &Dispatcher, order: &Order) -> Result<Answer, TooLate> {
    let asked = order.asked;
    let is_in_time = move || asked.elapsed() <= START_BUDGET + CONNECT_TIMEOUT;
    let span = story::request(&order.way.route.url, order.message);
    let request = request(dispatcher, order);
    let answer = order.way.client.send_template_in_time(&request, is_in_time).instrument(span.clone()).await;
    let answer = answer.inspect_err(|_| spans::fail(&span, "too_late"))?;
    if let Some(status) = answer.status {
        note(&span, "http.response.status_code", i64::from(status));
    }
    let outcome = answer.outcome.as_str();
    let attempt = Span::current();
    note(&attempt, "regua.attempt.outcome", outcome);
    if let Some(reason) = answer.outcome.reason() {
        note(&attempt, "regua.attempt.reason", reason.to_owned());
    }
    match answer.outcome {
        Outcome::Accepted { .. } | Outcome::ContactInService => {}
        Outcome::NotSent { .. }
        | Outcome::Doubt { .. }
        | Outcome::Throttled { .. }
        | Outcome::Stop { .. }
        | Outcome::Rejected { .. } => {
            spans::fail(&span, outcome);
            spans::fail(&attempt, outcome);
        }
    }
    Ok(answer)
}

fn request(dispatcher: &Dispatcher, order: &Order) -> SendTemplate {
    let text = &order.started.text;
    SendTemplate {
        phone_e164: text.phone.clone(),
        template_id: text.template_id.clone(),
        values: text.values.clone(),
        channel_id: text.provider_channel_id.clone(),
        metadata: json!({
            "ledger": dispatcher.pipeline.ledger_id,
            "message": order.message,
            "attempt": order.started.attempt_id,
        }),
        header_media: text.media.clone(),
        allow_in_service: false,
    }
}

async fn give_back<'a>(dispatcher: &Dispatcher, order: Order, finisher: &Finisher, why: &'static str) -> Vec<Unnoted<'a>> {
    do_not_make(dispatcher, order, finisher, why, Settlement::GiveBack).await
}

/// Of a template that is held back while its channel goes on: not due at once, else it would be started again and again.
async fn hold_back<'a>(dispatcher: &Dispatcher, order: Order, finisher: &Finisher) -> Vec<Unnoted<'a>> {
    let until = dispatcher.clock.now() + STOPPED;
    do_not_make(dispatcher, order, finisher, "held_back", Settlement::Defer { until, why: DeferReason::Stopped }).await
}

/// Settles what isn't made; it has taught nothing.
async fn do_not_make<'a>(
    dispatcher: &Dispatcher,
    order: Order,
    finisher: &Finisher,
    why: &'static str,
    settlement: Settlement,
) -> Vec<Unnoted<'a>> {
    dispatcher.events.given_back(&order, why);
    if order.started.is_probe {
        end_probe(dispatcher, &order, ProbeEnd::NotMade).await;
    }
    let result = Finished { settlement, ..not_begun(order.message, order.started.attempt_id) };
    finisher.finish(result, Some(order.ack), order.place);
    Vec::new()
}

/// Says in `/readyz` that the provider is away, until it answers again.
fn tell_reach(dispatcher: &Dispatcher, order: &Order, outcome: &Outcome, is_outage: bool) {
    let failed = matches!(outcome, Outcome::Doubt { .. } | Outcome::NotSent { .. });
    if failed && !is_outage {
        return;
    }
    let route = &order.way.route;
    let readiness = if is_outage {
        let problem = if matches!(outcome, Outcome::NotSent { .. }) { "can't be reached" } else { "doesn't answer as it should" };
        Readiness::degraded(format!("{} {problem}: {}; its messages wait", route.url, outcome.reason().unwrap_or("unknown")))
    } else {
        Readiness::Ready
    };
    dispatcher.process.health.scoped("dispatcher").set(&format!("provider {}", route.integration), readiness);
}

/// Says what came of the probe. If the ledger doesn't take it, the probe's lease ends, and the next one goes.
async fn end_probe(dispatcher: &Dispatcher, order: &Order, end: ProbeEnd) {
    let channel = order.started.channel_id;
    match dispatcher.pipeline.ledger.end_probe(channel, order.started.attempt_id, end).await {
        Ok(Some(until)) => tracing::warn!(%channel, %until, "breaker.probe_failed"),
        Ok(None) if end == ProbeEnd::Answered => tracing::info!(%channel, "breaker.closed"),
        Ok(None) => {}
        Err(error) => tracing::warn!(%channel, error = %Chain(&error), "breaker.probe_not_ended"),
    }
}
