//! The arguments of `usage`, `audit` and `gateway`.

use clap::{Args, Subcommand, ValueEnum};
use moorgate_control::GroupBy;

use super::{Json, Moment};

#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Whose; left out: everybody's
    pub(crate) account: Option<String>,
    /// Since when, in whole hours: a span such as 24h or 30d, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub(crate) since: Moment,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// What is counted together; each row is of one account
    #[arg(long, value_enum)]
    pub(crate) by: Option<GroupArg>,
    /// Answer as CSV (RFC 4180)
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupArg {
    Account,
    Credential,
    Route,
    Host,
    Egress,
    Hour,
    /// Nothing: every row as it was counted
    All,
}

impl From<GroupArg> for GroupBy {
    fn from(by: GroupArg) -> Self {
        match by {
            GroupArg::Account => Self::Account,
            GroupArg::Credential => Self::Credential,
            GroupArg::Route => Self::Route,
            GroupArg::Host => Self::Host,
            GroupArg::Egress => Self::Egress,
            GroupArg::Hour => Self::Hour,
            GroupArg::All => Self::All,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List the latest changes, the newest first
    List {
        /// Only what concerns this account
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Go through the whole log: is each entry what was written, and is none missing
    Verify(Json),
    /// Print one document for an auditor: TLS policy, key custody, exposure, changes
    Evidence {
        /// Whose
        account: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// List the gateways on this store
    List(Json),
    /// Show one of them
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        json: Json,
    },
}
