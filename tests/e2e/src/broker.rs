//! The queues, past Régua: emptied, deleted, and filled with what no service would publish.

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Queue};

/// Every queue of interface.md "Broker".
const ALL: [&str; 4] = ["regua.ticks", "regua.hints", "regua.ticks.dead", "regua.hints.dead"];

/// A queue with a copy of everything.
pub struct Tap {
    channel: Channel,
    queue: String,
}

impl Tap {
    /// What was published since: properties, headers and body of each message, as text.
    pub async fn taken(&self) -> Vec<String> {
        let mut taken = Vec::new();
        let no_ack = BasicGetOptions { no_ack: true };
        while let Some(message) = self.channel.basic_get(self.queue.as_str().into(), no_ack).await.expect("the queue lives") {
            let (body, properties) = (String::from_utf8_lossy(&message.delivery.data), &message.delivery.properties);
            let headers = properties.headers().iter().flat_map(FieldTable::inner);
            let headers: Vec<String> = headers.map(|(name, value)| format!("{name}={}", shown(value))).collect();
            taken.push(format!("{properties:?} {} {body}", headers.join(" ")));
        }
        taken
    }
}

/// A header's value; of a text its characters, which it has as bytes.
fn shown(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        other => format!("{other:?}"),
    }
}

/// A connection of the test's own.
pub struct Queues {
    connection: Connection,
}

impl Queues {
    /// Connects.
    pub async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await;
        Self { connection: connection.unwrap_or_else(|error| panic!("RabbitMQ: {error}")) }
    }

    async fn channel(&self) -> Channel {
        self.connection.create_channel().await.expect("a channel")
    }

    /// Deletes every queue: whatever an earlier test left is gone, and the services declare them again.
    pub async fn clear(&self) {
        for queue in ALL {
            self.delete(queue).await;
        }
    }

    /// Deletes one queue.
    pub async fn delete(&self, queue: &str) {
        let deleted = self.channel().await.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        deleted.unwrap_or_else(|error| panic!("{queue}: {error}"));
    }

    /// Empties one queue; how many it held.
    pub async fn purge(&self, queue: &str) -> u32 {
        let purged = self.channel().await.queue_purge(queue.into(), QueuePurgeOptions::default()).await;
        purged.unwrap_or_else(|error| panic!("{queue}: {error}"))
    }

    /// How many wait in a queue; 0 for one that isn't there.
    pub async fn ready(&self, queue: &str) -> u32 {
        self.look(queue).await.map_or(0, |queue| queue.message_count())
    }

    /// How many consume a queue; 0 for one that isn't there.
    pub async fn consumers(&self, queue: &str) -> u32 {
        self.look(queue).await.map_or(0, |queue| queue.consumer_count())
    }

    async fn look(&self, queue: &str) -> Option<Queue> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel().await.queue_declare(queue.into(), passive, FieldTable::default()).await.ok()
    }

    /// From now on a copy of whatever is published through Régua's exchange.
    pub async fn tap(&self) -> Tap {
        let channel = self.channel().await;
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), own, FieldTable::default()).await.expect("a queue").name().clone();
        for key in ["ticks", "hints"] {
            let bound =
                channel.queue_bind(queue.clone(), "regua".into(), key.into(), QueueBindOptions::default(), FieldTable::default());
            bound.await.expect("the services have declared the exchange");
        }
        Tap { channel, queue: queue.to_string() }
    }

    /// Publishes any bytes into Régua's exchange and waits for the confirm; `schema` and `ledger` are headers where given.
    pub async fn publish(&self, key: &str, kind: &str, schema: Option<i64>, ledger: Option<&str>, body: &[u8]) {
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let mut headers = FieldTable::default();
        if let Some(schema) = schema {
            headers.insert("schema".into(), AMQPValue::LongLongInt(schema));
        }
        if let Some(ledger) = ledger {
            headers.insert("ledger".into(), AMQPValue::LongString(LongString::from(ledger)));
        }
        let properties = BasicProperties::default().with_type(kind.into()).with_headers(headers);
        let confirm = channel.basic_publish("regua".into(), key.into(), BasicPublishOptions::default(), body, properties).await;
        let confirm = confirm.expect("published").await.expect("confirmed");
        assert!(confirm.is_ack(), "the broker took it");
    }
}
