//! Tokens that the ledger keeps sealed, from the file that names them to the provider that takes them.

use regua_e2e::{House, until};
use serde_json::json;
use std::time::Duration;

const KEY: &str = "REGUA_SECRET_KEY";
const PREVIOUS: &str = "REGUA_SECRET_KEY_PREVIOUS";
/// An ordinary end takes less.
const END_MAX: Duration = Duration::from_secs(25);

/// A house whose two tokens are secrets of the ledger.
async fn house(customers: u32) -> House {
    let replaced = ["opa", "ixc"].map(|name| {
        let variable = format!("token_env = \"REGUA_DEMO_{}_TOKEN\"", name.to_uppercase());
        (variable, format!("token_secret = \"{name}\""))
    });
    House::build(customers, &replaced).await
}

async fn new_key(house: &House) -> String {
    house.cli.run(&["secrets", "new-key"]).await.good().out.trim().to_owned()
}

async fn set_both(house: &House) {
    house.cli.run(&["secrets", "set", "opa", "--from-env", "REGUA_DEMO_OPA_TOKEN"]).await.good();
    let file = house.write("ixc_token", format!("{}\n", house.ixc.token()).as_bytes());
    house.cli.run(&["secrets", "set", "ixc", "--from-file", &file]).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_missed_by_name_and_set_only_under_a_key() {
    let mut house = house(10).await;
    let config = house.cli.environment["REGUA_CONFIG"].clone();
    house.cli.run(&["config", "check", &config]).await.refused(0, "it isn't there yet");
    let mut up = house.start();
    assert_eq!(up.end(END_MAX).await, Some(2), "refused as any other mistake of the file");
    assert!(up.log().contains("regua secrets set opa"), "{}", up.log());
    house.cli.run(&["config", "check", &config]).await.refused(2, "the ledger has no secret \"ixc\"");
    house.cli.run(&["config", "apply", &config, "--dry-run"]).await.refused(1, "nothing is applied");

    let set = ["secrets", "set", "opa", "--from-env", "REGUA_DEMO_OPA_TOKEN"];
    house.cli.run(&set).await.refused(2, "`regua secrets new-key` prints one");
    house.cli = house.cli.clone().with(KEY, "s3cret");
    house.cli.run(&set).await.refused(2, "REGUA_SECRET_KEY: the value (not shown, for it is a secret) is not a key of 32 bytes");
    let key = new_key(&house).await;
    house.cli = house.cli.clone().with(KEY, &key);
    house.cli.run(&["secrets", "set", "eyJhbGciOiJIUzI1NiJ9.x"]).await.refused(2, "NAME is 1 to 40 small letters");
    house.cli.run(&["secrets", "set", "opa"]).await.refused(2, "no secret on standard input: it is empty");
    house.cli.run_with(&["secrets", "set", "opa", "--json"], "0123456789abcdef\n").await.good();
    let list = house.cli.run(&["secrets", "list", "--json"]).await.good().json();
    let expected = (&json!("opa"), &json!("cdef"), &json!(true), &json!([]));
    assert_eq!((&list["name"], &list["last_four"], &list["opens"], &list["used_by"]), expected);
    house.cli.run(&["config", "apply", &config]).await.refused(1, "the ledger has no secret \"ixc\"");
    house.cli.run(&["secrets", "remove", "opa", "--why", "a test"]).await.good();
    house.cli.run(&["secrets", "remove", "opa", "--why", "a test"]).await.refused(1, "there is no secret \"opa\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_goes_with_sealed_tokens_and_nothing_ever_shows_them() {
    let mut house = house(300).await;
    let key = new_key(&house).await;
    house.cli = house.cli.clone().with(KEY, &key);
    set_both(&house).await;
    let up = house.up().await;
    house.run("update-collections").await;
    // While `up` holds the file: through the row of a command.
    set_both(&house).await;
    house.cli.run(&["secrets", "remove", "ixc", "--why", "a test"]).await.refused(1, "is the token of source");
    house.run("send-queued-messages").await;
    house.settled().await;
    assert!(house.opa.stats().accepted > 50);
    let findings = house.cli.run(&["check"]).await;
    assert!(findings.out.contains("token accepted"), "{findings:?}");
    let exported = house.cli.run(&["config", "export"]).await.good().out;
    assert!(exported.contains("token_secret = \"opa\"") && exported.contains("token_secret = \"ixc\""));
    let listed = house.cli.run(&["secrets", "list"]).await.good().out;
    assert!(listed.contains("integration ") && listed.contains("source "), "{listed}");

    let database = house.cli.environment["REGUA_DATABASE_URL"].trim_start_matches("sqlite://").to_owned();
    let files = ["", "-wal"].map(|end| std::fs::read(format!("{database}{end}")).unwrap_or_default()).concat();
    let files = String::from_utf8_lossy(&files);
    assert!(files.contains("SetSecret"), "the commands are among what is looked at");
    for (secret, of) in [(house.opa.token(), "opa"), (house.ixc.token(), "ixc"), (&key, "the key")] {
        for (text, place) in [(&*files, "the ledger"), (&up.log(), "the log"), (&listed, "the list"), (&exported, "the file")] {
            assert!(!text.contains(secret), "{of} in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_whose_secret_does_not_open_stops_alone_and_the_key_can_be_changed() {
    let mut house = house(200).await;
    let (old, new) = (new_key(&house).await, new_key(&house).await);
    house.cli = house.cli.clone().with(KEY, &old);
    set_both(&house).await;
    let mut up = house.up().await;
    house.run("update-collections").await;

    let rotate = ["secrets", "rotate", "--why", "it leaked"];
    house.cli.clone().with(KEY, &new).run(&rotate).await.refused(1, "nothing is sealed anew");
    let told = house.cli.clone().with(KEY, &new).with(PREVIOUS, &old).run(&rotate).await.good();
    assert!(told.out.contains("2 secrets are sealed under the key"), "{told:?}");
    let ids = house.cli.run(&["secrets", "list"]).await.good();
    assert!(ids.out.contains("NO") && ids.err.contains("is sealed under another key"), "{ids:?}");
    // The process still has the old key.
    until("/readyz says why the integration is not usable", async || {
        let told = up.readiness().await.to_string();
        (told.contains("is sealed under another key (id ") && told.contains("integration ")).then_some(())
    })
    .await;
    up.terminate();
    assert_eq!(up.end(END_MAX).await, Some(0));
    house.cli = house.cli.clone().without(KEY);
    let mut keyless = house.up().await;
    until("/readyz says that there is no key", async || {
        keyless.readiness().await.to_string().contains("this process has none: set REGUA_SECRET_KEY").then_some(())
    })
    .await;
    keyless.terminate();
    assert_eq!(keyless.end(END_MAX).await, Some(0));

    house.cli = house.cli.clone().with(KEY, &new);
    let _up = house.up().await;
    house.run("send-queued-messages").await;
    house.settled().await;
    assert!(house.opa.stats().accepted > 30, "and with the new key all goes on");
}
