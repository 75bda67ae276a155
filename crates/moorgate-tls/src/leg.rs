//! A TLS connection as a leg of a tunnel.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use moorgate_net::leg::{Cut, Leg, cut_from, reset_on_drop, tcp_cut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::{BUFFER_LIMIT, TlsStream};

/// A leg over TLS, accepted or originated. Its Fin is close_notify followed by TCP's, and either side's Fin leaves the
/// other direction open (RFC 8446 §6.1). TCP's end without close_notify is [`Cut::Truncated`].
#[derive(Debug)]
pub struct TlsLeg(TlsStream);

impl TlsLeg {
    /// Takes over a stream whose handshake is done.
    pub fn new(mut stream: TlsStream) -> Self {
        // What spoke HTTP before may have held more.
        stream.hold_up_to(BUFFER_LIMIT);
        Self(stream)
    }
}

impl Leg for TlsLeg {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        let mut buf = ReadBuf::new(buf);
        Pin::new(&mut self.0)
            .poll_read(cx, &mut buf)
            .map(|read| read.map(|()| buf.filled().len()).map_err(|error| cut_from(&error)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Cut>> {
        Pin::new(&mut self.0).poll_write(cx, buf).map_err(|error| cut_from(&error))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(|error| cut_from(&error))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map_err(|error| cut_from(&error))
    }

    fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Cut> {
        tcp_cut(self.0.tcp())
    }

    fn announces_cuts(&self) -> bool {
        false
    }

    fn abort(&mut self) {
        // No close_notify either: it would make what follows look complete.
        reset_on_drop(self.0.tcp());
    }
}

#[cfg(test)]
mod tests;
