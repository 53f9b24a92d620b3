//! The client: one HTTP connection pool to one Opa! Suite.

use crate::timely::{Timely, TooLate};
use crate::{
    base_url::BaseUrl,
    classify::{Body, Classified, Cut, HttpAnswer, classify},
    outcome::{NotSentReason, Outcome},
    template_send::SendTemplate,
};
use http::{HeaderMap, HeaderValue, Method, header};
use regua_domain::message::DoubtReason;
use secrecy::{ExposeSecret, SecretString};
use std::{
    error::Error,
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};
use thiserror::Error;
use url::Url;

/// The default bound of making a connection: name, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The default bound of a whole request, from connecting to the last byte of the answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
pub use regua_outbound::POOL_IDLE_TIMEOUT;
/// The default number of idle connections kept: the in-flight cap of a channel.
pub const POOL_MAX_IDLE_PER_HOST: usize = 32;
/// The longest answer to a send that is read.
pub const SEND_BODY_BYTES_MAX: usize = 256 * 1024;
/// The longest page of a list that is read.
pub const LIST_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How to reach one Opa! Suite.
#[derive(Clone, Debug)]
pub struct OpaClientConfig {
    /// Where its API is.
    pub base_url: BaseUrl,
    /// The token of a user with an API profile.
    pub token: SecretString,
    /// See [`CONNECT_TIMEOUT`]; shorter than `request_timeout`.
    pub connect_timeout: Duration,
    /// See [`REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
    /// See [`POOL_IDLE_TIMEOUT`].
    pub pool_idle_timeout: Duration,
    /// See [`POOL_MAX_IDLE_PER_HOST`].
    pub pool_max_idle_per_host: usize,
    /// See [`SEND_BODY_BYTES_MAX`].
    pub send_body_bytes_max: usize,
    /// See [`LIST_BODY_BYTES_MAX`].
    pub list_body_bytes_max: usize,
    /// Whether a 503 leaves doubt instead of meaning "not taken, wait".
    pub service_unavailable_is_doubt: bool,
}

impl OpaClientConfig {
    /// The defaults of this module's constants; a 503 means "not taken".
    pub const fn new(base_url: BaseUrl, token: SecretString) -> Self {
        Self {
            base_url,
            token,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            pool_idle_timeout: POOL_IDLE_TIMEOUT,
            pool_max_idle_per_host: POOL_MAX_IDLE_PER_HOST,
            send_body_bytes_max: SEND_BODY_BYTES_MAX,
            list_body_bytes_max: LIST_BODY_BYTES_MAX,
            service_unavailable_is_doubt: false,
        }
    }
}

/// Why a client can't be made. Nothing here is the provider's doing.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The token is empty.
    #[error("the integration's token is empty; set the variable or file that token_env or token_file names")]
    TokenEmpty,
    /// The token holds what an HTTP header can't carry.
    #[error("the integration's token holds a character that an HTTP header can't carry; copy it again, on one line")]
    TokenUnusable,
    /// The connect time-out would never be the one that strikes, so a connection that isn't made would be taken for doubt.
    #[error(
        "the connect time-out of {} ms is not shorter than the request time-out of {} ms; make it shorter",
        connect.as_millis(),
        request.as_millis()
    )]
    TimeoutsCross {
        /// The connect time-out.
        connect: Duration,
        /// The request time-out.
        request: Duration,
    },
    /// The process has not chosen its TLS provider.
    #[error("no TLS provider is installed; the program must install rustls' ring provider at start")]
    NoTlsProvider,
    /// The HTTP library refuses; with https usually because the system has no CA certificates.
    #[error("the HTTP client can't be made; for https the system needs CA certificates (Debian: ca-certificates)")]
    Http(#[source] reqwest::Error),
}

/// What one try to send came to, with what its record needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What follows.
    pub outcome: Outcome,
    /// The HTTP status, if the head of an answer was read.
    pub status: Option<u16>,
    /// The WhatsApp code that the answer names, known or not.
    pub provider_code: Option<u32>,
    /// From the call to the last byte of the answer, or to the failure; measured on this host.
    pub latency: Duration,
}

/// The client of one Opa! Suite. A clone shares the connections.
#[derive(Clone)]
pub struct OpaClient(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base_url: BaseUrl,
    template_send: Url,
    send_body_bytes_max: usize,
    list_body_bytes_max: usize,
    service_unavailable_is_doubt: bool,
}

impl fmt::Debug for OpaClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpaClient").field("base_url", &self.0.base_url.as_str()).finish_non_exhaustive()
    }
}

impl OpaClient {
    /// A client that connects when it first has something to send.
    ///
    /// # Errors
    /// A fault of the configuration or of this machine, see [`BuildError`].
    pub fn new(config: OpaClientConfig) -> Result<Self, BuildError> {
        if config.connect_timeout >= config.request_timeout {
            return Err(BuildError::TimeoutsCross { connect: config.connect_timeout, request: config.request_timeout });
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BuildError::NoTlsProvider);
        }
        let http = http_client(&config)?;
        Ok(Self(Arc::new(Inner {
            http,
            template_send: config.base_url.resource(&["template", "send"]),
            base_url: config.base_url,
            send_body_bytes_max: config.send_body_bytes_max,
            list_body_bytes_max: config.list_body_bytes_max,
            service_unavailable_is_doubt: config.service_unavailable_is_doubt,
        })))
    }

    /// Sends one template to one contact: at most one request, whatever happens.
    ///
    /// What the provider or the network did is an [`Outcome`], never an error. Dropping the future leaves doubt: the request may be on
    /// the wire.
    pub async fn send_template(&self, request: &SendTemplate) -> Answer {
        let started = Instant::now();
        let body = request.to_json().into();
        let exchanged = self.exchange(Method::POST, self.0.template_send.clone(), body, self.0.send_body_bytes_max).await;
        self.answer(exchanged, started.elapsed())
    }

    /// As [`OpaClient::send_template`], if it is still in time when the request is about to be written, once it has a connection.
    ///
    /// # Errors
    /// It wasn't: nothing was written.
    pub async fn send_template_in_time(
        &self,
        request: &SendTemplate,
        is_in_time: impl Fn() -> bool + Send + Sync + Unpin + 'static,
    ) -> Result<Answer, TooLate> {
        let started = Instant::now();
        let body = reqwest::Body::wrap(Timely::new(request.to_json(), is_in_time));
        let exchanged = self.exchange(Method::POST, self.0.template_send.clone(), body, self.0.send_body_bytes_max).await;
        let is_too_late = |error: &reqwest::Error| chain(error).any(<dyn Error>::is::<TooLate>);
        match exchanged {
            Err(error) if is_too_late(&error) => Err(TooLate),
            exchanged => Ok(self.answer(exchanged, started.elapsed())),
        }
    }

    fn answer(&self, exchanged: Result<HttpAnswer, reqwest::Error>, latency: Duration) -> Answer {
        match exchanged {
            Ok(answer) => {
                let Classified { outcome, provider_code } = classify(&answer, self.0.service_unavailable_is_doubt);
                Answer { outcome, status: Some(answer.status), provider_code, latency }
            }
            Err(error) => Answer { outcome: without_answer(&error), status: None, provider_code: None, latency },
        }
    }

    pub(crate) fn base_url(&self) -> &BaseUrl {
        &self.0.base_url
    }

    /// One GET with a JSON body, which is how Opa! Suite lists (contracts §1.1).
    pub(crate) async fn get(&self, url: Url, body: Vec<u8>) -> Result<HttpAnswer, reqwest::Error> {
        self.exchange(Method::GET, url, body.into(), self.0.list_body_bytes_max).await
    }

    pub(crate) fn list_body_bytes_max(&self) -> usize {
        self.0.list_body_bytes_max
    }

    async fn exchange(
        &self,
        method: Method,
        url: Url,
        body: reqwest::Body,
        body_bytes_max: usize,
    ) -> Result<HttpAnswer, reqwest::Error> {
        let mut response = self.0.http.request(method, url).body(body).send().await?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let body = read_body(&mut response, body_bytes_max).await;
        Ok(HttpAnswer { status, headers, body })
    }
}

fn http_client(config: &OpaClientConfig) -> Result<reqwest::Client, BuildError> {
    let token = config.token.expose_secret().trim();
    if token.is_empty() {
        return Err(BuildError::TokenEmpty);
    }
    let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| BuildError::TokenUnusable)?;
    authorization.set_sensitive(true);
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, authorization),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ACCEPT, HeaderValue::from_static("application/json")),
    ]);
    let mut builder = regua_outbound::builder(config.base_url.allow_private)
        .default_headers(headers)
        .user_agent(concat!("regua/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .tcp_nodelay(true)
        .connect_timeout(config.connect_timeout)
        .timeout(config.request_timeout)
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_max_idle_per_host);
    if !config.base_url.is_encrypted() {
        // Without TLS no certificate is needed, and a machine without any can still use a simulator.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(BuildError::Http)
}

/// Reads at most `bytes_max`; the request's time-out holds here too.
async fn read_body(response: &mut reqwest::Response, bytes_max: usize) -> Body {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > bytes_max => return Body::Cut(Cut::TooLarge),
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Body::Whole(bytes),
            Err(error) if error.is_timeout() => return Body::Cut(Cut::TimedOut),
            Err(_) => return Body::Cut(Cut::Lost),
        }
    }
}

/// What a request without an answer means: doubt, unless the libraries prove that nothing of it was written.
fn without_answer(error: &reqwest::Error) -> Outcome {
    match not_sent_reason(error) {
        Some(why) => Outcome::NotSent { why },
        None if error.is_timeout() => Outcome::Doubt { why: DoubtReason::TimedOut },
        None if is_hyper(error, hyper::Error::is_parse) => Outcome::Doubt { why: DoubtReason::UnreadableAnswer },
        None => Outcome::Doubt { why: DoubtReason::ConnectionLost },
    }
}

/// The proof that nothing of a request was written, if there is one.
///
/// reqwest calls an error a connect error only where it comes from the connector, which hands a connection over before the request is
/// begun. hyper calls a request canceled only where it gives the request back unbegun; on a connection used before, it then takes
/// another one by itself, which is no second try. Any other failure may have come after the first byte.
fn not_sent_reason(error: &reqwest::Error) -> Option<NotSentReason> {
    if error.is_connect() {
        return Some(if regua_outbound::leads_inside(error) {
            NotSentReason::PrivateAddress
        } else if error.is_dns() {
            NotSentReason::Dns
        } else if error.is_timeout() {
            NotSentReason::ConnectTimedOut
        } else if chain(error).any(<dyn Error>::is::<rustls::Error>) {
            NotSentReason::Tls
        } else {
            NotSentReason::Connect
        });
    }
    is_hyper(error, hyper::Error::is_canceled).then_some(NotSentReason::ClosedBeforeWriting)
}

fn is_hyper(error: &(dyn Error + 'static), kind: impl Fn(&hyper::Error) -> bool) -> bool {
    chain(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(&kind))
}

/// The error and its causes. An I/O error's own `source` passes over the error it wraps, so that one is visited by hand.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let cause = |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;
    use hyper_util::rt::TokioIo;

    #[tokio::test]
    async fn a_public_name_that_leads_into_the_own_network_is_never_connected_to() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it can be asked");
        let port = listener.local_addr().expect("its port").port();
        // As a name would be read that was public when it was.
        let url = format!("https://localhost:{port}/api/v1").parse().expect("an address");
        let base_url = BaseUrl { url, allow_private: false };
        let client = OpaClient::new(OpaClientConfig::new(base_url, "token".to_owned().into())).expect("a client");
        let request = SendTemplate {
            phone_e164: "+5511987654321".into(),
            template_id: "t".into(),
            values: regua_domain::filling::Values::ByPosition(Vec::new()),
            channel_id: "c".into(),
            metadata: serde_json::Value::Null,
            header_media: None,
            allow_in_service: false,
        };
        let outcome = client.send_template(&request).await.outcome;
        assert_eq!(outcome, Outcome::NotSent { why: NotSentReason::PrivateAddress });
        assert!(listener.accept().is_err(), "nobody came");
    }

    #[tokio::test]
    async fn a_request_that_hyper_gives_back_unbegun_was_not_sent() {
        let (ours, theirs) = tokio::io::duplex(1024);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<&[u8]>>(TokioIo::new(ours)).await.expect("no I/O is made");
        drop((connection, theirs));
        let error = sender.send_request(http::Request::new(Empty::new())).await.expect_err("the connection is gone");
        assert!(is_hyper(&io::Error::other(error), hyper::Error::is_canceled));
    }
}
