//! SOCKS5 with a username and password (RFC 1928, RFC 1929).

use std::{net::SocketAddr, sync::Arc};

use moorgate_contract::{
    decide::{Destination, Transport},
    exposure::Exposure,
    failure::{Code, Failure, SocksAnswer},
    flow::OpenFlow,
    limits::REFUSAL_LINGER,
};
use moorgate_net::{
    farewell::answer_and_close,
    leg::TcpLeg,
    runtime::{TcpStream, timeout},
};
use moorgate_wire::{
    host::Asked,
    socks5::{Command, Reply, Server, Step, encode_reply},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{
    client::{Client, ClientStream},
    echo,
    gateway::{Decided, Visit},
    inbound::left,
    refuse,
    tunnel::{self, Side},
};

/// Where the conversation ended before anything was relayed.
enum Stop {
    /// The client left.
    Left,
    /// We said no.
    Refused(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// What the client is told when a conversation stops where SOCKS has no word for it, or before it has one.
const METHOD_REFUSED: &[u8] = &[5, 0xff];

/// The life of a SOCKS5 connection, after accept (and TLS): peek, decide, connect, relay, record.
pub(super) async fn converse<S: ClientStream>(visit: Arc<Visit>, mut client: Client<S>) {
    let mut flow = visit.open_flow(visit.accepted);
    let limit = visit.gateway.limits.head;
    let mut server = Server::new();
    let peeked = timeout(limit, peek(&visit, &mut client, &mut server, &mut flow)).await;
    let decided = match peeked.unwrap_or_else(|_| Err(refuse::too_slow("the SOCKS5 request", limit).into())) {
        Ok(decided) => decided,
        Err(Stop::Left) => return left(flow, &client),
        Err(Stop::Refused(failure)) => return say_no(client, flow, &failure).await,
    };
    let entered = match visit.enter(&decided, &flow) {
        Ok(entered) => entered,
        Err(failure) => return say_no(client, flow, &failure).await,
    };
    if decided.plan.destination == Destination::Echo {
        if client.stream.write_all(&encode_reply(Reply::Succeeded, UNBOUND)).await.is_ok() {
            let early = client.take_early();
            Box::pin(echo::serve_tunnel(visit, flow, entered, decided, client.stream.into_leg(), early)).await;
        }
        return;
    }
    let connected = match visit.connect(&decided.plan, &entered, &mut flow, visit.gateway.limits.connect).await {
        Ok(connected) => connected,
        Err(failure) => {
            // Whoever is slow to hear of it has no place of its account's.
            drop(entered);
            return say_no(client, flow, &failure).await;
        }
    };
    if client.stream.write_all(&encode_reply(Reply::Succeeded, connected.local())).await.is_err()
        || client.stream.flush().await.is_err()
    {
        return flow.end(moorgate_contract::outcome::Outcome::Cut(moorgate_contract::outcome::Ending::ClientLeft));
    }
    let early = client.take_early();
    let target = TcpLeg::new(connected.stream);
    tunnel::run(visit, flow, entered, client.stream.into_leg(), target, early, Side::Outbound);
}

/// What a reply says when no socket was bound.
const UNBOUND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Greeting, password, request; then the decision on them.
async fn peek<S: ClientStream>(
    visit: &Visit,
    client: &mut Client<S>,
    server: &mut Server,
    flow: &mut OpenFlow,
) -> Result<Decided, Stop> {
    let mut principal = None;
    loop {
        match server.feed(&client.buffer) {
            Step::NeedMore => match client.read_more().await {
                Ok(0) | Err(_) => return Err(Stop::Left),
                Ok(_) => {}
            },
            Step::Send { consumed, bytes } => {
                client.consume(consumed);
                send(&mut client.stream, &bytes).await?;
            }
            Step::NoAcceptableMethod { consumed, .. } => {
                client.consume(consumed);
                return Err(visit.authenticate(None, flow).map_or_else(Stop::Refused, |_| Stop::Left));
            }
            Step::Authenticate { consumed, username, password } => {
                client.consume(consumed);
                let username = String::from_utf8_lossy(&username);
                flow.record.exposure = Exposure::asked(visit.listener, false, true, false);
                principal = Some(visit.authenticate(Some((&username, &password)), flow)?);
                send(&mut client.stream, &Server::auth_reply(true)).await?;
            }
            Step::UnsupportedAddressType { consumed } => {
                client.consume(consumed);
                let said = "the request has an address type that is neither IPv4, IPv6 nor a name";
                return Err(Failure::new(Code::AddressTypeNotSupported, said).into());
            }
            Step::Malformed(why) => return Err(Failure::new(Code::Malformed, why).into()),
            Step::Request { consumed, command, asked } => {
                client.consume(consumed);
                let principal =
                    principal.ok_or_else(|| Failure::new(Code::Internal, "a request without a principal"))?;
                return Ok(visit.decide(principal, &asked, transport(command, &asked, flow)?, flow)?);
            }
        }
    }
}

fn transport(command: Command, asked: &Asked, flow: &mut OpenFlow) -> Result<Transport, Failure> {
    flow.record.target = Some(asked.shared_text());
    flow.record.exposure = Exposure::asked(flow.record.listener, true, true, false);
    match command {
        Command::Connect => Ok(Transport::Stream),
        Command::UdpAssociate => Ok(Transport::Datagram),
        Command::Bind | Command::Other(_) => {
            Err(Failure::new(Code::NotSupported, "only CONNECT is supported here, neither BIND nor other commands"))
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Stop> {
    stream.write_all(bytes).await.map_err(|_| Stop::Left)?;
    stream.flush().await.map_err(|_| Stop::Left)
}

/// Records the refusal and says it. Which words there are depends on how far the client had come.
async fn say_no<S: ClientStream>(mut client: Client<S>, flow: OpenFlow, failure: &Failure) {
    let refused_method = failure.code == Code::CredentialsMissing;
    let asked = flow.record.target.is_some();
    flow.fail(failure);
    let answer = match failure.code.row().socks {
        SocksAnswer::Reply(reply) => encode_reply(reply, UNBOUND),
        SocksAnswer::AuthFailure if refused_method => METHOD_REFUSED.to_vec(),
        // Revoked after it had been let in: the request is what is answered now.
        SocksAnswer::AuthFailure if asked => encode_reply(Reply::NotAllowed, UNBOUND),
        SocksAnswer::AuthFailure => Server::auth_reply(false).to_vec(),
        SocksAnswer::Close => Vec::new(),
    };
    answer_and_close(&mut client.stream, &answer).await;
}

/// The gateway is full: plays the conversation to where a reply can be said, without looking at the password.
pub(crate) async fn refuse_full(stream: TcpStream, failure: &Failure) {
    let SocksAnswer::Reply(reply) = failure.code.row().socks else { return };
    let mut client = Client::new(stream);
    // Whoever does not get that far in time is closed without an answer.
    let reached = timeout(REFUSAL_LINGER, reach_request(&mut client)).await.unwrap_or(false);
    if reached {
        answer_and_close(&mut client.stream, &encode_reply(reply, UNBOUND)).await;
    }
}

async fn reach_request<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) -> bool {
    let mut server = Server::new();
    loop {
        let sent = match server.feed(&client.buffer) {
            Step::NeedMore => client.read_more().await.is_ok_and(|read| read > 0),
            Step::Send { consumed, bytes } => {
                client.consume(consumed);
                send(&mut client.stream, &bytes).await.is_ok()
            }
            Step::Authenticate { consumed, .. } => {
                client.consume(consumed);
                send(&mut client.stream, &Server::auth_reply(true)).await.is_ok()
            }
            Step::Request { .. } => return true,
            Step::NoAcceptableMethod { .. } | Step::UnsupportedAddressType { .. } | Step::Malformed(_) => false,
        };
        if !sent {
            return false;
        }
    }
}
