//! A DNS of a test's own, in a network namespace: Knot has the root and people's zones, BIND resolves for everybody, and the
//! zone of the targets is handed to the gateway.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Child,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    gateway::{Gateway, Setup, eventually},
    namespace::Namespace,
    tools::{clean, run, tool},
};

/// The zone of the targets.
pub const ZONE: &str = "edge.example.net";
/// Where the gateway is.
pub const GATEWAY: &str = "127.0.0.2";
/// BIND, as everybody's resolver.
pub const RESOLVER: &str = "127.0.0.1";
/// Knot.
const SERVER: &str = "127.0.0.10";

/// Knot, BIND and what is between them. All of it ends with the test.
pub struct World {
    knot: Child,
    named: Child,
    directory: TempDir,
    zones: Vec<(String, Vec<String>)>,
    serial: u32,
    pub namespace: Namespace,
}

impl Drop for World {
    fn drop(&mut self) {
        for server in [&mut self.knot, &mut self.named] {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl World {
    /// With the zone of the targets handed to the gateway.
    pub fn new() -> Self {
        let delegation = [format!("{ZONE}. NS ns1.{ZONE}."), format!("ns1.{ZONE}. A {GATEWAY}")];
        Self::with(&[("example.com", &[]), ("example.org", &[])], &delegation)
    }

    /// With these zones and their records, and these records in the root.
    pub fn with(zones: &[(&str, &[&str])], root: &[String]) -> Self {
        let namespace = Namespace::new();
        let directory = TempDir::new().unwrap();
        let zone = |(name, records): &(&str, &[&str])| {
            (name.to_string(), records.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let mut zones: Vec<_> = zones.iter().map(zone).collect();
        let handed =
            zones.iter().flat_map(|(name, _)| [format!("{name}. NS ns1.{name}."), format!("ns1.{name}. A {SERVER}")]);
        let root = handed.chain(root.iter().cloned()).collect();
        zones.push((String::new(), root));
        let at = directory.path();
        let declared: String =
            zones.iter().map(|(name, _)| format!("  - domain: {name}.\n    file: {name}.zone\n")).collect();
        fs::write(
            at.join("knot.conf"),
            format!(
                "server:\n    rundir: {at}\n    listen: {SERVER}@53\ndatabase:\n    storage: {at}\n\
                 template:\n  - id: default\n    storage: {at}\nlog:\n  - target: stderr\n    any: warning\nzone:\n{declared}",
                at = at.display()
            ),
        )
        .unwrap();
        fs::write(
            at.join("named.conf"),
            format!(
                "options {{ directory \"{at}\"; listen-on {{ {RESOLVER}; }}; listen-on-v6 {{ none; }}; recursion yes;\n\
                 dnssec-validation no; empty-zones-enable no; pid-file none; session-keyfile none; }};\n\
                 controls {{ }};\nzone \".\" {{ type hint; file \"hints\"; }};\n",
                at = at.display()
            ),
        )
        .unwrap();
        fs::write(at.join("hints"), format!(". 3600000 NS a.root.\na.root. 3600000 A {SERVER}\n")).unwrap();
        let mut world = Self::start(namespace, directory, zones);
        world.write();
        world.reload();
        world
    }

    fn start(namespace: Namespace, directory: TempDir, zones: Vec<(String, Vec<String>)>) -> Self {
        let serve = |program: &str, arguments: &[&str]| {
            let prefix = namespace.prefix();
            let mut server = clean(prefix[0]);
            server.args(&prefix[1..]).arg(program).args(arguments).current_dir(directory.path());
            let said = fs::File::create(directory.path().join(format!("{program}.log"))).unwrap();
            let server = server.stdout(said.try_clone().unwrap()).stderr(said).spawn();
            server.unwrap_or_else(|error| panic!("{program} is not installed ({error}): run `cargo xtask test`"))
        };
        for (name, _) in &zones {
            fs::write(directory.path().join(format!("{name}.zone")), zone_text(name, 1, &[])).unwrap();
        }
        let knot = serve("knotd", &["-c", "knot.conf"]);
        let named = serve("named", &["-f", "-c", "named.conf"]);
        let world = Self { knot, named, directory, zones, serial: 1, namespace };
        for server in [SERVER, RESOLVER] {
            let address = SocketAddr::new(server.parse().unwrap(), 53);
            let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
            eventually(server, || world.namespace.enter(connect));
        }
        world
    }

    /// Where its files are.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the records of a zone, and has it served.
    pub fn set(&mut self, zone: &str, records: &[&str]) {
        let of = self.zones.iter_mut().find(|(name, _)| name == zone).unwrap();
        of.1 = records.iter().map(ToString::to_string).collect();
        self.write();
        self.reload();
    }

    fn write(&mut self) {
        self.serial += 1;
        for (name, records) in &self.zones {
            fs::write(self.path(&format!("{name}.zone")), zone_text(name, self.serial, records)).unwrap();
        }
    }

    /// Knot reads its zones; it serves them when the serial is there.
    fn reload(&self) {
        kill(Pid::from_raw(self.knot.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
        for (name, _) in &self.zones {
            let serial = format!(" {} ", self.serial);
            let said = || self.dig(&[&format!("@{SERVER}"), &format!("{name}."), "SOA"]);
            eventually("a zone that is served", || said().contains(&serial).then_some(()));
        }
    }

    /// `kdig +short`, a record a line.
    pub fn dig(&self, arguments: &[&str]) -> String {
        run(self.tool("kdig").arg("+short").args(arguments))
    }

    /// `kdig`, all that it says.
    pub fn dig_long(&self, arguments: &[&str]) -> String {
        run(self.tool("kdig").args(arguments))
    }

    /// A program of the system's, inside.
    pub fn tool(&self, program: &str) -> std::process::Command {
        let prefix = self.namespace.prefix();
        let mut command = tool(prefix[0]);
        command.args(&prefix[1..]).arg(program);
        command
    }

    /// A gateway inside, with the zone of the targets.
    pub fn setup(&self) -> Setup {
        Setup::default()
            .behind(&self.namespace.prefix())
            .env("MOORGATE_DNS_ZONE", ZONE)
            .env("MOORGATE_DNS_RESOLVERS", RESOLVER)
            .env("MOORGATE_INBOUND_TLS", format!("{GATEWAY}:443"))
            .env("MOORGATE_INBOUND_HTTP", format!("{GATEWAY}:80"))
    }

    /// One that answers for the zone itself.
    pub fn gateway(&self) -> Gateway {
        self.setup().env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53")).start()
    }

    /// Where a name leads, for whoever asks the resolver.
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let said = self.dig(&[&format!("@{RESOLVER}"), name, "A"]);
        said.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// Short-lived, but for what says who answers: a resolver that has to find that out while it does loses its way.
fn zone_text(name: &str, serial: u32, records: &[String]) -> String {
    let server = if name.is_empty() { "a.root.".to_owned() } else { format!("ns1.{name}.") };
    let head = format!(
        "$ORIGIN {name}.\n$TTL 1\n@ SOA {server} host.{server} {serial} 3600 600 86400 1\n\
         @ 300 NS {server}\n{server} 300 A {SERVER}\n"
    );
    let ttl = if name.is_empty() { "$TTL 300\n" } else { "" };
    records.iter().fold(head + ttl, |text, record| text + record + "\n")
}
