//! The HTTP server of every process: `/livez`, `/readyz`, `/metrics`, and whatever routes a binary adds.
//!
//! Whoever connects can hold up nobody else for long: connections are bounded in number, and each in the time that its next request's head
//! takes. How long a body may take is its route's affair.

use crate::health::Health;
use crate::metrics::{CONTENT_TYPE, Metrics};
use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests that are being answered may go on when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Connections at once; the next ones wait in the system's backlog.
pub const CONNECTIONS_MAX: usize = 256;
/// How long a connection may take until the head of its next request is there; also how long one may idle.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// The pause after a failed accept (out of descriptors), so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The address can't be served.
#[derive(Debug, thiserror::Error)]
#[error("can't serve HTTP on {addr} (REGUA_HTTP_ADDR)")]
pub struct HttpError {
    /// What was asked for.
    addr: SocketAddr,
    /// Why not.
    source: io::Error,
}

/// A running server; it stays up while the process drains, so that its end can be watched.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct HttpServer {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Serves on `addr` (port 0 = any free one) until stopped or dropped. The routes of `extra` must not repeat the three.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn start(addr: SocketAddr, health: &Health, metrics: &Metrics, extra: Router) -> Result<Self, HttpError> {
        let failed = |source| HttpError { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let routes = routes(health.clone(), metrics.clone()).merge(extra);
        let task = tokio::spawn(serve(listener, routes, stop.clone()));
        tracing::info!(addr = %bound, "serving /livez /readyz /metrics");
        Ok(Self { addr: bound, stop, task })
    }

    /// Where it really listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops it: requests that are being answered get at most two seconds more.
    pub async fn stop(mut self) {
        self.stop.cancel();
        match tokio::time::timeout(DRAIN_MAX, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the HTTP server failed"),
            Err(_) => tracing::debug!("requests were cut off as the HTTP server stopped"),
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                connections.spawn(converse(stream, place, routes.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn converse(stream: TcpStream, place: OwnedSemaphorePermit, routes: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(place);
}

fn routes(health: Health, metrics: Metrics) -> Router {
    let ready = health.clone();
    let livez = move || async move {
        let report = health.liveness();
        answer(report.live, report)
    };
    let readyz = move || async move {
        let report = ready.readiness();
        answer(report.ready, report)
    };
    let scrape = move || async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render().await) };
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).route("/metrics", get(scrape))
}

fn answer(good: bool, report: impl Serialize) -> impl IntoResponse {
    (if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(report))
}
