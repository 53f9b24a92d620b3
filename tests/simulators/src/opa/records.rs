//! `/atendimento` and `/atendimento/mensagem`, read back from the log of accepted sends, oldest first (contracts §1.2, §1.3).
//!
//! Each accepted send opens a conversation, or goes on with an open one if it may; its message is there as soon as it is
//! accepted, whatever the client was told. What customers wrote stands among the messages by its time.

use std::io;
use std::sync::Mutex;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Sent;
use super::catalogue::{ATTENDANT, Base};
use super::conversations::{Conversations, State, Written};
use super::lists::{ListQuery, success};
use super::order::{described_error, not_found};
use super::variables::Variables;
use crate::exchange::{Answer, Request};
use crate::mix::{hash_text, locked};
use crate::spill::SpillLog;

/// What the records are made of.
pub(crate) struct Records<'a> {
    pub base: &'a Base,
    pub log: &'a SpillLog<Sent>,
    pub conversations: &'a Mutex<Conversations>,
    /// Whether a message's text shows each space of a value twice.
    pub double_spaces: bool,
}

impl Records<'_> {
    /// Answers what is asked for below `/atendimento`; `None` if there is no such path.
    pub fn answer(&self, request: &Request, below: &[&str]) -> io::Result<Option<Answer>> {
        let list = |records: &dyn Fn(ListQuery) -> io::Result<Answer>| match ListQuery::read(request) {
            Ok(query) => records(query),
            Err(answer) => Ok(answer),
        };
        Ok(Some(match below {
            [] => list(&|query| self.conversations(query))?,
            ["mensagem"] => list(&|query| self.messages(&query))?,
            ["mensagem", id] => {
                self.message_by_id(id)?.map_or_else(|| not_found("Message not found."), |message| success(&message))
            }
            [id] => {
                self.conversation_by_id(id)?.map_or_else(|| not_found("Customer service not found."), |found| success(&found))
            }
            _ => return Ok(None),
        }))
    }

    fn conversations(&self, mut query: ListQuery) -> io::Result<Answer> {
        let opened = Days::take(&mut query.filter, "dataInicialAbertura", "dataFinalAbertura");
        let ended = Days::take(&mut query.filter, "dataInicialEncerramento", "dataFinalEncerramento");
        let (opened, ended) = match (opened, ended) {
            (Ok(opened), Ok(ended)) => (opened, ended),
            (Err(answer), _) | (_, Err(answer)) => return Ok(answer),
        };
        let mut page = Page::of(&query);
        for line in self.log.read()?.into_lines() {
            let sent: Sent = serde_json::from_str(&line?)?;
            if !sent.opens_conversation() || !opened.contain(Some(sent.at_us)) {
                continue;
            }
            let state = self.state(&sent);
            let fim = match state {
                State::Waiting | State::InService => None,
                State::Finished(at_us) => Some(at_us),
            };
            if ended.contain(fim) {
                page.offer(conversation(&sent, state));
            }
            if page.is_full() {
                break;
            }
        }
        Ok(page.answer())
    }

    /// With `id_rota`, one conversation's messages: lines of the log without it aren't even parsed.
    fn messages(&self, query: &ListQuery) -> io::Result<Answer> {
        let mark = query.filter.get("id_rota").and_then(Value::as_str);
        let written: Vec<Written> = locked(self.conversations).written().cloned().collect();
        let mut written = written.iter().peekable();
        let mut page = Page::of(query);
        for line in self.log.read()?.into_lines() {
            let line = line?;
            if mark.is_some_and(|mark| !line.contains(mark)) {
                continue;
            }
            let sent: Sent = serde_json::from_str(&line)?;
            while let Some(written) = written.next_if(|written| written.at_us < sent.at_us) {
                page.offer(written_message(written));
            }
            page.offer(self.message(&sent));
            if page.is_full() {
                break;
            }
        }
        written.for_each(|written| page.offer(written_message(written)));
        Ok(page.answer())
    }

    fn conversation_by_id(&self, id: &str) -> io::Result<Option<Value>> {
        let opening = self.find(id, |sent| sent.conversation == id && sent.opens_conversation())?;
        Ok(opening.map(|sent| conversation(&sent, self.state(&sent))))
    }

    /// That `messageSentId` is a message's id is inferred (contracts §1.6).
    fn message_by_id(&self, id: &str) -> io::Result<Option<Value>> {
        let written = locked(self.conversations).written().find(|written| written.id == id).map(written_message);
        if written.is_some() {
            return Ok(written);
        }
        Ok(self.find(id, |sent| sent.message_sent_id == id)?.map(|sent| self.message(&sent)))
    }

    /// The first send with `id` that is the one meant.
    fn find(&self, id: &str, is_meant: impl Fn(&Sent) -> bool) -> io::Result<Option<Sent>> {
        for line in self.log.read()?.into_lines() {
            let line = line?;
            if line.contains(id) {
                let sent: Sent = serde_json::from_str(&line)?;
                if is_meant(&sent) {
                    return Ok(Some(sent));
                }
            }
        }
        Ok(None)
    }

    fn state(&self, opening: &Sent) -> State {
        locked(self.conversations).state(&opening.phone, opening.at_us)
    }

    fn message(&self, sent: &Sent) -> Value {
        let values = match &sent.variaveis {
            Variables::Positional(values) if self.double_spaces => {
                &Variables::Positional(values.iter().map(|value| value.replace(' ', "  ")).collect())
            }
            as_sent => as_sent,
        };
        let text = self.base.template(&sent.template).map_or_else(String::new, |template| template.rendered(values));
        json!({
            "_id": sent.message_sent_id, "id_rota": sent.conversation, "id_user": contact_id(&sent.phone), "id_atend": null,
            "mensagem": text, "tipo": "texto", "canalComunicacao": sent.channel, "destinatario": contact_id(&sent.phone),
            "tipoDestinatario": "clientes_users", "statusEnvio": { "status": "sent", "observacao": "" },
            "data": iso(sent.at_us), "createdAt": iso(sent.at_us),
        })
    }
}

/// Contracts §1.4: the channel's kind is lower-case here, capitalised in channels; `canal_cliente` is the phone.
fn conversation(opening: &Sent, state: State) -> Value {
    let (status, attendant, fim) = match state {
        State::Waiting => ("AG", None, None),
        State::InService => ("EA", Some(ATTENDANT), None),
        State::Finished(at_us) => ("F", Some(ATTENDANT), Some(iso(at_us))),
    };
    json!({
        "_id": opening.conversation, "id_cliente": client_id(&opening.phone), "id_user": contact_id(&opening.phone),
        "id_atendente": attendant, "setor": null, "status": status, "canal": "whatsapp", "canal_id": opening.channel,
        "canal_cliente": opening.phone, "protocolo": format!("SIM{}", opening.message_sent_id), "tags": [], "motivos": [],
        "date": iso(opening.at_us), "fim": fim,
    })
}

/// Contracts §1.4: `usuarios` is from the client.
fn written_message(written: &Written) -> Value {
    json!({
        "_id": written.id, "id_rota": written.conversation, "id_user": contact_id(&written.phone), "id_atend": null,
        "mensagem": written.text, "tipo": "texto", "canalComunicacao": written.channel, "destinatario": ATTENDANT,
        "tipoDestinatario": "usuarios", "statusEnvio": { "status": "sent", "observacao": "" },
        "data": iso(written.at_us), "createdAt": iso(written.at_us),
    })
}

/// A contact as messages name it. An id and no phone (inferred): `clientes_users` sounds like the collection it is of.
fn contact_id(phone: &str) -> String {
    format!("64f1c0de{:016x}", hash_text(1, phone))
}

/// The client whose contact this is: each phone has its own, which is the simulator's choice.
fn client_id(phone: &str) -> String {
    format!("64f1c0de{:016x}", hash_text(2, phone))
}

/// The ids of a message and of the conversation that it opens: 24 lower-case hex digits, the first 8 of them the Unix time
/// (contracts §1.1), the random part of one the other's inverted.
pub(crate) fn ids(at_us: i64, random: u64) -> (String, String) {
    let seconds = at_us.div_euclid(1_000_000) & 0xFFFF_FFFF;
    (format!("{seconds:08x}{random:016x}"), format!("{seconds:08x}{:016x}", !random))
}

impl Sent {
    /// Whether this is the first message of its conversation, which is told by their [`ids`].
    pub(super) fn opens_conversation(&self) -> bool {
        let random = |id: &str| id.get(8..).and_then(|random| u64::from_str_radix(random, 16).ok());
        random(&self.conversation) == random(&self.message_sent_id).map(|random| !random)
    }
}

fn instant(at_us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at_us).unwrap_or_default()
}

/// Contracts §1.1: ISO-8601 UTC with `Z`.
fn iso(at_us: i64) -> String {
    instant(at_us).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Two days as a filter names them, both included, either absent. They are taken as UTC, the zone of the records, which is the
/// simulator's choice.
struct Days {
    first: Option<NaiveDate>,
    last: Option<NaiveDate>,
}

impl Days {
    /// Takes two members out of a filter.
    ///
    /// # Errors
    /// The answer for what is no `YYYY-MM-DD` (contracts §1.1); how Opa! Suite words it is unknown, the second error shape is used.
    fn take(filter: &mut Map<String, Value>, first: &str, last: &str) -> Result<Self, Answer> {
        let mut day = |name: &str| match filter.remove(name) {
            None => Ok(None),
            Some(value) => match value.as_str().filter(|text| text.len() == 10).and_then(|text| text.parse().ok()) {
                Some(day) => Ok(Some(day)),
                None => Err(described_error(StatusCode::BAD_REQUEST, &format!("filter.{name} must be YYYY-MM-DD."))),
            },
        };
        Ok(Self { first: day(first)?, last: day(last)? })
    }

    /// Whether they contain an instant; what never happened is in no days that are bounded.
    fn contain(&self, at_us: Option<i64>) -> bool {
        match at_us.map(|at_us| instant(at_us).date_naive()) {
            None => self.first.is_none() && self.last.is_none(),
            Some(day) => self.first.is_none_or(|first| first <= day) && self.last.is_none_or(|last| day <= last),
        }
    }
}

/// One page of the records that a list's filter lets through.
struct Page<'q> {
    query: &'q ListQuery,
    skipped: usize,
    records: Vec<Value>,
}

impl<'q> Page<'q> {
    fn of(query: &'q ListQuery) -> Self {
        Self { query, skipped: 0, records: Vec::new() }
    }

    fn offer(&mut self, record: Value) {
        if self.is_full() || !self.query.matches(&record) {
            return;
        }
        if self.skipped < self.query.skip {
            self.skipped += 1;
        } else {
            self.records.push(record);
        }
    }

    fn is_full(&self) -> bool {
        self.records.len() >= self.query.limit
    }

    fn answer(self) -> Answer {
        success(&Value::Array(self.records))
    }
}
