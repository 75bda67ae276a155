//! Those for the web: to the echo, and over HTTPS to a site whose URL was typed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use super::Helper;
use crate::{
    console::gateway,
    gateway::Gateway,
    site::{HELLO, Site},
    tools::{both, clean, outcome, run, tool},
};

/// All that are run as they are shown.
pub(super) const RUN: [&str; 18] = [
    "curl-shield",
    "curl",
    "httpx",
    "requests",
    "aiohttp",
    "fetch",
    "undici",
    "axios",
    "http",
    "go",
    "ruby",
    "java",
    "java-shield",
    "php",
    "rust",
    "git-shield",
    "git",
    "agent",
];
/// What can't go to a URL that a test types: compiled before it, or an app of the user's own.
const FIXED: [&str; 2] = ["rust", "java-shield"];

/// Has the programs trust a site's CA, each in its own way.
fn trusting(command: &mut Command, site: &Site, store: &Path) {
    let ca = site.ca();
    for variable in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"] {
        command.env(variable, &ca);
    }
    let store = store.display();
    let options = format!("-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit");
    command.env("JDK_JAVA_OPTIONS", options);
    // PHP reads every file of these directories beside its own.
    let ini = site.directory().join("php");
    fs::create_dir_all(&ini).unwrap();
    fs::write(ini.join("trust.ini"), format!("curl.cainfo={}\n", ca.display())).unwrap();
    command.env("PHP_INI_SCAN_DIR", format!(":{}", ini.display()));
}

/// What Java has in the place of a PEM file.
fn trust_store(site: &Site) -> PathBuf {
    let store = site.directory().join("trust.p12");
    let mut keytool = tool("keytool");
    keytool.args(["-importcert", "-noprompt", "-alias", "site", "-storepass", "changeit", "-file"]).arg(site.ca());
    run(keytool.arg("-keystore").arg(&store));
    store
}

/// An app of a user's own: it asks twice, in Java's old way and in its new one.
const APP: &str = r#"
import java.io.*;
import java.net.*;
import java.net.http.*;

public class App {
    public static void main(String[] args) throws Exception {
        var url = URI.create("http://echo.moorgate.internal/");
        url.toURL().openConnection().getInputStream().transferTo(System.out);
        var client = HttpClient.newBuilder().proxy(ProxySelector.getDefault()).build();
        System.out.print(client.send(HttpRequest.newBuilder(url).build(), HttpResponse.BodyHandlers.ofString()).body());
    }
}
"#;

fn app_jar(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("App.java"), APP).unwrap();
    run(tool("javac").arg("App.java").current_dir(directory));
    run(tool("jar").args(["cfe", "app.jar", "App", "App.class"]).current_dir(directory));
}

/// A repository at `/git/hello.git` of the site.
fn repository(site: &Site) {
    let at = site.directory().join("git/hello.git");
    fs::create_dir_all(&at).unwrap();
    let git = |arguments: &[&str]| {
        let mut git = clean("git");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.com");
        }
        run(git.arg("--git-dir").arg(&at).args(arguments)).trim().to_owned()
    };
    git(&["init", "--bare", "-q"]);
    let tree = git(&["hash-object", "-t", "tree", "-w", "--stdin"]);
    let commit = git(&["commit-tree", "-m", "Hello", &tree]);
    git(&["update-ref", "refs/heads/main", &commit]);
}

#[test]
fn each_snippet_for_the_web_goes_where_its_page_says_by_the_gateway() {
    let (gateway, site) = (gateway(), Site::start());
    let helper = Helper::new(&gateway);
    let store = trust_store(&site);
    repository(&site);
    app_jar(&helper.directory.path().join("java-shield-echo"));
    thread::scope(|scope| {
        let all: Vec<_> =
            RUN.iter().map(|name| scope.spawn(|| try_one(&helper, &gateway, &site, &store, name))).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    let typed = gateway.flows().into_iter().filter(|flow| flow["target"] == *site.secure()).count();
    assert!(typed >= RUN.len() - FIXED.len(), "each of them came by the gateway: {typed}");
}

fn try_one(helper: &Helper<'_>, gateway: &Gateway, site: &Site, store: &Path, name: &str) {
    let is_git = name.starts_with("git");
    let product =
        if ["curl", "requests", "http", "go", "ruby", "java", "git"].contains(&name) { "Static" } else { "Shield" };
    if !is_git {
        let shown = helper.shown("web", name, "");
        let mut command = helper.command(name, "echo", &shown);
        let said = both(&outcome(&mut command));
        // axios asks for JSON, and is answered in it.
        let wanted = match name {
            "axios" => ["address: '127.0.0.".to_owned(), format!("product: '{product}'")],
            _ => ["You came from 127.0.0.".to_owned(), format!("through moorgate ({product}")],
        };
        assert!(wanted.iter().all(|wanted| said.contains(wanted)), "{name}: {said}");
    }
    if !FIXED.contains(&name) {
        let (path, answer) = if is_git { ("/git/hello.git", "refs/heads/main") } else { ("/hello", HELLO) };
        let url = format!("{}{path}", site.https());
        let shown = helper.shown("web", name, &url);
        assert!(shown.code.contains(&url), "{name}: {}", shown.code);
        let mut command = helper.command(name, "site", &shown);
        trusting(&mut command, site, store);
        let said = both(&outcome(&mut command));
        assert!(said.contains(answer.trim()), "{name} to {url}: {said}");
    }
    assert!(gateway.stderr().is_empty() || !gateway.stderr().contains("panicked"), "{name}");
}

#[test]
fn a_test_says_how_far_it_came_and_which_address_was_seen() {
    let site = Site::start();
    let setup = crate::gateway::Setup::default().env("MOORGATE_EGRESS_ADDRESSES", "127.0.0.2,127.0.0.3");
    let gateway = setup.env("SSL_CERT_FILE", site.ca().display().to_string()).start();
    let helper = Helper::new(&gateway);
    let ssh = crate::target::Target::new("127.0.0.1:0", |mut conn| {
        conn.send("SSH-2.0-test <b>\r\n");
        let _ = conn.head();
    });
    let strange = Site::start();
    gateway.cli(&["policy", "set", "default", "--deny", "*.example.net"]);
    let csrf = helper.browser.csrf();
    let left = "The other side saw 127.0.0.";
    for (to, with, target, said) in [
        ("web", "curl", String::new(), &["the other side saw 127.0.0."][..]),
        (
            "web",
            "curl",
            format!("{}/hello", site.https()),
            &[
                "took the connection",
                "A certificate for localhost",
                "This machine trusts it",
                "It answered 200",
                left,
                "/a/default/flows/",
            ],
        ),
        ("web", "curl", format!("{}/hello", site.http()), &["It answered 200", left]),
        (
            "web",
            "curl",
            format!("{}/nowhere", site.https()),
            &["It answered 404: that is the other side&#39;s own answer"],
        ),
        (
            "web",
            "curl",
            strange.https(),
            &["is not signed by a CA that this system trusts", "your app may trust other CAs"],
        ),
        ("web", "curl", format!("https://{}", ssh.address), &["does not speak TLS on this port"]),
        ("sftp", "sftp", ssh.address.to_string(), &["took the connection", "It says: SSH-2.0-test &#60;b&#62;", left]),
        ("database", "psql", site.plain(), &["took the connection", left]),
        ("database", "psql", "127.0.0.1:1".to_owned(), &["127.0.0.1:1 refused the connection", "What to do:"]),
        ("web", "curl", "api.example.net".to_owned(), &["rule 1 of account default", "What to do:"]),
        ("web", "curl", "a b".to_owned(), &["That is no host"]),
    ] {
        let fields = [("csrf", &*csrf), ("to", to), ("with", with), ("target", &target)];
        let page = helper.browser.post("/a/default/connect/test", &fields);
        for said in said {
            assert!(page.status == 200 && page.body.contains(said), "{target}: {said}: {}", page.body);
        }
    }
    let left = gateway.cli_json(&["credential", "list", "default"]);
    let names: Vec<_> = left.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["", "test from the console"], "one for all tests: {left}");
}
