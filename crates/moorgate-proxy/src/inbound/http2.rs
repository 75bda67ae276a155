//! Requests of an inbound client over h2, inside TLS that ended here: each stream is one request.

use std::sync::Arc;

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Method, Request};
use moorgate_contract::{
    exposure::Exposure,
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
};
use moorgate_net::runtime::now;
use moorgate_tls::TlsStream;

use super::{
    actions::Own,
    authority::LastAuthority,
    http1::exposure,
    origin::{Ask, Chosen, ForExchange},
    request::{Asked, Decided, Onward, decide},
    terminate::Secured,
};
use crate::{
    client::ClientStream as _,
    exchange::{
        Toward,
        http2::{Going, framing, joined},
    },
    gateway::Visit,
    h2_server::{self, OneMore, too_long},
    head::{fields, host_and_length},
    refuse::{Refusal, StreamEnd, answer_on_stream, let_out, say_no_on_stream, say_no_to_request},
};

/// The life of an h2 connection: its streams live by themselves, side by side.
pub(super) async fn converse(visit: Arc<Visit>, stream: TlsStream, secured: Secured) {
    let local = stream.local_addr().unwrap_or(visit.client);
    let (secured, last) = (Arc::new(secured), Arc::new(LastAuthority::default()));
    let (connection, of_client) = (secured.clone(), visit.clone());
    let handle = move |visit: Arc<Visit>, mut running: OneMore, request, respond| {
        let (secured, last) = (secured.clone(), last.clone());
        async move { running.ended(one(&visit, request, respond, &secured, &last, local).await) }
    };
    let served = h2_server::serve(visit, stream, h2_server::INBOUND, Some(&connection.connection), handle).await;
    if let Err(mut given_up) = served {
        connection.note(&of_client, &mut given_up.flow);
        given_up.record();
    }
}

/// One request.
async fn one(
    visit: &Arc<Visit>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    secured: &Secured,
    last: &LastAuthority,
    local: std::net::SocketAddr,
) -> StreamEnd {
    let mut flow = visit.open_flow(now());
    flow.record.kind = Kind::Exchange;
    flow.record.exposure = Exposure::inbound_asked(true, true);
    flow.record.alpn.clone_from(&secured.alpn);
    let (parts, stream) = request.into_parts();
    let with_body = parts.method != Method::HEAD;
    let headers = joined(fields(&parts.headers));
    let prepared = too_long(&parts)
        .map_or(Ok(()), Err)
        .and_then(|()| asked(&parts, &headers))
        .map_err(Own::from)
        .and_then(|asked| decide(visit, &asked, Some(secured), last, &mut flow));
    let decided = match prepared {
        Ok(decided) => decided,
        Err(own) => {
            secured.note(visit, &mut flow);
            let end = answer(respond, flow, own, with_body);
            let_out(stream).await;
            return end;
        }
    };
    let entered = match visit.enter_route(&decided.routed, &flow) {
        Ok(entered) => entered,
        Err(failure) => return say_no_to_request(respond, flow, &failure, with_body, stream).await,
    };
    let Decided { routed, authority, path, served, .. } = &decided;
    let route = &routed.route;
    let grpc = headers.get("content-type").is_some_and(is_grpc);
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    let onward =
        Onward { route, method: parts.method.as_str(), authority, path, gateway: &gateway, websocket: false, grpc };
    let framing = framing(&headers, &stream);
    let outgoing = match onward.build(headers, framing) {
        Ok(outgoing) => outgoing,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, with_body),
    };
    let pool = decided.pool();
    let ask = Ask { visit, routed, pool, name: Some(&authority.name), local: Some(local), chosen: Chosen::default() };
    let ask = ForExchange { ask, served: served.clone(), grpc, websocket: false };
    let going = Going {
        method: &parts.method,
        toward: Toward::Origin(&ask),
        exposure: exposure(true, pool),
        most: route.settings.actions.max_body,
    };
    going.carry_out(visit, stream, respond, flow, entered, outgoing).await
}

/// A gRPC request's type, alone or with the message's (`+proto`). Its cousin for browsers, grpc-web, is plain HTTP.
fn is_grpc(kind: &[u8]) -> bool {
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// What a request is about, from its head.
pub(super) fn asked<'a>(
    parts: &'a http::request::Parts,
    headers: &'a moorgate_wire::http1::Headers,
) -> Result<Asked<'a>, Failure> {
    if parts.method == Method::CONNECT {
        let said = "this is no proxy: ask for a path, with the app's name in :authority";
        return Err(Failure::new(Code::NotSupported, said));
    }
    let own = parts.uri.authority().map(http::uri::Authority::as_str);
    let (host, length) = host_and_length(headers)?;
    if let (Some(own), Some(host)) = (own, host)
        && !own.eq_ignore_ascii_case(host)
    {
        return Err(Failure::new(Code::HostMismatch, ":authority and Host name different hosts"));
    }
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Ok(Asked { method: parts.method.as_str(), authority: own.or(host).unwrap_or_default(), path, headers, length })
}

fn answer(respond: SendResponse<Bytes>, flow: OpenFlow, own: Own, with_body: bool) -> StreamEnd {
    match own {
        Own::Answer(answer) => answer_on_stream(respond, flow, answer, None, with_body),
        Own::Refuse(failure, answer) => {
            let answer = answer.unwrap_or_else(|| Refusal::on(&flow.record, &failure));
            answer_on_stream(respond, flow, answer, Some(&failure), with_body)
        }
    }
}
