//! The variables that all services share.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]

use chrono::DateTime;
use chrono_tz::Tz;
use regua_telemetry::config::{Hosting, KeyBytes, LogFormat, Service, ServiceConfig, VARIABLES};
use regua_telemetry::environment::Environment;
use secrecy::ExposeSecret as _;
use std::path::Path;
use std::time::Duration;

const POSTGRES: (&str, &str) = ("REGUA_DATABASE_URL", "postgres://regua:s3cret@db:5433/regua?sslmode=require");
const AMQP: (&str, &str) = ("REGUA_BROKER_URL", "amqp://regua:s3cret@mq/%2f");

fn embedded(pairs: &[(&str, &str)]) -> Result<ServiceConfig, String> {
    ServiceConfig::load(Service::Regua, Hosting::Embedded, &Environment::only(pairs.iter().copied())).map_err(|e| e.to_string())
}

fn separate(pairs: &[(&str, &str)]) -> Result<ServiceConfig, String> {
    ServiceConfig::load(Service::Dispatcher, Hosting::Separate, &Environment::only(pairs.iter().copied()))
        .map_err(|e| e.to_string())
}

#[test]
fn nothing_set_is_everything_in_one_process_with_the_documented_defaults() {
    let config = embedded(&[]).unwrap();
    assert_eq!(config.database_url.expose(), "sqlite://regua.db");
    assert_eq!(config.broker_url.expose(), "memory:");
    assert_eq!(config.config_file, None);
    assert_eq!(config.http_addr, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.log, "info");
    assert_eq!(config.traces, None);
    assert_eq!(config.timezone, Tz::America__Sao_Paulo);
    assert!(!config.allow_private_urls);
    assert_eq!(config.shutdown_grace, Duration::from_secs(25));
    assert_eq!(config.demo_now, None);
}

#[test]
fn every_service_has_its_own_default_port() {
    let ports = [
        (Service::Scheduler, 9101),
        (Service::BillingEvaluator, 9102),
        (Service::Dispatcher, 9103),
        (Service::Console, 8080),
        (Service::Regua, 8080),
    ];
    for (service, port) in ports {
        let config = ServiceConfig::load(service, Hosting::Separate, &Environment::only([POSTGRES, AMQP])).unwrap();
        assert_eq!(config.http_addr, ([127, 0, 0, 1], port).into(), "{service}");
    }
}

#[test]
fn every_variable_is_read() {
    let config = embedded(&[
        POSTGRES,
        AMQP,
        ("REGUA_CONFIG", "/etc/regua.toml"),
        ("REGUA_HTTP_ADDR", "0.0.0.0:0"),
        ("REGUA_LOG", "warn,dispatcher=debug"),
        ("REGUA_LOG_FORMAT", "human"),
        ("REGUA_TIMEZONE", "America/Manaus"),
        ("REGUA_SECRET_KEY", &"0f".repeat(32)),
        ("REGUA_SECRET_KEY_PREVIOUS", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        ("REGUA_ALLOW_PRIVATE_URLS", "true"),
        ("REGUA_SHUTDOWN_GRACE_S", "5"),
        ("REGUA_DEMO_NOW", "2026-11-24T10:00:00-03:00"),
    ])
    .unwrap();
    assert_eq!(config.database_url.expose(), POSTGRES.1);
    assert_eq!((config.database_url.scheme(), config.broker_url.scheme()), ("postgres", "amqp"));
    assert_eq!(config.config_file.as_deref(), Some(Path::new("/etc/regua.toml")));
    assert_eq!(config.http_addr, "0.0.0.0:0".parse().unwrap());
    assert_eq!(config.log, "warn,dispatcher=debug");
    assert_eq!(config.log_format, LogFormat::Human);
    assert_eq!(config.timezone, Tz::America__Manaus);
    let key = |key: Option<KeyBytes>| key.map(|bytes| *bytes.expose_secret());
    assert_eq!((key(config.secret_key), key(config.secret_key_previous)), (Some([15; 32]), Some([1; 32])));
    assert!(config.allow_private_urls);
    assert_eq!(config.shutdown_grace, Duration::from_secs(5));
    assert_eq!(config.demo_now, DateTime::from_timestamp(1_795_525_200, 0));
}

#[test]
fn a_wrong_value_is_refused_by_name_with_what_is_expected() {
    for (name, value, expected) in [
        ("REGUA_DATABASE_URL", "mysql://db", "postgres://user:password@host/regua"),
        ("REGUA_DATABASE_URL", "postgres://db:port", "postgres://user:password@host/regua"),
        ("REGUA_DATABASE_URL", "regua.db", "sqlite://regua.db"),
        ("REGUA_BROKER_URL", "redis://mq", "amqp://user:password@host:5672/%2f"),
        ("REGUA_HTTP_ADDR", "9101", "127.0.0.1:9101"),
        ("REGUA_LOG", "loud", "a log level"),
        ("REGUA_LOG_FORMAT", "xml", "human or json"),
        ("REGUA_TIMEZONE", "Brasilia", "IANA"),
        (
            "REGUA_SECRET_KEY",
            "s3cret",
            "a key of 32 bytes, as 64 hexadecimal digits or in base64; `regua secrets new-key` prints one",
        ),
        ("REGUA_SECRET_KEY_PREVIOUS", "s3cret", "a key of 32 bytes"),
        ("REGUA_ALLOW_PRIVATE_URLS", "maybe", "true or false"),
        ("REGUA_SHUTDOWN_GRACE_S", "0", "from 1 to 600"),
        ("REGUA_DEMO_NOW", "yesterday", "with its offset"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http or https"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
    ] {
        let told = embedded(&[(name, value)]).expect_err(name);
        assert!(told.contains(&format!("{name}: ")) && told.contains(expected), "{name}={value}: {told}");
    }
    let told =
        embedded(&[("REGUA_LOG", "loud"), ("REGUA_TIMEZONE", "Brasilia"), ("REGUA_DATABASE_URL", "mysql://db")]).unwrap_err();
    assert_eq!(told.lines().count(), 4, "{told}");
}

#[test]
fn a_separate_service_refuses_what_only_one_process_can_use_and_says_why() {
    let told = separate(&[]).unwrap_err();
    for part in [
        "2 variables are not usable",
        "REGUA_DATABASE_URL: its default sqlite://regua.db can't be used here",
        "one writing process",
        "REGUA_BROKER_URL: its default memory: can't be used here",
        "set it to amqp://user:password@host:5672/%2f, or run everything in one process with `regua up` instead of dispatcher",
    ] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
    let told = separate(&[("REGUA_DATABASE_URL", "sqlite:other.db"), AMQP]).unwrap_err();
    assert!(
        told.contains("REGUA_DATABASE_URL: sqlite:other.db can't be used here") && !told.contains("REGUA_BROKER_URL"),
        "{told}"
    );
    separate(&[POSTGRES, AMQP]).unwrap();
    separate(&[("REGUA_DATABASE_URL", "postgresql:///regua?host=/run/postgresql"), ("REGUA_BROKER_URL", "amqps://mq")]).unwrap();
}

#[test]
fn addresses_are_shown_without_user_password_and_parameters() {
    for (url, shown) in [
        ("postgres://regua:s3cret@db:5433/regua?sslmode=require", "postgres://db:5433/regua"),
        ("postgres://db/regua?password=s3cret", "postgres://db/regua"),
        ("postgres://db/regua?password=x@s3cret", "postgres://…"),
        ("postgres://regua:1?@s3cret@db/regua", "postgres://…"),
        ("postgres://regua:p@s3cret@db/regua", "postgres://…"),
        ("postgres://:s3cret@db/regua", "postgres://db/regua"),
        ("sqlite:///var/lib/regua.db?mode=rwc", "sqlite:///var/lib/regua.db"),
    ] {
        let config = embedded(&[("REGUA_DATABASE_URL", url)]).unwrap();
        assert_eq!(config.database_url.to_string(), shown, "{url}");
        assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
        assert_eq!(config.database_url.expose(), url);
    }
    let told = embedded(&[("REGUA_DATABASE_URL", "mysql://regua:s3cret@db/regua")]).unwrap_err();
    assert!(!told.contains("s3cret"), "{told}");
}

#[test]
fn an_address_can_come_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "postgres://regua:s3cret@db/regua\n").unwrap();
    let config = embedded(&[("REGUA_DATABASE_URL_FILE", file.path().to_str().unwrap())]).unwrap();
    assert_eq!(config.database_url.expose(), "postgres://regua:s3cret@db/regua");
}

#[test]
fn traces_go_where_the_standard_variables_say() {
    const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    for (pairs, endpoint) in [
        (&[(COLLECTOR, "http://otel:4318")][..], Some("http://otel:4318/v1/traces")),
        (&[(COLLECTOR, "http://otel:4318/")], Some("http://otel:4318/v1/traces")),
        (&[(COLLECTOR, "https://otel/base")], Some("https://otel/base/v1/traces")),
        (&[(TRACES, "http://other/exactly")], Some("http://other/exactly")),
        (&[(COLLECTOR, "http://otel:4318"), (TRACES, "http://other/exactly")], Some("http://other/exactly")),
        (&[(COLLECTOR, "http://otel:4318"), ("OTEL_SDK_DISABLED", "true")], None),
        (&[(COLLECTOR, "http://otel:4318"), ("OTEL_TRACES_EXPORTER", "none")], None),
        (
            &[(COLLECTOR, "http://otel:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
            Some("http://otel:4318/v1/traces"),
        ),
    ] {
        let config = embedded(pairs).unwrap();
        assert_eq!(config.traces.as_ref().map(|export| export.endpoint.to_string()).as_deref(), endpoint, "{pairs:?}");
    }
}

#[test]
fn help_names_every_variable_that_is_read() {
    // A value that none of them takes: whatever is listed must be refused, or be free text.
    for (name, _, _) in VARIABLES {
        let refused = embedded(&[(name, "\u{1}")]).is_err();
        assert!(refused || name == "REGUA_CONFIG", "{name}");
    }
}

#[test]
fn a_key_is_32_bytes_in_hex_or_base64_and_is_never_shown() {
    let bytes = |text: &str| embedded(&[("REGUA_SECRET_KEY", text)]).map(|config| *config.secret_key.unwrap().expose_secret());
    let hex = "00ff".repeat(16);
    let base64 = "AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8=";
    for same in [&hex, &hex.to_uppercase(), &format!(" {hex}\n"), base64, base64.trim_end_matches('=')] {
        assert_eq!(bytes(same).unwrap(), *[0, 255].repeat(16), "{same:?}");
    }
    for wrong in ["00ff", &hex[1..], &format!("{hex}0"), &hex.replace('f', "g"), &base64[1..], &"é".repeat(32)] {
        let told = bytes(wrong).expect_err(wrong);
        assert!(told.contains("(not shown, for it is a secret)") && !told.contains(wrong), "{told}");
    }
    let config = embedded(&[("REGUA_SECRET_KEY", &hex)]).unwrap();
    assert!(!format!("{config:?}").contains("255"), "{config:?}");
}
