//! The agent's legs: the connection to the gateway, bare or TLS, and one that listens for refusals on it.

use std::{
    io,
    task::{Context, Poll},
};

use moorgate_net::{
    leg::{Cut, Leg, TcpLeg},
    runtime::TcpStream,
};
use moorgate_tls::{TlsLeg, TlsStream};
use moorgate_wire::{
    http1::{ResponseStep, parse_response},
    proxy_status,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{complain, dial::line_of};

/// A connection to the gateway, before it is a leg.
#[derive(Debug)]
pub(crate) enum Link {
    /// Static.
    Tcp(TcpStream),
    /// Shield.
    Tls(TlsStream),
}

impl Link {
    /// Sends all of `bytes`.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Reads at most `most` bytes behind what is in `buf`.
    ///
    /// # Errors
    /// An end is an error too: something was still to come.
    pub(crate) async fn read_more(&mut self, buf: &mut Vec<u8>, most: usize) -> io::Result<()> {
        buf.reserve(most);
        let mut limited = tokio::io::AsyncReadExt::take(
            match self {
                Self::Tcp(stream) => stream as &mut (dyn tokio::io::AsyncRead + Send + Unpin),
                Self::Tls(stream) => stream,
            },
            u64::try_from(most).unwrap_or(u64::MAX),
        );
        match limited.read_buf(buf).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// As a leg of a tunnel.
    pub(crate) fn into_leg(self) -> GatewayLeg {
        match self {
            Self::Tcp(stream) => GatewayLeg::Tcp(TcpLeg::new(stream)),
            Self::Tls(stream) => GatewayLeg::Tls(TlsLeg::new(stream)),
        }
    }
}

/// The leg to the gateway.
#[derive(Debug)]
pub(crate) enum GatewayLeg {
    /// Static.
    Tcp(TcpLeg),
    /// Shield.
    Tls(TlsLeg),
}

impl Leg for GatewayLeg {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        match self {
            Self::Tcp(leg) => leg.poll_read(cx, buf),
            Self::Tls(leg) => leg.poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Cut>> {
        match self {
            Self::Tcp(leg) => leg.poll_write(cx, buf),
            Self::Tls(leg) => leg.poll_write(cx, buf),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        match self {
            Self::Tcp(leg) => leg.poll_flush(cx),
            Self::Tls(leg) => leg.poll_flush(cx),
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        match self {
            Self::Tcp(leg) => leg.poll_finish(cx),
            Self::Tls(leg) => leg.poll_finish(cx),
        }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        match self {
            Self::Tcp(leg) => leg.poll_cut(cx),
            Self::Tls(leg) => leg.poll_cut(cx),
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Tcp(leg) => leg.abort(),
            Self::Tls(leg) => leg.abort(),
        }
    }
}

/// A leg to the gateway on which HTTP is spoken: passes every byte on as it is, and says a refusal of the gateway's on
/// stderr too. It looks only at reads that begin with a whole response head, which is how refusals come.
#[derive(Debug)]
pub(crate) struct HttpLeg {
    inner: GatewayLeg,
    /// What was asked first, for the line on stderr.
    asked: Box<str>,
    /// Inside a tunnel nothing is looked at.
    listening: bool,
    once: bool,
}

impl HttpLeg {
    /// `once`: the connection becomes a tunnel after its first response.
    pub(crate) fn new(inner: GatewayLeg, asked: Box<str>, once: bool) -> Self {
        Self { inner, asked, listening: true, once }
    }

    fn look(&mut self, bytes: &[u8]) {
        self.listening = !self.once;
        if let Some((status, said)) = refusal(bytes) {
            complain(format_args!(
                "the gateway answered {} with {status}: {}",
                self.asked,
                moorgate_wire::visible::visible(&*said)
            ));
        }
    }
}

/// The status and line of a refusal that the gateway itself made: its Proxy-Status carries an error.
fn refusal(bytes: &[u8]) -> Option<(u16, Box<str>)> {
    if !bytes.starts_with(b"HTTP/1.1 4") && !bytes.starts_with(b"HTTP/1.1 5") {
        return None;
    }
    let ResponseStep::Head { consumed, status, headers, .. } = parse_response(bytes) else { return None };
    let ours = |value: &[u8]| value.starts_with(b"moorgate; error=");
    headers.get(proxy_status::NAME).filter(|value| ours(value))?;
    Some((status, line_of(bytes.get(consumed..).unwrap_or_default())))
}

impl Leg for HttpLeg {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        let read = self.inner.poll_read(cx, buf);
        if self.listening
            && let Poll::Ready(Ok(read @ 1..)) = read
        {
            self.look(buf.get(..read).unwrap_or_default());
        }
        read
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Cut>> {
        self.inner.poll_write(cx, buf)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        self.inner.poll_flush(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        self.inner.poll_finish(cx)
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        self.inner.poll_cut(cx)
    }

    fn abort(&mut self) {
        self.inner.abort();
    }
}
