//! `secrets`, `backup` and `restore`.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use moorgate_api::client::Client;
use moorgate_control::Restoration;

use super::CommandError;
use crate::{
    cli::deployment::{Backup, Restore, Secrets},
    config,
    output::{self, counted},
    shell::data_dir_flag,
    up,
};

pub(super) async fn run(client: &Client, command: Secrets) -> Result<(), CommandError> {
    let Secrets::Rewrap = command;
    let done = client.rewrap_secrets().await?;
    output::print(&format!(
        "the store's key is sealed under master key {} from now on\n\
         once every gateway on this store has started with it, [secrets] previous_master_key_file can go;\n\
         backups made before still need the key they were made under\n",
        done.master_key
    ))
}

/// Writes a backup beside its name and puts it there when it is whole.
pub(super) async fn backup(client: &Client, args: Backup) -> Result<(), CommandError> {
    let path = args.file;
    if path.exists() {
        return Err(CommandError::Taken { path });
    }
    let mut name = path.clone().into_os_string();
    name.push(".part");
    let part = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let mut file = file.map_err(|source| CommandError::Unwritable { path: part.clone(), source })?;
    let key = client.backup(|piece| file.write_all(piece)).await;
    let kept = key.and_then(|key| {
        file.sync_all().and_then(|()| fs::rename(&part, &path)).map_err(moorgate_api::client::ClientError::Kept)?;
        Ok(key)
    });
    if kept.is_err() {
        // What is half of a backup is none.
        let _ = fs::remove_file(&part);
    }
    let key = kept?;
    let shown = path.display();
    output::print(&format!(
        "{shown} holds everything in the store, sealed under master key {key}\n\
         keep that key too, and elsewhere: without it nobody can restore this\n"
    ))
}

/// Puts a backup into the store of a gateway that is stopped.
pub(super) fn restore(args: Restore, data_dir: Option<PathBuf>) -> Result<(), CommandError> {
    let env = |name: &str| std::env::var(name).ok();
    let by_itself = config::gateway_dir(&env);
    let with = match (&args.config, &data_dir) {
        (Some(file), _) => format!(" --config {}", file.display()),
        (None, Some(dir)) => data_dir_flag(dir, by_itself.as_deref()),
        (None, None) => String::new(),
    };
    let config = config::load(args.config.as_deref(), data_dir, &env).map_err(up::UpError::from)?;
    let (master_keys, _) = up::load_master_keys(&config, false)?;
    let restoration = Restoration {
        backup: args.file.clone(),
        data_dir: config.data_dir.clone(),
        store_url: config.store_url.to_string(),
        master_keys,
        gateway: up::itself_named(&config),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let restored = runtime.map_err(CommandError::Runtime)?.block_on(moorgate_control::restore(restoration));
    let restored = restored.map_err(up::UpError::from)?;
    output::print(&format!(
        "{} holds {} and {} of {}; start the gateway with: moorgate up{with}\n",
        restored.location,
        counted(restored.accounts, "account", "accounts"),
        counted(restored.routes, "route", "routes"),
        args.file.display()
    ))
}
