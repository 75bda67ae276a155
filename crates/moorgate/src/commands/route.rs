//! `route` and `cert`.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use moorgate_api::{
    client::Client,
    view::{
        AddCertificate, AddRoute, Certificate, ChangeRoute, LOCAL_CA, Record, Route as RouteView, RouteOrigin, Time,
    },
};
use moorgate_contract::route::{Check, ClientRules, HostFor, Maintenance, Mode, OnHttp, PathOrigins};
use moorgate_control::{CertificateSource, HeaderChange, NewBasicUser, NewHeaderField, Password, RouteState};
use tokio::time::timeout;

use super::{CommandError, dns, gateway::Gateway};
use crate::{
    cli::route::{Cert, FieldArg, Listed, Route, Settings, Spec, Switch, listed},
    output::{self, Table, answer, bytes, day, end, shown, when},
    shell::quote,
};

/// How long a new route's origins are looked at before it is shown.
const NOTES: Duration = Duration::from_secs(2);

pub(super) async fn run(gateway: &Gateway, command: Route) -> Result<(), CommandError> {
    let client = &gateway.client;
    match command {
        Route::Add { domain, urls, mode, account, settings, json } => {
            let change = change(&urls, &settings, None)?;
            let route = client.add_route(&AddRoute { domain, mode: mode.into(), account, settings: change }).await?;
            let unreached = unreached(client, &route).await;
            answer(json, &route, || added(gateway, &route) + &unreached)
        }
        Route::List(json) => {
            let routes = client.routes(None).await?;
            answer(json, &routes, || list(&routes))
        }
        Route::Show { domain, json } => {
            let route = client.route(&domain).await?;
            answer(json, &route, || show(&route))
        }
        Route::Check { domain, json } => {
            let check = client.check_route(&domain).await?;
            answer(json, &check, || dns::check(&check))
        }
        Route::Set { domain, origins, settings, json } => {
            let before = client.route(&domain).await?;
            let change = change(&origins, &settings, Some(&before))?;
            if is_nothing(&change) {
                return Err(CommandError::NothingToSet { domain });
            }
            let route = client.change_route(&domain, &change).await?;
            let said = format!(
                "route {} changed; the next request or connection meets it, what is open stays\n",
                shown(&route.domain)
            );
            answer(json, &route, || said)
        }
        Route::Remove { domain } => {
            client.remove_route(&domain).await?;
            output::print(&format!("route {} removed; its open connections are cut\n", shown(&domain)))
        }
    }
}

/// What was given, as a change. Where one flag sets a part of something, the rest is as it was `before`.
fn change(urls: &[Spec], settings: &Settings, before: Option<&RouteView>) -> Result<ChangeRoute, CommandError> {
    let origins = (!urls.is_empty()).then(|| urls.iter().map(|spec| spec.0.clone()).collect());
    let check = (settings.check_every.is_some() || settings.check_path.is_some()).then(|| {
        let before = before.map(|route| route.check.clone()).unwrap_or_default();
        let every = settings.check_every.map_or(before.every, |every| every.0);
        let path = settings.check_path.clone().map_or(before.path, |path| (!path.is_empty()).then_some(path));
        // Without checks there is nothing to ask for; a path that was given all the same is refused.
        Check { every, path: path.filter(|_| every.is_some() || settings.check_path.is_some()) }
    });
    let (allow, deny) = (listed(&settings.allow_client, |net| net.0), listed(&settings.deny_client, |net| net.0));
    let clients = (allow.is_some() || deny.is_some()).then(|| {
        let before = before.map(|route| route.clients.clone()).unwrap_or_default();
        ClientRules { allow: allow.unwrap_or(before.allow), deny: deny.unwrap_or(before.deny) }
    });
    let maintenance = match (&settings.maintenance, settings.no_maintenance) {
        (None, false) => None,
        (Some(page), false) if !page.is_empty() => {
            Some(Some(Maintenance { page: page_or_file(page)?, retry_after: None }))
        }
        _ => Some(None),
    };
    let origin_ca = settings.origin_ca.as_deref().map(|path| if_named(path, read_text)).transpose()?;
    let users = settings.basic_auth_file.as_deref().map(|path| if_named(path, basic_users)).transpose()?;
    Ok(ChangeRoute {
        origins,
        paths: paths(settings),
        proxy_protocol: settings.proxy_protocol.map(Into::into),
        origin_ca,
        acme_origin: settings.acme_origin.clone().map(|origin| origin.0),
        rsa: settings.rsa.map(|switch| matches!(switch, Switch::On)),
        origin_host: settings.origin_host.map(Into::into),
        check,
        clients,
        on_http: settings.http.map(Into::into),
        maintenance,
        redirects: listed(&settings.redirect, |redirect| redirect.0),
        basic_auth: users.map(Option::unwrap_or_default),
        max_body: settings.max_body.map(|bytes| bytes.0),
        request_headers: edits(&settings.set_header, &settings.remove_header),
        response_headers: edits(&settings.set_response_header, &settings.remove_response_header),
    })
}

fn is_nothing(change: &ChangeRoute) -> bool {
    // What was not given is not written.
    serde_json::to_value(change).is_ok_and(|written| written.as_object().is_some_and(serde_json::Map::is_empty))
}

fn edits(set: &[Listed<FieldArg>], remove: &[Listed<String>]) -> Option<HeaderChange> {
    let (set, remove) = (
        listed(set, |field| NewHeaderField { name: field.0.name, value: Some(field.0.value) }),
        listed(remove, |name| name),
    );
    (set.is_some() || remove.is_some()).then_some(HeaderChange { set, remove })
}

/// The same prefix several times is one prefix with several origins.
fn paths(settings: &Settings) -> Option<Vec<PathOrigins>> {
    let given = listed(&settings.path, |path| path)?;
    let mut paths: Vec<PathOrigins> = Vec::new();
    for path in given {
        match paths.iter_mut().find(|known| known.prefix == path.prefix) {
            Some(known) => known.origins.push(path.origin),
            None => paths.push(PathOrigins { prefix: path.prefix, origins: vec![path.origin] }),
        }
    }
    Some(paths)
}

fn read_text(path: &Path) -> Result<String, CommandError> {
    fs::read_to_string(path).map_err(|source| CommandError::File { path: path.to_owned(), source })
}

/// `""` names no file.
fn if_named<T>(path: &Path, read: impl FnOnce(&Path) -> Result<T, CommandError>) -> Result<Option<T>, CommandError> {
    if path.as_os_str().is_empty() { Ok(None) } else { read(path).map(Some) }
}

fn page_or_file(page: &str) -> Result<String, CommandError> {
    let path = Path::new(page);
    // A name of a file that is not there must not become the page.
    let is_name = path.extension().is_some_and(|kind| kind == "html" || kind == "htm" || kind == "txt");
    if path.is_file() || (is_name && !page.contains(['<', ' ', '\n'])) { read_text(path) } else { Ok(page.to_owned()) }
}

fn basic_users(path: &Path) -> Result<Vec<NewBasicUser>, CommandError> {
    let text = read_text(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    // Half a secrets file must not take the password away.
    if lines.clone().next().is_none() {
        return Err(CommandError::NoUsers { path: path.to_owned() });
    }
    let user = |line: &str| {
        let (username, password) =
            line.split_once(':').ok_or_else(|| CommandError::NotUsers { path: path.to_owned() })?;
        Ok(NewBasicUser { username: username.to_owned(), password: Some(Password::given(password)) })
    };
    lines.map(user).collect()
}

/// The origins that traffic would not reach as things are. Adding a route before its origin is no mistake, so this is only said.
async fn unreached(client: &Client, route: &RouteView) -> String {
    // A name takes its time to resolve, and its owner may still be making it.
    let Ok(Ok(explained)) = timeout(NOTES, client.explain_route(&route.domain, None)).await else {
        return String::new();
    };
    let refused = explained.origins.iter().filter_map(|origin| Some((&origin.url, origin.refusal.as_ref()?)));
    refused
        .map(|(url, why)| format!("  note     {} is not reached: {}: {}\n", shown(url), why.code, shown(&why.said)))
        .collect()
}

/// What to do next, with commands that work on this machine.
fn added(gateway: &Gateway, route: &RouteView) -> String {
    let mut text = format!("route {} added: {} to {}\n", shown(&route.domain), route.mode.name(), urls(&route.origins));
    let name = route.domain.replace("*.", "any.");
    if route.state == RouteState::Pending {
        text += &pending(gateway, route);
    } else if let Some(listener) = gateway.inbound_tls() {
        let ca = match (is_local_cas(route), gateway.ca()) {
            (true, Some(ca)) => format!("--cacert {} ", quote(&ca)),
            _ => String::new(),
        };
        // A connection from one local address to itself comes from there.
        let proxied = if gateway.is_load_balancer(listener.ip()) { "--haproxy-protocol " } else { "" };
        let _ = writeln!(text, "  try it:  curl {ca}{proxied}--connect-to {name}:443:{listener} https://{name}/");
    }
    let (domain, flag) = (quote(&route.domain), &gateway.data_dir_flag);
    let _ = match (&route.certificate, route.mode) {
        (Some(of_another), Mode::Terminate) if !is_local_cas(route) => {
            writeln!(text, "  its certificate is that of {} you added", shown(&of_another.issuer))
        }
        (_, Mode::Terminate) => writeln!(
            text,
            "  its certificate is the local CA's until the CA of [acme] has issued one, or you add one:\n\
             \x20          moorgate cert add {domain} --chain FILE --key FILE{flag}"
        ),
        (_, Mode::Passthrough) => writeln!(
            text,
            "  clients see the origin's own certificate (curl wants its CA by --cacert, if it is no public one);\n\
             \x20 the gateway never reads what is inside\n\
             \x20 what a client would meet:  moorgate explain {domain}{flag}"
        ),
    };
    text
}

/// What brings its DNS here.
fn pending(gateway: &Gateway, route: &RouteView) -> String {
    let (domain, flag) = (quote(&route.domain), &gateway.data_dir_flag);
    let target = route.cname.as_deref().unwrap_or_default();
    let record = dns::line(&Record {
        name: route.domain.clone(),
        kind: "CNAME".to_owned(),
        ttl: None,
        value: target.to_owned(),
    });
    format!(
        "  it is served as soon as its DNS is here; set this at the DNS provider of {}:\n\
         \x20          {record}\n\
         \x20 what is seen of it, and what to set where no CNAME can stand:\n\
         \x20          moorgate route check {domain}{flag}\n",
        shown(&route.domain)
    )
}

fn is_local_cas(route: &RouteView) -> bool {
    route.certificate.as_ref().is_some_and(|certificate| certificate.issuer == LOCAL_CA)
}

fn urls(origins: &[RouteOrigin]) -> String {
    let url = |origin: &RouteOrigin| {
        let weight = if origin.weight == 1 { String::new() } else { format!(",weight={}", origin.weight) };
        format!("{}{weight}", shown(&origin.url))
    };
    origins.iter().map(url).collect::<Vec<_>>().join(" ")
}

fn list(routes: &[RouteView]) -> String {
    if routes.is_empty() {
        return "no routes yet; make one with: moorgate route add DOMAIN URL --mode terminate|passthrough\n".into();
    }
    let mut table = Table::new(["DOMAIN", "MODE", "STATE", "ACCOUNT", "ORIGINS"]);
    for route in routes {
        let cells = [route.domain.clone(), route.mode.name().into(), state(route).into(), route.account.clone()];
        table.row(cells.into_iter().chain([urls(&route.origins)]));
    }
    table.to_string()
}

fn state(route: &RouteView) -> &'static str {
    match route.state {
        RouteState::Active => "active",
        RouteState::Pending => "pending",
        RouteState::Released => "released",
        RouteState::Failed => "failed",
    }
}

fn show(route: &RouteView) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:16}  {}", shown(&value));
    };
    line("route", route.domain.clone());
    line("account", route.account.clone());
    let who = match route.mode {
        Mode::Terminate => "terminate: TLS ends at the gateway, which reads and acts",
        Mode::Passthrough => "passthrough: the origin keeps its key, and the gateway reads the name alone",
    };
    line("mode", who.into());
    line("state", route.problem.as_ref().map_or_else(|| state(route).into(), |problem| format!("failed: {problem}")));
    if let (Some(target), Some(dns)) = (&route.cname, route.dns) {
        line("CNAME", target.clone());
        let since = route.dns_since.map(|since| format!(" since {}", when(since))).unwrap_or_default();
        line("DNS", format!("{}{since}", dns.name()));
    }
    if let Some(certificate) = &route.certificate {
        let until = certificate.not_after.map(|at| format!(", expires {}", end(at))).unwrap_or_default();
        let whose =
            if certificate.issuer == LOCAL_CA { "the local CA's".into() } else { format!("of {}", certificate.issuer) };
        line("certificate", format!("{whose}{until}"));
    }
    let origins = |line: &mut dyn FnMut(&str, String), name: &str, origins: &[RouteOrigin]| {
        for origin in origins {
            let standing = origin.standing.name();
            line(name, format!("{} (weight {}): {standing}, {} open", origin.url, origin.weight, origin.open));
        }
    };
    origins(&mut line, "origin", &route.origins);
    for path in &route.paths {
        origins(&mut line, &format!("path {}", path.prefix), &path.origins);
    }
    if let Some(version) = route.proxy_protocol {
        line("proxy protocol", format!("{version:?}").to_lowercase());
    }
    if let Some(count) = route.origin_ca {
        line("origin CA", format!("{count} of the route's own; the system's are not trusted"));
    }
    if let Some(url) = &route.acme_origin {
        line("ACME origin", format!("{url} answers challenges on port 80"));
    }
    if route.rsa {
        line("RSA", "the CA issues a certificate with an RSA key too, for clients that know no ECDSA".into());
    }
    if route.origin_host == HostFor::Origin {
        line("origin host", "that of the forwarding URL".into());
    }
    if let Some(every) = route.check.every {
        let how = route.check.path.as_ref().map_or("a TCP connection".into(), |path| format!("GET {path}"));
        line("check", format!("every {every} s by {how}"));
    }
    actions(&mut line, route);
    text
}

/// The actions that are set, in the order in which they are taken.
fn actions(line: &mut dyn FnMut(&str, String), route: &RouteView) {
    let actions = route;
    let join = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if !actions.clients.allow.is_empty() {
        line("allow clients", join(&actions.clients.allow));
    }
    if !actions.clients.deny.is_empty() {
        line("deny clients", join(&actions.clients.deny));
    }
    if route.mode == Mode::Terminate {
        let http = if actions.on_http == OnHttp::Forward { "forwarded as it is" } else { "308 to https" };
        line("plain HTTP", http.into());
    }
    if let Some(maintenance) = &actions.maintenance {
        line("maintenance", format!("503 with a page of {}", bytes(maintenance.page.len() as u64)));
    }
    for redirect in &actions.redirects {
        line("redirect", format!("{} to {} ({})", redirect.from, redirect.to, redirect.status));
    }
    if !actions.basic_auth.is_empty() {
        line("basic auth", actions.basic_auth.join(" "));
    }
    if let Some(most) = actions.max_body {
        line("longest body", bytes(most));
    }
    let names = &actions.request_headers;
    if !names.remove.is_empty() {
        line("remove header", names.remove.join(" "));
    }
    if !names.set.is_empty() {
        line("set header", format!("{} (values are not shown)", names.set.join(" ")));
    }
    for name in &actions.response_headers.remove {
        line("from responses", format!("remove {name}"));
    }
    for field in &actions.response_headers.set {
        line("from responses", format!("{}: {}", field.name, field.value));
    }
}

pub(super) async fn certificates(client: &Client, command: Cert) -> Result<(), CommandError> {
    match command {
        Cert::Add { domain, chain, key, account, json } => {
            let certificate = AddCertificate { chain: read_text(&chain)?, key: read_text(&key)?, account };
            let added = client.add_certificate(&domain, &certificate).await?;
            let state = client.route(&added.domain).await.ok().map(|route| route.state);
            answer(json, &added, || {
                let (domain, issuer) = (shown(&added.domain), shown(&added.issuer));
                let then = match state {
                    Some(RouteState::Active) => "new connections are shown it from now on".to_owned(),
                    Some(_) => format!(
                        "it is shown as soon as its route is served; what that waits for: moorgate route check {domain}"
                    ),
                    None => format!(
                        "it waits for a route of exactly that domain: moorgate route add {domain} URL --mode terminate"
                    ),
                };
                format!("certificate for {domain} added: of {issuer}, expires {}; {then}\n", expires(&added))
            })
        }
        Cert::List(json) => {
            let all = client.certificates(None).await?;
            answer(json, &all, || list_certificates(&all))
        }
        Cert::Show { domain, json } => {
            let certificate = client.certificate(&domain).await?;
            answer(json, &certificate, || show_certificate(&certificate))
        }
        Cert::Renew { domain, json } => {
            let certificate = client.renew_certificate(&domain).await?;
            answer(json, &certificate, || {
                let domain = shown(&certificate.domain);
                format!(
                    "a certificate for {domain} is ordered; what comes of it: moorgate cert show {}\n",
                    quote(&domain)
                )
            })
        }
        Cert::Remove { domain } => {
            client.remove_certificate(&domain).await?;
            output::print(&format!(
                "certificate for {} removed; clients are shown the local CA's until there is another\n",
                shown(&domain)
            ))
        }
    }
}

fn list_certificates(all: &[Certificate]) -> String {
    if all.is_empty() {
        return "no certificates were added or ordered; terminate routes show the local CA's\n".into();
    }
    let mut table = Table::new(["DOMAIN", "ISSUER", "EXPIRES", "RENEWAL", "ACCOUNT"]);
    for one in all {
        let account = if one.account.is_empty() { "the gateways'" } else { &one.account };
        table.row([one.domain.clone(), one.issuer.clone(), expires(one), renewal(one), account.to_owned()]);
    }
    table.to_string()
}

fn expires(one: &Certificate) -> String {
    one.not_after.map_or_else(|| "–".to_owned(), end)
}

/// What becomes of it by itself.
fn renewal(one: &Certificate) -> String {
    let at = one.renew_at.map(end);
    match (one.source, &one.last_error) {
        (CertificateSource::Added, _) => "by hand".to_owned(),
        (_, Some(_)) => format!("failed; again {}", at.unwrap_or_else(|| "now".to_owned())),
        (CertificateSource::Ordered, None) => "ordered".to_owned(),
        (CertificateSource::Issued, None) => at.unwrap_or_else(|| "now".to_owned()),
    }
}

fn show_certificate(one: &Certificate) -> String {
    let span = |time: Time| day(time).to_string();
    let lines = [
        ("domain", one.domain.clone()),
        ("account", one.account.clone()),
        ("for", one.names.join(" ")),
        ("issuer", one.issuer.clone()),
        (
            "valid",
            one.not_before.map_or_else(|| "not yet".into(), |from| format!("from {} to {}", span(from), expires(one))),
        ),
        ("renewal", renewal(one)),
        ("key", if one.key.is_empty() { String::new() } else { format!("{} (sealed; it is never shown)", one.key) }),
        ("sha-256", one.fingerprint.clone()),
        ("with RSA", one.rsa_fingerprint.clone().unwrap_or_default()),
    ];
    let problem = one.last_error.iter().map(|problem| ("problem", problem.clone()));
    let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
    lines.chain(problem).map(|(name, value)| format!("{name:8}  {}\n", shown(&value))).collect()
}
