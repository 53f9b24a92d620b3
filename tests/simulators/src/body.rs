//! Bodies as they go out: whole, cut short, one byte a second, or streamed from the log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::connection::ConnectionState;
use crate::exchange::Payload;
use crate::spill::LogBytes;

const SLOW_BYTE_EVERY: Duration = Duration::from_secs(1);

/// Ends a connection without (the rest of) an answer.
#[derive(Debug)]
pub(crate) enum Abort {
    /// A fault asked for it.
    Fault,
    /// The client went away, or sent more than the simulators read.
    Unread(Box<dyn std::error::Error + Send + Sync>),
    /// The product's code panicked.
    Panicked(tokio::task::JoinError),
    /// The log couldn't be read back.
    Log(std::io::Error),
}

impl std::fmt::Display for Abort {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Fault => "a fault ended the connection",
            Self::Unread(_) => "the request could not be read",
            Self::Panicked(_) => "the answer could not be made",
            Self::Log(_) => "the log could not be read",
        })
    }
}

impl std::error::Error for Abort {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fault => None,
            Self::Unread(source) => Some(&**source),
            Self::Panicked(source) => Some(source),
            Self::Log(source) => Some(source),
        }
    }
}

/// A body; when it is done or dropped, its connection waits for the next request.
#[derive(Debug)]
pub(crate) struct Body {
    flow: Flow,
    connection: Arc<ConnectionState>,
}

#[derive(Debug)]
enum Flow {
    Whole(Option<Bytes>),
    Truncated { half: Option<Bytes>, flushed: bool },
    Slow { rest: Bytes, ticks: Interval },
    Log(LogBytes),
}

impl Body {
    pub fn new(payload: Payload, connection: Arc<ConnectionState>) -> Self {
        let flow = match payload {
            Payload::Whole(bytes) => Flow::Whole((!bytes.is_empty()).then_some(bytes)),
            Payload::Log(log) => Flow::Log(log),
        };
        Self { flow, connection }
    }

    /// The first half of `whole`, then the end of the connection.
    pub fn truncated(whole: &Bytes, connection: Arc<ConnectionState>) -> Self {
        let half = whole.slice(..whole.len() / 2);
        Self { flow: Flow::Truncated { half: Some(half), flushed: false }, connection }
    }

    /// `whole`, one byte a second.
    pub fn slow(whole: Bytes, connection: Arc<ConnectionState>) -> Self {
        let mut ticks = interval(SLOW_BYTE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { flow: Flow::Slow { rest: whole, ticks }, connection }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match &mut self.get_mut().flow {
            Flow::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Flow::Truncated { half, flushed } => match half.take() {
                Some(half) => Poll::Ready(Some(Ok(Frame::data(half)))),
                None if *flushed => Poll::Ready(Some(Err(Abort::Fault))),
                None => {
                    // Pending once: hyper flushes the half before it meets the error.
                    *flushed = true;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            },
            Flow::Slow { rest, .. } if rest.is_empty() => Poll::Ready(None),
            Flow::Slow { rest, ticks } => {
                ready!(ticks.poll_tick(context));
                Poll::Ready(Some(Ok(Frame::data(rest.split_to(1)))))
            }
            Flow::Log(log) => match log.next_piece() {
                Ok(piece) => Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes)))),
                Err(error) => Poll::Ready(Some(Err(Abort::Log(error)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.flow, Flow::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.flow {
            Flow::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).expect("lengths fit 64 bits"))
            }
            Flow::Truncated { .. } | Flow::Slow { .. } | Flow::Log(_) => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.connection.answered();
    }
}
