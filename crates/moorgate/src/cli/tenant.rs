//! The arguments of `account`, `alarm`, `credential` and `tier`.

use std::{net::IpAddr, str::FromStr, time::Duration};

use clap::{ArgGroup, Args, Subcommand};
use ipnet::IpNet;
use jiff::Timestamp;
use moorgate_api::view::{AlarmKind, Quotas, Time};

use super::{Json, Rules, Unreadable, duration, route::IpNetArg};

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Make an account
    Add {
        /// a-z, 0-9 and -
        name: String,
        #[command(flatten)]
        json: Json,
    },
    /// List accounts
    List(Json),
    /// Show an account
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        json: Json,
    },
    /// Change an account
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["tier", "egress"]))]
    Set {
        /// Its name
        name: String,
        /// Its quotas, by the name of a tier (moorgate tier list); "" for none
        #[arg(long, value_name = "T")]
        tier: Option<String>,
        /// One or two of the gateway's egress addresses; "" for the gateway's first two
        #[arg(long, value_name = "A,B")]
        egress: Option<EgressList>,
        #[command(flatten)]
        json: Json,
    },
    /// Remove an account with all it has; its open flows are cut
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alarm {
    /// Have an account's alarms told to an https:// URL, whose signing secret is shown this once, or to an email address
    Add {
        /// Whose
        account: String,
        /// https://… or you@example.com
        receiver: String,
        /// Of what: quota, certificate, dns, origin, never_used, stopped; repeat for several. Without it: everything
        #[arg(long = "kind", value_name = "KIND", value_parser = alarm_kind)]
        kinds: Vec<AlarmKind>,
        #[command(flatten)]
        json: Json,
    },
    /// List an account's receivers, with what became of the last try at each
    List {
        /// Whose
        account: String,
        #[command(flatten)]
        json: Json,
    },
    /// Remove a receiver
    Remove {
        /// Whose
        account: String,
        /// As listed
        id: String,
    },
    /// Send a test now, and show what became of it
    Test {
        /// Whose
        account: String,
        /// As listed
        id: String,
        #[command(flatten)]
        json: Json,
    },
}

fn alarm_kind(text: &str) -> Result<AlarmKind, Unreadable> {
    let text = text.replace('-', "_");
    moorgate_control::AlarmKind::from_name(&text).map(AlarmKind::from).ok_or(Unreadable::AlarmKind)
}

/// Addresses with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EgressList(pub(crate) Vec<IpAddr>);

impl FromStr for EgressList {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let addresses = parts.map(|part| part.parse().map_err(|_| Unreadable::Address { text: part.into() }));
        addresses.collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Credential {
    /// Make a credential; its password is shown this once
    Add {
        /// Whose
        account: String,
        #[command(flatten)]
        bounds: Bounds,
        #[command(flatten)]
        json: Json,
    },
    /// Change a credential, its password aside; what is given replaces what was set. Open connections stay
    #[command(group = ArgGroup::new("change").required(true).multiple(true)
        .args(["name", "expires", "from", "allow", "deny", "no_policy"]))]
    Set {
        /// Whose
        account: String,
        /// Which
        username: String,
        #[command(flatten)]
        bounds: Bounds,
        /// Take its own rules away; the account's hold
        #[arg(long, conflicts_with_all = ["allow", "deny"])]
        no_policy: bool,
        /// Cut open connections that its new rules refuse
        #[arg(long)]
        cut: bool,
        #[command(flatten)]
        json: Json,
    },
    /// List an account's credentials
    List {
        /// Whose
        account: String,
        #[command(flatten)]
        json: Json,
    },
    /// Show a credential, with its rules
    Show {
        /// Whose
        account: String,
        /// Which
        username: String,
        #[command(flatten)]
        json: Json,
    },
    /// Give a credential a new password, shown this once
    Rotate {
        /// Whose
        account: String,
        /// Which
        username: String,
        /// How long the old password still works
        #[arg(long, default_value = "0s", value_parser = duration, value_name = "TIME")]
        overlap: Duration,
        #[command(flatten)]
        json: Json,
    },
    /// Revoke a credential; its open flows are cut
    Revoke {
        /// Whose
        account: String,
        /// Which
        username: String,
    },
}

/// What a credential is bound to.
#[derive(Debug, Args)]
pub(crate) struct Bounds {
    /// What to call it, such as the app that comes with it; "" for nothing
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// From when on it is refused, such as 90d or 2027-01-31T00:00:00Z; "never" for never
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Expires>,
    /// Where it may be used from; repeat for several; "any" for anywhere
    #[arg(long, value_name = "CIDR")]
    pub(crate) from: Vec<From>,
    /// Rules of its own: they narrow the account's and never widen them
    #[command(flatten)]
    pub(crate) rules: Rules,
}

impl Bounds {
    /// When it ends; outer `None`: not given.
    pub(crate) fn expires(&self) -> Option<Option<Time>> {
        self.expires.map(|Expires(moment)| moment.map(Moment::ahead))
    }

    /// Where it may be used from; `None`: not given. Empty: anywhere.
    pub(crate) fn clients(&self) -> Option<Vec<IpNet>> {
        let nets = || self.from.iter().filter_map(|From(net)| *net).collect();
        (!self.from.is_empty()).then(nets)
    }
}

/// When something ends; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expires(Option<Moment>);

impl FromStr for Expires {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self(None)) } else { text.parse().map(|moment| Self(Some(moment))) }
    }
}

/// A network; `None`: any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct From(Option<IpNet>);

impl FromStr for From {
    type Err = super::route::Wrong;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" { Ok(Self(None)) } else { text.parse().map(|IpNetArg(net)| Self(Some(net))) }
    }
}

/// A time: so far from now, or on the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Span(Duration),
    At(Time),
}

impl Moment {
    /// With a span, so long from now.
    pub(crate) fn ahead(self) -> Time {
        match self {
            Self::Span(span) => Time(now().0.after(span)),
            Self::At(time) => time,
        }
    }

    /// With a span, so long ago.
    pub(crate) fn ago(self) -> Time {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        match self {
            Self::Span(span) => Time(moorgate_contract::time::Timestamp(now().0.0.saturating_sub(micros(span)))),
            Self::At(time) => time,
        }
    }
}

fn now() -> Time {
    Time(std::time::SystemTime::now().into())
}

impl FromStr for Moment {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (duration(text), text.parse::<Timestamp>()) {
            (Ok(span), _) => Ok(Self::Span(span)),
            (Err(_), Ok(_)) => text.parse().map(Self::At).map_err(|_| Unreadable::Moment),
            (Err(_), Err(_)) => Err(Unreadable::Moment),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tier {
    /// List tiers
    List(Json),
    /// Show a tier
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        json: Json,
    },
    /// Make a tier, or replace its quotas as a whole: what is not given is unlimited
    Set {
        /// a-z, 0-9 and -
        name: String,
        #[command(flatten)]
        quotas: TierQuotas,
        #[command(flatten)]
        json: Json,
    },
    /// Remove a tier that no account has
    Remove {
        /// Its name
        name: String,
    },
}

/// What a tier allows an account.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct TierQuotas {
    /// Tunnels and requests begun in a second; so many may come at once
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// Tunnels and requests begun in a calendar month (UTC)
    #[arg(long, value_name = "N")]
    requests_per_month: Option<u64>,
    /// Bytes in a second, both ways together; beyond it they wait
    #[arg(long, value_name = "SIZE")]
    bytes_per_second: Option<Size>,
    /// Bytes in a calendar month (UTC), both ways together
    #[arg(long, value_name = "SIZE")]
    bytes_per_month: Option<Size>,
    /// Tunnels and requests open at once
    #[arg(long, value_name = "N")]
    tunnels: Option<u32>,
    /// How far the monthly quotas may be passed before anything is refused
    #[arg(long, value_name = "PERCENT", default_value_t = 0)]
    grace: u8,
}

impl std::convert::From<TierQuotas> for Quotas {
    fn from(given: TierQuotas) -> Self {
        Self {
            requests_per_second: given.requests_per_second,
            requests_per_month: given.requests_per_month,
            bytes_per_second: given.bytes_per_second.map(|Size(bytes)| bytes),
            bytes_per_month: given.bytes_per_month.map(|Size(bytes)| bytes),
            tunnels: given.tunnels,
            grace_percent: given.grace,
        }
    }
}

/// A count of bytes: `1000000`, `500MB`, `20GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(at).ok_or(Unreadable::Size)?;
        let unit: u64 = match unit {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(Unreadable::Size),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.map(Self).ok_or(Unreadable::Size)
    }
}
