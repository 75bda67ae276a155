//! The outbound helper's answers: for what is connected to and with what, the code, and what to know about it.
//!
//! Each is a file of its own, and those whose programs can be had are run by the tests, unchanged.

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
    pub(crate) text: &'static str,
    /// What to know, in a sentence or two.
    pub(crate) note: &'static str,
}

macro_rules! snippet {
    ($name:literal, $title:literal, $kind:ident, $product:literal, $file:literal, $note:literal) => {
        Snippet {
            name: $name,
            title: $title,
            kind: Kind::$kind,
            product: $product,
            text: include_str!(concat!("../snippets/", $file)),
            note: $note,
        }
    };
}

/// All of them, those that most people want first.
pub(crate) const ALL: &[Snippet] = &[
    snippet!(
        "curl-shield",
        "curl, by Shield",
        Web,
        "Shield",
        "curl-shield.sh",
        "curl speaks TLS to the proxy: nobody on the way reads the password or where you go."
    ),
    snippet!(
        "curl",
        "curl, by Static",
        Web,
        "Static",
        "curl.sh",
        "In the clear to the gateway: whoever is on the way reads the password and the destination's name."
    ),
    snippet!("httpx", "Python httpx", Web, "Shield", "with_httpx.py", "Speaks TLS to the proxy and verifies it."),
    snippet!(
        "requests",
        "Python requests",
        Web,
        "Static",
        "with_requests.py",
        "Through Shield, requests verifies the proxy only for https:// destinations; use httpx, or the agent."
    ),
    snippet!(
        "undici",
        "Node fetch, undici",
        Web,
        "Shield",
        "undici.mjs",
        "npm install undici. Node's built-in fetch takes no proxy by itself; this one does, with TLS to it."
    ),
    snippet!(
        "proxy-agent",
        "Node http, axios",
        Web,
        "Static",
        "proxy-agent.cjs",
        "npm install http-proxy-agent (https-proxy-agent for https:// destinations). axios takes it as httpAgent and \
         httpsAgent, with proxy: false."
    ),
    snippet!(
        "go",
        "Go net/http",
        Web,
        "Static",
        "main.go",
        "An https:// proxy URL works too, where the system trusts the gateway's certificate."
    ),
    snippet!(
        "ruby",
        "Ruby Net::HTTP",
        Web,
        "Static",
        "ruby.rb",
        "Ruby does not verify the certificate of a proxy that it speaks TLS to: for Shield use the agent."
    ),
    snippet!(
        "java",
        "Java",
        Web,
        "Shield",
        "Main.java.sh",
        "Java's clients can't speak TLS to a proxy; the agent can. java.net.http.HttpClient takes the properties when it is built with .proxy(ProxySelector.getDefault())."
    ),
    snippet!(
        "php",
        "PHP curl",
        Web,
        "Static",
        "php.php",
        "With CURLOPT_PROXY_CAINFO set to MOORGATE_CA, MOORGATE_SHIELD_URL works the same way."
    ),
    snippet!("dotnet", ".NET HttpClient", Web, "Static", "dotnet.cs", "For Shield run the app under the agent."),
    snippet!(
        "rust",
        "Rust reqwest",
        Web,
        "Shield",
        "reqwest.rs",
        "With a private CA add it by Certificate::from_pem and add_root_certificate."
    ),
    snippet!(
        "git",
        "git",
        Web,
        "Static",
        "git.sh",
        "For Shield: -c http.proxy=$MOORGATE_SHIELD_URL -c http.proxySSLCAInfo=$MOORGATE_CA."
    ),
    snippet!(
        "agent",
        "Anything else, by the agent",
        Web,
        "Shield",
        "agent.sh",
        "The agent gives the program a local proxy without a password, and speaks TLS to the gateway for it."
    ),
    snippet!(
        "psql",
        "PostgreSQL",
        Database,
        "Shield",
        "psql.sh",
        "Database drivers know no proxy. The agent opens a local port that leads to the database. host names the server for TLS, hostaddr is where the agent listens."
    ),
    snippet!(
        "mysql",
        "MySQL, MariaDB",
        Database,
        "Shield",
        "mysql.sh",
        "Database drivers know no proxy. The agent opens a local port that leads to the database. To verify the server's name, lead that name to 127.0.0.1 on the app's machine."
    ),
    snippet!(
        "mongodb",
        "MongoDB",
        Database,
        "Shield",
        "mongodb.sh",
        "directConnection keeps the driver from following the members of a replica set, which it can't reach by itself."
    ),
    snippet!(
        "sftp",
        "sftp, ssh, scp",
        Files,
        "Shield",
        "sftp.sh",
        "HostKeyAlias keeps the server's own key in known_hosts."
    ),
    snippet!(
        "smtp",
        "SMTP",
        Mail,
        "Shield",
        "smtp.sh",
        "Port 25 is closed for every account; 587 with STARTTLS is for submission."
    ),
];

/// Where an app that runs elsewhere is given its environment.
pub(crate) const PLATFORMS: &[(&str, &str)] = &[
    ("Heroku", "heroku config:set MOORGATE_SHIELD_URL=…"),
    ("Render", "Dashboard → your service → Environment → Add environment variable"),
    ("Fly.io", "fly secrets set MOORGATE_SHIELD_URL=…"),
    ("Vercel", "vercel env add MOORGATE_SHIELD_URL   (functions only; the edge runtime takes no proxy)"),
    (
        "GitHub Actions",
        "gh secret set MOORGATE_SHIELD_URL   then  env: MOORGATE_SHIELD_URL: ${{ secrets.MOORGATE_SHIELD_URL }}",
    ),
    ("Docker", "docker run --env-file moorgate.env …"),
    (
        "Kubernetes",
        "kubectl create secret generic moorgate --from-env-file=moorgate.env   then  envFrom: [{secretRef: {name: moorgate}}]",
    ),
];

/// The answer of this name.
pub(crate) fn named(name: &str) -> Option<&'static Snippet> {
    ALL.iter().find(|snippet| snippet.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
