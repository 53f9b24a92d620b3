//! `/atendimento` and `/atendimento/mensagem`, read back from the log of accepted sends, oldest first (contracts §1.2, §1.3).
//!
//! Each accepted send opens one conversation with one message: enough to look a doubtful send up by phone and day.

use std::io;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::Sent;
use super::catalogue::Base;
use super::lists::{ListQuery, success};
use crate::exchange::Answer;
use crate::spill::LogReader;

const USER: &str = "64f1c0de0a1b2c3d4e5f9002";

/// The atendimento that a message belongs to: its id with the random part inverted, so that either leads to the other.
fn other_id(id: &str) -> Option<String> {
    let (seconds, random) = id.split_at_checked(8)?;
    let random = u64::from_str_radix(random, 16).ok()?;
    Some(format!("{seconds}{:016x}", !random))
}

fn instant(at_us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at_us).unwrap_or_default()
}

/// Contracts §1.1: ISO-8601 UTC with `Z`.
fn iso(at_us: i64) -> String {
    instant(at_us).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Contracts §1.4: the channel's kind is lower-case here, capitalised in channels.
fn conversation(sent: &Sent) -> Value {
    json!({
        "_id": other_id(&sent.message_sent_id), "id_cliente": null, "id_user": USER, "id_atendente": null, "setor": null,
        "status": "AG", "canal": "whatsapp", "canal_id": sent.channel, "canal_cliente": sent.phone,
        "protocolo": format!("SIM{}", sent.message_sent_id), "tags": [], "motivos": [], "date": iso(sent.at_us), "fim": null,
    })
}

fn message(base: &Base, sent: &Sent) -> Value {
    let text = base.template(&sent.template).map_or_else(String::new, |template| template.rendered(&sent.variaveis));
    json!({
        "_id": sent.message_sent_id, "id_rota": other_id(&sent.message_sent_id), "id_user": USER, "id_atend": null,
        "mensagem": text, "tipo": "texto", "canalComunicacao": sent.channel, "destinatario": sent.phone,
        "tipoDestinatario": "clientes_users", "statusEnvio": { "status": "sent", "observacao": "" },
        "data": iso(sent.at_us), "createdAt": iso(sent.at_us),
    })
}

/// The days of `dataInicialAbertura` and `dataFinalAbertura`, both included (contracts §1.3; taken as UTC, the zone of the records).
struct Days {
    first: Option<NaiveDate>,
    last: Option<NaiveDate>,
}

impl Days {
    fn take(filter: &mut Map<String, Value>) -> Self {
        let mut day = |name| filter.remove(name).and_then(|value| value.as_str()?.parse().ok());
        Self { first: day("dataInicialAbertura"), last: day("dataFinalAbertura") }
    }

    fn contain(&self, sent: &Sent) -> bool {
        let day = instant(sent.at_us).date_naive();
        self.first.is_none_or(|first| first <= day) && self.last.is_none_or(|last| day <= last)
    }
}

/// `GET /atendimento`.
pub(crate) fn conversations(log: LogReader<Sent>, mut query: ListQuery) -> io::Result<Answer> {
    let days = Days::take(&mut query.filter);
    collect(log, None, |sent| days.contain(sent).then(|| conversation(sent)), &query)
}

/// `GET /atendimento/mensagem`; with `id_rota`, that conversation's messages.
pub(crate) fn messages(base: &Base, log: LogReader<Sent>, query: &ListQuery) -> io::Result<Answer> {
    let of = query.filter.get("id_rota").and_then(Value::as_str).map(|route| other_id(route).unwrap_or_else(|| route.to_owned()));
    collect(log, of.as_deref(), |sent| Some(message(base, sent)), query)
}

/// `GET /atendimento/:id`; `None` if there is none.
pub(crate) fn conversation_by_id(log: LogReader<Sent>, id: &str) -> io::Result<Option<Answer>> {
    let Some(message_id) = other_id(id) else { return Ok(None) };
    Ok(find(log, &message_id)?.map(|sent| success(&conversation(&sent))))
}

/// `GET /atendimento/mensagem/:id`; `None` if there is none. That `messageSentId` is its id is inferred (contracts §1.6).
pub(crate) fn message_by_id(base: &Base, log: LogReader<Sent>, id: &str) -> io::Result<Option<Answer>> {
    Ok(find(log, id)?.map(|sent| success(&message(base, &sent))))
}

fn find(log: LogReader<Sent>, message_id: &str) -> io::Result<Option<Sent>> {
    for line in log.into_lines() {
        let line = line?;
        if line.contains(message_id) {
            let sent: Sent = serde_json::from_str(&line)?;
            if sent.message_sent_id == message_id {
                return Ok(Some(sent));
            }
        }
    }
    Ok(None)
}

/// The page of the records that `record` makes of the log's lines; lines without `mark` aren't even parsed.
fn collect(
    log: LogReader<Sent>,
    mark: Option<&str>,
    record: impl Fn(&Sent) -> Option<Value>,
    query: &ListQuery,
) -> io::Result<Answer> {
    let mut skipped = 0;
    let mut page = Vec::new();
    for line in log.into_lines() {
        let line = line?;
        if mark.is_some_and(|mark| !line.contains(mark)) {
            continue;
        }
        let sent: Sent = serde_json::from_str(&line)?;
        let Some(record) = record(&sent).filter(|record| query.matches(record)) else { continue };
        if skipped < query.skip {
            skipped += 1;
        } else if page.len() < query.limit {
            page.push(record);
        } else {
            break;
        }
    }
    Ok(success(&Value::Array(page)))
}
