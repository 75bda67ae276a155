//! What each command does. All but a few are clients of a running gateway's API.

mod account;
mod alarm;
mod audit;
mod credential;
mod deployment;
mod dns;
mod doctor;
mod egress;
mod error;
mod explain;
mod gateway;
mod gateways;
mod log;
mod manual;
mod person;
mod policy;
mod quota;
mod route;
mod secrets;
mod tier;
mod token;
mod usage;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::CommandFactory;
use moorgate_api::client::Client;
use moorgate_keys::chain;

use crate::{
    agent,
    cli::{Cli, Command, Config},
    config, demo, output, up,
};
pub(crate) use error::CommandError;
use gateway::Gateway;

/// Does what was asked.
///
/// # Errors
/// Why it was not done; exit code 1.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, CommandError> {
    // A variable that is set to nothing is not set.
    let data_dir = cli.data_dir.filter(|dir| !dir.as_os_str().is_empty());
    match cli.command {
        Command::Up(args) => up::run(args, data_dir)?,
        Command::Demo(args) => return demo::run(args),
        Command::Agent(args) => return Ok(agent::run(args, data_dir)?),
        Command::Config(Config::Check { file }) => {
            let checked = config::check(&file)?;
            let of_acme = checked.acme.and_then(|acme| acme.trust).map(|path| ("acme.trust", path));
            let of_smtp = checked.smtp.as_ref().and_then(|smtp| smtp.trust.clone()).map(|path| ("smtp.trust", path));
            for (key, path) in of_acme.into_iter().chain(of_smtp) {
                check_trust(&path).map_err(|source| CommandError::Trust { key, path, source })?;
            }
            if let Some(path) = checked.smtp.and_then(|smtp| smtp.password_file) {
                std::fs::read_to_string(&path).map_err(|source| CommandError::File { path, source })?;
            }
            output::print(&format!("{} is a gateway's file that moorgate up --config would take\n", file.display()))?;
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "moorgate", &mut script);
            output::write(&script)?;
        }
        Command::Man => {
            let page = manual::page(Cli::command()).map_err(CommandError::Output)?;
            output::write(&page)?;
        }
        Command::Restore(args) => secrets::restore(args, data_dir)?,
        asking => ask(asking, data_dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a private CA's root can be read.
fn check_trust(path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    chain::certificates(&std::fs::read(path)?)?;
    Ok(())
}

/// Asks a running gateway.
fn ask(command: Command, data_dir: Option<PathBuf>) -> Result<(), CommandError> {
    let gateway = Gateway::find(data_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let asked = runtime.block_on(async {
        let client: &Client = &gateway.client;
        match command {
            Command::Account(command) => account::run(client, command).await,
            Command::Credential(command) => credential::run(&gateway, command).await,
            Command::Token(command) => token::run(client, command).await,
            Command::Alarm(command) => alarm::run(client, command).await,
            Command::Person(command) => person::run(&gateway, command).await,
            Command::Policy(command) => policy::run(client, command).await,
            Command::Egress(command) => egress::run(client, command).await,
            Command::Dns(command) => dns::run(client, command).await,
            Command::Doctor(json) => doctor::run(&gateway, json).await,
            Command::Route(command) => route::run(&gateway, command).await,
            Command::Cert(command) => route::certificates(client, command).await,
            Command::Tier(command) => tier::run(client, command).await,
            Command::Usage(args) => usage::run(client, args).await,
            Command::Audit(command) => audit::run(client, command).await,
            Command::Gateway(command) => gateways::run(client, command).await,
            Command::Explain(args) => explain::explain(client, args).await,
            Command::Why(args) => explain::why(client, args).await,
            Command::Log(args) => log::run(client, args).await,
            Command::Apply(args) => deployment::apply(client, args).await,
            Command::Export => deployment::export(client).await,
            Command::Secrets(command) => secrets::run(client, command).await,
            Command::Backup(args) => secrets::backup(client, args).await,
            Command::Up(_)
            | Command::Demo(_)
            | Command::Agent(_)
            | Command::Restore(_)
            | Command::Config(_)
            | Command::Completions { .. }
            | Command::Man => Ok(()),
        }
    });
    asked.map_err(|error| gateway.put_right(error))
}

/// For `is_closed_pipe`.
fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
