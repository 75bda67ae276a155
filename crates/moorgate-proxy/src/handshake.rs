//! How a TLS handshake with a client came out.

use std::{error::Error, time::Duration};

use moorgate_contract::{
    failure::{Code, Failure},
    flow::OpenFlow,
    outcome::{Ending, Outcome},
};
use moorgate_tls::{TerminateError, TlsStream};
use tokio::time::error::Elapsed;

use crate::refuse::too_slow;

/// A handshake that came to nothing. It is a flow of its own: there will be no other.
pub(crate) enum Ended {
    /// The client never began.
    Left,
    /// The connection broke.
    Broke,
    /// We said no, or could not agree.
    Failed(Failure),
}

/// The stream, or how it ended.
pub(crate) fn opened(
    result: Result<Result<TlsStream, TerminateError>, Elapsed>,
    limit: Duration,
) -> Result<TlsStream, Ended> {
    match result {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(TerminateError::Left)) => Err(Ended::Left),
        Ok(Err(TerminateError::Io(_))) => Err(Ended::Broke),
        Ok(Err(error @ (TerminateError::NotTls { .. } | TerminateError::Handshake(_)))) => {
            Err(Ended::Failed(Failure::new(Code::HandshakeFailed, with_cause(&error))))
        }
        Err(_) => Err(Ended::Failed(too_slow("the TLS handshake", limit))),
    }
}

impl Ended {
    /// Records it.
    pub(crate) fn record(self, flow: OpenFlow) {
        match self {
            Self::Left => flow.forget(),
            Self::Broke => flow.end(Outcome::Cut(Ending::ClientLeft)),
            Self::Failed(failure) => flow.fail(&failure),
        }
    }
}

fn with_cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
