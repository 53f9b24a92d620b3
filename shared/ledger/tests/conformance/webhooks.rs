//! Who may call webhooks, and the samples of what was not understood.

use crate::databases::Fixture;
use crate::setup::{Setup, parse};
use crate::world::World;
use regua_domain::configuration::SecretRef;
use regua_ledger::webhooks::{Caller, NewSample, SAMPLES_MAX};

async fn only_what_has_a_secret_may_be_called(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    assert_eq!(w.ledger.webhooks().await.unwrap(), []);
    let text = Setup::default().text();
    let text =
        text.replace("token_env = \"OPA_TOKEN\"", "token_env = \"OPA_TOKEN\"\nwebhook_secret_env = \"OPA_WEBHOOK\"").replace(
            "kind = \"files\"",
            "kind = \"ixc\"\nurl = \"https://ixc.example.com\"\ntoken_env = \"IXC\"\nwebhook_secret_file = \"/run/secrets/erp\"",
        );
    let configuration = parse(&text);
    w.ledger.apply_configuration(configuration.clone()).await.unwrap();
    let known: Vec<_> =
        w.ledger.webhooks().await.unwrap().into_iter().map(|hook| (hook.caller, hook.name, hook.secret)).collect();
    let expected = [
        (Caller::Integration(w.integration), "Opa! Suite".to_owned(), SecretRef::Env("OPA_WEBHOOK".into())),
        (Caller::Source(w.source), "ERP".to_owned(), SecretRef::File("/run/secrets/erp".into())),
    ];
    assert_eq!(known, expected);
    assert_eq!(w.ledger.configuration().await.unwrap(), Some(configuration));
    w.ledger.apply_configuration(Setup::default().configuration()).await.unwrap();
    assert_eq!(w.ledger.webhooks().await.unwrap(), [], "without a secret nobody is heard");
}

async fn the_newest_samples_that_differ_are_kept(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let sample = |n: usize| NewSample { integration_id: w.integration, why: "no_message", shape: format!("{{\"n\":{n}}}") };
    for n in 0..SAMPLES_MAX + 5 {
        w.ledger.keep_samples(vec![sample(n), sample(n)]).await.unwrap();
        w.ledger.keep_samples(vec![sample(n)]).await.unwrap();
    }
    let kept: Vec<_> = w.ledger.webhook_samples().await.unwrap().into_iter().map(|sample| sample.shape).collect();
    let newest: Vec<_> = (5..SAMPLES_MAX + 5).rev().map(|n| sample(n).shape).collect();
    assert_eq!(kept, newest);
}

conformance! {
    only_what_has_a_secret_may_be_called
    the_newest_samples_that_differ_are_kept
}
