//! A TLS connection, whichever side of it we are.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use moorgate_keys::Facts;
use moorgate_net::{runtime::TcpStream, socket::Socket};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

type Inner = tokio_rustls::TlsStream<Socket>;

/// An open TLS connection, accepted or originated. A pointer in size: what a handshake leaves behind is on the heap.
///
/// Reading ends with 0 after the peer's close_notify and with [`io::ErrorKind::UnexpectedEof`] when there was none.
/// Shutting down sends close_notify, then the TCP FIN. Both directions end independently (RFC 8446 §6.1), and dropping
/// sends neither.
#[derive(Debug)]
pub struct TlsStream(Box<Inner>);

impl TlsStream {
    pub(crate) fn new(stream: impl Into<Inner>) -> Self {
        Self(Box::new(stream.into()))
    }

    /// The socket below, for its addresses and options.
    pub fn tcp(&self) -> &TcpStream {
        self.0.get_ref().0.tcp()
    }

    /// The protocol agreed by ALPN (RFC 7301); `None` when the client offered none or we have no list.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// The server name the client asked for (RFC 6066 §3), lower-case. `None` without one and on originated connections.
    pub fn server_name(&self) -> Option<&str> {
        match &*self.0 {
            Inner::Server(stream) => stream.get_ref().1.server_name(),
            Inner::Client(_) => None,
        }
    }

    /// The certificate the peer showed, in DER; `None` on accepted connections, as we ask clients for none.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.state().peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// What that certificate says of itself; `None` also where it can't be read.
    pub fn peer_facts(&self) -> Option<Facts> {
        Facts::of_der(self.peer_certificate()?).ok()
    }

    /// Whether this is TLS 1.3; otherwise it is 1.2.
    pub fn is_tls13(&self) -> bool {
        self.state().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether an earlier connection's ticket was taken up.
    pub fn resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Holds up to so many bytes, before encryption, that its peer has not taken.
    pub fn hold_up_to(&mut self, bytes: usize) {
        match &mut *self.0 {
            Inner::Server(stream) => stream.get_mut().1.set_buffer_limit(Some(bytes)),
            Inner::Client(stream) => stream.get_mut().1.set_buffer_limit(Some(bytes)),
        }
    }

    /// Encrypts and holds what there is room for: it goes out with the next flush, or when there is none.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let held = match &mut *self.0 {
                Inner::Server(stream) => stream.get_mut().1.writer().write_vectored(bytes)?,
                Inner::Client(stream) => stream.get_mut().1.writer().write_vectored(bytes)?,
            };
            if held > 0 || bytes.iter().all(|piece| piece.is_empty()) {
                return Poll::Ready(Ok(held));
            }
            ready!(Pin::new(&mut *self.0).poll_flush(cx))?;
        }
    }

    fn state(&self) -> &CommonState {
        self.0.get_ref().1
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
