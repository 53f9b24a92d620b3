//! The HTTP server of every process: `/livez`, `/readyz`, `/metrics`, and whatever routes a binary adds.

use crate::health::Health;
use crate::metrics::{CONTENT_TYPE, Metrics};
use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long requests that are being answered may go on when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);

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
    task: JoinHandle<io::Result<()>>,
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
        let served = axum::serve(listener, routes(health.clone(), metrics.clone()).merge(extra));
        let task = tokio::spawn(served.with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
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
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the HTTP server failed"),
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
