//! `[[integration]]`, `[[business]]`, `[[channel]]` and `[[source]]`: who is spoken to, and how.

use super::model::{
    Business, Channel, Gateway, Integration, LastLook, Notice, Release, SecretRef, Source, SourceKind, Unanswered,
};
use super::names::Names;
use super::parse::Reading;
use super::problem::Fault;
use super::reader::{Field, Located, Report, Reported, Section};
use super::url::{Product, normalise_url};
use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use url::Url;

/// Messages per second of a WhatsApp number by default (contracts §3.2).
const PER_SECOND: NonZeroU16 = NonZeroU16::new(80).expect("80 is not 0");
/// Messages per second of a WhatsApp number at most (contracts §3.2).
const PER_SECOND_MAX: i64 = 1000;
/// More recipients than any limited business has (contracts §3.2: 100,000).
const RECIPIENTS_MAX: i64 = 1_000_000;
/// Days around today whose open titles are listed by default, and at most.
const DAYS_BACK: u16 = 60;
const DAYS_BACK_MAX: u16 = 1825;
const DAYS_AHEAD: u16 = 40;
const DAYS_AHEAD_MAX: u16 = 365;
const HOUR_S: u32 = 3600;
const DAY_S: u32 = 24 * HOUR_S;
/// The shortest time that a duration of the file may be.
const DURATION_MIN_S: u32 = 60;
/// Age at which a mirror is too old to send from, at most.
const MAX_AGE_MAX_S: u32 = 30 * DAY_S;
/// The longest that the last look at a title may be ago.
const LAST_LOOK_MAX_S: u32 = DAY_S;

/// The integrations, and which of them is the default one.
pub(super) struct Integrations {
    pub names: Names,
    pub default: Option<String>,
    urls: BTreeMap<String, Url>,
    /// Those that are switched off, each at its `enabled`.
    off: Vec<Located<String>>,
    /// Those that are on and hold messages until a task releases them, each at its `release`.
    pub holding: Vec<Located<String>>,
}

impl Integrations {
    /// The integration that a section names, else the default one; `user` is the section's own name, for who removes an integration in use.
    pub fn of(
        &self,
        section: &mut Section<'_, '_>,
        user: &Result<Located<String>, Reported>,
    ) -> Result<Located<String>, Reported> {
        let user = || user.as_ref().map_or_else(|_| String::new(), |user| user.value.clone());
        if let Some(named) = section.text("integration")? {
            if let Some(nearest) = self.names.unknown(&named) {
                return Err(section.report.refuse(&named, Fault::UnknownIntegration { user: user(), nearest }));
            }
            return Ok(named);
        }
        if let Some(default) = &self.default {
            return Ok(section.implied("integration", default.clone()));
        }
        Err(section.report.refuse(&section.implied("integration", ()), Fault::NoDefault { user: user() }))
    }

    /// An integration that is switched off while notices use it is refused, with their names: each would wait for ever.
    pub fn disabled_ones_are_unused(&self, report: &Report<'_>, notices: &[Notice]) {
        for off in &self.off {
            let users = notices.iter().filter(|notice| notice.integration == off.value);
            let notices: Vec<String> = users.map(|notice| notice.name.clone()).collect();
            if !notices.is_empty() {
                report.refuse(off, Fault::IntegrationInUse { notices });
            }
        }
    }
}

impl Reading<'_, '_> {
    pub fn integrations(&self, sections: Vec<Section<'_, '_>>) -> (Vec<Integration>, Integrations) {
        let mut known = Integrations {
            names: Names::new("integration"),
            default: None,
            urls: BTreeMap::new(),
            off: Vec::new(),
            holding: Vec::new(),
        };
        let mut flags = Vec::new();
        let read: Vec<_> = sections.into_iter().map(|section| self.integration(section, &mut known, &mut flags)).collect();
        known.default = self.default_integration(&known.names, &flags);
        let mut integrations: Vec<Integration> = read.into_iter().flatten().collect();
        for integration in &mut integrations {
            integration.default = known.default.as_ref() == Some(&integration.name);
        }
        (integrations, known)
    }

    fn integration(
        &self,
        mut section: Section<'_, '_>,
        known: &mut Integrations,
        flags: &mut Vec<(String, Located<bool>)>,
    ) -> Result<Integration, Reported> {
        let name = section.required_text("name", "name = \"Matriz\"");
        let defined = name.as_ref().map_or(Err(Reported), |name| known.names.define(self.report, name, ()));
        let description = section.text_or_blank("description");
        let gateway = section.choice("gateway", &Gateway::ALL);
        let url = self.url(&mut section, Product::OpaSuite);
        let token = self.token(&mut section);
        let default = section.flag("default");
        let release = section.choice("release", &Release::ALL);
        let enabled = section.flag("enabled");
        let webhook_secret = self.webhook_secret(&mut section);
        let look_up = section.flag("look_up");
        let implied = section.implied("release", ());
        section.finish();
        let name = name?.value;
        let is_on = matches!(&enabled, Ok(flag) if flag.as_ref().is_none_or(|flag| flag.value));
        if let Ok(Some(off)) = &enabled
            && !off.value
        {
            known.off.push(off.clone().map(|_| name.clone()));
        }
        if let Ok(release) = &release
            && is_on
            && release.as_ref().is_none_or(|release| release.value == Release::OnTask)
        {
            let at = release.as_ref().map_or(implied, |release| release.clone().map(|_| ()));
            known.holding.push(at.map(|()| name.clone()));
        }
        if let Ok(Some(flag)) = default {
            flags.push((name.clone(), flag));
        }
        if let Ok(url) = &url {
            known.urls.insert(name.clone(), url.value.clone());
        }
        defined?;
        Ok(Integration {
            name,
            description: description?.map_or_else(String::new, |text| text.value),
            gateway: gateway?.map_or(Gateway::OpaSuite, |gateway| gateway.value),
            url: url?.value,
            token: token?,
            default: false,
            release: release?.map_or_else(Release::default, |release| release.value),
            enabled: enabled?.is_none_or(|flag| flag.value),
            webhook_secret: webhook_secret?,
            look_up: look_up?.is_some_and(|flag| flag.value),
        })
    }

    /// The one that says so; else the only one, unless it says that it is not.
    fn default_integration(&self, names: &Names, flags: &[(String, Located<bool>)]) -> Option<String> {
        let mut defaults = flags.iter().filter(|(_, flag)| flag.value);
        let Some((name, first)) = defaults.next() else {
            return names.only().filter(|_| flags.is_empty()).cloned();
        };
        for (_, second) in defaults {
            self.report.refuse(second, Fault::SecondDefault { first_line: first.line });
        }
        Some(name.clone())
    }

    pub fn businesses(&self, sections: Vec<Section<'_, '_>>) -> (Vec<Business>, Names) {
        let mut names = Names::new("business");
        let business = |mut section: Section<'_, '_>| {
            let name = section.required_text("name", "name = \"Provedor Exemplo\"");
            let defined = name.as_ref().map_or(Err(Reported), |name| names.define(self.report, name, ()));
            let recipients = section.limit("recipients_per_24h", RECIPIENTS_MAX, false);
            section.finish();
            defined?;
            let recipients = recipients?.and_then(|limit| limit.value).and_then(|limit| u32::try_from(limit).ok());
            Ok::<_, Reported>(Business { name: name?.value, recipients_per_24h: recipients.and_then(NonZeroU32::new) })
        };
        let businesses = sections.into_iter().map(business).collect::<Vec<_>>();
        (businesses.into_iter().flatten().collect(), names)
    }

    /// The channels, and each one's integration as far as it could be read.
    pub fn channels(
        &self,
        sections: Vec<Section<'_, '_>>,
        integrations: &Integrations,
        businesses: &Names,
    ) -> (Vec<Channel>, Names<Option<String>>) {
        let mut names = Names::new("channel");
        let mut ids = BTreeMap::new();
        let channel = |mut section: Section<'_, '_>| {
            let name = section.required_text("name", "name = \"Cobrança\"");
            let integration = integrations.of(&mut section, &name);
            let about = integration.as_ref().ok().map(|integration| integration.value.clone());
            let defined = name.as_ref().map_or(Err(Reported), |name| names.define(self.report, name, about));
            let id = self.channel_id(&mut section, integration.as_ref().ok(), integrations, &mut ids);
            let per_second = section.limit("per_second", PER_SECOND_MAX, true);
            let business = section.text("business");
            section.finish();
            let business = business?;
            if let Some(business) = &business {
                businesses.resolve(self.report, business)?;
            }
            defined?;
            let per_second = match per_second? {
                None => Some(PER_SECOND),
                Some(limit) => limit.value.and_then(|limit| u16::try_from(limit).ok()).and_then(NonZeroU16::new),
            };
            let business = business.map(|business| business.value);
            Ok::<_, Reported>(Channel { name: name?.value, integration: integration?.value, id: id?, per_second, business })
        };
        let channels = sections.into_iter().map(channel).collect::<Vec<_>>();
        (channels.into_iter().flatten().collect(), names)
    }

    /// A channel's id, unique at one address: two gates on one number would send at twice its limit.
    fn channel_id(
        &self,
        section: &mut Section<'_, '_>,
        integration: Option<&Located<String>>,
        integrations: &Integrations,
        seen: &mut BTreeMap<(Option<String>, String), usize>,
    ) -> Result<String, Reported> {
        let located = section.required_text("id", "id = \"0123456789abcdef01234567\"")?;
        let id = located.value.to_ascii_lowercase();
        if !is_object_id(&id) {
            return Err(self.report.refuse(&located, Fault::NotAChannelId));
        }
        let address = integration.and_then(|integration| integrations.urls.get(&integration.value)).map(Url::to_string);
        if let Some(first_line) = seen.get(&(address.clone(), id.clone())) {
            let mend = "keep one [[channel]] for each number";
            return Err(self.report.refuse(&located, Fault::Duplicate { first_line: *first_line, mend }));
        }
        seen.insert((address, id.clone()), located.line);
        Ok(id)
    }

    pub fn sources(&self, sections: Vec<Section<'_, '_>>) -> Vec<Source> {
        let mut names = Names::new("source");
        let mut urls = BTreeMap::new();
        let sources = sections.into_iter().map(|section| self.source(section, &mut names, &mut urls)).collect::<Vec<_>>();
        sources.into_iter().flatten().collect()
    }

    fn source(
        &self,
        mut section: Section<'_, '_>,
        names: &mut Names,
        urls: &mut BTreeMap<String, usize>,
    ) -> Result<Source, Reported> {
        let name = section.required_text("name", "name = \"IXC\"");
        let defined = name.as_ref().map_or(Err(Reported), |name| names.define(self.report, name, ()));
        let is_ixc = match section.choice("kind", &[("ixc", true), ("files", false)]) {
            Ok(Some(kind)) => Ok(kind.value),
            Ok(None) => Err(section.missing("kind", "kind = \"ixc\" or kind = \"files\"")),
            Err(reported) => Err(reported),
        };
        let max_age = self.duration(&mut section, "max_age", MAX_AGE_MAX_S);
        let webhook_secret = if matches!(is_ixc, Ok(true)) { self.webhook_secret(&mut section) } else { Ok(None) };
        let kind = match is_ixc {
            Ok(true) => self.ixc(&mut section, urls),
            Ok(false) => self.files(&mut section),
            Err(reported) => {
                section.given(&SOURCE_KEYS);
                Err(reported)
            }
        };
        section.finish();
        defined?;
        let max_age_default_s = if is_ixc? { 6 * HOUR_S } else { 26 * HOUR_S };
        Ok(Source {
            name: name?.value,
            kind: kind?,
            max_age_s: max_age?.map_or(max_age_default_s, |age| age.value),
            webhook_secret: webhook_secret?,
        })
    }

    fn ixc(&self, section: &mut Section<'_, '_>, urls: &mut BTreeMap<String, usize>) -> Result<SourceKind, Reported> {
        let url = self.url(section, Product::Ixc);
        let token = self.token(section);
        let days_back = section.whole("days_back", 0, DAYS_BACK_MAX);
        let days_ahead = section.whole("days_ahead", 0, DAYS_AHEAD_MAX);
        let last_look = self.last_look(section);
        let url = url?;
        if let Some(first_line) = urls.insert(url.value.to_string(), url.line) {
            let mend = "keep one [[source]] for each ERP, else its customers are notified twice";
            return Err(self.report.refuse(&url, Fault::Duplicate { first_line, mend }));
        }
        let days_back = days_back?.map_or(DAYS_BACK, |days| days.value);
        let days_ahead = days_ahead?.map_or(DAYS_AHEAD, |days| days.value);
        Ok(SourceKind::Ixc { url: url.value, token: token?, days_back, days_ahead, last_look: last_look? })
    }

    fn last_look(&self, section: &mut Section<'_, '_>) -> Result<Option<LastLook>, Reported> {
        let max_age = self.duration(section, "last_look", LAST_LOOK_MAX_S);
        let unanswered = section.choice("last_look_unanswered", &[("hold", Unanswered::Hold), ("send", Unanswered::Send)]);
        match (max_age?, unanswered?) {
            (Some(max_age), unanswered) => {
                let unanswered = unanswered.map_or(Unanswered::Hold, |choice| choice.value);
                Ok(Some(LastLook { max_age_s: max_age.value, unanswered }))
            }
            (None, Some(_)) => Err(section.missing("last_look", "last_look = \"10m\"")),
            (None, None) => Ok(None),
        }
    }

    /// A source of files has neither address nor token.
    fn files(&self, section: &mut Section<'_, '_>) -> Result<SourceKind, Reported> {
        let given = section.given(&SOURCE_KEYS);
        for key in &given {
            self.report.refuse(key, Fault::Conflict { with: "kind = \"files\"".into() });
        }
        if given.is_empty() { Ok(SourceKind::Files) } else { Err(Reported) }
    }

    /// `90m`, `6h`, `2d`, in seconds: a minute to `max_s`, a number of whole days.
    pub fn duration(&self, section: &mut Section<'_, '_>, key: &'static str, max_s: u32) -> Field<u32> {
        let Some(text) = section.text(key)? else { return Ok(None) };
        let units = [('s', 1), ('m', 60), ('h', HOUR_S), ('d', DAY_S)];
        let seconds =
            units.iter().find_map(|(unit, unit_s)| text.value.strip_suffix(*unit)?.parse::<u32>().ok()?.checked_mul(*unit_s));
        match seconds.filter(|seconds| (DURATION_MIN_S..=max_s).contains(seconds)) {
            Some(seconds) => Ok(Some(text.map(|_| seconds))),
            None => Err(self.report.refuse(&text, Fault::NotADuration { days_max: max_s / DAY_S })),
        }
    }

    /// `url`, or the value of the variable that `url_env` names, as the base of the product's API.
    fn url(&self, section: &mut Section<'_, '_>, product: Product) -> Result<Located<Url>, Reported> {
        let example = "url = \"https://HOST\", or url_env = \"NAME\"";
        let (literal, variable) = (section.text("url"), section.text("url_env"));
        let text = match (literal?, variable?) {
            (Some(literal), None) => literal,
            (None, Some(variable)) => self.variable(&variable)?,
            (Some(_), Some(variable)) => return Err(self.report.refuse(&variable, Fault::Conflict { with: "url".into() })),
            (None, None) => return Err(section.missing("url", example)),
        };
        let text = if text.value.contains('@') { text.hidden() } else { text };
        let (url, corrections) = normalise_url(&text.value, product, self.defaults.allow_private_urls)
            .map_err(|fault| self.report.refuse(&text, Fault::Url(fault)))?;
        if !corrections.is_empty() {
            let what: Vec<String> = corrections.iter().map(ToString::to_string).collect();
            self.report.note(&text, format!("taken as {url}: {}", what.join("; ")));
        }
        Ok(text.map(|_| url))
    }

    /// The value of an environment variable, with the place that names it.
    fn variable(&self, name: &Located<String>) -> Result<Located<String>, Reported> {
        if !is_variable_name(&name.value) {
            return Err(self.report.refuse(name, Fault::NotAVariableName));
        }
        match (self.lookup_env)(&name.value).filter(|value| !value.trim().is_empty()) {
            Some(value) => {
                let shown = format!("{} ({:?})", name.shown, value.chars().take(120).collect::<String>());
                Ok(Located { value, shown, ..name.clone() })
            }
            None => Err(self.report.refuse(name, Fault::VariableNotSet)),
        }
    }

    /// Where the token is.
    fn token(&self, section: &mut Section<'_, '_>) -> Result<SecretRef, Reported> {
        let token = self.secret(section, ["token_env", "token_file", "token_secret"])?;
        token.ok_or_else(|| {
            section.missing("token_env", "token_env = \"NAME\", token_file = \"PATH\", or token_secret = \"NAME\"")
        })
    }

    /// Where the secret of a webhook is, if it has one.
    fn webhook_secret(&self, section: &mut Section<'_, '_>) -> Result<Option<SecretRef>, Reported> {
        self.secret(section, ["webhook_secret_env", "webhook_secret_file", "webhook_secret"])
    }

    /// Where a secret is, by the keys of the kinds of references. That it is not in this process's environment is only told: another process
    /// may be the one that uses it.
    fn secret(&self, section: &mut Section<'_, '_>, keys: [&'static str; 3]) -> Result<Option<SecretRef>, Reported> {
        let [env, file, _] = keys;
        let [variable, path, secret] = keys.map(|key| section.text(key));
        let name = match (variable?, path?, secret?) {
            (None, None, None) => return Ok(None),
            (Some(name), None, None) => name,
            (None, Some(path), None) => return Ok(Some(SecretRef::File(path.value))),
            (None, None, Some(name)) if is_secret_name(&name.value) => return Ok(Some(SecretRef::Ledger(name.value))),
            (None, None, Some(name)) => return Err(self.report.refuse(&name, Fault::NotASecretName)),
            (Some(_), Some(other), _) | (Some(_), None, Some(other)) => {
                return Err(self.report.refuse(&other, Fault::Conflict { with: env.into() }));
            }
            (None, Some(_), Some(other)) => {
                return Err(self.report.refuse(&other, Fault::Conflict { with: file.into() }));
            }
        };
        if !is_variable_name(&name.value) {
            return Err(self.report.refuse(&name, Fault::NotAVariableName));
        }
        if (self.lookup_env)(&name.value).is_none_or(|value| value.trim().is_empty()) {
            self.report.note(&name, format!("{} is not set here; the process that uses the {} needs it", name.value, what(env)));
        }
        Ok(Some(SecretRef::Env(name.value)))
    }
}

/// What a secret is, by its key.
fn what(key: &str) -> &'static str {
    if key.starts_with("token") { "token" } else { "secret" }
}

/// The keys that only a source with an address has. What a webhook tells holds until a look that was asked for later; of a file nobody knows when
/// its rows were looked at, so it would be undone by an older one.
const SOURCE_KEYS: [&str; 12] = [
    "url",
    "url_env",
    "token_env",
    "token_file",
    "token_secret",
    "days_back",
    "days_ahead",
    "last_look",
    "last_look_unanswered",
    "webhook_secret_env",
    "webhook_secret_file",
    "webhook_secret",
];

/// Capitals only, as is customary: so a token that was pasted instead of a name is seen, not repeated in a message.
fn is_variable_name(name: &str) -> bool {
    let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(capital) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether a secret of the ledger may have this name: 1 to 40 small letters, digits, `-` and `_`, a letter first. Few real secrets look so, and
/// one that was pasted instead of a name is seen.
pub fn is_secret_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

/// Whether it has the form of a record's `_id` in Opa! Suite (contracts §1.1).
pub(super) fn is_object_id(id: &str) -> bool {
    id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
