//! What `up` prints: on a first start everything one needs to try it, later two lines.
//!
//! Every command in it works pasted unchanged into another shell in the same directory. Passwords are shown on a terminal
//! only, and shortened.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    time::Instant,
};

use moorgate_contract::{
    exposure::{Content, Exposure},
    limits::Limits,
    listener::{Listener, Product},
};
use moorgate_control::Start;

use super::{bind::Addresses, files::console_url};
use crate::{
    config::{Config, Profile, default_data_dir},
    output,
    proxy_urls::{DEFAULT_ENV, ProxyUrls, VARIABLES},
    shell::{data_dir_flag, quote, tilde},
};

/// Room for a proxy URL of usual length, in columns.
const URL: usize = 47;

/// Prints it. A reader that is gone is no reason to stop.
pub(super) fn print(
    config: &Config,
    addresses: &Addresses,
    start: &Start,
    urls: Option<&ProxyUrls>,
    link: Option<&str>,
    began: Instant,
) {
    let terminal = io::stdout().is_terminal();
    let page = Page { config, addresses, start, urls, link, terminal, bold: output::colour() };
    let text = if start.first { page.first(began) } else { page.again(began) };
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

/// Says that a stop was asked for, to whoever pressed Ctrl-C.
pub(super) fn stopping(open: usize, limits: &Limits) {
    if !io::stdout().is_terminal() {
        return;
    }
    let what = match open {
        0 => "nothing is open".to_owned(),
        open => format!("{open} open, with {} s to finish; Ctrl-C again cuts them", limits.drain.as_secs()),
    };
    // Under the "^C" of the terminal.
    let _ = writeln!(io::stdout(), "\nstopping: {what}");
}

struct Page<'a> {
    config: &'a Config,
    addresses: &'a Addresses,
    start: &'a Start,
    urls: Option<&'a ProxyUrls>,
    /// By which the first operator comes into the console.
    link: Option<&'a str>,
    terminal: bool,
    bold: bool,
}

impl Page<'_> {
    fn profile(&self) -> &'static str {
        match self.config.profile {
            Profile::File => "production profile (--config)",
            Profile::Loopback if self.config.is_reachable_from_outside() => {
                "loopback profile (no --config), opened by the environment"
            }
            Profile::Loopback => "loopback profile (no --config): nothing outside this machine can connect",
        }
    }

    fn first(&self, began: Instant) -> String {
        let created = match &self.start.created_account {
            Some((account, _)) => format!("store, local CA, account \"{account}\", 1 credential"),
            None => "store, local CA, operator.token".to_owned(),
        };
        let mut text = format!(
            "moorgate {}   {}\n\n  created   {}   {created}\n  ready in  {} ms\n\n",
            env!("CARGO_PKG_VERSION"),
            self.profile(),
            tilde(&self.config.data_dir),
            began.elapsed().as_millis(),
        );
        text += &self.degraded();
        text += &self.outbound();
        text += &self.try_it();
        text += &self.inbound();
        text += &self.console();
        text += &self.notes();
        text + "Ctrl-C drains. Flows follow as they end:\n"
    }

    fn again(&self, began: Instant) -> String {
        let Start { accounts, routes, snapshot_version, .. } = self.start;
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (accounts, routes) = (count(*accounts, "account"), count(*routes, "route"));
        let urls = if self.urls.is_some() { "proxy URLs: default.env   " } else { "" };
        format!(
            "moorgate {}   {}\n{}{}: {accounts}, {routes}, snapshot {snapshot_version}\n{}ready in {} ms   {urls}console: {}/\n",
            env!("CARGO_PKG_VERSION"),
            self.profile(),
            self.degraded(),
            tilde(&self.config.data_dir),
            self.listening(),
            began.elapsed().as_millis(),
            self.api(),
        )
    }

    /// What a command needs to find this gateway.
    fn flag(&self) -> String {
        data_dir_flag(&self.config.data_dir, default_data_dir(&|name| std::env::var(name).ok()).as_deref())
    }

    fn api(&self) -> String {
        console_url(self.config, self.addresses)
    }

    fn console(&self) -> String {
        let (head, api) = (self.head("CONSOLE"), format!("{}        {}/api/v1\n\n", self.head("API"), self.api()));
        match self.link {
            Some(link) => format!("{head}    your way in, once and within a week:\n  {link}\n\n{api}"),
            None => {
                let invite = format!("{}person invite{}", binary(), self.flag());
                format!("{head}    {}/   a way in for an operator: {invite}\n\n{api}", self.api())
            }
        }
    }

    /// Where traffic is listened for, a line for each product.
    fn listening(&self) -> String {
        let mut text = String::new();
        for product in [Some(Product::Static), Some(Product::Shield), None] {
            let words = |listener: &Listener| {
                let words = listener.words();
                words.split_once(' ').map_or(words, |(_direction, rest)| rest)
            };
            let listeners = self.addresses.traffic.iter().filter(|(own, _)| own.product() == product);
            let bound: Vec<_> =
                listeners.map(|(listener, address)| format!("{address} ({})", words(listener))).collect();
            if !bound.is_empty() {
                let name = product.map_or("inbound", Product::name);
                text += &format!("  {name:<7}  {}\n", bound.join(", "));
            }
        }
        text
    }

    fn degraded(&self) -> String {
        self.start
            .degraded
            .as_ref()
            .map(|why| format!("  warning  the store is down ({why}); serving the sealed snapshot\n"))
            .unwrap_or_default()
    }

    fn head(&self, word: &str) -> String {
        if self.bold { format!("\x1b[1m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// The proxy URLs, each with what the wire to us can read.
    fn outbound(&self) -> String {
        let Some(urls) = self.urls else {
            let dir = self.flag();
            return format!(
                "{}   give an app its proxy URLs\n  {bin}account add acme{dir}\n  {bin}credential add acme{dir}\n\n",
                self.head("OUTBOUND"),
                bin = binary(),
            );
        };
        // In a pipe or a journal not even the beginning of a password.
        let shown: Vec<_> =
            urls.shown().map(|(variable, url)| (variable, if self.terminal { url } else { hide(&url) })).collect();
        let width = shown.iter().map(|(_, url)| url.chars().count()).max().unwrap_or(0).max(URL);
        let title = "  give your app one of these";
        let mut text = format!("{} {title:<width$}    the wire to us can read\n", self.head("OUTBOUND"));
        for (variable, url) in shown {
            let Some((_, listener, _)) = VARIABLES.iter().find(|(own, ..)| *own == variable) else { continue };
            let product = listener.product().map_or("", |product| product.name());
            let first_of_product = listener.protocol() == "http";
            let readable = Exposure::outbound(*listener, Content::Tls).wire_to_gateway;
            text += &format!("  {:<7}  {url:<width$}  {readable}\n", if first_of_product { product } else { "" });
        }
        text + &format!(
            "  {}, in full, are in {} (only you can read it).\n\n",
            if urls.shown().count() == VARIABLES.len() { "All four" } else { "They" },
            tilde(&self.config.data_dir.join(DEFAULT_ENV))
        )
    }

    fn try_it(&self) -> String {
        if self.urls.is_none() {
            return String::new();
        }
        // Shells split what they put in for a bare variable.
        let directory = self.config.data_dir.display().to_string();
        let ca = if quote(&directory) == directory { "$MOORGATE_CA" } else { "\"$MOORGATE_CA\"" };
        format!(
            "{}     no internet needed; echo.moorgate.internal is built in\n\
             \x20 set -a; . {}; set +a\n\
             \x20 curl -x $MOORGATE_STATIC_URL        http://echo.moorgate.internal/\n\
             \x20 curl -x $MOORGATE_STATIC_SOCKS_URL  http://echo.moorgate.internal/\n\
             \x20 curl -x $MOORGATE_SHIELD_URL --proxy-cacert {ca}  http://echo.moorgate.internal/\n\
             \x20 {}agent --via shield-socks -- curl  http://echo.moorgate.internal/\n\
             \x20                                     (curl can't speak SOCKS over TLS; the agent can)\n\n",
            self.head("TRY IT"),
            tilde(&self.config.data_dir.join(DEFAULT_ENV)),
            binary(),
        )
    }

    fn inbound(&self) -> String {
        let bound = |listener| {
            self.addresses.of(listener).map(|address: SocketAddr| address.to_string()).collect::<Vec<_>>().join(", ")
        };
        let open: Vec<_> = [(Listener::InboundTls, "TLS"), (Listener::InboundHttp, "HTTP")]
            .map(|(listener, words)| (bound(listener), words))
            .into_iter()
            .filter(|(bound, _)| !bound.is_empty())
            .map(|(bound, words)| format!("{bound} ({words})"))
            .collect();
        if open.is_empty() {
            return String::new();
        }
        let shared = if bound(Listener::InboundTls).is_empty() { "" } else { "; Static and Shield share the TLS port" };
        let dir = self.flag();
        let bin = binary();
        format!(
            "{}    {}{shared}\n\
             \x20 {bin}route add app.localhost  http://127.0.0.1:3000 --mode terminate{dir}\n\
             \x20 {bin}route add bank.localhost tls://127.0.0.1:4443  --mode passthrough{dir}\n\n",
            self.head("INBOUND"),
            open.join(", ")
        )
    }

    fn notes(&self) -> String {
        let mut notes = Vec::new();
        if self.config.profile == Profile::Loopback {
            notes.push("loopback destinations are allowed in this profile; in production they are refused");
        }
        if self.config.egress.is_empty() {
            notes.push("no [egress] addresses set: connections leave from whatever the kernel picks");
        }
        let end = if notes.is_empty() { "" } else { "\n" };
        notes.iter().map(|note| format!("  note  {note}\n")).collect::<String>() + end
    }
}

/// How to call this very binary again, with a space behind it.
fn binary() -> String {
    format!("{} ", quote(&std::env::args().next().unwrap_or_else(|| "moorgate".to_owned())))
}

/// `scheme://user:…@host:port`.
fn hide(url: &str) -> String {
    let Some((before, place)) = url.rsplit_once('@') else { return url.to_owned() };
    let Some((user, _)) = before.rsplit_once(':') else { return url.to_owned() };
    format!("{user}:…@{place}")
}

#[cfg(test)]
mod tests;
