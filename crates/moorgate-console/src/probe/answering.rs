//! Whether the proxies answer where apps are told to go: by their public name, each as its clients begin.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moorgate_contract::listener::{Listener, Product};
use moorgate_control::chain;
use moorgate_tls::{Looker, TrustRoots};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use crate::ProxyUrl;

/// How long each may take: somebody looks at the page.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what was found is told to whoever asks: the gateway does not dial itself for every page.
const FRESH: Duration = Duration::from_secs(5);

/// How one listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) product: &'static str,
    /// Scheme, host and port, as a client has them.
    pub(crate) place: String,
    pub(crate) answers: bool,
    pub(crate) said: String,
    /// What shows the same from elsewhere.
    pub(crate) command: String,
}

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Answering(Mutex<Option<(Instant, Arc<[Answer]>)>>);

impl Answering {
    /// How the listeners of these URLs are, now or a moment ago. `ca`: whether clients have to be told what to trust.
    pub(crate) async fn look(&self, urls: Vec<ProxyUrl>, ca: bool) -> Arc<[Answer]> {
        // Who comes meanwhile waits for what the first one finds.
        let mut last = self.0.lock().await;
        if let Some((at, found)) = &*last
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let tries: Vec<_> = urls.into_iter().map(|url| tokio::spawn(try_one(url, ca))).collect();
        let mut found = Vec::new();
        for one in tries {
            found.extend(one.await.ok().flatten());
        }
        let found: Arc<[Answer]> = found.into();
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

/// `None`: not a listener for apps.
async fn try_one(ProxyUrl { listener, url, .. }: ProxyUrl, ca: bool) -> Option<Answer> {
    let product = listener.product()?;
    let (scheme, rest) = url.split_once("://")?;
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let (host, port) = place.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().ok()?;
    let tls = product == Product::Shield;
    let work = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        if !tls {
            return Ok("It takes connections.".to_owned());
        }
        let looker = Looker::new(TrustRoots::System).map_err(|error| chain(&error))?;
        let look = looker.look(stream, host).await.map_err(|error| chain(&error))?;
        match look.problem {
            None => Ok("It takes connections and speaks TLS.".to_owned()),
            Some(_) if ca => {
                Ok("It takes connections and speaks TLS, for clients that have moorgate-ca.pem.".to_owned())
            }
            Some(problem) => Err(format!("it speaks TLS, and no client will trust it: {}", chain(&problem))),
        }
    };
    let found = timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("no answer within 5 seconds".to_owned()));
    Some(Answer {
        product: product.name(),
        place: format!("{scheme}://{place}"),
        answers: found.is_ok(),
        said: found.unwrap_or_else(|said| format!("It does not answer: {said}.")),
        command: command(listener, place, ca),
    })
}

/// What a shell anywhere can ask with. None of them signs in: being refused is the answer.
fn command(listener: Listener, place: &str, ca: bool) -> String {
    let with = |option: &str| if ca { format!("{option} moorgate-ca.pem ") } else { String::new() };
    match listener {
        Listener::OutboundHttp => format!("curl -sI -x http://{place} http://echo.moorgate.internal/"),
        Listener::OutboundHttps => {
            format!("curl -sI {}-x https://{place} http://echo.moorgate.internal/", with("--proxy-cacert"))
        }
        Listener::OutboundSocksTls => {
            format!("openssl s_client -brief {}-connect {place} </dev/null", with("-CAfile"))
        }
        _ => format!("curl -sv -x socks5h://{place} http://echo.moorgate.internal/"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn url(listener: Listener, scheme: &str, port: u16) -> ProxyUrl {
        ProxyUrl { variable: "X", listener, url: format!("{scheme}://U:P@127.0.0.1:{port}") }
    }

    #[tokio::test]
    async fn who_takes_connections_answers_and_who_does_not_says_why() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = open.local_addr().unwrap().port();
        let shut = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let answering = Answering::default();
        let urls = vec![url(Listener::OutboundHttp, "http", port), url(Listener::OutboundSocks, "socks5h", shut)];
        let found = answering.look(urls, false).await;
        assert!(found[0].answers && !found[1].answers, "{found:?}");
        assert!(found[1].said.contains("refused"), "{found:?}");
        assert_eq!((found[0].place.clone(), found[0].product), (format!("http://127.0.0.1:{port}"), "Static"));
        assert!(found.iter().all(|one| !one.command.contains("U:P")), "{found:?}");
        assert_eq!(answering.look(Vec::new(), false).await, found, "a moment ago is now");
    }
}
