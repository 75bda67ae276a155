//! What HTTP is spoken over toward a target: bare TCP or TLS that we began.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use moorgate_net::socket::Socket;
use moorgate_tls::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to a target.
pub(crate) enum Link {
    /// Plain HTTP.
    Bare(Socket),
    /// HTTP inside TLS.
    Tls(TlsStream),
}

macro_rules! either {
    ($self:ident, $link:ident => $call:expr) => {
        match $self.get_mut() {
            Link::Bare($link) => $call,
            Link::Tls($link) => $call,
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, link => Pin::new(link).poll_read(cx, buf))
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, link => Pin::new(link).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, link => Pin::new(link).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Bare(link) => link.is_write_vectored(),
            Self::Tls(link) => link.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, link => Pin::new(link).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, link => Pin::new(link).poll_shutdown(cx))
    }
}
