//! What a failing ERP becomes, over real HTTP.

use crate::raw_erp::{Reply, Server};
use regua_domain::ids::InvoiceId;
use regua_ixc::webservice::{ErrorClass, IxcError, Refusal};
use std::error::Error;
use std::time::Duration;

/// Asks once and returns the error, after seeing that nothing was retried and nothing secret is told.
async fn error_of(reply: Reply) -> IxcError {
    let server = Server::always(reply).await;
    let error = server.client().titles_by_id(&[InvoiceId("1".to_owned())]).await.expect_err("an error");
    assert_eq!(server.requests().len(), 1, "nothing is retried or followed");
    check_tells_nothing(&error);
    error
}

/// Neither the error nor any of its causes tells the token or a value.
fn check_tells_nothing(error: &IxcError) {
    let mut told = format!("{error:?}");
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(inner) = cause {
        told.push_str(&inner.to_string());
        cause = inner.source();
    }
    for secret in ["s3cret", "MTI6", "segredo"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

#[tokio::test]
async fn a_status_is_classified() {
    for (status, class) in [(500, ErrorClass::Retryable), (504, ErrorClass::Retryable), (429, ErrorClass::Retryable)] {
        let error = error_of(Reply::Http(status, "", b"<div>Ocorreu um erro ao processar</div>".to_vec())).await;
        assert!(matches!(error, IxcError::Status { status: found } if found == status) && error.class() == class, "{error}");
    }
    for status in [400, 404] {
        let error = error_of(Reply::Http(status, "", Vec::new())).await;
        assert!(matches!(error, IxcError::Status { .. }) && error.class() == ErrorClass::Terminal, "{error}");
    }
    for status in [401, 403] {
        let error = error_of(Reply::Http(status, "", Vec::new())).await;
        assert!(matches!(error, IxcError::Unauthorized { .. }) && error.class() == ErrorClass::Terminal, "{error}");
    }
}

#[tokio::test]
async fn an_error_object_with_200_is_a_refusal() {
    let refusal = |message: &str| Reply::ok(serde_json::json!({"type": "error", "message": message}).to_string());
    let error = error_of(refusal("Recurso fn_areceber não está disponível!<br />")).await;
    assert!(matches!(error, IxcError::Refused { resource: "fn_areceber", refusal: Refusal::ResourceUnavailable }), "{error}");
    assert_eq!(error.class(), ErrorClass::Terminal);
    let error = error_of(refusal("<b>Seu IP não está liberado</b> 200.1.2.3")).await;
    assert!(matches!(error, IxcError::Refused { refusal: Refusal::AddressNotAllowed, .. }), "{error}");
    let error = error_of(refusal("CPF 123.456.789-00 segredo@example.invalid")).await;
    assert_eq!(error.to_string(), "the ERP refused to list `fn_areceber`: CPF ###.###.###-## …");
}

#[tokio::test]
async fn an_html_page_with_200_passes_by_itself() {
    let error = error_of(Reply::ok("\r\n<div class=\"x\">Ocorreu um erro ao processar: segredo</div>")).await;
    assert!(matches!(error, IxcError::Html) && error.class() == ErrorClass::Retryable);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let error = error_of(Reply::Http(302, "location: /login\r\n", Vec::new())).await;
    assert!(matches!(error, IxcError::Redirected { status: 302 }) && error.class() == ErrorClass::Terminal);
}

#[tokio::test]
async fn what_cannot_be_parsed_repeats_nothing() {
    for body in ["", "segredo", r#"{"registros":"segredo"}"#, r#"{"total":"1","registros":[{"senha":"segredo""#] {
        let error = error_of(Reply::ok(body)).await;
        assert!(matches!(error, IxcError::Unparsable { .. }), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_body_is_bounded_with_and_without_its_length() {
    let ask = async |reply: Reply| {
        let server = Server::always(reply).await;
        let client = server.client_with(|config| config.body_bytes_max = 10_000);
        client.titles_by_id(&[InvoiceId("1".to_owned())]).await.expect_err("an error")
    };
    let body = vec![b' '; 10_001];
    assert!(matches!(ask(Reply::Http(200, "", body.clone())).await, IxcError::BodyTooLarge { bytes_max: 10_000 }));
    let mut raw = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    raw.extend_from_slice(&body);
    assert!(matches!(ask(Reply::Raw(raw)).await, IxcError::BodyTooLarge { bytes_max: 10_000 }));
}

#[tokio::test]
async fn a_broken_connection_is_interrupted_and_not_retried() {
    for raw in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"total\"", b"garbage\r\n\r\n"] {
        let error = error_of(Reply::Raw(raw.to_vec())).await;
        assert!(matches!(error, IxcError::Interrupted(_)) && error.class() == ErrorClass::Retryable, "{error:?}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_time_out() {
    let server = Server::always(Reply::Hang).await;
    let client = server.client_with(|config| config.request_timeout = Duration::from_millis(200));
    let error = client.probe().await.expect_err("an error");
    assert!(matches!(error, IxcError::TimedOut(_)) && error.class() == ErrorClass::Retryable, "{error:?}");
    check_tells_nothing(&error);
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let server = Server::always(Reply::Hang).await;
    let client = server.client();
    let address = server.address;
    drop(server);
    // The port is free again once nobody can connect to it.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "the server doesn't end");
        tokio::task::yield_now().await;
    }
    let error = client.probe().await.expect_err("an error");
    assert!(matches!(error, IxcError::Unreachable(_)) && error.class() == ErrorClass::Retryable, "{error:?}");
    check_tells_nothing(&error);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    let server = Server::always(Reply::Hang).await;
    let client = server.client_with(|config| config.base_url = "http://erp.invalid".to_owned());
    let error = client.probe().await.expect_err("an error");
    assert!(matches!(error, IxcError::Unreachable(_)), "{error:?}");
    check_tells_nothing(&error);
}
