//! A request's body that is asked for its time when it is about to be written.
//!
//! hyper asks for a body while it fills its buffer, before the socket's write: a request whose time is over then leaves no byte on the wire. A
//! process that is paused between its last look at the time and the write can't be fenced at all; this makes that gap as short as it can be.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The time for a request was over when it was about to be written: nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its time was over before it was written")]
pub struct TooLate;

/// The bytes, as long as it isn't too late.
pub(crate) struct Timely<F> {
    bytes: Option<Bytes>,
    is_in_time: F,
}

impl<F> Timely<F> {
    pub(crate) fn new(bytes: Vec<u8>, is_in_time: F) -> Self {
        Self { bytes: Some(bytes.into()), is_in_time }
    }
}

impl<F: Fn() -> bool + Unpin> Body for Timely<F> {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        Poll::Ready(Some(if (self.is_in_time)() { Ok(Frame::data(bytes)) } else { Err(TooLate) }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
