//! The console: what the API offers to programs, as pages for people.
//!
//! Rendered on the server; every form works without a script. A request passes [`guard`]: its headers, where it comes from,
//! who is signed in; then a page asks [`Control`] on that person's behalf. Pages hold no rule of their own.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use moorgate_contract::listener::Listener;
use moorgate_control::Control;

mod assets;
mod form;
mod given;
mod guard;
mod openid;
mod pages;
mod plot;
mod probe;
mod shown;
mod snippets;
mod throttle;

use openid::Provider;
pub use openid::{Ask, OpenId};
use pages::traffic::Watching;
use probe::answering::Answering;
use throttle::Throttle;

/// One of the URLs that an app is given.
#[derive(Clone, Debug)]
pub struct ProxyUrl {
    /// The variable that it stands in.
    pub variable: &'static str,
    /// Which listener it leads to.
    pub listener: Listener,
    /// The URL, with username and password.
    pub url: String,
}

/// What gives an app's URLs for a username and a password.
pub type ProxyUrls = Arc<dyn Fn(&str, &str) -> Vec<ProxyUrl> + Send + Sync>;

/// What says which CA clients have to trust for the TLS listeners, in PEM; `None`: every client trusts it.
pub type ProxyCa = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Where this process itself reaches its own listeners, for tests; `None`: it has no such.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doors {
    /// The HTTP proxy.
    pub proxy: Option<SocketAddr>,
    /// Where domains come in by TLS.
    pub inbound_tls: Option<SocketAddr>,
    /// Where they come in by plain HTTP.
    pub inbound_http: Option<SocketAddr>,
}

/// What the pages work with.
#[derive(Clone)]
pub struct Console {
    /// What can be done.
    pub control: Control,
    /// Where clients go.
    pub proxy_urls: ProxyUrls,
    /// Where this process itself reaches what it serves.
    pub doors: Doors,
    /// What they have to trust.
    pub proxy_ca: ProxyCa,
    /// Where people find the console.
    pub url: Arc<str>,
    /// Whether whoever comes may make an account.
    pub sign_up: bool,
    /// The company's identity provider; `None`: people come in by what they have here.
    provider: Option<Arc<Provider>>,
    throttle: Arc<Throttle>,
    answering: Arc<Answering>,
    watching: Arc<Watching>,
}

impl Console {
    /// A console of this control plane.
    pub fn new(control: Control, proxy_urls: ProxyUrls, proxy_ca: ProxyCa, url: &str) -> Self {
        Self {
            control,
            proxy_urls,
            doors: Doors::default(),
            proxy_ca,
            url: url.into(),
            sign_up: false,
            provider: None,
            throttle: Arc::default(),
            answering: Arc::default(),
            watching: Arc::default(),
        }
    }

    /// Whether whoever comes may make an account. With an identity provider nobody does: it binds people by addresses that it
    /// has confirmed, and a password could be chosen here for an address that is somebody else's.
    fn lets_sign_up(&self) -> bool {
        self.sign_up && self.provider.is_none()
    }

    /// With an identity provider, asked by `ask`.
    #[must_use]
    pub fn with_provider(self, settings: OpenId, ask: Ask) -> Self {
        Self { provider: Some(Arc::new(Provider::new(settings, ask))), ..self }
    }
}

/// Every page. Who is not signed in sees those of [`pages::sign_in`] and what they are drawn with, and nothing else.
pub fn router(console: Console) -> Router {
    use pages::{
        account, alarms, app, connect, credentials, exposure, home, invited, members, openid, operator, passkeys,
        policy, route, routes, sign_in, tiers, tokens, traffic, you,
    };
    let open = Router::new()
        .route("/sign-in", get(sign_in::page).post(sign_in::enter))
        .route("/sign-in/code", post(sign_in::enter_code))
        .route("/sign-in/passkey", post(passkeys::enter))
        .route("/sign-in/passkey/ask", post(passkeys::ask))
        .route("/sign-in/openid", get(openid::begin))
        .route("/sign-in/openid/back", get(openid::back))
        .route("/sign-up", get(invited::sign_up_page).post(invited::sign_up))
        .route("/welcome/{token}", get(invited::welcome).post(invited::accept))
        .route("/assets/{file}", get(assets::file))
        .route("/favicon.ico", get(assets::icon));
    let closed = Router::new()
        .route("/", get(home::page))
        .route("/sign-out", post(sign_in::leave))
        .route("/you", get(you::page))
        .route("/you/password", post(you::set_password))
        .route("/you/sign-ins/{id}/end", post(you::end_sign_in))
        .route("/you/app", post(app::begin))
        .route("/you/app/set", post(app::set))
        .route("/you/app/remove", post(app::remove))
        .route("/you/passkeys", post(passkeys::add))
        .route("/you/passkeys/ask", post(passkeys::ask_new))
        .route("/you/passkeys/{id}/remove", post(passkeys::remove))
        .route("/welcome/{token}/join", post(invited::join))
        .route("/accounts", get(operator::accounts).post(operator::add_account))
        .route("/tiers", get(tiers::page).post(tiers::set))
        .route("/tiers/{tier}/remove", post(tiers::remove))
        .route("/accounts/{account}/tier", post(tiers::give))
        .route("/gateways", get(operator::gateways))
        .route("/audit", get(operator::audit))
        .route("/people", get(operator::people).post(operator::invite))
        .route("/people/{id}/remove", post(operator::remove_person))
        .route("/people/{id}/again", post(operator::let_in_again))
        .route("/a/{account}", get(account::page))
        .route("/a/{account}/letter", get(account::letter))
        .route("/a/{account}/answers", get(account::answers))
        .route("/a/{account}/ca.pem", get(account::ca))
        .route("/a/{account}/connect", get(connect::page))
        .route("/a/{account}/connect/credential", post(connect::make_credential))
        .route("/a/{account}/connect/test", post(connect::test))
        .route("/a/{account}/connect/calls", get(connect::calls))
        .route("/a/{account}/credentials", get(credentials::page).post(credentials::add))
        .route("/a/{account}/credentials/{username}/rotate", post(credentials::rotate))
        .route("/a/{account}/credentials/{username}/revoke", post(credentials::revoke))
        .route("/a/{account}/credentials/{username}/name", post(credentials::name))
        .route("/a/{account}/tokens", get(tokens::page).post(tokens::add))
        .route("/a/{account}/tokens/{id}/revoke", post(tokens::revoke))
        .route("/a/{account}/alarms", get(alarms::page).post(alarms::add))
        .route("/a/{account}/alarms/{id}/test", post(alarms::test))
        .route("/a/{account}/alarms/{id}/remove", post(alarms::remove))
        .route("/a/{account}/routes", get(routes::page))
        .route("/a/{account}/routes/new", get(routes::wizard).post(routes::add))
        .route("/a/{account}/routes/{domain}", get(route::show))
        .route("/a/{account}/routes/{domain}/check", get(route::check))
        .route("/a/{account}/routes/{domain}/url", post(route::set_url))
        .route("/a/{account}/routes/{domain}/remove", post(route::remove))
        .route("/a/{account}/routes/{domain}/request", post(route::request))
        .route("/a/{account}/policy", get(policy::page).post(policy::set))
        .route("/a/{account}/traffic", get(traffic::page))
        .route("/a/{account}/traffic/live", get(traffic::live))
        .route("/a/{account}/flows/{id}", get(traffic::flow))
        .route("/a/{account}/exposure", get(exposure::page))
        .route("/a/{account}/members", get(members::page).post(members::invite))
        .route("/a/{account}/members/{id}", post(members::set))
        .route("/a/{account}/invitations/{id}/take-back", post(members::take_back))
        .route_layer(middleware::from_fn_with_state(console.clone(), guard::signed_in));
    open.merge(closed)
        .fallback(pages::nothing)
        .method_not_allowed_fallback(pages::nothing)
        .layer(middleware::from_fn(guard::from_ourselves))
        .layer(middleware::from_fn(guard::headers))
        .with_state(console)
}
