//! A second handle on a connection's socket, by which a stuck connection can be cut off.
//!
//! lapin runs each connection on a thread of its own. One whose server accepts and then says nothing stays there for ever, since its
//! heartbeats begin only after the login, and neither a time-out nor dropping the future reaches it. Shutting its socket down does.

use super::link::{LinkError, Step, within};
use lapin::tcp::{AMQPUriTcpExt, TLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, runtime};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::timeout;
use tracing::trace;

/// Cuts the connection when it is dropped; does nothing to one that is closed already.
pub(super) struct Cutter(Arc<Mutex<Option<TcpStream>>>);

impl Drop for Cutter {
    fn drop(&mut self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            trace!(%error, "broker.socket_was_closed");
        }
    }
}

/// Connects and logs in.
pub(super) async fn connect(uri: AMQPUri, properties: ConnectionProperties) -> Result<(Connection, Cutter), LinkError> {
    let cutter = Cutter(Arc::default());
    let slot = Arc::clone(&cutter.0);
    let runtime = runtime::default_runtime().map_err(|error| LinkError::Failed { step: Step::Connect, error })?;
    // Written inside the call, which is what tells the compiler the stream's type.
    let connecting = Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            // Shorter than the whole, so that nothing is dialled after the cutter has gone.
            let dialled = timeout(Step::Dial.bound(), uri.connect_with_config_async(TLSConfig::default(), &runtime)).await;
            let stream = dialled.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            let duplicate = match &stream {
                AsyncTcpStream::Plain(stream) => stream.get_ref().as_fd().try_clone_to_owned()?,
                AsyncTcpStream::Rustls(stream) => stream.get_ref().0.get_ref().as_fd().try_clone_to_owned()?,
                _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(TcpStream::from(duplicate));
            Ok(stream)
        },
        properties,
    );
    let connection = within(Step::Connect, connecting).await?;
    Ok((connection, cutter))
}
