//! A local client's HTTP requests on their way to the gateway: heads are written anew, bodies go by as they are.
//!
//! Nothing is answered here. What can't be read goes on unchanged, and the gateway says what is wrong with it.

use std::task::{Context, Poll, ready};

use moorgate_net::leg::{Cut, Leg, TcpLeg};
use moorgate_wire::{
    basic,
    host::HostPort,
    http1::{BodyDecoder, Framing, HeadStep, RequestHead, Target, parse_request},
};

use super::settings::Gateway;

/// What is read at once, in bytes: it bounds what a connection holds.
const READ: usize = 16 * 1024;
/// The port that a Host field leaves out.
const HTTP_PORT: u16 = 80;

/// How heads are written.
#[derive(Debug)]
pub(crate) enum Rewrite {
    /// As they came, with the credential, for an HTTP proxy. Holds the field's value.
    ForProxy(Credential),
    /// For the origin itself, through a tunnel to it: origin form, one request a connection.
    ForOrigin(HostPort),
}

/// A Proxy-Authorization field's value. Not shown.
pub(crate) struct Credential(String);

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Rewrite {
    /// For the gateway itself.
    pub(crate) fn for_proxy(gateway: &Gateway) -> Self {
        Self::ForProxy(Credential(basic::encode(&gateway.username, gateway.password.as_str())))
    }

    fn encode(&self, mut head: RequestHead) -> Vec<u8> {
        match self {
            Self::ForProxy(Credential(value)) => head.headers.set("proxy-authorization", value),
            Self::ForOrigin(origin) => for_origin(&mut head, origin),
        }
        head.encode()
    }
}

fn for_origin(head: &mut RequestHead, origin: &HostPort) {
    head.strip_hop_by_hop();
    let host = origin.to_string();
    let host = if origin.port == HTTP_PORT { host.strip_suffix(":80").unwrap_or(&host) } else { &host };
    head.headers.set("host", host);
    if head.framing == Framing::Chunked {
        head.headers.push("transfer-encoding", "chunked");
    }
    if head.expect_continue {
        head.headers.push("expect", "100-continue");
    }
    // The next request may be for another origin, and so for another tunnel.
    head.headers.push("connection", "close");
    if let Target::Absolute { path, .. } = &head.target {
        head.target = if &**path == "*" { Target::Asterisk } else { Target::Origin(path.clone()) };
    }
}

#[derive(Debug)]
enum State {
    Head,
    Body(BodyDecoder),
    /// Everything goes by as it is.
    Raw,
    /// The one request is over; what else comes is thrown away, as RFC 9112 §9.6 has it after `close`.
    Over,
}

/// The leg of a local client that speaks HTTP.
#[derive(Debug)]
pub(crate) struct RequestLeg {
    inner: TcpLeg,
    rewrite: Rewrite,
    state: State,
    /// As read.
    raw: Vec<u8>,
    /// As it is to be forwarded.
    ready: Vec<u8>,
}

impl RequestLeg {
    /// `early` was read already; it begins with the first head.
    pub(crate) fn new(inner: TcpLeg, rewrite: Rewrite, early: Vec<u8>) -> Self {
        Self { inner, rewrite, state: State::Head, raw: early, ready: Vec::new() }
    }

    /// Turns some of `raw` into `ready`. False: it takes more bytes first.
    fn advance(&mut self) -> bool {
        match &mut self.state {
            State::Head => match parse_request(&self.raw) {
                HeadStep::NeedMore => return false,
                HeadStep::Head { consumed, head } => {
                    self.raw.drain(..consumed);
                    // Until its answer is known nobody can tell a tunnel from further requests: a tunnel it is.
                    self.state =
                        if head.method.is_connect() { State::Raw } else { State::Body(BodyDecoder::new(head.framing)) };
                    self.ready = self.rewrite.encode(head);
                }
                HeadStep::Malformed(_) | HeadStep::TooLong => self.state = State::Raw,
            },
            State::Body(body) if body.is_done() => {
                self.state = match self.rewrite {
                    Rewrite::ForProxy(_) => State::Head,
                    Rewrite::ForOrigin(_) => State::Over,
                };
            }
            State::Body(body) => match body.decode(&self.raw) {
                Ok(decoded) => self.ready.extend(self.raw.drain(..decoded.consumed)),
                Err(_) => self.state = State::Raw,
            },
            State::Raw => self.ready = std::mem::take(&mut self.raw),
            State::Over => self.raw = Vec::new(),
        }
        true
    }
}

impl Leg for RequestLeg {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        loop {
            if !self.ready.is_empty() {
                let taken = self.ready.len().min(buf.len());
                // What stays behind is a new, most often empty vector: an idle connection holds no buffer.
                let rest = self.ready.split_off(taken);
                if let Some(to) = buf.get_mut(..taken) {
                    to.copy_from_slice(&self.ready);
                }
                self.ready = rest;
                return Poll::Ready(Ok(taken));
            }
            if !self.raw.is_empty() && self.advance() {
                continue;
            }
            if matches!(self.state, State::Raw) {
                return self.inner.poll_read(cx, buf);
            }
            let most = buf.len().min(READ);
            let chunk = buf.get_mut(..most).unwrap_or_default();
            let read = ready!(self.inner.poll_read(cx, chunk))?;
            if read == 0 && self.raw.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if read == 0 {
                // A head without its end: the gateway will say so.
                self.state = State::Raw;
                continue;
            }
            self.raw.extend_from_slice(chunk.get(..read).unwrap_or_default());
        }
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

#[cfg(test)]
mod tests;
