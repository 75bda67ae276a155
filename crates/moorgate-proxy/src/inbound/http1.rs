//! Requests of an inbound client over HTTP/1, one after the other: on the plain listener, or inside TLS that ended here.

use std::{
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::Arc,
};

use moorgate_contract::{
    balance::Pool,
    exposure::{Carried, Exposure},
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    route::OriginScheme,
};
use moorgate_net::runtime::{now, timeout};
use moorgate_wire::http1::{Framing, RequestHead, Target, Version};

use super::{
    actions::Own,
    authority::LastAuthority,
    left,
    origin::{Ask, Chosen, ForExchange},
    request::{Asked as AskedFor, Decided, Onward, decide},
    terminate::Secured,
};
use crate::{
    client::{Client, ClientStream},
    exchange::{
        Toward,
        http1::{Going, refuse},
    },
    gateway::Visit,
    head::{next_request, peek_request},
    refuse::{Refusal, say_no, too_slow},
};

/// The life of a connection after accept (and TLS): for each request peek, decide, act, connect, relay, record.
pub(super) async fn converse<S: ClientStream>(visit: Arc<Visit>, mut client: Client<S>, secured: Option<Secured>) {
    let mut since = if secured.is_some() { now() } else { visit.accepted };
    let last = LastAuthority::default();
    // One for all requests: to ask anew takes two locks.
    let mut draining = pin!(visit.gateway.drain.cancelled());
    loop {
        let mut flow = visit.open_flow(since);
        let limit = visit.gateway.limits.head;
        let peeked = timeout(limit.saturating_sub(since.elapsed()), peek_request(&mut client)).await;
        let mut head = match peeked.unwrap_or_else(|_| Err(Some(too_slow("the request's head", limit)))) {
            Ok(head) => head,
            Err(None) => return left(flow, &client),
            Err(Some(failure)) => {
                if let Some(secured) = &secured {
                    secured.note(&visit, &mut flow);
                }
                return say_no(client, flow, &failure, false).await;
            }
        };
        client = match one(&visit, client, flow, &mut head, secured.as_ref(), &last).await {
            Some(client) => client,
            None => return,
        };
        let cut = poll_fn(|cx| match &secured {
            Some(secured) => secured.connection.poll_cut(cx).map(drop),
            None => std::task::Poll::Pending,
        });
        tokio::select! {
            biased;
            () = cut => return,
            more = next_request(&visit, &mut client, draining.as_mut()) => if !more { return },
        }
        since = now();
    }
}

/// One request. The client, when its connection can carry another.
async fn one<S: ClientStream>(
    visit: &Arc<Visit>,
    client: Client<S>,
    mut flow: OpenFlow,
    head: &mut RequestHead,
    secured: Option<&Secured>,
    last: &LastAuthority,
) -> Option<Client<S>> {
    flow.record.kind = Kind::Exchange;
    flow.record.exposure = Exposure::inbound_asked(secured.is_some(), true);
    flow.record.alpn = secured.and_then(|secured| secured.alpn.clone());
    let prepared = asked(head).map_err(Own::from).and_then(|asked| decide(visit, &asked, secured, last, &mut flow));
    let decided = match prepared {
        Ok(decided) => decided,
        Err(own) => {
            if let Some(secured) = secured {
                secured.note(visit, &mut flow);
            }
            return answer(visit, client, flow, head, own, secured.is_some()).await;
        }
    };
    let entered = match visit.enter_route(&decided.routed, &flow) {
        Ok(entered) => entered,
        Err(failure) => return answer(visit, client, flow, head, failure.into(), secured.is_some()).await,
    };
    let Decided { routed, authority, path, served, challenge } = &decided;
    let route = &routed.route;
    let websocket = wants_websocket(head);
    let headers = mem::take(&mut head.headers);
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    let onward =
        Onward { route, method: head.method.as_str(), authority, path, gateway: &gateway, websocket, grpc: false };
    let outgoing = match onward.build(headers, head.framing) {
        Ok(outgoing) => outgoing,
        Err(failure) => return answer(visit, client, flow, head, failure.into(), secured.is_some()).await,
    };
    let pool = decided.pool();
    // What an origin reads there is TLS with the header before it, not a challenge.
    let told = route.settings.proxy_protocol.filter(|_| !challenge);
    let local = told.map(|_| client.stream.local_addr().unwrap_or(visit.client));
    let ask = Ask { visit, routed, pool, name: Some(&authority.name), local, chosen: Chosen::default() };
    let ask = ForExchange { ask, served: served.clone(), grpc: false, websocket };
    let going = Going {
        head,
        toward: Toward::Origin(&ask),
        exposure: exposure(secured.is_some(), pool),
        most: route.settings.actions.max_body,
    };
    // Its state is large, and of no use to whoever waits for the next request.
    let carried = Box::pin(going.carry_out(visit, client, None, flow, entered, outgoing));
    let (client, _) = (carried as Pin<Box<dyn Future<Output = _> + Send>>).await?;
    Some(client)
}

/// What a request is about, from its head.
fn asked(head: &RequestHead) -> Result<AskedFor<'_>, Failure> {
    let (path, authority) = match &head.target {
        Target::Origin(path) => (&**path, None),
        Target::Absolute { path, asked, .. } => {
            // Host says it again, without what is not canonical here.
            asked.host.as_ref().map_err(|why| Failure::new(Code::HostNotCanonical, why))?;
            (&**path, Some(asked.text()))
        }
        Target::Authority(_) | Target::Asterisk => {
            let said = "this is no proxy: ask for a path, with the app's name in Host";
            return Err(Failure::new(Code::NotSupported, said));
        }
    };
    let host = head.headers.get("host").and_then(|host| std::str::from_utf8(host).ok());
    let length = match head.framing {
        Framing::Length(length) => Some(length),
        Framing::None => Some(0),
        Framing::Chunked => None,
    };
    let authority = host.or(authority).unwrap_or_default();
    Ok(AskedFor { method: head.method.as_str(), authority, path, headers: &head.headers, length })
}

/// What is exposed once it goes on. A route's origins may differ; the least protected of them is what is said.
pub(super) fn exposure(client_tls: bool, pool: &Pool) -> Exposure {
    let origin_tls = !pool.origins().iter().any(|origin| origin.url.scheme == OriginScheme::Http);
    Exposure::inbound(Carried::ActedUpon { client_tls, origin_tls })
}

/// RFC 6455 §4.1. Every other upgrade is ignored, as RFC 9110 §7.8 allows: h2c would go by unseen.
fn wants_websocket(head: &RequestHead) -> bool {
    let asks = head.headers.list("connection").any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let mut protocols = head.headers.list("upgrade");
    let only = protocols.next().is_some_and(|one| one.eq_ignore_ascii_case(b"websocket")) && protocols.next().is_none();
    asks && only && head.version == Version::Http11 && head.method.as_str() == "GET" && head.framing == Framing::None
}

async fn answer<S: ClientStream>(
    visit: &Arc<Visit>,
    client: Client<S>,
    flow: OpenFlow,
    head: &RequestHead,
    own: Own,
    secured: bool,
) -> Option<Client<S>> {
    let (answer, failure) = match own {
        Own::Answer(answer) => (answer, None),
        Own::Refuse(failure, answer) => (answer.unwrap_or_else(|| Refusal::on(&flow.record, &failure)), Some(failure)),
    };
    // Whoever asks the plain listener for a name that is not here has nothing more to ask.
    if !secured && let Some(failure) = &failure {
        say_no(client, flow, failure, head.method.is_head()).await;
        return None;
    }
    refuse(visit, client, None, flow, head, &answer, failure.as_ref()).await.map(|(client, _)| client)
}
