//! A call's body as JSON, bounded in length, in time, and by the parser in depth.

use crate::answer::Refusal;
use crate::config::{BODY_BYTES_MAX, BODY_TIME_MAX};
use axum::body::{Body, HttpBody as _};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

/// Reads a body.
///
/// # Errors
/// Why it can't be read.
pub async fn read(body: Body) -> Result<Value, Refusal> {
    // An announced length is believed before a byte is read.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::TooLarge);
    }
    let collected = tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge),
        Ok(Err(_)) => return Err(Refusal::Broken),
        Err(_) => return Err(Refusal::TooSlow),
    };
    serde_json::from_slice(&bytes).map_err(|_| Refusal::NotJson)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BODY_TIME_MAX;
    use bytes::Bytes;
    use futures::{StreamExt as _, stream};
    use std::convert::Infallible;
    use std::io;
    use std::time::Duration;
    use tokio::time::Instant;

    fn pieces(piece: &'static str, pause: Duration) -> Body {
        let next = move |()| async move {
            tokio::time::sleep(pause).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes())), ()))
        };
        Body::from_stream(stream::unfold((), next))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_an_end_is_refused_at_its_bound_or_when_its_time_is_over() {
        assert_eq!(read(pieces("[[[[[[[[[[[[[[[[", Duration::ZERO)).await, Err(Refusal::TooLarge));
        let began = Instant::now();
        assert_eq!(read(pieces(" ", Duration::from_secs(1))).await, Err(Refusal::TooSlow));
        assert_eq!(began.elapsed(), BODY_TIME_MAX);
    }

    #[tokio::test]
    async fn a_body_is_json_of_a_bounded_length_and_depth() {
        assert_eq!(read(Body::from("{\"a\":1}")).await, Ok(serde_json::json!({ "a": 1 })));
        assert_eq!(read(Body::from(" ".repeat(BODY_BYTES_MAX) + "1")).await, Err(Refusal::TooLarge));
        assert_eq!(read(Body::from(" ".repeat(BODY_BYTES_MAX - 1) + "1")).await, Ok(Value::from(1)));
        for text in ["", "a=1", "{", "\u{ff}", &"[".repeat(1000)] {
            assert_eq!(read(Body::from(text.to_owned())).await, Err(Refusal::NotJson), "{text}");
        }
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(io::Error::from(io::ErrorKind::UnexpectedEof))]);
        assert_eq!(read(Body::from_stream(broken.boxed())).await, Err(Refusal::Broken));
    }
}
