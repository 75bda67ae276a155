//! What can go wrong between a command and its gateway.

use http::StatusCode;
use moorgate_tls::{OriginateError, SetupError};
use thiserror::Error;

use crate::problem::Problem;

/// Why a call did not succeed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody takes connections there.
    #[error("no gateway answers at {gateway}; start one with: moorgate up")]
    Unreachable {
        /// The base URL.
        gateway: String,
        /// What connecting met.
        source: std::io::Error,
    },
    /// What answers there does not prove to be the gateway.
    #[error("no TLS with the gateway at {gateway}; SSL_CERT_FILE may name the CA that signed its certificate")]
    Tls {
        /// The base URL.
        gateway: String,
        /// What the handshake met.
        source: OriginateError,
    },
    /// Nothing that the system trusts can be read.
    #[error("no TLS toward the gateway")]
    NoTls(#[source] SetupError),
    /// The connection broke before the answer began.
    #[error("the gateway at {gateway} broke the connection; look into its log and try again")]
    Broken {
        /// The base URL.
        gateway: String,
        /// What HTTP met.
        source: hyper::Error,
    },
    /// The answer ended early, or is longer than we read.
    #[error("the answer of the gateway at {gateway} was cut short; try again")]
    CutShort {
        /// The base URL.
        gateway: String,
        /// What reading met.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("the gateway at {gateway} did not answer within {seconds} s; look into its log")]
    TooSlow {
        /// The base URL.
        gateway: String,
        /// The limit.
        seconds: u64,
    },
    /// The answer is not what this version of the API says.
    #[error(
        "what answers at {gateway} is no gateway of this version; compare moorgate --version with the gateway's first line"
    )]
    NotOurs {
        /// The base URL.
        gateway: String,
        /// What reading met.
        source: serde_json::Error,
    },
    /// The gateway said no.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The base URL can't be used.
    #[error("{url:?} is no URL of a gateway's API: write https://HOST:PORT, or http://HOST:PORT on loopback")]
    BadUrl {
        /// As given.
        url: String,
    },
    /// What was answered could not be put where it belongs.
    #[error("what the gateway answered can't be kept")]
    Kept(#[source] std::io::Error),
    /// The token can't stand in a header.
    #[error("the API token is empty or has characters that no token has; check MOORGATE_TOKEN or operator.token")]
    BadToken,
    /// A value can't be written as JSON.
    #[error("the request can't be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// A value can't stand in a request.
    #[error("the request can't be written as HTTP")]
    BadRequest(#[source] http::Error),
}

impl ClientError {
    /// The gateway's no. What is not a problem came from something else than a gateway.
    pub(super) fn refused(status: StatusCode, body: &[u8]) -> Self {
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: status.as_u16(),
            detail: format!("the answer is {status} and says no more; is this a gateway's API?"),
            code: "unknown".into(),
        });
        Self::Refused(Box::new(problem))
    }

    /// Whether nobody listens there at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// The problem's code, when the gateway said no.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}
