//! The outbound helper's answers: for what is connected to and with what, the code, and what to know about it.
//!
//! Each is a file of its own, and those whose programs can be had are run by the tests, unchanged.

use crate::given::Destination;

/// What an app connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Web,
    Database,
    Files,
    Mail,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Web, Self::Database, Self::Files, Self::Mail];

    /// As it stands in a link.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Database => "database",
            Self::Files => "sftp",
            Self::Mail => "mail",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Web => "A web API",
            Self::Database => "A database",
            Self::Files => "SFTP or SSH",
            Self::Mail => "A mail server",
        }
    }

    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::Web => "A partner's or bank's HTTPS endpoint",
            Self::Database => "PostgreSQL, MySQL, MongoDB",
            Self::Files => "Files that are fetched or delivered",
            Self::Mail => "SMTP submission on port 587",
        }
    }

    /// A host that one could type.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Web => "api.example.com",
            Self::Database => "db.example.com:5432",
            Self::Files => "sftp.example.com",
            Self::Mail => "smtp.example.com",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One answer.
pub(crate) struct Snippet {
    /// As it stands in a link.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// Which product it goes by.
    pub(crate) product: &'static str,
    /// Its text, which goes to a stand-in.
    text: &'static str,
    /// The file that its text is put into; empty: it is a command.
    pub(crate) file: &'static str,
    /// Where it goes as it stands: a URL, or host and port; empty: that is the app's own business.
    stand_in: &'static str,
    /// What to know, in a sentence or two.
    pub(crate) note: &'static str,
}

impl Snippet {
    /// Its text, going there; `None`: to its stand-in.
    pub(crate) fn text_to(&self, to: Option<&Destination>) -> String {
        let Some(to) = to.filter(|_| !self.stand_in.is_empty()) else { return self.text.to_owned() };
        match self.stand_in.rsplit_once(':') {
            Some((host, port)) if !self.stand_in.contains("://") => {
                let authority = to.authority(port.parse().unwrap_or_default());
                self.text.replace(self.stand_in, &authority).replace(host, &to.host.to_string())
            }
            _ => self.text.replace(self.stand_in, &to.url()),
        }
    }

    /// The port that it goes to where none is named.
    pub(crate) fn port(&self) -> Option<u16> {
        self.stand_in.rsplit_once(':')?.1.parse().ok()
    }
}

const ECHO: &str = "http://echo.moorgate.internal/";
const REPOSITORY: &str = "https://git.example.com/repo.git";

macro_rules! snippet {
    ($name:literal, $title:literal, $kind:ident, $product:literal, $text:literal, $to:expr, $note:literal) => {
        snippet!($name, $title, $kind, $product, $text as "", $to, $note)
    };
    ($name:literal, $title:literal, $kind:ident, $product:literal, $text:literal as $file:literal, $to:expr, $note:literal) => {
        Snippet {
            name: $name,
            title: $title,
            kind: Kind::$kind,
            product: $product,
            text: include_str!(concat!("../snippets/", $text)),
            file: $file,
            stand_in: $to,
            note: $note,
        }
    };
}

/// All of them, those that most people want first.
#[rustfmt::skip]
pub(crate) const ALL: &[Snippet] = &[
    snippet!("curl-shield", "curl, by Shield", Web, "Shield", "curl-shield.sh", ECHO,
        "curl speaks TLS to the proxy: nobody on the way reads the password or where you go."),
    snippet!("curl", "curl, by Static", Web, "Static", "curl.sh", ECHO,
        "In the clear to the gateway: whoever is on the way reads the password and the destination's name."),
    snippet!("httpx", "Python httpx", Web, "Shield", "with_httpx.py" as "with_httpx.py", ECHO,
        "pip install httpx. Speaks TLS to the proxy and verifies it."),
    snippet!("requests", "Python requests", Web, "Static", "with_requests.py" as "with_requests.py", ECHO,
        "pip install requests. Through Shield, requests verifies the proxy only for https:// destinations: for Shield \
         use httpx, or the agent."),
    snippet!("aiohttp", "Python aiohttp", Web, "Shield", "with_aiohttp.py" as "with_aiohttp.py", ECHO,
        "pip install aiohttp (3.11 or newer), on Python 3.11 or newer: an older one can't speak TLS inside TLS, so \
         https:// destinations fail by Shield there; use Static or the agent. aiohttp knows one set of CAs for proxy and \
         destination, and drops an https:// proxy that it finds in HTTPS_PROXY (trust_env) without using it: give it as \
         here."),
    snippet!("fetch", "Node fetch", Web, "Shield", "fetch.mjs" as "fetch.mjs", ECHO,
        "npm install undici. Node's built-in fetch takes no proxy by itself; undici's is the same one and does, with TLS \
         to it."),
    snippet!("undici", "Node undici", Web, "Shield", "undici.mjs" as "undici.mjs", ECHO,
        "npm install undici. Everything that undici sends goes by the gateway after this; Node's own http and https don't."),
    snippet!("axios", "Node axios", Web, "Shield", "axios.mjs" as "axios.mjs", ECHO,
        "npm install axios http-proxy-agent https-proxy-agent. axios's own proxy setting can't tunnel: it is switched off, \
         and the agents speak TLS to the gateway."),
    snippet!("http", "Node http, https", Web, "Static", "http.cjs" as "http.cjs", ECHO,
        "npm install http-proxy-agent https-proxy-agent. For Shield give them MOORGATE_SHIELD_URL and { ca }, as with \
         axios."),
    snippet!("go", "Go net/http", Web, "Static", "main.go" as "main.go", ECHO,
        "An https:// proxy URL works too, where the system trusts the gateway's certificate."),
    snippet!("ruby", "Ruby Net::HTTP", Web, "Static", "ruby.rb" as "ruby.rb", ECHO,
        "Net::HTTP can't speak TLS to a proxy that it verifies: for Shield use the agent."),
    snippet!("java", "Java, by Static", Web, "Static", "Main.java" as "Main.java", ECHO,
        "Run it by: java Main.java. Java's clients can't speak TLS to a proxy: for Shield use the agent."),
    snippet!("java-shield", "Java, by Shield", Web, "Shield", "java.sh", "",
        "Java's clients can't speak TLS to a proxy; the agent can. HttpURLConnection, and what is built on it, takes these \
         properties by itself, java.net.http.HttpClient when it is built with .proxy(ProxySelector.getDefault())."),
    snippet!("php", "PHP curl", Web, "Shield", "php.php" as "call.php", ECHO,
        "By Static: MOORGATE_STATIC_URL, and nothing about a CA. PHP's own http:// streams can't speak TLS to a proxy."),
    snippet!("dotnet", ".NET HttpClient", Web, "Static", "dotnet.cs" as "Program.cs", ECHO,
        "From .NET 8 on an https:// proxy works too, where the system trusts the gateway's certificate; before, use the \
         agent for Shield."),
    snippet!("rust", "Rust reqwest", Web, "Shield", "reqwest.rs" as "main.rs", ECHO,
        "cargo add reqwest, and tokio with the features macros and rt-multi-thread. With rustls (the default since 0.13) \
         it verifies the proxy."),
    snippet!("git-shield", "git, by Shield", Web, "Shield", "git-shield.sh", REPOSITORY,
        "For https:// remotes; those of the form git@host:repo go by SSH: see SFTP or SSH."),
    snippet!("git", "git, by Static", Web, "Static", "git.sh", REPOSITORY,
        "For https:// remotes; those of the form git@host:repo go by SSH: see SFTP or SSH."),
    snippet!("agent", "Anything else, by the agent", Web, "Shield", "agent.sh", ECHO,
        "The agent gives the program a local proxy without a password, and speaks TLS to the gateway for it."),
    snippet!("psql", "PostgreSQL", Database, "Shield", "psql.sh", "db.example.com:5432",
        "Database drivers know no proxy. The agent opens a local port that leads to the database. host names the server \
         for TLS, hostaddr is where the agent listens."),
    snippet!("mysql", "MySQL, MariaDB", Database, "Shield", "mysql.sh", "db.example.com:3306",
        "Database drivers know no proxy. The agent opens a local port that leads to the database. To verify the server's \
         name, lead that name to 127.0.0.1 on the app's machine."),
    snippet!("mongodb", "MongoDB", Database, "Shield", "mongodb.sh", "db.example.com:27017",
        "directConnection keeps the driver from following the members of a replica set, which it can't reach by itself."),
    snippet!("sftp", "sftp, ssh, scp", Files, "Shield", "sftp.sh", "sftp.example.com:22",
        "HostKeyAlias keeps the server's own key in known_hosts. Put your own name there in the place of user."),
    snippet!("smtp", "SMTP, by curl", Mail, "Shield", "smtp.sh", "smtp.example.com:587",
        "Mail clients know no proxy with TLS. The agent opens a local port that leads to the mail server; STARTTLS goes on \
         to verify the server by its own name. Port 25 is closed unless a rule of the policy opens it; 587 is for submission."),
    snippet!("smtplib", "Python smtplib", Mail, "Shield", "with_smtplib.py" as "with_smtplib.py", "smtp.example.com:587",
        "smtplib knows no proxy: this one connects to where the agent listens, and verifies the server by its own name. Port \
         25 is closed unless a rule of the policy opens it; 587, with STARTTLS, is for submission."),
];

/// Where an app that runs elsewhere is given its environment: what to do there, with `VARIABLE` for the variable and
/// `VALUE` for its value.
pub(crate) const PLATFORMS: &[(&str, &str)] = &[
    ("Heroku", "heroku config:set 'VARIABLE=VALUE'"),
    ("Render", "Dashboard → your service → Environment → Add environment variable: VARIABLE, with the value VALUE"),
    ("Fly.io", "fly secrets set 'VARIABLE=VALUE'"),
    (
        "Vercel",
        "printf %s 'VALUE' | vercel env add VARIABLE production   (functions only; the edge runtime takes no proxy)",
    ),
    (
        "GitHub Actions",
        "gh secret set VARIABLE --body 'VALUE'   then, in the job,  env: {VARIABLE: \"${{ secrets.VARIABLE }}\"}",
    ),
    ("Docker", "Save the environment above as moorgate.env, then: docker run --env-file moorgate.env …"),
    (
        "Kubernetes",
        "Save the environment above as moorgate.env, then: kubectl create secret generic moorgate \
         --from-env-file=moorgate.env   and  envFrom: [{secretRef: {name: moorgate}}]",
    ),
];

impl Snippet {
    /// The variable with the proxy's URL that it reads.
    pub(crate) fn variable(&self) -> &'static str {
        let read =
            ["MOORGATE_STATIC_SOCKS_URL", "MOORGATE_SHIELD_SOCKS_URL", "MOORGATE_STATIC_URL", "MOORGATE_SHIELD_URL"];
        read.into_iter().find(|variable| self.text.contains(variable)).unwrap_or("MOORGATE_SHIELD_URL")
    }
}

/// The answer of this name.
pub(crate) fn named(name: &str) -> Option<&'static Snippet> {
    ALL.iter().find(|snippet| snippet.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_goes_to_the_host_that_was_typed() {
        let (web, other) = (Destination::parse("api.partner.example/v1").unwrap(), "db.partner.example:6000");
        let other = Destination::parse(other).unwrap().unwrap();
        for snippet in ALL.iter().filter(|snippet| !snippet.stand_in.is_empty()) {
            let to = if snippet.kind == Kind::Web { web.as_ref() } else { Some(&other) };
            let text = snippet.text_to(to);
            assert!(!text.contains("moorgate.internal") && !text.contains("example.com:"), "{text}");
            let wanted =
                if snippet.kind == Kind::Web { "https://api.partner.example/v1" } else { "db.partner.example" };
            assert!(text.contains(wanted) && snippet.text_to(None) == snippet.text, "{text}");
        }
        let text = named("psql").unwrap().text_to(Some(&other));
        assert!(text.contains("15432=db.partner.example:6000") && text.contains("host=db.partner.example "), "{text}");
        let v6 = Destination::parse("[2001:db8::1]").unwrap();
        assert!(named("mysql").unwrap().text_to(v6.as_ref()).contains("13306=[2001:db8::1]:3306"));
    }

    #[test]
    fn every_kind_has_an_answer_and_no_two_have_one_name() {
        for kind in Kind::ALL {
            assert!(ALL.iter().any(|snippet| snippet.kind == kind));
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        for snippet in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == snippet.name).count(), 1, "{}", snippet.name);
            assert!(snippet.text.ends_with('\n') && !snippet.text.contains("mg_"), "{}", snippet.name);
        }
    }
}
