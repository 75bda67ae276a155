//! A CA of a test's own: Pebble, in the world of its DNS, which looks at whatever that says.

use std::{fs, net::TcpStream, process::Child, time::Duration};

use moorgate_keys::LocalCa;

use super::world::{RESOLVER, World};
use crate::{
    gateway::{Setup, eventually},
    tools::{clean, run},
};

/// Where it is.
pub const PEBBLE: &str = "127.0.0.20";

/// Pebble. Ends with the test.
pub struct Pebble {
    child: Child,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pebble {
    /// Strict, and refuses so many of a hundred nonces. More settings: JSON, with a comma at its end.
    pub fn start(world: &World, bad_nonces: u32, more: &str) -> Self {
        Self::start_with(world, bad_nonces, more, ("PEBBLE_VA_NOSLEEP", "1"))
    }

    /// One that takes up to so many seconds to look.
    pub fn slow(world: &World, seconds: u32) -> Self {
        Self::start_with(world, 0, "", ("PEBBLE_VA_SLEEPTIME", &seconds.to_string()))
    }

    fn start_with(world: &World, bad_nonces: u32, more: &str, sleep: (&str, &str)) -> Self {
        let path = |name: &str| world.path(name).display().to_string();
        if !world.path("pebble.json").exists() {
            let ca = LocalCa::create("The CA's own CA").unwrap();
            let shown = ca.issue(&[PEBBLE.parse().unwrap()]).unwrap();
            let pem = |label: &str, der: &[u8]| pem_of(label, der);
            let chain: String = shown.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
            fs::write(path("pebble.pem"), chain).unwrap();
            fs::write(path("pebble.key"), pem("PRIVATE KEY", shown.key.secret_der())).unwrap();
            fs::write(path("pebble-ca.pem"), ca.cert_pem()).unwrap();
            let config = format!(
                "{{\"pebble\": {{{more} \"listenAddress\": \"{PEBBLE}:14000\", \"managementListenAddress\": \"{PEBBLE}:15000\",
                \"certificate\": \"{}\", \"privateKey\": \"{}\", \"httpPort\": 80, \"tlsPort\": 443,
                \"ocspResponderURL\": \"\"}}}}",
                path("pebble.pem"),
                path("pebble.key"),
            );
            fs::write(path("pebble.json"), config).unwrap();
        }
        let prefix = world.namespace.prefix();
        let mut pebble = clean(prefix[0]);
        pebble.args(&prefix[1..]).args(["pebble", "-strict", "-dnsserver", &format!("{RESOLVER}:53"), "-config"]);
        pebble.arg(path("pebble.json")).env(sleep.0, sleep.1);
        pebble.env("PEBBLE_WFE_NONCEREJECT", bad_nonces.to_string()).env("PEBBLE_AUTHZREUSE", "0");
        let said = fs::OpenOptions::new().create(true).append(true).open(path("pebble.log")).unwrap();
        let child = pebble.stdout(said.try_clone().unwrap()).stderr(said).spawn();
        let pebble = Self { child: child.expect("pebble is installed: run `cargo xtask test`") };
        let address = format!("{PEBBLE}:14000").parse().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
        eventually("Pebble", || world.namespace.enter(connect));
        pebble
    }

    /// What it has said of its work.
    pub fn said(&self, world: &World) -> String {
        fs::read_to_string(world.path("pebble.log")).unwrap()
    }

    /// The root of what it issues, as a file.
    pub fn root(&self, world: &World) -> String {
        let path = world.path("root.pem").display().to_string();
        let mut curl = world.tool("curl");
        curl.args(["-sSf", "--cacert"]).arg(world.path("pebble-ca.pem")).args(["-o", &path]);
        run(curl.arg(format!("https://{PEBBLE}:15000/roots/0")));
        path
    }
}

/// A gateway that orders from Pebble.
pub fn with_ca(world: &World, setup: Setup) -> Setup {
    let trust = world.path("pebble-ca.pem").display().to_string();
    setup.env("MOORGATE_ACME_DIRECTORY", format!("https://{PEBBLE}:14000/dir")).env("MOORGATE_ACME_TRUST", trust)
}

fn pem_of(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
