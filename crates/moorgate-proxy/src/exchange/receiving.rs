//! The way down, from the target.

use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body as _, Incoming},
    client::conn::{TrySendError, http2::SendRequest},
};
use moorgate_contract::{
    failure::{Code, Failure},
    flow::Meter,
    limits::{HEAD_FIELDS, RESPONSE_HEAD_BYTES},
};
use moorgate_net::{
    buffer::{PIECE, poll_read_piece, poll_read_some, read_some, spare},
    pace::poll_turn,
};
use moorgate_wire::http1::{
    BodyDecoder, Framing, Headers, Method, ResponseFraming, ResponseHead, ResponseStep, may_end_head,
    parse_target_response, response_framing, response_keeps_alive,
};
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};

use super::{framed::take_piece, grpc::Body, link::Link};
use crate::head::fields;

/// One read's worth of a head and what comes with it, and of a body in chunks.
const READ: usize = 16 * 1024;
/// From here on a read goes where its bytes stay.
const LARGE: usize = 8 * 1024;
/// So many bytes tell what is no HTTP.
const BEGINNING: usize = b"HTTP/".len();

/// Why no whole response came.
#[derive(Debug)]
pub(crate) enum Broke {
    /// The connection ended.
    Closed,
    /// What came is not HTTP.
    Malformed(String),
    /// The head is beyond its bounds.
    TooLong,
    /// The connection had ended before it took the request, which is here again.
    Untaken(Body),
}

impl Broke {
    fn malformed(why: impl fmt::Display) -> Self {
        Self::Malformed(why.to_string())
    }

    /// What that says of `target`.
    pub(crate) fn failure(&self, target: &str) -> Failure {
        match self {
            Self::Malformed(why) => Failure::new(
                Code::ResponseMalformed,
                format_args!("{target} answered with something that is not HTTP: {why}"),
            ),
            Self::TooLong => Failure::new(
                Code::ResponseMalformed,
                format_args!(
                    "{target} answered with a head of more than {} KiB or {HEAD_FIELDS} fields",
                    RESPONSE_HEAD_BYTES / 1024
                ),
            ),
            Self::Closed | Self::Untaken(_) => Failure::new(
                Code::ResponseIncomplete,
                format_args!("{target} closed the connection before its response was whole"),
            ),
        }
    }
}

/// A response on its way from its target.
pub(super) enum Receiving {
    /// Read as it comes.
    Http1(Reading),
    /// One stream of a shared connection.
    Http2(Stream),
}

impl Receiving {
    /// The head of the response to a `method`. May be dropped and asked for again.
    pub(super) async fn head(&mut self, method: &Method) -> Result<ResponseHead, Broke> {
        match self {
            Self::Http1(reading) => reading.head(method).await,
            Self::Http2(stream) => stream.head().await,
        }
    }

    /// Whether its connection carries others beside it.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// How long the body is, where the head says so.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Http1(reading) => match reading.framing {
                ResponseFraming::Framed(Framing::None) => Some(0),
                ResponseFraming::Framed(Framing::Length(length)) => Some(length),
                ResponseFraming::Framed(Framing::Chunked) | ResponseFraming::UntilClose => None,
            },
            Self::Http2(stream) => stream.body.as_ref().and_then(|body| body.size_hint().exact()),
        }
    }

    /// Whether nothing more of the body will come.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Http1(reading) => reading.decoder.is_done(),
            Self::Http2(stream) => stream.body.as_ref().is_none_or(hyper::body::Body::is_end_stream),
        }
    }

    /// The next piece of the body, never empty; `None` at its end. May be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broke> {
        match self {
            Self::Http1(reading) => poll_fn(|cx| reading.poll_next(cx)).await,
            Self::Http2(stream) => stream.next().await,
        }
    }

    /// Whether something may have come behind the body.
    pub(super) fn has_trailers(&self) -> bool {
        match self {
            Self::Http1(reading) => reading.framing == ResponseFraming::Framed(Framing::Chunked),
            Self::Http2(stream) => !stream.trailers.is_empty(),
        }
    }

    /// What came behind the body.
    pub(super) fn trailers(&mut self) -> Headers {
        match self {
            Self::Http1(reading) => reading.decoder.take_trailers(),
            Self::Http2(stream) => mem::take(&mut stream.trailers),
        }
    }
}

/// A response over HTTP/1.
pub(crate) struct Reading {
    pub(super) reader: ReadHalf<Link>,
    pub(super) buffer: BytesMut,
    framing: ResponseFraming,
    decoder: BodyDecoder,
    keep_alive: bool,
    ended: bool,
}

impl Reading {
    pub(crate) fn new(reader: ReadHalf<Link>) -> Self {
        let framing = ResponseFraming::UntilClose;
        let decoder = BodyDecoder::new(Framing::None);
        Self { reader, buffer: spare(), framing, decoder, keep_alive: false, ended: false }
    }

    /// Whether the connection carries another request: the response is whole, and nothing came behind it.
    pub(super) fn can_go_on(&self) -> bool {
        self.keep_alive
            && self.framing != ResponseFraming::UntilClose
            && self.decoder.is_done()
            && self.buffer.is_empty()
    }

    /// The head of the response to a `method`. May be dropped and asked for again.
    pub(crate) async fn head(&mut self, method: &Method) -> Result<ResponseHead, Broke> {
        loop {
            let seen = self.buffer.len();
            match read_some(&mut self.reader, READ, &mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Broke::Closed),
                Ok(_) => {}
            }
            if let Some(answer) = self.parse(method, seen)? {
                return Ok(answer);
            }
        }
    }

    /// The head of the final response, if it is here. Those that only announce it are dropped (RFC 9110 §15.2).
    fn parse(&mut self, method: &Method, mut seen: usize) -> Result<Option<ResponseHead>, Broke> {
        loop {
            // What speaks no HTTP is told by its first bytes; after those only an end of the head is news.
            let is_news =
                seen < BEGINNING || self.buffer.len() >= RESPONSE_HEAD_BYTES || may_end_head(&self.buffer, seen);
            if !is_news || self.buffer.is_empty() {
                return Ok(None);
            }
            let (consumed, version, status, headers) = match parse_target_response(&self.buffer, RESPONSE_HEAD_BYTES) {
                ResponseStep::NeedMore => return Ok(None),
                ResponseStep::Malformed(why) => return Err(Broke::malformed(why)),
                ResponseStep::TooLong => return Err(Broke::TooLong),
                ResponseStep::Head { consumed, version, status, headers } => (consumed, version, status, headers),
            };
            self.buffer.advance(consumed);
            seen = 0;
            if matches!(status, 100 | 102..=199) {
                continue;
            }
            self.framing = response_framing(status, method, &headers).map_err(Broke::malformed)?;
            self.decoder = match self.framing {
                ResponseFraming::Framed(framing) => BodyDecoder::new(framing).keeping_trailers(),
                ResponseFraming::UntilClose => BodyDecoder::new(Framing::Length(u64::MAX)),
            };
            self.keep_alive = response_keeps_alive(version, &headers);
            return Ok(Some(ResponseHead { status, headers }));
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broke>> {
        loop {
            if self.decoder.is_done() {
                return Poll::Ready(Ok(None));
            }
            // As much as is there makes one piece: one write, and as few records of TLS as can be.
            let filled = if self.ended { Poll::Ready(None) } else { self.poll_fill(cx)? };
            let waits = match filled {
                Poll::Ready(Some(piece)) => return Poll::Ready(Ok(Some(piece))),
                Poll::Ready(None) => false,
                Poll::Pending => true,
            };
            if self.buffer.is_empty() {
                match (waits, self.framing) {
                    (true, _) => return Poll::Pending,
                    (false, ResponseFraming::UntilClose) => {
                        self.decoder = BodyDecoder::new(Framing::None);
                        return Poll::Ready(Ok(None));
                    }
                    (false, ResponseFraming::Framed(_)) => return Poll::Ready(Err(Broke::Closed)),
                }
            }
            let piece = take_piece(&mut self.decoder, &mut self.buffer).map_err(Broke::malformed)?;
            if piece.is_some() {
                return Poll::Ready(Ok(piece));
            }
        }
    }

    /// Reads what is there, up to a piece, behind what is here. Ready: it read, or no more is wanted. Of a body that is long and
    /// says so comes a whole piece, with what was here.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broke>> {
        let here = self.buffer.len();
        let left = self.decoder.left().map(|left| usize::try_from(left).unwrap_or(usize::MAX));
        // Of chunks, what is here may be all there is.
        let wanted = left.map_or(if here == 0 { READ } else { 0 }, |left| left.min(PIECE)).saturating_sub(here);
        let read = match (left, wanted) {
            (_, 0) => return Poll::Ready(Ok(None)),
            (Some(left), LARGE..) => {
                // With room for a byte more, so that a socket which has given all is known to be empty.
                let most = left.saturating_add(1);
                let mut piece =
                    ready!(poll_read_piece(cx, &mut self.reader, most, &mut self.buffer)).unwrap_or_default();
                if !piece.is_empty() {
                    let behind = piece.split_off(left.min(piece.len()));
                    self.buffer.extend_from_slice(&behind);
                    self.decoder.decode(&piece).map_err(Broke::malformed)?;
                    return Poll::Ready(Ok(Some(piece)));
                }
                0
            }
            _ => ready!(poll_read_some(cx, &mut self.reader, wanted, &mut self.buffer)).unwrap_or_default(),
        };
        self.ended = read == 0;
        Poll::Ready(Ok(None))
    }

    /// Ready when the target has ended a connection that waits for a request, or says something unasked.
    pub(super) fn poll_closed(reader: &mut ReadHalf<Link>, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        Pin::new(reader).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(drop)
    }
}

type Sent = Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<http::Request<Body>>>> + Send>>;

/// A response over HTTP/2.
pub(super) struct Stream {
    pub(super) sender: SendRequest<Body>,
    response: Option<Sent>,
    body: Option<Incoming>,
    trailers: Headers,
    meter: Arc<Meter>,
}

impl Stream {
    /// Hands `request` over.
    pub(super) fn new(mut sender: SendRequest<Body>, request: http::Request<Body>, meter: Arc<Meter>) -> Self {
        let response: Sent = Box::pin(sender.try_send_request(request));
        Self { sender, response: Some(response), body: None, trailers: Headers::new(), meter }
    }

    async fn head(&mut self) -> Result<ResponseHead, Broke> {
        let Some(response) = &mut self.response else { return Err(Broke::Closed) };
        let response = response.await;
        self.response = None;
        let (parts, body) = match response {
            Ok(response) => response.into_parts(),
            Err(mut error) => {
                return Err(match error.take_message() {
                    Some(request) => Broke::Untaken(request.into_body()),
                    None => broke(&error.into_error()),
                });
            }
        };
        // ": " and CR LF.
        let size = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
        if parts.headers.len() > HEAD_FIELDS || size > RESPONSE_HEAD_BYTES {
            return Err(Broke::TooLong);
        }
        self.body = Some(body);
        Ok(ResponseHead { status: parts.status.as_u16(), headers: fields(&parts.headers) })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Broke> {
        let Some(body) = &mut self.body else { return Ok(None) };
        // Its connection is shared, and keeps nobody's pace.
        poll_fn(|cx| poll_turn(&self.meter, cx)).await;
        while let Some(frame) = body.frame().await {
            match frame.map_err(|error| broke(&error))?.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.meter.add_down(data.len() as u64);
                    return Ok(Some(data));
                }
                Err(frame) => self.trailers = frame.into_trailers().map(|map| fields(&map)).unwrap_or_default(),
            }
        }
        Ok(None)
    }
}

fn broke(error: &hyper::Error) -> Broke {
    if error.is_parse() { Broke::malformed(error) } else { Broke::Closed }
}
