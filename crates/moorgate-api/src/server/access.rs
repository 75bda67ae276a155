//! Who may call what: one table. What is not in it can't be called by anyone.

use std::sync::Arc;

use axum::{
    RequestPartsExt,
    extract::{MatchedPath, RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use moorgate_control::{Call, ControlError, Scope, What};

use super::{ApiState, listen::Arrival};
use crate::problem::{Case, Problem};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing, not even a token.
    Nothing,
    /// To come from this machine, or an operator's token.
    LoopbackOrOperator,
    /// An operator's token. For others it is not there.
    Operator(Scope),
    /// Any token; the handler shows only what the caller may see.
    Anyone(Scope),
    /// A token of the account in the path, or an operator's. For others it is not there.
    Owner(Scope),
    /// An operator's token, for an account that its own tokens may see but not change like this.
    OperatorOfAccount(Scope),
}

use Need::{Anyone, LoopbackOrOperator, Nothing, Operator, OperatorOfAccount, Owner};
use Scope::{Read, Write};

/// Every route with what it asks of its caller.
pub(super) const TABLE: &[(Method, &str, Need)] = &[
    (Method::GET, "/healthz", Nothing),
    (Method::GET, "/readyz", Nothing),
    (Method::GET, "/metrics", LoopbackOrOperator),
    (Method::GET, "/api/v1/openapi.json", Nothing),
    (Method::GET, "/api/v1/accounts", Anyone(Read)),
    (Method::POST, "/api/v1/accounts", Operator(Write)),
    (Method::GET, "/api/v1/accounts/{account}", Owner(Read)),
    (Method::PATCH, "/api/v1/accounts/{account}", OperatorOfAccount(Write)),
    (Method::DELETE, "/api/v1/accounts/{account}", OperatorOfAccount(Write)),
    (Method::GET, "/api/v1/accounts/{account}/credentials", Owner(Read)),
    (Method::POST, "/api/v1/accounts/{account}/credentials", Owner(Write)),
    (Method::GET, "/api/v1/accounts/{account}/credentials/{username}", Owner(Read)),
    (Method::PATCH, "/api/v1/accounts/{account}/credentials/{username}", Owner(Write)),
    (Method::DELETE, "/api/v1/accounts/{account}/credentials/{username}", Owner(Write)),
    (Method::POST, "/api/v1/accounts/{account}/credentials/{username}/rotate", Owner(Write)),
    (Method::GET, "/api/v1/accounts/{account}/alarms", Owner(Read)),
    (Method::POST, "/api/v1/accounts/{account}/alarms", Owner(Write)),
    (Method::GET, "/api/v1/accounts/{account}/alarms/{id}", Owner(Read)),
    (Method::DELETE, "/api/v1/accounts/{account}/alarms/{id}", Owner(Write)),
    (Method::POST, "/api/v1/accounts/{account}/alarms/{id}/test", Owner(Write)),
    (Method::GET, "/api/v1/accounts/{account}/policy", Owner(Read)),
    (Method::PUT, "/api/v1/accounts/{account}/policy", Owner(Write)),
    (Method::GET, "/api/v1/tokens", Anyone(Read)),
    (Method::POST, "/api/v1/tokens", Anyone(Write)),
    (Method::GET, "/api/v1/tokens/{id}", Anyone(Read)),
    (Method::DELETE, "/api/v1/tokens/{id}", Anyone(Write)),
    (Method::GET, "/api/v1/people", Operator(Read)),
    (Method::DELETE, "/api/v1/people/{email}", Operator(Write)),
    (Method::POST, "/api/v1/people/{email}/reset", Operator(Write)),
    (Method::POST, "/api/v1/invitations", Operator(Write)),
    (Method::GET, "/api/v1/routes", Anyone(Read)),
    (Method::POST, "/api/v1/routes", Anyone(Write)),
    (Method::GET, "/api/v1/routes/{domain}", Anyone(Read)),
    (Method::PATCH, "/api/v1/routes/{domain}", Anyone(Write)),
    (Method::DELETE, "/api/v1/routes/{domain}", Anyone(Write)),
    (Method::GET, "/api/v1/routes/{domain}/explain", Anyone(Read)),
    (Method::GET, "/api/v1/routes/{domain}/check", Anyone(Read)),
    (Method::GET, "/api/v1/certificates", Anyone(Read)),
    (Method::GET, "/api/v1/certificates/{domain}", Anyone(Read)),
    (Method::PUT, "/api/v1/certificates/{domain}", Anyone(Write)),
    (Method::DELETE, "/api/v1/certificates/{domain}", Anyone(Write)),
    (Method::POST, "/api/v1/certificates/{domain}/renew", Anyone(Write)),
    (Method::GET, "/api/v1/egress", Anyone(Read)),
    (Method::GET, "/api/v1/dns/records", Operator(Read)),
    (Method::GET, "/api/v1/accounts/{account}/evidence", Owner(Read)),
    (Method::POST, "/api/v1/apply", Operator(Write)),
    (Method::GET, "/api/v1/export", Operator(Read)),
    (Method::POST, "/api/v1/secrets/rewrap", Operator(Write)),
    (Method::GET, "/api/v1/backup", Operator(Write)),
    (Method::GET, "/api/v1/tiers", Operator(Read)),
    (Method::GET, "/api/v1/tiers/{tier}", Operator(Read)),
    (Method::PUT, "/api/v1/tiers/{tier}", Operator(Write)),
    (Method::DELETE, "/api/v1/tiers/{tier}", Operator(Write)),
    (Method::GET, "/api/v1/usage", Anyone(Read)),
    (Method::GET, "/api/v1/audit", Anyone(Read)),
    (Method::GET, "/api/v1/audit/verify", Operator(Read)),
    (Method::GET, "/api/v1/gateways", Operator(Read)),
    (Method::GET, "/api/v1/gateways/{gateway}", Operator(Read)),
    (Method::GET, "/api/v1/flows", Anyone(Read)),
    (Method::GET, "/api/v1/flows/{id}", Anyone(Read)),
    (Method::GET, "/api/v1/explain", Anyone(Read)),
    (Method::GET, "/api/v1/status", Operator(Read)),
    (Method::GET, "/api/v1/doctor", Operator(Read)),
];

/// Who calls: what the token says, and the token itself, so that a long answer ends when it is revoked.
#[derive(Clone)]
pub(super) struct Caller {
    is: moorgate_control::Caller,
    bearer: Arc<str>,
}

impl Caller {
    /// Whether it may see everything.
    pub(super) fn is_operator(&self) -> bool {
        self.is.account.is_none()
    }

    /// The one account that it may see; `None`: all.
    pub(super) fn account(&self) -> Option<&str> {
        self.is.account.as_deref()
    }

    /// Whether it may know that this account exists.
    pub(super) fn sees(&self, account: &str) -> bool {
        self.account().is_none_or(|own| own == account)
    }

    /// Asked for an account that it may not see, it hears what it would hear of one that does not exist.
    pub(super) fn must_see(&self, account: &str) -> Result<(), Problem> {
        if self.sees(account) { Ok(()) } else { Err(no_account(account)) }
    }

    /// Whether its token still is what it was.
    pub(super) async fn is_still_valid(&self, api: &ApiState) -> bool {
        api.control.authenticate(&self.bearer).await.as_ref() == Some(&self.is)
    }
}

fn no_account(name: &str) -> Problem {
    ControlError::NotFound { what: What::Account, name: name.chars().take(80).collect() }.into()
}

/// Lets a request through to its handler, with its [`Caller`], or answers why not.
pub(super) async fn guard(State(api): State<ApiState>, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let need = parts.extensions.get::<MatchedPath>().and_then(|path| need(&parts.method, path.as_str()));
    // A path without this method is answered by its own fallback.
    let Some(need) = need else {
        let known = parts.extensions.get::<MatchedPath>().is_some_and(|path| methods(path.as_str()).next().is_some());
        return if known { Ok(wrong_method(&parts)) } else { Err(Problem::no_page()) };
    };
    if let Some(caller) = check(&api, need, &mut parts).await? {
        let from = parts.extensions.get::<Arrival>().map(|arrival| arrival.peer.ip().to_canonical());
        parts.extensions.insert(Call { by: Some(caller.is.clone()), from, upon: None, once: None });
        parts.extensions.insert(caller);
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

pub(super) fn need(method: &Method, path: &str) -> Option<Need> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|(verb, route, _)| verb == method && *route == path).map(|(_, _, need)| *need)
}

async fn check(api: &ApiState, need: Need, parts: &mut Parts) -> Result<Option<Caller>, Problem> {
    let scope = match need {
        Nothing => return Ok(None),
        LoopbackOrOperator if is_from_here(parts) => return Ok(None),
        LoopbackOrOperator => Read,
        Operator(scope) | Anyone(scope) | Owner(scope) | OperatorOfAccount(scope) => scope,
    };
    let caller = authenticate(api, &parts.headers).await?;
    match need {
        Operator(_) | LoopbackOrOperator if !caller.is_operator() => {
            let said = "there is nothing here for an account's token; an operator's may see more";
            return Err(Problem::new(Case::NotFound, said));
        }
        Owner(_) | OperatorOfAccount(_) => caller.must_see(&account_of(parts).await?)?,
        _ => {}
    }
    if scope == Write && caller.is.scope != Write {
        return Err(Problem::new(Case::ScopeInsufficient, "this token may only read; use one with --scope write"));
    }
    if matches!(need, OperatorOfAccount(_)) && !caller.is_operator() {
        return Err(Problem::new(Case::OperatorOnly, "only an operator may change or remove an account; ask yours"));
    }
    Ok(Some(caller))
}

fn is_from_here(parts: &Parts) -> bool {
    // Over TLS a program of this machine may stand between (a load balancer, a tunnel).
    let arrival = parts.extensions.get::<Arrival>();
    arrival.is_some_and(|arrival| !arrival.tls && arrival.peer.ip().to_canonical().is_loopback())
}

async fn authenticate(api: &ApiState, headers: &HeaderMap) -> Result<Caller, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let said =
            "this needs a token: Authorization: Bearer …; an operator's is in operator.token of the data directory";
        return Err(Problem::new(Case::TokenMissing, said));
    };
    let unknown = || Problem::new(Case::TokenUnknown, "no such token, or it was revoked; moorgate token add makes one");
    let value = value.to_str().map_err(|_| unknown())?;
    let (scheme, bearer) = value.split_once(' ').ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unknown());
    }
    let bearer = bearer.trim();
    let is = api.control.authenticate(bearer).await.ok_or_else(unknown)?;
    Ok(Caller { is, bearer: bearer.into() })
}

async fn account_of(parts: &mut Parts) -> Result<String, Problem> {
    let params = parts.extract::<RawPathParams>().await.map_err(|_| Problem::no_page())?;
    let account = params.iter().find(|(name, _)| *name == "account").map(|(_, value)| value.to_owned());
    account.ok_or_else(Problem::no_page)
}

fn methods(path: &str) -> impl Iterator<Item = &'static Method> {
    TABLE.iter().filter(move |(_, route, _)| *route == path).map(|(method, ..)| method)
}

fn wrong_method(parts: &Parts) -> Response {
    let path = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let mut allowed: Vec<&str> = methods(&path).map(Method::as_str).collect();
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    let mut response = Problem::new(Case::MethodNotAllowed, format_args!("here are: {allowed}")).into_response();
    // RFC 9110 §15.5.6.
    response.headers_mut().extend(HeaderValue::try_from(allowed).ok().map(|allowed| (header::ALLOW, allowed)));
    response
}

/// Of a path that is there with other methods.
pub(super) async fn method_not_allowed(request: Request) -> Response {
    wrong_method(&request.into_parts().0)
}

/// What is answered here is for the one who asked, and is what its media type says.
pub(super) async fn quiet_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // What never changes under its name says so itself.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
