//! The target's side of an exchange: one HTTP/1.1 connection, kept for the next request to the same target.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use moorgate_contract::{
    account::AccountId,
    failure::{Code, Failure},
    flow::{Meter, OpenFlow},
    limits::HEAD_FIELDS,
};
use moorgate_net::connect::Connected;
use moorgate_wire::{host::HostPort, visible::visible};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::Body;
use crate::gateway::{Decided, Entered, Visit};

/// A connection to a target that may serve another request of the same account to the same target.
pub(crate) struct Kept {
    account: AccountId,
    target: HostPort,
    address: SocketAddr,
    egress: IpAddr,
    sender: http1::SendRequest<Body>,
    meter: Arc<ArcSwap<Meter>>,
}

impl Kept {
    /// The kept connection if it fits this request, is alive, and its address would be admitted again.
    async fn reuse(mut self, visit: &Visit, decided: &Decided, flow: &mut OpenFlow) -> Option<Self> {
        let fits =
            self.account == decided.plan.account.id && Some(&self.target) == decided.plan.asked.canonical().as_ref();
        // An egress address that went, or is no longer the account's, is left here too: nothing would come back to it.
        let leaves = visit.may_leave_from(&decided.plan, self.egress);
        let admitted = leaves && visit.admit_again(&decided.plan, self.address.ip()).is_ok();
        if !fits || !admitted || self.sender.ready().await.is_err() {
            return None;
        }
        self.meter.store(flow.meter().clone());
        flow.record.address = Some(self.address);
        flow.record.egress = Some(self.egress);
        Some(self)
    }

    async fn open(visit: &Visit, decided: &Decided, entered: &Entered, flow: &mut OpenFlow) -> Result<Self, Failure> {
        let Connected { stream, address, egress, .. } = visit.connect(decided, entered, flow).await?;
        let target =
            decided.plan.asked.canonical().ok_or_else(|| Failure::new(Code::Internal, "a plan without a host"))?;
        let meter = Arc::new(ArcSwap::new(flow.meter().clone()));
        let metered = Metered { stream, meter: meter.clone() };
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEAD_FIELDS)
            .handshake(TokioIo::new(metered))
            .await
            .map_err(|error| broke(decided, &error))?;
        // Ends when the sender is dropped or the target closes; what went wrong comes out of the request as well.
        tokio::spawn(connection);
        Ok(Self { account: decided.plan.account.id, target, address, egress, sender, meter })
    }
}

/// A connection for this request: the kept one if it serves, else a new one.
pub(crate) async fn ready(
    visit: &Visit,
    decided: &Decided,
    entered: &Entered,
    flow: &mut OpenFlow,
    kept: Option<Kept>,
) -> Result<Kept, Failure> {
    if let Some(kept) = kept
        && let Some(kept) = kept.reuse(visit, decided, flow).await
    {
        return Ok(kept);
    }
    Kept::open(visit, decided, entered, flow).await
}

/// Sends `request`; over a new connection when this one closed before it took a byte.
pub(crate) async fn send(
    visit: &Visit,
    decided: &Decided,
    entered: &Entered,
    flow: &mut OpenFlow,
    mut kept: Kept,
    request: Request<Body>,
) -> Result<(Response<Incoming>, Kept), Failure> {
    let request = match kept.sender.try_send_request(request).await {
        Ok(response) => return Ok((response, kept)),
        Err(mut error) => match error.take_message() {
            Some(request) => request,
            None => return Err(broke(decided, error.error())),
        },
    };
    let mut kept = Kept::open(visit, decided, entered, flow).await?;
    match kept.sender.send_request(request).await {
        Ok(response) => Ok((response, kept)),
        Err(error) => Err(broke(decided, &error)),
    }
}

/// What hyper's error says of the target.
pub(crate) fn broke(decided: &Decided, error: &hyper::Error) -> Failure {
    let target = visible(decided.plan.asked.text());
    if error.is_parse() {
        return Failure::new(
            Code::ResponseMalformed,
            format_args!("{target} answered with something that is not HTTP/1: {error}"),
        );
    }
    Failure::new(Code::ResponseIncomplete, format_args!("{target} closed the connection before its response was whole"))
}

/// A socket whose bytes are counted for whichever flow uses it.
struct Metered {
    stream: TcpStream,
    meter: Arc<ArcSwap<Meter>>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.meter.load().add_down((buf.filled().len() - before) as u64);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Metered {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.meter.load().add_up(*bytes as u64);
        }
        written
    }
}
