//! `flows`: what was carried and what was refused.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Uri, header};
use moorgate_contract::{
    flow::{Flow, FlowId},
    listener::Listener,
};
use moorgate_control::{Control, FlowFilter, Recorded};
use serde::Deserialize;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{sleep, timeout},
};

use super::Answer;
use crate::{
    problem::{Case, Problem},
    server::{
        ApiState,
        access::Caller,
        extract::{Flag, Path, Query},
        listen::Stopping,
        page::{self, Listing, Page},
    },
    view::{Explained, ExplainedRoute, FlowLine, FlowView, WhyFlow},
    words,
};

/// Between two signs of life on a stream where nothing happens: shows the reader that we are here, and us that the
/// reader is, and bounds how long a revoked token goes on reading silence.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// An explanation waits this long for the resolver, then does without.
const RESOLVE: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    account: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    follow: Flag,
}

impl Which {
    /// How many flows, and before which.
    fn part(&self) -> Result<(usize, Option<FlowId>), Problem> {
        let limit = self.limit.filter(|limit| *limit > 0 || !self.follow.0);
        let page = Page::of(Listing::Flows, limit, self.cursor.as_deref())?;
        let most = if self.follow.0 { limit.unwrap_or_default() } else { page.limit };
        let before = if page.after.is_empty() { None } else { Some(page.after.parse()) };
        Ok((most, before.transpose().map_err(|_| page::unreadable())?))
    }
}

/// Lists the latest flows, oldest first. With `follow` each is a line (NDJSON), and further ones come as they end; an
/// empty line only says that the gateway is there.
#[utoipa::path(get, path = "/api/v1/flows", tag = "flows",
    params(("account" = Option<String>, Query, description = "Only this account's"),
        ("follow" = Option<bool>, Query, description = "Go on with flows as they end")),
    responses((status = OK, content((Vec<FlowView> = "application/json"), (FlowView = "application/x-ndjson")))))]
pub(super) async fn list_flows(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    stopping: Option<Extension<Stopping>>,
    uri: Uri,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let account = which.account.as_deref().or(caller.account()).map(str::to_owned);
    if let Some(account) = &account {
        caller.must_see(account)?;
    }
    let (limit, before) = which.part()?;
    // Subscribed before the stored ones are read, so that none falls between.
    let receiver = which.follow.0.then(|| api.control.follow());
    let stored = match limit {
        0 => Vec::new(),
        limit => api.control.flows_before(FlowFilter { account: account.clone(), limit }, before).await?,
    };
    if stored.is_empty()
        && let Some(account) = &account
    {
        // Flows outlive their account; a name that has neither is most likely misspelt.
        api.control.account(account).await?;
    }
    let Some(receiver) = receiver else {
        let mut response = axum::Json(stored.iter().map(FlowView::from).collect::<Vec<_>>()).into_response();
        // The page before in time is the next one to read.
        if let Some(oldest) = stored.first().filter(|_| stored.len() == limit)
            && let Some(link) = page::link(Listing::Flows, &uri, &oldest.flow.id.to_string())
        {
            response.headers_mut().insert(header::LINK, link);
        }
        return Ok(response);
    };
    let following = Following {
        sent: stored.iter().map(|recorded| recorded.flow.id).collect(),
        ready: stored.iter().filter_map(line).collect(),
        stopping: stopping.map(|Extension(stopping)| stopping),
        receiver,
        account,
        caller,
        api,
    };
    let lines = stream::unfold(following, |mut following| async {
        let line = following.next().await?;
        Some((Ok::<_, Infallible>(line), following))
    });
    let mut response = Body::from_stream(lines).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Shows one flow, how it ended, what to do about it, and what would be decided now.
#[utoipa::path(get, path = "/api/v1/flows/{id}", tag = "flows",
    params(("id" = String, Path, description = "The flow's id, as listed")),
    responses((status = OK, body = WhyFlow)))]
pub(super) async fn show_flow(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<WhyFlow> {
    let id: FlowId = id.parse().map_err(|error| Problem::new(Case::NotFound, error))?;
    let found = api.control.flow(id).await?;
    let may_see = match caller.account() {
        None => None,
        // Flows outlive their account: those of one that had the same name before are another's.
        Some(own) => Some((own, api.control.account(own).await?.created)),
    };
    let is_theirs = |flow: &Flow| match may_see {
        None => true,
        Some((own, since)) => flow.account.as_deref() == Some(own) && flow.started >= since,
    };
    let Some(recorded) = found.filter(|recorded| is_theirs(&recorded.flow)) else {
        let said = format_args!(
            "there is no flow {id}: it may be too old to be kept, or so new that it is not written yet; moorgate log lists the latest"
        );
        return Err(Problem::new(Case::NotFound, said));
    };
    let flow = &recorded.flow;
    let (now, inbound_now) = match flow.listener {
        Listener::InboundHttp | Listener::InboundTls => (None, explain_route_now(&api.control, &caller, flow).await),
        _ => (explain_now(&api.control, flow).await, None),
    };
    let advice = words::advice(flow).map(Into::into);
    Ok(axum::Json(WhyFlow { ended: words::ended(flow), advice, now, inbound_now, flow: FlowView::from(&recorded) }))
}

/// `None` where no domain was named, the resolver takes its time, or the domain is another account's by now.
async fn explain_route_now(control: &Control, caller: &Caller, flow: &Flow) -> Option<ExplainedRoute> {
    let explained = timeout(RESOLVE, control.explain_inbound_flow(flow)).await.ok()??;
    let may_see = explained.account.as_deref().is_none_or(|account| caller.sees(account));
    may_see.then(|| explained.into())
}

/// `None` where there is nothing to decide on any more.
async fn explain_now(control: &Control, flow: &Flow) -> Option<Explained> {
    let explained = match timeout(RESOLVE, control.explain_flow(flow, true)).await {
        Ok(explained) => explained,
        Err(_) => control.explain_flow(flow, false).await,
    };
    explained.map(super::explain::view)
}

/// A stream of flows for one reader.
struct Following {
    ready: VecDeque<Bytes>,
    sent: HashSet<FlowId>,
    receiver: Receiver<Arc<Recorded>>,
    account: Option<String>,
    stopping: Option<Stopping>,
    caller: Caller,
    api: ApiState,
}

impl Following {
    /// The next line; `None`: the gateway goes down, or the token was revoked.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            let line = tokio::select! {
                () = stopped(&mut self.stopping) => return None,
                () = sleep(SIGN_OF_LIFE) => Some(Bytes::from_static(b"\n")),
                received = self.receiver.recv() => match received {
                    Ok(recorded) if self.wants(&recorded.flow) => line(&recorded),
                    Ok(_) => None,
                    Err(RecvError::Lagged(missed)) => as_line(&FlowLine::Missed { missed }),
                    Err(RecvError::Closed) => return None,
                },
            };
            let Some(line) = line else { continue };
            if !self.caller.is_still_valid(&self.api).await {
                return None;
            }
            return Some(line);
        }
    }

    fn wants(&mut self, flow: &Flow) -> bool {
        let is_theirs = self.account.is_none() || self.account.as_deref() == flow.account.as_deref();
        is_theirs && !self.sent.remove(&flow.id)
    }
}

async fn stopped(stopping: &mut Option<Stopping>) {
    match stopping {
        Some(stopping) => stopping.wait().await,
        None => std::future::pending().await,
    }
}

fn line(recorded: &Recorded) -> Option<Bytes> {
    as_line(&FlowLine::Flow(Box::new(FlowView::from(recorded))))
}

fn as_line(line: &FlowLine) -> Option<Bytes> {
    let mut line = serde_json::to_vec(line).ok()?;
    line.push(b'\n');
    Some(line.into())
}
