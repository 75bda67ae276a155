//! Terminating TLS on a listener of ours: certificate, tickets, handshake.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use moorgate_keys::CertifiedChain;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{BUFFER_LIMIT, PROVIDER, SetupError, TlsStream, VERSIONS};

/// The content type of a handshake record, so the first byte of every TLS connection (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// A record with the fatal alert decode_error (RFC 8446 §5.1, §6.2).
const DECODE_ERROR: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];
/// How long, and for how many bytes, a refused client is read from so that its alert arrives.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 64 * 1024;

/// Why a TLS handshake with a client came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TerminateError {
    /// The client does not speak TLS; it was answered with the alert decode_error.
    #[error(
        "the client does not speak TLS (its first byte is {first:#04x}): give it a TLS proxy URL, or use the listener without TLS"
    )]
    NotTls {
        /// The first byte it sent.
        first: u8,
    },
    /// The client went away before the handshake was done.
    #[error("the client left during the TLS handshake")]
    Left,
    /// Client and gateway could not agree; where the failure is ours to tell, the client was sent the alert for it.
    #[error("TLS handshake with the client failed")]
    Handshake(#[source] rustls::Error),
    /// The connection broke.
    #[error("connection to the client broke during the TLS handshake")]
    Io(#[source] io::Error),
}

/// The certificate that listeners show. Clones share it, and replacing it changes what new connections get.
#[derive(Clone, Debug)]
pub struct CertSource(Arc<ArcSwap<CertifiedKey>>);

impl CertSource {
    /// A source of this certificate. Fails when its key is not its own or is of an unknown kind.
    pub fn new(chain: &CertifiedChain) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(certified(chain)?))))
    }

    /// Shows `chain` from now on; open connections stay as they are. On failure the old certificate stays.
    pub fn replace(&self, chain: &CertifiedChain) -> Result<(), SetupError> {
        self.0.store(Arc::new(certified(chain)?));
        Ok(())
    }
}

fn certified(chain: &CertifiedChain) -> Result<CertifiedKey, SetupError> {
    CertifiedKey::from_der(chain.chain.clone(), chain.key.clone_key(), &PROVIDER).map_err(SetupError::Certificate)
}

impl ResolvesServerCert for CertSource {
    /// One identity whatever name is asked for: a proxy is often reached by address, without a name.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Opens TLS for one listener. Cheap to clone; clones share ticket keys, and no other Terminator takes their tickets.
#[derive(Clone)]
pub struct Terminator(TlsAcceptor);

impl Terminator {
    /// A terminator that shows `source`'s certificate and speaks one of `alpn`, the best first. A client that offers
    /// protocols but none of these is refused (no_application_protocol, RFC 7301 §3.2); an empty list takes any client.
    pub fn new(source: CertSource, alpn: &[&[u8]]) -> Result<Self, SetupError> {
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(VERSIONS)
            .map_err(SetupError::Library)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(source));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = Ticketer::new().map_err(SetupError::Library)?;
        // Resumption is by ticket alone: a cache would be memory that clients fill.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Does the handshake. The caller bounds the time it may take; a refused client is kept at most half a second longer,
    /// so that it reads why.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream, TerminateError> {
        // Looked at first because a SOCKS greeting is shorter than a record's head: rustls would wait for more.
        let mut first = [0];
        let seen = stream.peek(&mut first).await.map_err(TerminateError::Io)?;
        let [first] = first;
        if seen == 0 {
            return Err(TerminateError::Left);
        }
        if first != HANDSHAKE {
            refuse(stream, &DECODE_ERROR).await;
            return Err(TerminateError::NotTls { first });
        }
        let limited = |session: &mut rustls::ServerConnection| session.set_buffer_limit(Some(BUFFER_LIMIT));
        let (error, stream) = match self.0.accept_with(stream, limited).into_fallible().await {
            Ok(stream) => return Ok(TlsStream::new(stream)),
            Err(failed) => failed,
        };
        match error.downcast::<rustls::Error>() {
            Ok(source) => {
                // The alert is in the socket already: tokio-rustls writes it when the handshake fails.
                refuse(stream, &[]).await;
                Err(TerminateError::Handshake(source))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(TerminateError::Left),
            Err(error) => Err(TerminateError::Io(error)),
        }
    }
}

/// Sends `last` and closes so that it arrives: what is left unread at the close would make it an RST, which overtakes
/// and destroys what was sent before. A client that is already gone is no matter.
impl Terminator {
    /// Does the handshake inside another stream: for a TLS server that lives behind a tunnel in this process.
    ///
    /// # Errors
    /// When the handshake fails or the stream breaks.
    pub async fn accept_within<S>(&self, stream: S) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.accept(stream).await
    }
}

async fn refuse(mut stream: TcpStream, last: &[u8]) {
    let _ = timeout(LINGER, async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        let (mut sink, mut left) = ([0; 512], LINGER_BYTES);
        while left > 0 {
            match stream.read(&mut sink).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests;
