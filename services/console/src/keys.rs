//! Who may call: the secrets of the webhooks, kept fresh, and their comparison.

use crate::answer::Refusal;
use crate::config::FRESH_EVERY;
use axum::http::{HeaderMap, HeaderValue, header};
use regua_ledger::webhooks::{Caller, Webhook};
use regua_ledger::{Ledger, LedgerError};
use regua_pipeline::Tokens;
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::service::Process;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::sync::{PoisonError, RwLock};

/// What `/readyz` calls a webhook.
fn check_of(product: Product, name: &str) -> String {
    format!("webhook of {} {name}", product.section())
}

/// The header for who can't set `Authorization`.
const OWN_HEADER: &str = "x-regua-secret";

/// What kind of product calls: the second part of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// An integration.
    Opa,
    /// A source.
    Erp,
}

impl Product {
    const fn of(caller: Caller) -> Self {
        match caller {
            Caller::Integration(_) => Self::Opa,
            Caller::Source(_) => Self::Erp,
        }
    }

    const fn section(self) -> &'static str {
        match self {
            Self::Opa => "integration",
            Self::Erp => "source",
        }
    }
}

/// The secrets as of the last look; `None` before the first.
#[derive(Default)]
pub struct Keys(RwLock<Option<Known>>);

/// Who calls under which name, and the secret that opens it.
type Known = HashMap<(Product, String), (Caller, SecretString)>;

impl Keys {
    /// Reads the secrets again and again. One that can't be read is told in `/readyz`, and nobody of its name is heard.
    pub async fn keep_fresh(&self, ledger: &Ledger, process: &Process) {
        let mut told = HashSet::new();
        let mut every = tokio::time::interval(FRESH_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let look =
                async { Ok((ledger.webhooks().await?, Tokens::load(ledger, &process.config, &process.environment).await?)) };
            match look.await {
                Ok((webhooks, tokens)) => self.refresh(webhooks, &tokens, process, &mut told),
                Err::<_, LedgerError>(error) => tracing::debug!(error = %Chain(&error), "console.webhooks_not_read"),
            }
        }
    }

    /// `told` are the checks that `/readyz` has.
    fn refresh(&self, webhooks: Vec<Webhook>, tokens: &Tokens, process: &Process, told: &mut HashSet<String>) {
        let health = process.health.scoped("console");
        let (mut fresh, mut checks) = (HashMap::new(), HashSet::new());
        for Webhook { caller, name, secret } in webhooks {
            let product = Product::of(caller);
            let check = check_of(product, &name);
            checks.insert(check.clone());
            match tokens.of(&secret, &name) {
                Ok(secret) => {
                    health.set(&check, Readiness::Ready);
                    fresh.insert((product, name), (caller, secret));
                }
                Err(error) => health.set(&check, Readiness::degraded(format!("nobody is heard: {}", Chain(&error)))),
            }
        }
        for check in std::mem::replace(told, checks).difference(told) {
            health.remove(check);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
    }

    /// Who it is that calls `name` with these headers.
    ///
    /// # Errors
    /// Why nobody is heard; which of the reasons it is takes no different time to find out.
    pub fn admit(&self, product: Product, name: &str, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = keys.as_ref().ok_or(Refusal::NotNow)?.get(&(product, name.to_owned()));
        let secret = known.map_or("", |(_, secret)| secret.expose_secret());
        let offered = offered(headers);
        let is_same = is_same(offered.unwrap_or_default(), secret.as_bytes());
        match (known, offered) {
            (None, _) => Err(Refusal::UnknownCaller),
            (Some(_), None) => Err(Refusal::NoSecret),
            (Some((caller, _)), Some(_)) if is_same && !secret.is_empty() => Ok(*caller),
            (Some(_), Some(_)) => Err(Refusal::WrongSecret),
        }
    }
}

/// The secret that a call has.
fn offered(headers: &HeaderMap) -> Option<&[u8]> {
    let own = headers.get(OWN_HEADER).map(HeaderValue::as_bytes);
    let bearer = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
        let (scheme, secret) = value.split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then_some(secret)
    });
    own.or(bearer)
}

const BEARER: &[u8] = b"Bearer ";

/// Whether two secrets are one. How long that takes depends on the length of the one that is offered alone.
fn is_same(offered: &[u8], secret: &[u8]) -> bool {
    let differing = offered.iter().enumerate().fold(offered.len() ^ secret.len(), |differing, (at, byte)| {
        let known = secret.get(at % secret.len().max(1)).copied().unwrap_or_default();
        black_box(differing | usize::from(byte ^ known))
    });
    differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::ids::{IntegrationId, SourceId};

    const SECRET: &str = "a secret of some length";

    fn keys() -> Keys {
        let id = "0192f000-0000-7000-8000-000000000001";
        let caller = |caller, secret: &str| (caller, SecretString::from(secret.to_owned()));
        let integration = Caller::Integration(IntegrationId(id.parse().expect("an id")));
        let source = Caller::Source(SourceId(id.parse().expect("an id")));
        let known = [
            ((Product::Opa, "Opa! Suite".to_owned()), caller(integration, SECRET)),
            ((Product::Erp, "ERP".to_owned()), caller(source, SECRET)),
            ((Product::Opa, "Empty".to_owned()), caller(integration, "")),
        ];
        Keys(RwLock::new(Some(known.into())))
    }

    #[track_caller]
    fn check(product: Product, name: &str, header: Option<(&'static str, &str)>, expected: &Result<Product, Refusal>) {
        let headers = header.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let admitted = keys().admit(product, name, &headers.into_iter().collect());
        assert_eq!(&admitted.map(Product::of), expected, "{name} {header:?}");
    }

    #[test]
    fn only_the_webhooks_own_secret_opens_it() {
        let bearer = format!("Bearer {SECRET}");
        for header in [
            ("authorization", bearer.as_str()),
            ("authorization", &bearer.replace("Bearer", "bearer")),
            ("x-regua-secret", SECRET),
        ] {
            check(Product::Opa, "Opa! Suite", Some(header), &Ok(Product::Opa));
            check(Product::Erp, "ERP", Some(header), &Ok(Product::Erp));
            check(Product::Erp, "Opa! Suite", Some(header), &Err(Refusal::UnknownCaller));
            check(Product::Opa, "opa! suite", Some(header), &Err(Refusal::UnknownCaller));
        }
        check(Product::Opa, "Opa! Suite", None, &Err(Refusal::NoSecret));
        check(Product::Opa, "Opa! Suite", Some(("authorization", SECRET)), &Err(Refusal::NoSecret));
        let longer = format!("{SECRET}{SECRET}");
        for wrong in ["", "a", &SECRET[1..], &SECRET[..SECRET.len() - 1], &longer, "A secret of some length"] {
            check(Product::Opa, "Opa! Suite", Some(("x-regua-secret", wrong)), &Err(Refusal::WrongSecret));
        }
        check(Product::Opa, "Empty", Some(("x-regua-secret", "")), &Err(Refusal::WrongSecret));
    }

    #[test]
    fn before_the_first_look_nobody_is_refused_for_good() {
        assert_eq!(Keys::default().admit(Product::Opa, "Opa! Suite", &HeaderMap::new()), Err(Refusal::NotNow));
    }
}
