//! A TCP connection that can go wrong between requests, before a byte of the next one is read.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::faults::{ConnectionFault, Faults};

/// A hung connection is let go after this long: longer than any client waits, short enough not to pile up.
const HANG_MAX: Duration = Duration::from_mins(2);

/// Enough of a request to see its first line.
const PEEK_BYTES: usize = 2048;

/// What the connection and the answers on it tell each other.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// No request is being read or answered: whatever comes is the next one.
    between_requests: AtomicBool,
    /// Closing must send RST instead of FIN.
    reset: AtomicBool,
}

impl ConnectionState {
    pub fn new() -> Self {
        Self { between_requests: AtomicBool::new(true), reset: AtomicBool::new(false) }
    }

    /// The answer was handed over: what is read next is the next request.
    pub fn answered(&self) {
        self.between_requests.store(true, Ordering::Release);
    }

    /// Makes the end of this connection a TCP reset.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Release);
    }
}

/// The stream that hyper reads from and writes to.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    state: Arc<ConnectionState>,
    faults: Arc<Faults>,
    idle_close: Option<Duration>,
    idle: Option<Pin<Box<Sleep>>>,
    hanging: Option<Pin<Box<Sleep>>>,
}

/// What to do with a connection on which the next request may have arrived.
enum Next {
    Read,
    EndOfFile,
}

impl Connection {
    pub fn new(stream: TcpStream, state: Arc<ConnectionState>, faults: Arc<Faults>, idle_close: Option<Duration>) -> Self {
        Self { stream, state, faults, idle_close, idle: None, hanging: None }
    }

    fn poll_next_request(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Next>> {
        if let Some(hanging) = &mut self.hanging {
            ready!(hanging.as_mut().poll(context));
            return Poll::Ready(Ok(Next::EndOfFile));
        }
        let mut space = [MaybeUninit::uninit(); PEEK_BYTES];
        let mut seen = ReadBuf::uninit(&mut space);
        let Poll::Ready(peeked) = self.stream.poll_peek(context, &mut seen) else { return self.poll_idle(context) };
        self.idle = None;
        if peeked? == 0 {
            return Poll::Ready(Ok(Next::Read)); // the client closed: let hyper see it
        }
        let path = request_path(seen.filled());
        let spared = path.is_some_and(|path| path.starts_with(crate::server::ADMIN));
        match if spared { None } else { self.faults.on_connection(path) } {
            None => {
                self.state.between_requests.store(false, Ordering::Release);
                Poll::Ready(Ok(Next::Read))
            }
            Some(ConnectionFault::Reset) => {
                self.state.reset();
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Some(ConnectionFault::Hang) => {
                let mut hanging = Box::pin(sleep(HANG_MAX));
                ready!(hanging.as_mut().poll(context)); // registers the waker
                self.hanging = Some(hanging);
                Poll::Pending
            }
        }
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Next>> {
        let Some(after) = self.idle_close else { return Poll::Pending };
        let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(after)));
        ready!(idle.as_mut().poll(context));
        Poll::Ready(Ok(Next::EndOfFile))
    }
}

/// The path of a request whose first bytes these are, without the query.
fn request_path(start: &[u8]) -> Option<&str> {
    let line = start.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    target.split('?').next()
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.hanging.is_some() || this.state.between_requests.load(Ordering::Acquire) {
            match ready!(this.poll_next_request(context))? {
                Next::Read => {}
                Next::EndOfFile => return Poll::Ready(Ok(())),
            }
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.reset.load(Ordering::Acquire) {
            return Poll::Ready(Ok(())); // a FIN before the RST would be an orderly end
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.state.reset.load(Ordering::Acquire)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!(%error, "the connection ends with FIN instead of RST");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::request_path;

    #[test]
    fn the_path_is_read_from_the_first_line() {
        assert_eq!(request_path(b"POST /a/b?c=d HTTP/1.1\r\nHost: x\r\n"), Some("/a/b"));
        assert_eq!(request_path(b"POS"), None);
    }
}
