//! The publishing link: one task owns it, so that confirms are never mixed up by two publishers, and a caller that gives up leaves
//! nothing half done on it.

use super::link::{LIVENESS_EVERY, Link, LinkError, Server, Step, reconnect_delay, within};
use crate::message::{Body, Envelope, Queue, SCHEMA};
use crate::status::{LinkReporter, LinkState};
use crate::{BrokerError, PublishError};
use futures::FutureExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Confirmation, PublisherConfirm};
use regua_domain::ids::LedgerId;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use uuid::Uuid;

/// How many messages may be on their way to a confirm (measured: beyond this RabbitMQ gains little).
const CONFIRM_WINDOW: usize = 500;
/// How long one batch may go on; what is not begun by then is unconfirmed.
const BATCH_MAX: Duration = Duration::from_mins(1);
/// How many calls may wait for the link; further callers wait for a place.
const COMMANDS_MAX: usize = 64;
/// The delivery mode of a message that survives the server's restart (AMQP 0-9-1, basic properties).
const PERSISTENT: u8 = 2;

/// The callers' handle.
pub(super) struct Publisher {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Publish { queue: Queue, batch: Vec<Outgoing>, reply: oneshot::Sender<Result<Vec<Uuid>, PublishError>> },
    Depth { queue: Queue, reply: oneshot::Sender<Result<u64, BrokerError>> },
}

/// One message, ready for the wire.
struct Outgoing {
    id: Uuid,
    payload: Vec<u8>,
    trace: Option<String>,
}

impl Publisher {
    /// Starts to connect in the background, among `tasks`, until `closing` or until the handle is dropped.
    pub(super) fn start(
        server: Arc<Server>,
        ledger: LedgerId,
        reporter: LinkReporter,
        closing: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        tasks.spawn(PublisherTask { server, ledger, reporter, closing, commands: receiver }.run());
        Self { commands }
    }

    /// Publishes and returns the ids that were not confirmed.
    pub(super) async fn publish<T: Body>(&self, envelopes: &[Envelope<T>]) -> Result<Vec<Uuid>, PublishError> {
        let batch = envelopes.iter().map(Outgoing::new).collect();
        let (reply, replied) = oneshot::channel();
        let command = Command::Publish { queue: T::QUEUE, batch, reply };
        self.commands.send(command).await.map_err(|_| PublishError::Closed)?;
        replied.await.unwrap_or(Err(PublishError::Closed))
    }

    /// How many wait in a queue.
    pub(super) async fn ready(&self, queue: Queue) -> Result<u64, BrokerError> {
        let (reply, replied) = oneshot::channel();
        self.commands.send(Command::Depth { queue, reply }).await.map_err(|_| BrokerError::Closed)?;
        replied.await.unwrap_or(Err(BrokerError::Closed))
    }
}

impl Outgoing {
    fn new<T: Body>(envelope: &Envelope<T>) -> Self {
        let payload = serde_json::to_vec(&envelope.body).expect("a struct of one UUID is always JSON");
        Self { id: envelope.body.id(), payload, trace: envelope.trace.clone() }
    }

    fn properties(&self, queue: Queue, ledger: LedgerId) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert("schema".into(), AMQPValue::LongLongInt(SCHEMA));
        headers.insert("ledger".into(), AMQPValue::LongString(LongString::from(ledger.to_string())));
        if let Some(trace) = &self.trace {
            headers.insert("traceparent".into(), AMQPValue::LongString(LongString::from(trace.as_str())));
        }
        BasicProperties::default()
            .with_type(queue.kind().into())
            .with_message_id(self.id.to_string().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_headers(headers)
    }
}

impl Command {
    /// Answers that nothing was tried.
    fn refuse(self, problem: &str) {
        let problem = problem.to_owned();
        match self {
            Self::Publish { reply, .. } => answer(reply, Err(PublishError::Unavailable { problem })),
            Self::Depth { reply, .. } => answer(reply, Err(BrokerError::Unavailable { problem })),
        }
    }
}

/// Answers a caller. One that went away loses nothing: what it published stays queued in the ledger until the scheduler asks again.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        debug!("broker.caller_gone");
    }
}

struct PublisherTask {
    server: Arc<Server>,
    ledger: LedgerId,
    reporter: LinkReporter,
    closing: CancellationToken,
    commands: mpsc::Receiver<Command>,
}

/// What the publishing link is good for now.
enum Condition {
    Works,
    Blocked,
    Broken(LinkError),
}

impl PublisherTask {
    async fn run(mut self) {
        let closing = self.closing.clone();
        let mut attempt = 0;
        loop {
            let link = tokio::select! {
                biased;
                () = closing.cancelled() => break,
                link = self.connect() => link,
            };
            let error = match link {
                Ok(link) => {
                    attempt = 0;
                    match self.serve(&link).await {
                        Ok(()) => {
                            link.close().await;
                            break;
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            attempt += 1;
            let problem = self.server.problem(&error);
            self.reporter.set(&LinkState::Down { problem: problem.clone() });
            if !self.refuse_until(Instant::now() + reconnect_delay(attempt), &problem).await {
                break;
            }
        }
        // Dropping the receiver answers the callers that still wait: closed.
    }

    async fn connect(&self) -> Result<Link, LinkError> {
        let link = self.server.link(self.reporter.role()).await?;
        within(Step::Open, link.channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(link)
    }

    /// Answers callers at once while no link is tried; one that is being tried makes them wait, which is bounded. False if it's over.
    async fn refuse_until(&mut self, until: Instant, problem: &str) -> bool {
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return false,
                () = sleep_until(until) => return true,
                command = self.commands.recv() => match command {
                    Some(command) => command.refuse(problem),
                    None => return false,
                },
            }
        }
    }

    /// Serves callers until the broker is closed (`Ok`) or the link breaks.
    async fn serve(&mut self, link: &Link) -> Result<(), LinkError> {
        let mut liveness = interval(LIVENESS_EVERY);
        liveness.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dirty = false;
        loop {
            let command = tokio::select! {
                biased;
                () = self.closing.cancelled() => return Ok(()),
                _ = liveness.tick() => None,
                command = self.commands.recv() => match command {
                    Some(command) => Some(command),
                    None => return Ok(()),
                },
            };
            match condition(link, dirty) {
                Condition::Works => self.reporter.set(&LinkState::Connected),
                Condition::Blocked => {
                    self.reporter.set(&LinkState::Blocked);
                    if let Some(command) = command {
                        command.refuse(LinkState::BLOCKED);
                    }
                    continue;
                }
                Condition::Broken(error) => {
                    if let Some(command) = command {
                        command.refuse(&self.server.problem(&error));
                    }
                    return Err(error);
                }
            }
            let Some(command) = command else { continue };
            match self.execute(link, command).await {
                Ok(()) => {}
                Err(_) if link.is_alive() && link.is_blocked() => dirty = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what a caller asked and answers it; an error means that the link can't be used again.
    async fn execute(&self, link: &Link, command: Command) -> Result<(), LinkError> {
        match command {
            Command::Publish { queue, batch, reply } => {
                let (unconfirmed, result) = self.publish(link, queue, &batch).await;
                answer(reply, Ok(unconfirmed));
                result
            }
            Command::Depth { queue, reply } => {
                let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
                let name = self.server.topology.queue(queue);
                let depth = within(Step::Depth, link.channel.queue_declare(name, passive, FieldTable::default())).await;
                let (ready, result) = match depth {
                    Ok(queue) => (Ok(u64::from(queue.message_count())), Ok(())),
                    Err(error) => (Err(BrokerError::Unavailable { problem: self.server.problem(&error) }), Err(error)),
                };
                answer(reply, ready);
                result
            }
        }
    }

    /// Publishes with at most [`CONFIRM_WINDOW`] confirms outstanding; returns the ids not confirmed and, if so, what broke the link.
    async fn publish(&self, link: &Link, queue: Queue, batch: &[Outgoing]) -> (Vec<Uuid>, Result<(), LinkError>) {
        let mut tally = Tally { confirmed: vec![false; batch.len()], returned: HashSet::new() };
        let mut waiting: VecDeque<(usize, PublisherConfirm)> = VecDeque::with_capacity(CONFIRM_WINDOW);
        let mut result = Ok(());
        let started = Instant::now();
        for (index, outgoing) in batch.iter().enumerate() {
            if waiting.len() >= CONFIRM_WINDOW
                && let Some((oldest, confirm)) = waiting.pop_front()
            {
                match within(Step::Confirm, confirm).await {
                    Ok(confirmation) => tally.note(oldest, &confirmation),
                    Err(error) => result = Err(error),
                }
            }
            if result.is_err() || started.elapsed() >= BATCH_MAX {
                break;
            }
            match within(Step::Publish, self.write(link, queue, outgoing)).await {
                Ok(confirm) => waiting.push_back((index, confirm)),
                Err(error) => result = Err(error),
            }
        }
        for (index, confirm) in waiting {
            // After a failure nothing more is waited for, but what has arrived counts.
            let confirmation = match result {
                Ok(()) => within(Step::Confirm, confirm).await,
                Err(_) => confirm.now_or_never().unwrap_or_else(|| Ok(Confirmation::NotRequested)).map_err(|_| LinkError::Lost),
            };
            match confirmation {
                Ok(confirmation) => tally.note(index, &confirmation),
                Err(error) if result.is_ok() => result = Err(error),
                Err(_) => {}
            }
        }
        if result.is_ok() && !tally.returned.is_empty() {
            result = Err(LinkError::Returned);
        }
        (tally.unconfirmed(batch), result)
    }

    async fn write(&self, link: &Link, queue: Queue, outgoing: &Outgoing) -> lapin::Result<PublisherConfirm> {
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = outgoing.properties(queue, self.ledger);
        let exchange = self.server.topology.exchange();
        link.channel.basic_publish(exchange, queue.key().into(), mandatory, &outgoing.payload, properties).await
    }
}

/// Looks at the link. A `dirty` one was blocked in the middle of a batch: it is waited for, since a new one would be blocked too, and then
/// given up, since confirms and returns of that batch are still to come on it.
fn condition(link: &Link, dirty: bool) -> Condition {
    if !link.is_alive() {
        Condition::Broken(LinkError::Lost)
    } else if link.is_blocked() {
        Condition::Blocked
    } else if dirty {
        Condition::Broken(LinkError::WasBlocked)
    } else {
        Condition::Works
    }
}

/// What came back for a batch.
struct Tally {
    confirmed: Vec<bool>,
    /// The `message_id`s of returned messages: lapin attaches a return to whichever confirm completes next, so only the id tells whose it is.
    returned: HashSet<Uuid>,
}

impl Tally {
    fn note(&mut self, index: usize, confirmation: &Confirmation) {
        let returned = match confirmation {
            Confirmation::Ack(returned) => {
                self.confirmed[index] = true;
                returned
            }
            Confirmation::Nack(returned) => returned,
            Confirmation::NotRequested => return,
        };
        let id = returned.as_ref().and_then(|message| message.properties.message_id().as_ref()?.as_str().parse::<Uuid>().ok());
        self.returned.extend(id);
    }

    /// The ids that were not acked, or acked though no queue took them.
    fn unconfirmed(&self, batch: &[Outgoing]) -> Vec<Uuid> {
        let lost = |(outgoing, confirmed): &(&Outgoing, &bool)| !**confirmed || self.returned.contains(&outgoing.id);
        batch.iter().zip(&self.confirmed).filter(lost).map(|(outgoing, _)| outgoing.id).collect()
    }
}
