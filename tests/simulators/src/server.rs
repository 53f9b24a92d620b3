//! The HTTP/1.1 server under both simulators: own accept loop, faults at every step, admin routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{Abort, Body};
use crate::connection::{Connection, ConnectionState};
use crate::exchange::{Answer, Payload, Request, admin_json};
use crate::faults::{Fault, Faults, Strike};
use crate::mix::Clock;
use crate::spill::LogBytes;
use crate::tally::Tally;

/// Where the simulators' own routes begin; faults never strike there.
pub(crate) const ADMIN: &str = "/_admin/";

/// The largest request body read: a bound on memory, far above what the products take.
const BODY_MAX: usize = 1024 * 1024;

/// How long an answer under way may take when the server stops.
const DRAIN_MAX: Duration = Duration::from_millis(500);

/// The pause after a failed accept (out of descriptors), so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One product's behaviour.
pub(crate) trait App: Send + Sync + 'static {
    /// Whether the answer takes long enough to leave the asynchronous threads.
    fn laborious(&self, request: &Request) -> bool;
    /// Answers a request of the product.
    fn answer(&self, request: &Request) -> Answer;
    /// Answers an admin route that only this product has; `None` if there is none.
    fn admin(&self, request: &Request) -> Option<Answer>;
    /// The body of `GET /_admin/stats`.
    fn stats(&self) -> Value;
    /// The body of `GET /_admin/log`.
    fn log(&self) -> io::Result<LogBytes>;
    fn faults(&self) -> &Arc<Faults>;
    fn tally(&self) -> &Tally;
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Binds and serves. `idle_close` ends keep-alive connections that idle so long; `clock` says when requests came.
    pub async fn start<A: App>(listen: SocketAddr, app: Arc<A>, idle_close: Option<Duration>, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept(listener, app, idle_close, clock, stop.clone()));
        Ok(Self { address, stop, accepting })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, lets answers under way end within half a second, closes.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the accept loop failed");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept<A: App>(listener: TcpListener, app: Arc<A>, idle_close: Option<Duration>, clock: Clock, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(&app), idle_close, clock, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn converse<A: App>(stream: TcpStream, app: Arc<A>, idle_close: Option<Duration>, clock: Clock, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection ended before it began");
        return;
    }
    let state = Arc::new(ConnectionState::new());
    let io = Connection::new(stream, Arc::clone(&state), Arc::clone(app.faults()), idle_close);
    let service = service_fn(move |request| serve(Arc::clone(&app), Arc::clone(&state), clock, request));
    let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match timeout(DRAIN_MAX, connection).await {
                Ok(ended) => ended,
                Err(_elapsed) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "the connection ended early");
    }
}

async fn serve<A: App>(
    app: Arc<A>,
    connection: Arc<ConnectionState>,
    clock: Clock,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Abort> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(Abort::Unread)?.to_bytes();
    let mut request = Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body,
        received_at_us: clock.now_us(),
        replaced_by: None,
    };
    if request.path.starts_with(ADMIN) {
        return Ok(respond(administer(&*app, &request), connection));
    }
    let verdict = app.faults().on_request(&request.path);
    pause(verdict.delay_before).await;
    if let Some(strike) = verdict.before {
        return struck(&*app, strike, None, connection);
    }
    request.replaced_by = verdict.after.as_ref().map(|(_, name)| *name);
    let answer = if app.laborious(&request) {
        let app = Arc::clone(&app);
        tokio::task::spawn_blocking(move || app.answer(&request)).await.map_err(Abort::Panicked)?
    } else {
        app.answer(&request)
    };
    pause(verdict.delay_after).await;
    if let Some((strike, _)) = verdict.after {
        return struck(&*app, strike, Some(answer), connection);
    }
    app.tally().answered(answer.status);
    Ok(respond(answer, connection))
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

fn respond(answer: Answer, connection: Arc<ConnectionState>) -> Response<Body> {
    let mut response = Response::new(Body::new(answer.payload, connection));
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.headers);
    response
}

/// Lets a fault have its way with `answer`; without one, the request had no effect and must not look as if it had.
fn struck<A: App>(
    app: &A,
    strike: Strike,
    answer: Option<Answer>,
    connection: Arc<ConnectionState>,
) -> Result<Response<Body>, Abort> {
    let answer = match strike {
        Strike::Reset => {
            connection.reset();
            return Err(Abort::Fault);
        }
        Strike::Close => return Err(Abort::Fault),
        Strike::Status { code, body, retry_after } => status_answer(code, body, retry_after),
        Strike::Html => {
            Answer::html(StatusCode::OK, "<html><body><div class=\"erro\">Ocorreu um erro ao processar.</div></body></html>")
        }
        Strike::Malformed => {
            let mut answer = answer.unwrap_or_else(no_effect);
            let whole = whole(&answer);
            answer.payload = Payload::Whole(whole.slice(..whole.len() / 2));
            answer.status = StatusCode::OK;
            answer
        }
        Strike::Truncated => {
            let mut answer = answer.unwrap_or_else(no_effect);
            answer.status = StatusCode::OK;
            app.tally().answered(answer.status);
            let whole = whole(&answer);
            return Ok(respond_with(answer, whole.len(), Body::truncated(&whole, connection)));
        }
        Strike::Slow => {
            let answer = answer.unwrap_or_else(no_effect);
            app.tally().answered(answer.status);
            let whole = whole(&answer);
            return Ok(respond_with(answer, whole.len(), Body::slow(whole, connection)));
        }
    };
    app.tally().answered(answer.status);
    Ok(respond(answer, connection))
}

fn respond_with(answer: Answer, length: usize, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.headers);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn whole(answer: &Answer) -> Bytes {
    match &answer.payload {
        Payload::Whole(bytes) => bytes.clone(),
        Payload::Log(_) => Bytes::new(), // only admin answers stream the log, and no fault strikes them
    }
}

/// What a fault distorts when the request was never acted on: an error, whatever is left of it.
fn no_effect() -> Answer {
    let message = "Internal server error: the request had no effect.";
    let body = json!({ "status": "error", "code": 500, "description": message, "data": { "message": message } });
    Answer::json(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

fn status_answer(code: u16, body: Option<Value>, retry_after: Option<String>) -> Answer {
    let status = StatusCode::from_u16(code).expect("arming checked the range");
    let answer = match body {
        None => Answer::new(status, "text/plain; charset=utf-8", Bytes::new()),
        Some(Value::String(text)) if text.starts_with('<') => Answer::html(status, text),
        Some(Value::String(text)) => Answer::new(status, "application/json; charset=utf-8", text),
        Some(value) => Answer::json(status, &value),
    };
    match retry_after {
        None => answer,
        Some(text) => answer.with_header(RETRY_AFTER, HeaderValue::from_str(&text).expect("arming checked the text")),
    }
}

fn administer<A: App>(app: &A, request: &Request) -> Answer {
    match (&request.method, request.path.as_str()) {
        (&Method::POST, "/_admin/faults") => {
            let faults = match admin_json(request) {
                Ok(value) => Fault::list_from_json(value),
                Err(answer) => return answer,
            };
            match faults.and_then(|faults| app.faults().arm(faults)) {
                Ok(()) => Answer::ok(&json!({ "armed": app.faults().armed() })),
                Err(error) => Answer::refused(error),
            }
        }
        (&Method::GET, "/_admin/faults") => {
            Answer::ok(&json!({ "armed": app.faults().armed(), "struck": app.faults().struck() }))
        }
        (&Method::DELETE, "/_admin/faults") => {
            app.faults().clear();
            Answer::ok(&json!({ "armed": [] }))
        }
        (&Method::GET, "/_admin/stats") => Answer::ok(&app.stats()),
        (&Method::GET, "/_admin/log") => match app.log() {
            Ok(bytes) => Answer::log(bytes),
            Err(error) => Answer::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        },
        _ => app.admin(request).unwrap_or_else(|| {
            let why = format!("no admin route {} {}", request.method, request.path);
            Answer::json(StatusCode::NOT_FOUND, &json!({ "error": why }))
        }),
    }
}
