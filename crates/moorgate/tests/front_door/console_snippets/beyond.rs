//! Those beyond the web, by the agent: databases, SFTP and mail, with the servers that people have, at the names that stand
//! in them or that were typed.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use moorgate_keys::LocalCa;
use tempfile::TempDir;
use test_postgres::Postgres;

use super::{Helper, Server};
use crate::{
    dns::Dns,
    gateway::{Setup, eventually},
    namespace::Namespace,
    tools::{both, clean, outcome, packages, python_server, run, script, tool},
};

/// All that are run as they are shown.
pub(super) const RUN: [&str; 6] = ["psql", "mysql", "mongodb", "sftp", "smtp", "smtplib"];

/// Where the servers are, and what they are shown to be by.
struct World {
    directory: TempDir,
    ca: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        // A server may read its files as somebody else.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ca = LocalCa::create("The servers' CA").unwrap();
        let names = ["db.example.com", "smtp.example.com"].map(|name| name.parse().unwrap());
        let issued = ca.issue(&names).unwrap();
        let at = |name: &str| directory.path().join(name);
        let der = |name: &str, der: &[u8]| {
            let path = at(name);
            fs::write(&path, der).unwrap();
            path
        };
        fs::write(at("ca.pem"), ca.cert_pem()).unwrap();
        let pem = |kind: &str, from: PathBuf, to: &str| {
            let mut openssl = tool("openssl");
            openssl.args([kind, "-inform", "DER", "-in"]).arg(from).arg("-out").arg(at(to));
            run(&mut openssl);
            at(to)
        };
        let chain = pem("x509", der("chain.der", &issued.chain[0]), "chain.pem");
        let key = pem("pkey", der("key.der", issued.key.secret_der()), "key.pem");
        Self { ca: at("ca.pem"), chain, key, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// Starts a server that listens at this port of loopback.
    fn serve(&self, command: &mut Command, port: u16) -> Server {
        let log = fs::File::create(self.path(&format!("{port}.log"))).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut server = Server(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually("a server", || {
            let ended = server.0.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?}: {}", self.said(port));
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
        });
        server
    }

    fn said(&self, port: u16) -> String {
        fs::read_to_string(self.path(&format!("{port}.log"))).unwrap()
    }

    fn maria(&self) -> Server {
        let data = self.path("maria");
        let mut make = tool("mariadb-install-db");
        make.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(make.arg(format!("--datadir={}", data.display())));
        let socket = self.path("maria.sock");
        let mut maria = clean("/usr/sbin/mariadbd");
        maria.args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--port=3306", "--skip-log-bin"]);
        maria.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
        let server = self.serve(&mut maria, 3306);
        let mut mysql = tool("mysql");
        mysql.arg("--no-defaults").arg("-S").arg(socket).args(["-u", "root", "-e"]);
        run(mysql.arg("create database app; create user app@'%'; grant all on app.* to app@'%'"));
        server
    }

    /// A server of SSH that knows a `user`, and this machine's settings for whoever goes to it. The machine's own files stay
    /// as they are: both run with others in their place.
    fn ssh(&self) -> Server {
        for name in ["host", "user"] {
            run(tool("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.path(name)));
        }
        let at = |name: &str| self.path(name).display().to_string();
        let public = |name: &str| fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        self.file("authorized", &public("user"));
        self.file("known", &format!("sftp.example.com {}", public("host")));
        self.file("ssh_config", &format!("IdentityFile {}\nUserKnownHostsFile {}\n", at("user"), at("known")));
        self.file("delivered.csv", "a,b\n");
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        self.file("passwd", &format!("{passwd}user:*:60123:60123::{}:/bin/sh\n", self.directory.path().display()));
        let config = format!(
            "ListenAddress 127.0.0.1\nPort 22\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nSubsystem sftp internal-sftp\n",
            at("host"),
            at("authorized")
        );
        self.file("sshd_config", &config);
        let script = format!(
            "mount --bind {} /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f {}",
            at("passwd"),
            at("sshd_config")
        );
        self.serve(clean("unshare").args(["-m", "sh", "-c", &script]), 22)
    }

    fn mail(&self) -> Server {
        let mut server = python_server(Path::new("-u"));
        server.args(["-m", "aiosmtpd", "-n", "-l", "127.0.0.1:587", "-c", "aiosmtpd.handlers.Debugging", "stdout"]);
        self.serve(server.arg("--tlscert").arg(&self.chain).arg("--tlskey").arg(&self.key), 587)
    }
}

#[test]
fn each_snippet_for_databases_files_and_mail_reaches_its_server_by_the_gateway() {
    // Its ports are nobody else's there.
    Namespace::new().enter(|| {
        let world = World::new();
        let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |question| {
            question.name.ends_with("example.com").then(|| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
        });
        let gateway = Setup::default().env("MOORGATE_RESOLVER_SERVERS", dns.address.to_string()).start();
        let helper = Helper::new(&gateway);
        let said = |kind: &str, name: &str, target: &str, wrap: &str, input: &str| {
            let shown = helper.shown(kind, name, target);
            let mut command = helper.command(name, "there", &shown);
            if name == "smtplib" {
                // As its first line says.
                assert!(shown.code.contains(&format!("--map 1587={target}:587 -- python3 with_smtplib.py")));
                let agent = ["agent", "--via", "shield", "--map", "1587=smtp.example.com:587", "--"];
                command = behind(&agent, command);
            }
            if !wrap.is_empty() {
                command = wrapped(wrap, command);
            }
            let input = world.file("input", input);
            command.stdin(fs::File::open(input).unwrap()).env("PGSSLROOTCERT", &world.ca);
            command.env("CURL_CA_BUNDLE", &world.ca).env("SSL_CERT_FILE", &world.ca);
            fs::write(helper.directory.path().join(format!("{name}-there/mail.txt")), "Subject: By curl\r\n\r\nHi\r\n")
                .unwrap();
            let done = outcome(&mut command);
            assert!(done.status.success(), "{name}: {}", both(&done));
            both(&done)
        };

        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let postgres = Postgres::start_with_tls(&read(&world.chain), &read(&world.key));
        postgres.sql("postgres", "create role app login");
        postgres.sql("postgres", "create database app owner app");
        let target = format!("db.example.com:{}", postgres.port());
        let asked = said("database", "psql", &target, "", "select 'I am ' || current_user;\n");
        assert!(asked.contains("I am app"), "{asked}");

        let _maria = world.maria();
        let asked = said("database", "mysql", "db.example.com", "", "select concat('I am ', current_user());\n");
        assert!(asked.contains("I am app@%"), "{asked}");

        let _ssh = world.ssh();
        let wrap = format!("mount --bind {} /etc/ssh/ssh_config", world.path("ssh_config").display());
        let listed = said("sftp", "sftp", "sftp.example.com", &wrap, "ls\n");
        assert!(listed.contains("delivered.csv"), "{listed}: {}", world.said(22));

        let _mail = world.mail();
        said("mail", "smtp", "smtp.example.com", "", "");
        said("mail", "smtplib", "smtp.example.com", "", "");
        let mails = eventually("both mails", || Some(world.said(587)).filter(|said| said.contains("By the gateway")));
        assert!(mails.contains("Subject: By curl"), "{mails}");

        // Debian has no MongoDB: a script stands in for the server.
        let _mongo = world.serve(python_server(&script("serve_mongo.py")).arg("27017"), 27017);
        let bin = helper.directory.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let (mongosh, home) = (packages().join("node_modules/.bin/mongosh"), bin.join("home"));
        fs::create_dir_all(&home).unwrap();
        let wrapper = format!("#!/bin/sh\nHOME={} exec node {} \"$@\"\n", home.display(), mongosh.display());
        fs::write(bin.join("mongosh"), wrapper).unwrap();
        fs::set_permissions(bin.join("mongosh"), fs::Permissions::from_mode(0o755)).unwrap();
        let pong = said("database", "mongodb", "db.example.com", "", "db.runCommand({ ping: 1 }).ok + 41\n");
        assert!(pong.contains("Using Mongosh:") && pong.contains("> 42"), "{pong}");

        for (target, listener) in [
            (&*target, "outbound_https"),
            ("db.example.com:3306", "outbound_https"),
            ("sftp.example.com:22", "outbound_https"),
            ("smtp.example.com:587", "outbound_https"),
            ("db.example.com:27017", "outbound_https"),
        ] {
            gateway.wait_flow(|flow| flow["target"] == target && flow["listener"] == listener);
        }
    });
}

/// A command, started by the agent.
fn behind(agent: &[&str], command: Command) -> Command {
    let mut whole = tool("moorgate");
    whole.args(agent);
    moved(whole, command)
}

/// A command with something done before it that only it sees.
fn wrapped(first: &str, command: Command) -> Command {
    let mut whole = tool("unshare");
    whole.args(["-m", "sh", "-c", &format!("{first} && exec \"$@\""), "sh"]);
    moved(whole, command)
}

fn moved(mut whole: Command, command: Command) -> Command {
    whole.arg(command.get_program()).args(command.get_args());
    whole.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    whole
}
