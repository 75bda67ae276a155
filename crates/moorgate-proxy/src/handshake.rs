//! How a TLS handshake with a client came out.

use std::{error::Error, time::Duration};

use moorgate_contract::{
    failure::{Code, Failure},
    flow::OpenFlow,
    outcome::{Ending, Outcome},
};
use moorgate_net::runtime::Elapsed;
use moorgate_tls::{TerminateError, TlsStream};

use crate::refuse::too_slow;

/// The stream, and the flow to go on with. One that came to nothing is recorded: there will be no other flow.
pub(crate) fn opened(
    result: Result<Result<TlsStream, TerminateError>, Elapsed>,
    limit: Duration,
    flow: OpenFlow,
) -> Option<(TlsStream, OpenFlow)> {
    match result {
        Ok(Ok(stream)) => return Some((stream, flow)),
        Ok(Err(TerminateError::Left)) => flow.forget(),
        Ok(Err(TerminateError::Io(_))) => flow.end(Outcome::Cut(Ending::ClientLeft)),
        Ok(Err(error @ (TerminateError::NotTls { .. } | TerminateError::Handshake(_)))) => {
            flow.fail(&Failure::new(Code::HandshakeFailed, with_cause(&error)));
        }
        Err(_) => flow.fail(&too_slow("the TLS handshake", limit)),
    }
    None
}

fn with_cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
