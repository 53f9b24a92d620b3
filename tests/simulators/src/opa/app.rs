//! The routes of Opa! Suite and what the simulator remembers between requests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use http::header::{HeaderValue, LOCATION};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalogue::{Base, Channel, Template};
use super::conversations::{Conversations, TEXT_CHARS_MAX};
use super::lists::{ListQuery, is_json, success};
use super::order::{self, Order, Refusal, described_error, not_found};
use super::rates::{PairRate, Throughput};
use super::records::{Records, ids};
use super::webhook::{Teller, Webhook};
use super::{OpaOptions, OpaStats, Sent};
use crate::exchange::{Answer, Request, admin_json};
use crate::faults::{Fault, Faults, InvalidFault};
use crate::mix::{Clock, hash_text, locked, scramble};
use crate::server::App;
use crate::spill::{LogBytes, LogReader, SpillLog};
use crate::tally::Tally;

const API: &str = "/api/v1";
const LOGIN: &str = "/auth/login";
const DAY_US: i64 = 86_400_000_000;

/// The simulated product.
#[derive(Debug)]
pub(crate) struct OpaApp {
    options: OpaOptions,
    base: Base,
    log: SpillLog<Sent>,
    memory: Mutex<Memory>,
    conversations: Mutex<Conversations>,
    faults: Arc<Faults>,
    tally: Tally,
    teller: Teller,
    clock: Clock,
}

/// What sends leave behind, apart from the log. Only `distinct` grows, by 16 bytes a message.
#[derive(Debug, Default)]
struct Memory {
    accepted: u64,
    distinct: HashSet<u128>,
    without_message: u64,
    rejected: BTreeMap<&'static str, u64>,
    throughput: Throughput,
    pairs: PairRate,
    /// Messages of each channel on its last day of sending: (day, count).
    sent_on_day: HashMap<String, (i64, u64)>,
}

#[derive(Deserialize)]
struct InServiceChange {
    phones: Vec<String>,
    in_service: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomerMessage {
    phone: String,
    channel: String,
    text: String,
}

impl OpaApp {
    pub fn new(options: OpaOptions, clock: Clock) -> io::Result<Self> {
        Ok(Self {
            base: Base::new(options.own.as_ref()),
            log: SpillLog::create()?,
            memory: Mutex::default(),
            conversations: Mutex::new(Conversations::new(options.seed, options.in_service_share)),
            faults: Arc::new(Faults::new(options.seed)),
            tally: Tally::default(),
            teller: Teller::new(options.seed),
            options,
            clock,
        })
    }

    pub fn token(&self) -> &str {
        &self.options.token
    }

    pub fn arm(&self, faults: Vec<Fault>) -> Result<(), InvalidFault> {
        self.faults.arm(faults)
    }

    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    pub fn read_log(&self) -> io::Result<LogReader<Sent>> {
        self.log.read()
    }

    pub fn set_in_service(&self, phones: impl IntoIterator<Item = String>, in_service: bool) {
        let mut conversations = locked(&self.conversations);
        phones.into_iter().for_each(|phone| conversations.set_in_service(phone, in_service, self.clock.now_us()));
    }

    pub fn counted(&self) -> OpaStats {
        let memory = locked(&self.memory);
        OpaStats {
            accepted: memory.accepted,
            distinct_messages: u64::try_from(memory.distinct.len()).expect("lengths fit 64 bits"),
            without_message: memory.without_message,
            rejected: memory.rejected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            by_status: self.tally.by_status(),
            faults: self.faults.struck(),
            webhooks: self.teller.told(),
        }
    }

    pub fn set_webhook(&self, webhook: Option<Webhook>) {
        self.teller.set(webhook);
    }

    fn route(&self, request: &Request, path: &str) -> io::Result<Answer> {
        // Contracts §1.1: trailing slashes as documented; the channel list is asked for in both forms.
        let segments: Vec<&str> = match path {
            "/canal-comunicacao/" => vec!["canal-comunicacao"],
            _ => path.split('/').skip(1).collect(),
        };
        let get = request.method == Method::GET;
        match (request.method.clone(), segments.as_slice()) {
            (Method::POST, ["template", "send"]) => Ok(self.send(request)),
            _ if !get || segments.contains(&"") => Ok(to_login()),
            (_, ["template"]) => Ok(list(request, self.base.templates.iter().map(Template::record))),
            (_, ["template", id]) if *id != "send" => Ok(self
                .base
                .template(id)
                .map_or_else(|| not_found("Template not found."), |template| success(&template.expanded()))),
            (_, ["canal-comunicacao"]) => Ok(list(request, self.base.channels.iter().map(Channel::record))),
            (_, ["canal-comunicacao", id, rest @ ..]) => Ok(match (self.base.channel(id), rest) {
                // Contracts §1.2: the 404 of a wrong channel id.
                (None, [] | ["template"] | ["template", "limites-diarios-envio"]) => {
                    not_found("Communication channel not found.")
                }
                (Some(channel), []) => success(&channel.expanded()),
                (Some(channel), ["template"]) => {
                    let templates = if channel.is_whatsapp() { self.base.templates.as_slice() } else { &[] };
                    list(request, templates.iter().map(Template::channel_record))
                }
                (Some(channel), ["template", "limites-diarios-envio"]) => self.allowance(channel, request.received_at_us),
                _ => to_login(),
            }),
            (_, ["atendimento", below @ ..]) => Ok(self.records().answer(request, below)?.unwrap_or_else(to_login)),
            _ => Ok(to_login()),
        }
    }

    fn records(&self) -> Records<'_> {
        let Self { base, log, conversations, options, .. } = self;
        Records { base, log, conversations, double_spaces: options.double_spaces }
    }

    /// Contracts §1.4: three numbers, or an empty object if the channel has no limit.
    fn allowance(&self, channel: &Channel, at_us: i64) -> Answer {
        let Some(limit) = self.options.daily_limit else { return success(&json!({})) };
        let today = at_us.div_euclid(DAY_US);
        let sent =
            locked(&self.memory).sent_on_day.get(&*channel.id).filter(|(day, _)| *day == today).map_or(0, |(_, count)| *count);
        success(&json!({ "messagesSent": sent, "dailyLimit": limit, "availableAmount": limit.saturating_sub(sent) }))
    }

    fn send(&self, request: &Request) -> Answer {
        let order = if is_json(request) { order::read(&request.body, &self.base) } else { Err(Refusal::NotJson) };
        match order.and_then(|order| self.accept(order, request)) {
            // Contracts §1.5: the success body.
            Ok(id) => success(&json!({ "message": "Template message successfully sent.", "messageSentId": id })),
            Err(refusal) => {
                *locked(&self.memory).rejected.entry(refusal.reason()).or_default() += 1;
                refusal.answer()
            }
        }
    }

    /// Accepts an order: writes it to the log before anything is answered. Returns the message's id.
    fn accept(&self, order: Order, request: &Request) -> Result<String, Refusal> {
        let at_us = request.received_at_us;
        let mut memory = locked(&self.memory);
        let mut conversations = locked(&self.conversations);
        if !order.allow_in_service && conversations.in_service(&order.phone) {
            return Err(Refusal::InService);
        }
        if self.options.per_second.is_some_and(|limit| !memory.throughput.allows(&order.channel, limit, at_us)) {
            return Err(Refusal::Throughput);
        }
        if self.options.pair_interval.is_some_and(|interval| !memory.pairs.allows(&order.phone, interval, at_us)) {
            return Err(Refusal::PairRate);
        }
        let (id, new_conversation) = ids(at_us, scramble(self.options.seed.wrapping_add(memory.accepted)));
        // Contracts §1.5: the flag lets a send into a conversation under way. Without it, it opens one: the simulator's choice.
        let open = if order.allow_in_service { conversations.open(&order.phone, &order.channel) } else { None };
        let conversation = open.map_or(new_conversation, str::to_owned);
        let message = message_key(self.options.seed, &order.metadata["message"]);
        let sent = Sent {
            at_us,
            answered: request.replaced_by.unwrap_or("200").to_owned(),
            phone: order.phone,
            channel: order.channel,
            template: order.template,
            variaveis: order.variables,
            alternative_media: order.alternative_media,
            metadata: order.metadata,
            message_sent_id: id.clone(),
            conversation,
        };
        if let Err(error) = self.log.append(&sent) {
            tracing::error!(%error, "the log could not be written");
            return Err(Refusal::LogFailed);
        }
        memory.remember(&sent, message, &self.options);
        conversations.remember(&sent);
        self.teller.accepted(&sent);
        Ok(id)
    }

    fn customer_writes(&self, message: CustomerMessage) -> Result<Answer, Answer> {
        let CustomerMessage { phone, channel, text } = message;
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(Answer::refused(format_args!("text is longer than {TEXT_CHARS_MAX} characters")));
        }
        let written = locked(&self.conversations).write(phone, channel, text, self.clock.now_us());
        let id = written.ok_or_else(|| Answer::refused("the phone has no open conversation on the channel"))?;
        Ok(Answer::ok(&json!({ "_id": id })))
    }
}

impl Memory {
    fn remember(&mut self, sent: &Sent, message: Option<u128>, options: &OpaOptions) {
        self.accepted += 1;
        match message {
            Some(message) => {
                self.distinct.insert(message);
            }
            None => self.without_message += 1,
        }
        if options.per_second.is_some() {
            self.throughput.accepted(&sent.channel, sent.at_us);
        }
        if options.pair_interval.is_some() {
            self.pairs.accepted(&sent.phone, sent.at_us);
        }
        let today = sent.at_us.div_euclid(DAY_US);
        let on_day = self.sent_on_day.entry(sent.channel.clone()).or_insert((today, 0));
        if on_day.0 != today {
            *on_day = (today, 0);
        }
        on_day.1 += 1;
    }
}

/// 128 bits of `metadata.message`: a UUID's own, a hash of anything else; `None` if there is none.
fn message_key(seed: u64, message: &Value) -> Option<u128> {
    let text = match message {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let hex = text.replace('-', "");
    let uuid = if hex.len() == 32 { u128::from_str_radix(&hex, 16).ok() } else { None };
    Some(uuid.unwrap_or_else(|| (u128::from(hash_text(seed, &text)) << 64) | u128::from(hash_text(!seed, &text))))
}

/// Contracts §1.1, §1.2: unauthenticated, unknown path, wrong verb, a list sent as POST, panel paths.
fn to_login() -> Answer {
    Answer::html(StatusCode::FOUND, "Found. Redirecting to /auth/login").with_header(LOCATION, HeaderValue::from_static(LOGIN))
}

/// What a client that follows redirects gets with 200 (contracts §1.1).
fn login_page() -> Answer {
    let page = "<!DOCTYPE html><html lang=\"pt-BR\"><head><title>Opa! Suite</title></head><body><form action=\"/auth/login\" \
                method=\"post\"><input name=\"email\"><input name=\"password\" type=\"password\"></form></body></html>";
    Answer::html(StatusCode::OK, page)
}

fn list(request: &Request, records: impl Iterator<Item = Value>) -> Answer {
    match ListQuery::read(request) {
        Ok(query) => query.page(records),
        Err(answer) => answer,
    }
}

impl App for OpaApp {
    fn laborious(&self, request: &Request) -> bool {
        request.path.contains("/atendimento") // reads the log back
    }

    fn answer(&self, request: &Request) -> Answer {
        if request.path == LOGIN && request.method == Method::GET {
            return login_page();
        }
        // Contracts §1.1: `Authorization: Bearer <token>`.
        let authorised = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) == Some(self.token());
        match request.path.strip_prefix(API) {
            Some(path) if authorised => self.route(request, path).unwrap_or_else(|error| {
                tracing::error!(%error, "the log could not be read");
                described_error(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.")
            }),
            _ => to_login(),
        }
    }

    fn admin(&self, request: &Request) -> Option<Answer> {
        if request.method != Method::POST {
            return None;
        }
        let answered = match request.path.as_str() {
            "/_admin/webhook" => admin_json(request).map(|webhook: Option<Webhook>| {
                let tells = webhook.is_some();
                self.set_webhook(webhook);
                Answer::ok(&json!({ "tells": tells }))
            }),
            "/_admin/in-service" => admin_json(request).map(|InServiceChange { phones, in_service }| {
                let count = phones.len();
                self.set_in_service(phones, in_service);
                Answer::ok(&json!({ "changed": count }))
            }),
            "/_admin/customer-message" => admin_json(request).and_then(|message| self.customer_writes(message)),
            _ => return None,
        };
        Some(answered.unwrap_or_else(|refusal| refusal))
    }

    fn stats(&self) -> Value {
        serde_json::to_value(self.counted()).expect("statistics are plain data")
    }

    fn log(&self) -> io::Result<LogBytes> {
        self.log.bytes()
    }

    fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
