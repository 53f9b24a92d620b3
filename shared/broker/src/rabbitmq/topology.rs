//! The exchange, the queues and how they hang together: the one place that declares them (interface.md "Broker").

use super::link::{LinkError, Step, within};
use crate::BrokerError;
use crate::message::Queue;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};

/// How many dead-lettered messages a `….dead` queue keeps; the oldest leave first. They are for a person to look at.
const DEAD_MAX: i64 = 10_000;
/// How often one message may be redelivered before the server dead-letters it. 4.x has 20 by default, where 3.10 has no limit; a hint that
/// many dispatchers died with is no poison, so the limit is set where it is never reached.
const DELIVERIES_MAX: i64 = 1_000_000;
/// No prefix is longer.
const PREFIX_MAX: usize = 64;

/// The names, all made from one prefix. The exchange is the dead-letter exchange too, by other routing keys.
pub(super) struct Topology {
    prefix: String,
}

impl Topology {
    pub(super) fn new(prefix: &str) -> Result<Self, BrokerError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if prefix.is_empty() || prefix.len() > PREFIX_MAX || !prefix.chars().all(allowed) {
            return Err(BrokerError::Prefix);
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    /// The exchange.
    pub(super) fn exchange(&self) -> ShortString {
        self.prefix.as_str().into()
    }

    /// The name of a queue.
    pub(super) fn queue(&self, queue: Queue) -> ShortString {
        format!("{}.{}", self.prefix, queue.key()).into()
    }

    /// The name of the queue that takes what another can't decode.
    fn dead(&self, queue: Queue) -> ShortString {
        format!("{}.{}.dead", self.prefix, queue.key()).into()
    }

    /// Declares everything; what is there already stays. The dead-letter queues come first, so that no rejected message misses them.
    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), LinkError> {
        within(Step::Declare, self.declare_all(channel)).await
    }

    async fn declare_all(&self, channel: &Channel) -> lapin::Result<()> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(self.exchange(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
        for Declared { name, key, arguments, .. } in self.declared() {
            channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments).await?;
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(name, self.exchange(), key.into(), options, none).await?;
        }
        Ok(())
    }

    /// Every queue as it is declared, the dead-letter queues first.
    pub(super) fn declared(&self) -> Vec<Declared> {
        let dead = Queue::ALL.map(|queue| {
            let mut arguments = quorum();
            arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(DEAD_MAX));
            Declared { name: self.dead(queue), key: dead_key(queue), arguments, is_dead: true }
        });
        let living = Queue::ALL.map(|queue| {
            let mut arguments = quorum();
            arguments.insert("x-dead-letter-exchange".into(), text(self.prefix.as_str()));
            arguments.insert("x-dead-letter-routing-key".into(), text(&dead_key(queue)));
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERIES_MAX));
            Declared { name: self.queue(queue), key: queue.key().to_owned(), arguments, is_dead: false }
        });
        dead.into_iter().chain(living).collect()
    }
}

/// A queue as it is declared.
pub(super) struct Declared {
    /// Its name.
    pub(super) name: ShortString,
    /// The routing key that it is bound by.
    pub(super) key: String,
    /// Its properties.
    pub(super) arguments: FieldTable,
    /// Whether it takes what another can't decode.
    pub(super) is_dead: bool,
}

/// The routing key of a dead-letter queue. It is set on the queue rather than inherited, because a message that a person put straight
/// into the queue carries another.
fn dead_key(queue: Queue) -> String {
    format!("{}.dead", queue.key())
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_interface() {
        let topology = Topology::new("regua").expect("good");
        assert_eq!(topology.exchange().as_str(), "regua");
        let names = Queue::ALL.map(|queue| [topology.queue(queue), topology.dead(queue)]).concat();
        let names: Vec<&str> = names.iter().map(ShortString::as_str).collect();
        assert_eq!(names, ["regua.ticks", "regua.ticks.dead", "regua.hints", "regua.hints.dead"]);
    }

    #[test]
    fn a_prefix_that_cannot_be_a_name_is_refused() {
        for prefix in ["", "a b", "é", "a/b", &"a".repeat(PREFIX_MAX + 1)] {
            assert_eq!(Topology::new(prefix).err(), Some(BrokerError::Prefix), "{prefix:?}");
        }
        assert!(Topology::new(&"a".repeat(PREFIX_MAX)).is_ok());
    }
}
