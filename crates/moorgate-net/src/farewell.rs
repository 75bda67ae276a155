//! The last answer on a connection, so that whoever is there can read it.
//!
//! Closing on unread bytes is an RST, and that overtakes and destroys what was sent before: so what still comes is read
//! and thrown away for a moment, [`REFUSAL_BYTES`] at most. Whoever sends more gets no further: it reads the answer
//! meanwhile, or is left when [`REFUSAL_LINGER`] is over.

use std::io;

use moorgate_contract::limits::{REFUSAL_BYTES, REFUSAL_LINGER};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{buffer::discard_some, runtime::timeout};

/// Bytes thrown away at once.
const SINK: usize = 64 * 1024;

/// Sends `answer` and our end, and resolves when the other side has ended too, or has had its time. What remains is to drop
/// the stream. Somebody who does not take the answer is beyond help: no error says so.
pub async fn answer_and_close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) {
    let _ = timeout(REFUSAL_LINGER, async {
        stream.write_all(answer).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut left = REFUSAL_BYTES;
        while left > 0 {
            match discard_some(stream, SINK).await? {
                0 => return Ok(()),
                read => left = left.saturating_sub(read),
            }
        }
        std::future::pending::<io::Result<()>>().await
    })
    .await;
}
