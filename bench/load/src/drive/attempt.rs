//! What can go wrong with one connection.

use std::io;

use thiserror::Error;

/// Why a connection did not do its work.
#[derive(Debug, Error)]
pub(crate) enum AttemptError {
    /// The proxy does not take it.
    #[error("cannot connect to the proxy")]
    Connect(#[source] io::Error),
    /// TLS to the proxy failed.
    #[error("no TLS with the proxy")]
    Handshake(#[source] io::Error),
    /// It broke while the way was opened.
    #[error("cut while asking the proxy for the way")]
    Opening(#[source] io::Error),
    /// The proxy answered CONNECT with something else.
    #[error("the proxy answered CONNECT with {line:?}")]
    Connected {
        /// Its first line.
        line: String,
    },
    /// The proxy answered in SOCKS5 that it will not.
    #[error("the proxy answered SOCKS5's {step} with {answer:?}")]
    Socks {
        /// greeting, password or request.
        step: &'static str,
        /// Its bytes.
        answer: Vec<u8>,
    },
    /// It broke in the middle of the work.
    #[error("cut during the work")]
    Work(#[source] io::Error),
    /// The bytes that came are not the origin's.
    #[error("{got} bytes came where {wanted} were due")]
    Short {
        /// How many came.
        got: usize,
        /// How many should have.
        wanted: usize,
    },
    /// An upload was answered with something else.
    #[error("the upload was not confirmed by the origin")]
    NotTaken,
    /// An HTTP answer that is not the origin's.
    #[error("the answer to the request begins with {line:?}")]
    Answer {
        /// Its first line.
        line: String,
    },
}
