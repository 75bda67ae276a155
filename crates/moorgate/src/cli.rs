//! The command line: every command of this version, with its arguments as types.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command as ClapCommand, FromArgMatches, Parser, Subcommand, ValueEnum,
    value_parser,
};
use clap_complete::Shell;
use moorgate_api::view::{PolicyRule, PolicyRules, Scope};
use moorgate_contract::{
    flow::FlowId,
    policy::{Effect, Matcher},
};
use thiserror::Error;

pub(crate) mod deployment;
mod report;
pub(crate) mod route;
mod tenant;

pub(crate) use report::{Audit, GatewayCommand, Usage};
pub(crate) use tenant::{Account, Alarm, Bounds, Credential, Moment, Tier};

use crate::{agent::AgentArgs, demo::DemoArgs, up::UpArgs};

/// A self-hostable static-IP gateway: fixed addresses both ways.
#[derive(Debug, Parser)]
#[command(name = "moorgate", version, max_term_width = 80)]
pub(crate) struct Cli {
    /// The gateway's data directory [default: $XDG_STATE_HOME/moorgate, else ~/.local/state/moorgate; when no gateway runs
    /// there, commands ask the one of /var/lib/moorgate]
    #[arg(long, global = true, env = "MOORGATE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands. All but `up`, `demo`, `agent`, `config`, `completions` and `man` ask a running gateway.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a gateway: data plane, API, embedded store
    Up(UpArgs),
    /// Measure who can read what, live on loopback; needs no gateway
    Demo(DemoArgs),
    /// Tenants
    #[command(subcommand)]
    Account(Account),
    /// Proxy usernames and passwords of an account
    #[command(subcommand)]
    Credential(Credential),
    /// Bearer tokens of the API
    #[command(subcommand)]
    Token(Token),
    /// Who is told of what is wrong in an account
    #[command(subcommand)]
    Alarm(Alarm),
    /// People who use the console
    #[command(subcommand)]
    Person(Person),
    /// Where an account's connections may go
    #[command(subcommand)]
    Policy(Policy),
    /// The addresses that connections leave from
    #[command(subcommand)]
    Egress(Egress),
    /// Apps behind the gateway: a public domain and where it leads
    #[command(subcommand)]
    Route(route::Route),
    /// Certificates of terminate routes: added, or issued by the CA of [acme]
    #[command(subcommand)]
    Cert(route::Cert),
    /// The zone in which routes have the names that their domains point at
    #[command(subcommand)]
    Dns(Dns),
    /// The quotas that accounts may have bought
    #[command(subcommand)]
    Tier(Tier),
    /// What accounts moved, by the hour
    Usage(Usage),
    /// Who changed what, from where
    #[command(subcommand)]
    Audit(Audit),
    /// The gateways on this store
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Look at everything that can be wrong: ports, addresses, DNS, clock, store, certificates
    Doctor(Json),
    /// Say what a connection would meet, step by step, without sending traffic
    Explain(Explain),
    /// Show one flow, its decision and what to do
    Why(Why),
    /// Show the latest 1,000 flows
    Log(Log),
    /// Make tiers, accounts and routes as a file says; shows what that changes
    Apply(deployment::Apply),
    /// Print tiers, accounts and routes as a file for apply
    Export,
    /// Keys that seal what is stored
    #[command(subcommand)]
    Secrets(deployment::Secrets),
    /// Write everything that is stored into one sealed file
    Backup(deployment::Backup),
    /// Put a backup into an empty store; the gateway must be stopped
    Restore(deployment::Restore),
    /// The gateway's file
    #[command(subcommand)]
    Config(Config),
    /// Help an application that cannot speak TLS to a proxy: a local port in front of the gateway
    Agent(AgentArgs),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// Whether to answer as JSON.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An argument that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unreadable {
    /// No address.
    #[error("{text:?} is no IP address")]
    Address { text: Box<str> },
    /// No span of time.
    #[error("write a number and a unit, such as 90s, 15m, 24h or 7d")]
    Duration,
    /// No time.
    #[error("write a span such as 24h or 90d, or a time such as 2027-01-31T00:00:00Z")]
    Moment,
    /// No kind of alarm.
    #[error("write quota, certificate, dns, origin, never_used or stopped")]
    AlarmKind,
    /// No size.
    #[error("write a number of bytes below 16 EiB, such as 1000000, 500MB or 20GiB")]
    Size,
    /// No target.
    #[error("write HOST:PORT, such as example.com:443 or [2001:db8::1]:443")]
    Target,
}

/// In whole units, from seconds to days.
pub(crate) fn duration(text: &str) -> Result<Duration, Unreadable> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).and_then(|at| text.split_at_checked(at));
    let (number, unit) = split.ok_or(Unreadable::Duration)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(Unreadable::Duration),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    seconds.map(Duration::from_secs).ok_or(Unreadable::Duration)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token, shown this once; without ACCOUNT an operator's
    Add {
        /// Whose
        account: Option<String>,
        /// What it may do
        #[arg(long, value_enum, default_value_t = ScopeArg::Write)]
        scope: ScopeArg,
        #[command(flatten)]
        json: Json,
    },
    /// List tokens
    List(Json),
    /// Revoke a token
    Revoke {
        /// As listed
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Person {
    /// Print a link by which somebody comes into the console, once and within a week
    Invite {
        /// Only whoever has this address; without it whoever has the link
        email: Option<String>,
        /// Into this account; without it as an operator
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// As what
        #[arg(long, value_enum, requires = "account")]
        role: Option<RoleArg>,
        #[command(flatten)]
        json: Json,
    },
    /// List people
    List(Json),
    /// Print a link by which somebody comes in again who has lost their password, app or passkeys
    Reset {
        /// Their address
        email: String,
        #[command(flatten)]
        json: Json,
    },
    /// Remove somebody, who is signed out everywhere
    Remove {
        /// Their address
        email: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleArg {
    Viewer,
    Member,
    Owner,
}

impl From<RoleArg> for moorgate_api::view::Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Member => Self::Member,
            RoleArg::Owner => Self::Owner,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScopeArg {
    Read,
    Write,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::Write => Self::Write,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Show an account's rules
    Show {
        /// Whose
        account: String,
        #[command(flatten)]
        json: Json,
    },
    /// Replace an account's rules as a whole; they are numbered as given, deny wins
    Set {
        /// Whose
        account: String,
        #[command(flatten)]
        rules: Rules,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        /// Cut open flows that the new rules refuse
        #[arg(long)]
        cut: bool,
        #[command(flatten)]
        json: Json,
    },
}

/// `--allow` and `--deny` in the order in which they were typed.
#[derive(Clone, Debug)]
pub(crate) struct Rules(pub(crate) PolicyRules);

const EFFECTS: [(&str, Effect, &str); 2] = [
    ("allow", Effect::Allow, "Let connections there pass: a name, *.name, an address or a CIDR"),
    ("deny", Effect::Deny, "Refuse connections there"),
];

impl Args for Rules {
    fn augment_args(command: ClapCommand) -> ClapCommand {
        EFFECTS.into_iter().fold(command, |command, (name, _, help)| {
            let parser = value_parser!(Matcher);
            command.arg(
                Arg::new(name)
                    .long(name)
                    .value_name("HOST[:PORT]")
                    .action(ArgAction::Append)
                    .value_parser(parser)
                    .help(help),
            )
        })
    }

    fn augment_args_for_update(command: ClapCommand) -> ClapCommand {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Rules {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rules = Vec::new();
        for (name, effect, _) in EFFECTS {
            let (indices, values) = (matches.indices_of(name), matches.get_many::<Matcher>(name));
            let given = indices.into_iter().flatten().zip(values.into_iter().flatten());
            rules.extend(given.map(|(index, matcher)| (index, PolicyRule { effect, matcher: matcher.clone() })));
        }
        rules.sort_by_key(|(index, _)| *index);
        Ok(Self(PolicyRules { rules: rules.into_iter().map(|(_, rule)| rule).collect() }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Egress {
    /// List egress addresses, whether each is there, and who leaves from it
    List(Json),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dns {
    /// Print the records to make, once, at the zone's DNS provider
    Records(Json),
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Outbound: on whose behalf. Alone: a domain that clients ask for
    #[arg(value_name = "ACCOUNT|DOMAIN")]
    pub(crate) account: String,
    /// Outbound: where to
    #[arg(value_name = "HOST:PORT")]
    pub(crate) target: Option<Target>,
    /// Outbound: by which of the account's credentials, whose own bounds are asked too
    #[arg(long, requires = "target", value_name = "USERNAME")]
    pub(crate) credential: Option<String>,
    /// Stop before the name is resolved
    #[arg(long, requires = "target")]
    pub(crate) no_dns: bool,
    /// The address that the client comes from
    #[arg(long, value_name = "ADDR")]
    pub(crate) client: Option<IpAddr>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// A host as typed, canonical or not, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl FromStr for Target {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(Unreadable::Target)?;
        let port = port.parse().map_err(|_| Unreadable::Target)?;
        // What is between the last colon of a bare IPv6 address and its end is no port.
        if host.is_empty() || (host.contains(':') && !host.ends_with(']')) {
            return Err(Unreadable::Target);
        }
        Ok(Self { host: host.into(), port })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The flow's id, as `moorgate log` prints it
    pub(crate) flow: FlowId,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Show the latest 10, then each flow as it ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only this account's
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a gateway's file without starting a gateway
    Check {
        /// The file
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests;
