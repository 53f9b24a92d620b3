//! What becomes of conversations apart from the sends: who is in service, what was finished, what customers wrote.

use std::collections::{HashMap, VecDeque};

use super::Sent;
use crate::mix::{draw, hash_text};

/// A send can continue one of so many newest conversations, and a customer can write into them; older ones are only listed.
pub(crate) const CONTINUED_MAX: usize = 10_000;

/// So many of the customers' newest messages are kept.
pub(crate) const WRITTEN_MAX: usize = 1000;

/// Longer texts of customers are refused: a bound on memory, and what WhatsApp takes.
pub(crate) const TEXT_CHARS_MAX: usize = 4096;

/// One state for all conversations of a phone, so that memory doesn't grow with the sends: `said` and `finished` grow by what
/// `/_admin/in-service` is told, the rest is bounded.
#[derive(Debug)]
pub(crate) struct Conversations {
    seed: u64,
    /// The share of phones, in `[0, 1]`, that are in service if nobody said otherwise.
    in_service_share: f64,
    /// Phones of which someone said whether they are in service; the others are drawn.
    said: HashMap<String, bool>,
    /// When those of a phone were finished, in microseconds since 1970, in order.
    finished: HashMap<String, Vec<i64>>,
    newest: VecDeque<Opened>,
    written: VecDeque<Written>,
    written_ever: u64,
}

#[derive(Debug)]
struct Opened {
    /// Phone and channel, hashed.
    place: u64,
    id: String,
    at_us: i64,
}

/// A message that a customer wrote.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub id: String,
    pub conversation: String,
    pub at_us: i64,
    pub phone: String,
    pub channel: String,
    pub text: String,
}

/// Where a conversation stands (contracts §1.4: `AG`, `EA`, `F`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    InService,
    /// Since when, in microseconds since 1970.
    Finished(i64),
}

impl Conversations {
    pub fn new(seed: u64, in_service_share: f64) -> Self {
        Self {
            seed,
            in_service_share,
            said: HashMap::new(),
            finished: HashMap::new(),
            newest: VecDeque::new(),
            written: VecDeque::new(),
            written_ever: 0,
        }
    }

    pub fn in_service(&self, phone: &str) -> bool {
        self.said.get(phone).copied().unwrap_or_else(|| {
            let ten_thousandth = u32::try_from(draw(self.seed, 1, hash_text(0, phone)) % 10_000).unwrap_or_default();
            f64::from(ten_thousandth) < self.in_service_share * 10_000.0
        })
    }

    /// Puts a phone in service, or finishes all its conversations.
    pub fn set_in_service(&mut self, phone: String, in_service: bool, at_us: i64) {
        if !in_service {
            self.finished.entry(phone.clone()).or_default().push(at_us);
        }
        self.said.insert(phone, in_service);
    }

    /// Where a conversation with `phone` stands that was opened at `at_us`.
    pub fn state(&self, phone: &str, at_us: i64) -> State {
        let finished = self.finished.get(phone).and_then(|finished| finished.iter().find(|finished| **finished >= at_us));
        match finished {
            Some(finished) => State::Finished(*finished),
            None if self.in_service(phone) => State::InService,
            None => State::Waiting,
        }
    }

    /// Remembers a send's conversation if it is a new one.
    pub fn remember(&mut self, sent: &Sent) {
        if !sent.opens_conversation() {
            return;
        }
        if self.newest.len() == CONTINUED_MAX {
            self.newest.pop_front();
        }
        let place = self.place(&sent.phone, &sent.channel);
        self.newest.push_back(Opened { place, id: sent.conversation.clone(), at_us: sent.at_us });
    }

    /// The newest conversation with a phone on a channel, unless it was finished.
    pub fn open(&self, phone: &str, channel: &str) -> Option<&str> {
        let place = self.place(phone, channel);
        let newest = self.newest.iter().rev().find(|opened| opened.place == place)?;
        match self.state(phone, newest.at_us) {
            State::Waiting | State::InService => Some(&newest.id),
            State::Finished(_) => None,
        }
    }

    /// A customer writes into the open conversation on a channel; the message's id, or `None` if none is open.
    pub fn write(&mut self, phone: String, channel: String, text: String, at_us: i64) -> Option<String> {
        let conversation = self.open(&phone, &channel)?.to_owned();
        let id = format!("{:08x}{:016x}", at_us.div_euclid(1_000_000) & 0xFFFF_FFFF, draw(self.seed, 4, self.written_ever));
        self.written_ever += 1;
        if self.written.len() == WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back(Written { id: id.clone(), conversation, at_us, phone, channel, text });
        Some(id)
    }

    /// What customers wrote, oldest first.
    pub fn written(&self) -> impl Iterator<Item = &Written> {
        self.written.iter()
    }

    fn place(&self, phone: &str, channel: &str) -> u64 {
        draw(self.seed, hash_text(0, channel), hash_text(0, phone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opa::Variables;
    use crate::opa::records::ids;
    use serde_json::Value;

    fn opening(phone: &str, at_us: i64) -> Sent {
        let (message_sent_id, conversation) = ids(at_us, u64::try_from(at_us).unwrap_or_default());
        Sent {
            at_us,
            answered: "200".to_owned(),
            phone: phone.to_owned(),
            channel: "c".to_owned(),
            template: "t".to_owned(),
            variaveis: Variables::Positional(Vec::new()),
            alternative_media: None,
            metadata: Value::Null,
            message_sent_id,
            conversation,
        }
    }

    #[test]
    fn memory_keeps_the_newest_conversations_and_messages_alone() {
        let mut conversations = Conversations::new(1, 0.0);
        let phone = |number: usize| format!("+55{number}");
        for (number, at_us) in (0..=CONTINUED_MAX).zip(0..) {
            conversations.remember(&opening(&phone(number), at_us));
        }
        assert_eq!((conversations.newest.len(), conversations.open(&phone(0), "c")), (CONTINUED_MAX, None));
        assert!(conversations.open(&phone(1), "c").is_some());
        for number in 0..=WRITTEN_MAX {
            assert!(conversations.write(phone(1), "c".to_owned(), number.to_string(), 0).is_some());
        }
        let texts: Vec<&str> = conversations.written().map(|written| written.text.as_str()).collect();
        assert_eq!((texts.len(), texts[0]), (WRITTEN_MAX, "1"));
    }

    #[test]
    fn a_finished_conversation_stays_finished_since_its_first_end_and_later_ones_are_open() {
        let mut conversations = Conversations::new(1, 0.0);
        conversations.remember(&opening("+551", 10));
        assert_eq!(conversations.state("+551", 10), State::Waiting);
        for (in_service, at_us) in [(true, 15), (false, 20), (true, 25)] {
            conversations.set_in_service("+551".to_owned(), in_service, at_us);
        }
        assert_eq!(conversations.open("+551", "c"), None);
        conversations.remember(&opening("+551", 21));
        assert_eq!(conversations.open("+551", "c"), Some(&*ids(21, 21).1));
        assert_eq!(conversations.state("+551", 21), State::InService);
        conversations.set_in_service("+551".to_owned(), false, 30);
        assert_eq!(
            (conversations.state("+551", 10), conversations.state("+551", 21)),
            (State::Finished(20), State::Finished(30))
        );
    }
}
