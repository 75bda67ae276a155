//! The stream of flows: one JSON value a line; an empty line only says that the gateway is still there.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::ClientError;
use crate::view::FlowLine;

/// The longest line that is taken, in bytes.
const LINE: usize = 64 << 10;
/// Three times the server's pause between signs of life: past it, nobody is there.
const SILENCE: Duration = Duration::from_secs(45);

/// Flows as they end.
#[derive(Debug)]
pub struct Follow {
    body: Incoming,
    buffer: BytesMut,
    gateway: String,
}

impl Follow {
    pub(super) fn new(body: Incoming, gateway: String) -> Self {
        Self { body, buffer: BytesMut::new(), gateway }
    }

    /// The next line; `None` when the gateway ended the stream.
    ///
    /// # Errors
    /// [`ClientError::CutShort`], [`ClientError::TooSlow`] when not even a sign of life came, [`ClientError::NotOurs`].
    pub async fn next(&mut self) -> Result<Option<FlowLine>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.is_empty() {
                    continue;
                }
                let not_ours = |source| ClientError::NotOurs { gateway: self.gateway.clone(), source };
                return serde_json::from_slice(&line).map(Some).map_err(not_ours);
            }
            if self.buffer.len() > LINE {
                return Err(self.cut_short("a line has no end"));
            }
            let too_slow = |_| ClientError::TooSlow { gateway: self.gateway.clone(), seconds: SILENCE.as_secs() };
            match timeout(SILENCE, self.body.frame()).await.map_err(too_slow)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.cut_short(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn cut_short(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::CutShort { gateway: self.gateway.clone(), source: source.into() }
    }
}
