//! Request bodies on their way in: what they may take together, and for how long.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::budget::{MAX_REQUEST_BYTES, RECEIVING, Room, Taken};
use crate::store::Store;

const MAX_RECEIVING_TIME: Duration = Duration::from_secs(10);
/// Compression flag and length before a gRPC message.
const GRPC_HEADER_BYTES: usize = 5;

/// Why a body did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error(
        "the body did not arrive within {} s; the bodies of all requests together may take {} bytes",
        MAX_RECEIVING_TIME.as_secs(), RECEIVING.small + RECEIVING.large
    )]
    Slow,
    #[error("the body cannot be read: {0}")]
    Broken(#[from] axum::Error),
}

/// How OTLP over HTTP says that a body did not arrive.
pub(crate) type Refuse = fn(&HeaderMap, ReceiveError) -> Response;

/// A whole body, and the room that it takes until it is dropped.
#[derive(Debug)]
struct Received {
    content: Vec<u8>,
    room: Taken,
}

/// Receives the whole body, then has it decoded in its turn: what is decoded never waits for a client.
pub(crate) async fn receive(State((store, refuse)): State<(Store, Refuse)>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let received = timeout(MAX_RECEIVING_TIME, collect(body, store.receiving()));
    match received.await.unwrap_or(Err(ReceiveError::Slow)) {
        Ok(Received { content, room }) => {
            let _turn = store.turn_to_decode().await;
            let response = next.run(Request::from_parts(parts, Body::from(content))).await;
            drop(room);
            response
        }
        Err(error) => {
            let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
            if content_type.starts_with(b"application/grpc") {
                tonic::Status::unavailable(error.to_string()).into_http()
            } else {
                refuse(&parts.headers, error)
            }
        }
    }
}

/// What is longer than a request may be is cut a little above that, and rejected by its reader.
async fn collect(body: Body, receiving: &Room) -> Result<Received, ReceiveError> {
    let mut received = Received { content: Vec::new(), room: Taken::default() };
    let mut chunks = body.into_data_stream();
    while received.content.len() <= MAX_REQUEST_BYTES + GRPC_HEADER_BYTES
        && let Some(chunk) = chunks.next().await
    {
        let chunk = chunk?;
        receiving.take(&mut received.room, received.content.len() + chunk.len(), chunk.len()).await;
        received.content.extend_from_slice(&chunk);
    }
    Ok(received)
}

// === impl ReceiveError ===

impl ReceiveError {
    /// OTLP's exporters try again after 503, not after 400.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Slow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::stream::{iter, pending};

    use super::*;
    use crate::budget::{SMALL_BYTES, Shares};

    fn body(chunks: Vec<usize>) -> Body {
        Body::from_stream(iter(chunks.into_iter().map(|bytes| Ok::<_, axum::Error>(vec![0; bytes]))))
    }

    #[tokio::test]
    async fn bodies_take_room_until_they_are_dropped() {
        let receiving = Room::new(Shares { small: 2 * SMALL_BYTES, large: 100_000 });
        let large = collect(body(vec![SMALL_BYTES, 50_000, 50_000]), &receiving).await.unwrap();
        assert_eq!(large.content.len(), SMALL_BYTES + 100_000);
        assert_eq!(receiving.left(), (SMALL_BYTES, 0), "all of the room for what is large");
        assert!(collect(body(vec![50_000]), &receiving).now_or_never().is_none(), "another large one waits");
        let small = collect(body(vec![SMALL_BYTES]), &receiving).await.unwrap();
        assert_eq!(small.content.len(), SMALL_BYTES, "a small one does not");
        assert!(collect(body(vec![1]), &receiving).now_or_never().is_none(), "but they too have an end");
        drop((large, small));
        assert_eq!(receiving.left(), (2 * SMALL_BYTES, 100_000), "the room is given back");
    }

    #[tokio::test]
    async fn a_body_is_read_no_further_than_it_may_be_long() {
        let receiving = Room::new(RECEIVING);
        let endless = Body::from_stream(iter(std::iter::repeat_with(|| Ok::<_, axum::Error>(vec![0; 1 << 20]))));
        let received = collect(endless, &receiving).await.unwrap();
        assert!(
            (MAX_REQUEST_BYTES + 1..=RECEIVING.large).contains(&received.content.len()),
            "cut, and seen as too long"
        );
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_waited_for_without_room() {
        let receiving = Room::new(RECEIVING);
        let silent = Body::from_stream(pending::<Result<Vec<u8>, axum::Error>>());
        assert!(collect(silent, &receiving).now_or_never().is_none(), "it waits");
        assert_eq!(receiving.left(), (RECEIVING.small, RECEIVING.large), "and holds nothing");
    }
}
