//! Secrets in the ledger: sealed, bound to their names, used by the configuration, and never there as they are.

use crate::databases::Fixture;
use crate::setup::{Setup, parse};
use regua_domain::audit::Action;
use regua_domain::configuration::Configuration;
use regua_ledger::audit::Filter;
use regua_ledger::sealing::{OpenError, Sealed, SecretKey};
use regua_ledger::secrets::{Resealed, SecretRemoval};
use regua_ledger::{Ledger, LedgerError};
use secrecy::ExposeSecret as _;

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.plain-text-of-a-token";

fn key(byte: u8) -> SecretKey {
    SecretKey::new(&[byte; 32])
}

async fn ledger(f: &Fixture) -> Ledger {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    ledger
}

async fn set(ledger: &Ledger, name: &str, secret: &str, key: &SecretKey) {
    let sealed = key.seal(ledger.id().await.unwrap(), name, &secret.into());
    ledger.set_secret(name.into(), sealed, "ana".into(), None).await.unwrap();
}

/// What a secret opens to.
async fn opened(ledger: &Ledger, name: &str, key: &SecretKey) -> Result<String, OpenError> {
    let secrets = ledger.secrets().await.unwrap();
    let secret = secrets.iter().find(|secret| secret.name == name).unwrap();
    key.open(ledger.id().await.unwrap(), name, &secret.sealed).map(|plain| plain.expose_secret().to_owned())
}

/// The default configuration, whose integration's token is the secret `opa`, and with an ERP whose token is the secret `ixc`.
fn with_secrets() -> Configuration {
    let more = "[[source]]\nname = \"IXC\"\nkind = \"ixc\"\nurl = \"https://ixc.example.com\"\ntoken_secret = \"ixc\"\n".into();
    let text = Setup { more, ..Setup::default() }.text();
    parse(&text.replace("token_env = \"OPA_TOKEN\"", "token_secret = \"opa\""))
}

async fn actions(ledger: &Ledger, action: Action) -> Vec<regua_ledger::audit::Record> {
    ledger.audit_log(&Filter { action: Some(action), ..Filter::default() }).await.unwrap()
}

async fn a_secret_is_set_anew_under_its_name_and_each_time_is_written_down(f: Fixture) {
    let ledger = ledger(&f).await;
    assert!(ledger.secrets().await.unwrap().is_empty());
    set(&ledger, "opa", TOKEN, &key(1)).await;
    set(&ledger, "opa", "another-token", &key(2)).await;
    assert_eq!(opened(&ledger, "opa", &key(2)).await.as_deref(), Ok("another-token"));
    assert_eq!(opened(&ledger, "opa", &key(1)).await, Err(OpenError::OtherKey));
    let secret = ledger.secrets().await.unwrap().remove(0);
    assert_eq!((secret.set_by.as_str(), secret.sealed.last_four.as_deref(), secret.used_by.len()), ("ana", Some("oken"), 0));
    let log = actions(&ledger, Action::SecretSet).await;
    assert_eq!((log.len(), log[0].target.as_str(), log[0].by.as_str()), (2, "opa", "ana"));
    assert_eq!((log[1].was.is_none(), log[0].was.clone()), (true, log[1].became.clone()));
    assert_eq!(log[0].became.as_ref().unwrap()["key"], key(2).id());
}

async fn no_row_holds_the_plain_text(f: Fixture) {
    let ledger = ledger(&f).await;
    set(&ledger, "opa", TOKEN, &key(1)).await;
    set(&ledger, "ixc", "12:0123456789abcdef", &key(1)).await;
    ledger.apply_configuration(with_secrets()).await.unwrap();
    ledger.close().await;
    let rows = if f.is_sqlite() {
        let path = f.url.strip_prefix("sqlite://").unwrap();
        let files = ["", "-wal"].map(|end| std::fs::read(format!("{path}{end}")).unwrap_or_default());
        String::from_utf8_lossy(&files.concat()).into_owned()
    } else {
        let schema = f.text("SELECT CAST(schema_to_xml(current_schema(), true, false, '') AS TEXT)").await;
        schema.unwrap()
    };
    assert!(rows.contains("last_four") || rows.contains("oken"), "it was looked at");
    for plain in [TOKEN, "plain-text-of", "0123456789abcdef"] {
        assert!(!rows.contains(plain), "{plain}");
    }
}

async fn rows_that_change_places_do_not_open(f: Fixture) {
    let ledger = ledger(&f).await;
    set(&ledger, "opa", TOKEN, &key(1)).await;
    set(&ledger, "ixc", "12:abc", &key(1)).await;
    f.execute("UPDATE secrets SET name = 'other' WHERE name = 'opa'").await;
    f.execute("UPDATE secrets SET name = 'opa' WHERE name = 'ixc'").await;
    f.execute("UPDATE secrets SET name = 'ixc' WHERE name = 'other'").await;
    for name in ["opa", "ixc"] {
        assert_eq!(opened(&ledger, name, &key(1)).await, Err(OpenError::Damaged), "{name}");
    }
}

async fn a_configuration_names_only_secrets_that_are_there(f: Fixture) {
    let ledger = ledger(&f).await;
    set(&ledger, "opa", TOKEN, &key(1)).await;
    let missing = ledger.missing_secrets(&with_secrets()).await.unwrap();
    assert_eq!(
        missing.iter().map(|used| (used.user.as_str(), used.secret.as_str())).collect::<Vec<_>>(),
        [("source \"IXC\"", "ixc")]
    );
    for file in [false, true] {
        let refused = if file {
            ledger.apply_file_once(with_secrets()).await.map(drop)
        } else {
            ledger.apply_configuration(with_secrets()).await
        };
        let told = refused.unwrap_err().to_string();
        assert_eq!(told, "source \"IXC\": the ledger has no secret \"ixc\"; `regua secrets set ixc` puts it there");
        assert!(ledger.configuration().await.unwrap().is_none(), "nothing of it is applied");
    }
    set(&ledger, "ixc", "12:abc", &key(1)).await;
    assert!(ledger.apply_file_once(with_secrets()).await.unwrap(), "what was refused was not taken for applied");
    assert_eq!(ledger.configuration().await.unwrap(), Some(with_secrets()));
}

async fn a_secret_in_use_stays_and_says_who_uses_it(f: Fixture) {
    let ledger = ledger(&f).await;
    for name in ["opa", "ixc", "old"] {
        set(&ledger, name, TOKEN, &key(1)).await;
    }
    ledger.apply_configuration(with_secrets()).await.unwrap();
    let remove = |name: &str| ledger.remove_secret(name.into(), "ana".into(), "gone".into());
    let in_use = |user: &str| SecretRemoval::InUse { used_by: vec![user.to_owned()] };
    assert_eq!(remove("opa").await.unwrap(), in_use("integration \"Opa! Suite\""));
    assert_eq!(remove("ixc").await.unwrap(), in_use("source \"IXC\""));
    assert_eq!(remove("old").await.unwrap(), SecretRemoval::Removed);
    assert_eq!(remove("old").await.unwrap(), SecretRemoval::Unknown);
    assert_eq!(actions(&ledger, Action::SecretRemoved).await.len(), 1, "only what was done is written down");
    ledger.apply_configuration(Setup::default().configuration()).await.unwrap();
    assert_eq!(remove("opa").await.unwrap(), SecretRemoval::Removed, "nobody uses it any more");
    assert_eq!(remove("ixc").await.unwrap(), SecretRemoval::Removed);
}

/// Every secret of the ledger under another key.
async fn resealed(ledger: &Ledger, old: &SecretKey, new: &SecretKey) -> Vec<Resealed> {
    let id = ledger.id().await.unwrap();
    let reseal = |secret: regua_ledger::secrets::Secret| Resealed {
        sealed: new.seal(id, &secret.name, &old.open(id, &secret.name, &secret.sealed).unwrap()),
        old_key_id: secret.sealed.key_id,
        set_at: secret.set_at,
        name: secret.name,
    };
    ledger.secrets().await.unwrap().into_iter().map(reseal).collect()
}

async fn a_rotation_seals_all_secrets_anew_or_none(f: Fixture) {
    let ledger = ledger(&f).await;
    let (old, new) = (key(1), key(2));
    set(&ledger, "ixc", "12:abc", &old).await;
    set(&ledger, "opa", TOKEN, &old).await;
    let rotate = |resealed| ledger.rotate_secrets(resealed, key(2).id().into(), "ana".into(), "the old one leaked".into());

    let stale = resealed(&ledger, &old, &new).await;
    set(&ledger, "opa", "set-meanwhile", &old).await;
    let told = rotate(stale).await.unwrap_err();
    assert!(matches!(&told, LedgerError::Refused(why) if why.contains("\"opa\" was changed meanwhile")), "{told}");
    assert_eq!(opened(&ledger, "ixc", &old).await.as_deref(), Ok("12:abc"), "nothing is sealed anew");

    let partial = resealed(&ledger, &old, &new).await;
    set(&ledger, "third", TOKEN, &old).await;
    let told = rotate(partial).await.unwrap_err();
    assert!(matches!(&told, LedgerError::Refused(why) if why.contains("\"third\" was set meanwhile")), "{told}");
    assert_eq!(opened(&ledger, "opa", &old).await.as_deref(), Ok("set-meanwhile"));

    rotate(resealed(&ledger, &old, &new).await).await.unwrap();
    for (name, plain) in [("ixc", "12:abc"), ("opa", "set-meanwhile"), ("third", TOKEN)] {
        assert_eq!(opened(&ledger, name, &new).await.as_deref(), Ok(plain));
    }
    let log = actions(&ledger, Action::SecretsRotated).await;
    assert_eq!(log.len(), 1, "only what was done is written down");
    assert_eq!((log[0].by.as_str(), log[0].why.as_deref()), ("ana", Some("the old one leaked")));
    assert_eq!(log[0].was, Some(serde_json::json!({ "keys": { (old.id()): 3 } })));
    assert_eq!(log[0].became, Some(serde_json::json!({ "key": new.id(), "secrets": 3 })));
}

/// On PostgreSQL only: SQLite has one writer.
async fn a_secret_that_a_configuration_begins_to_use_is_not_removed_under_its_hands(f: Fixture) {
    let Some(pool) = f.postgres() else { return };
    let ledger = ledger(&f).await;
    for name in ["opa", "ixc"] {
        set(&ledger, name, TOKEN, &key(1)).await;
    }
    let mut holder = pool.acquire().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1 FROM secrets WHERE name = 'opa' FOR UPDATE").execute(&mut *holder).await.unwrap();
    let applying = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.apply_configuration(with_secrets()).await }
    });
    f.blocked_by(&mut holder).await;
    sqlx::raw_sql("DELETE FROM secrets WHERE name = 'opa'; COMMIT").execute(&mut *holder).await.unwrap();
    let told = applying.await.unwrap().unwrap_err();
    assert!(told.to_string().contains("the ledger has no secret \"opa\""), "{told}");
}

#[test]
fn a_sealed_secret_says_nothing_in_a_debug_text() {
    let id = regua_domain::ids::LedgerId(uuid::Uuid::nil());
    let sealed: Sealed = key(1).seal(id, "opa", &TOKEN.into());
    assert!(!format!("{sealed:?}").contains("plain-text"));
}

conformance! {
    a_secret_is_set_anew_under_its_name_and_each_time_is_written_down
    no_row_holds_the_plain_text
    rows_that_change_places_do_not_open
    a_configuration_names_only_secrets_that_are_there
    a_secret_in_use_stays_and_says_who_uses_it
    a_rotation_seals_all_secrets_anew_or_none
    a_secret_that_a_configuration_begins_to_use_is_not_removed_under_its_hands
}
