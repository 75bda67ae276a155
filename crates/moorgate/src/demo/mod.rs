//! `moorgate demo`: who can read what, measured live on loopback, with ports and a directory of its own.
//!
//! Random secrets go through each product. A relay on every leg records every byte, and each cell of the table is a search
//! in those recordings. Nothing is asserted that was not found: a secret that did not arrive where it must makes its cells
//! unknown, and a cell that is not as promised makes the demo fail.

mod client;
mod destination;
mod error;
mod gateway;
mod json;
mod keep;
mod key;
mod measure;
mod names;
mod needle;
mod promise;
mod recordings;
mod relay;
mod report;
mod secrets;
mod tape;
mod text;
mod trial;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::{Args, ValueEnum};
use moorgate_contract::listener::{Listener, Product};
use moorgate_keys::LocalCa;
use moorgate_tls::{Originator, TrustRoots};
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use error::DemoError;

use crate::{cli::Json, commands::CommandError, output};
use destination::Identity;
use gateway::{Gateway, Process};
use keep::Kept;
use key::KeySearch;
use names::Names;
use promise::Way;
use report::Report;
use secrets::Planted;
use text::Page;
use trial::{Stage, Trial, destination_names, origin_names};

/// Flags of `moorgate demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Keep the recordings in this directory, to be searched again
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Send Shield's apps to other listeners, to see the table come out wrong
    #[arg(long, value_enum, default_value_t = Through::Shield, hide = true)]
    shield_through: Through,
    #[command(flatten)]
    json: Json,
}

/// Which listeners Shield's apps speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Through {
    /// Their own.
    Shield,
    /// Static's.
    Static,
}

/// Measures, prints, and says by its exit code whether all is as promised.
///
/// # Errors
/// What kept it from measuring.
pub(crate) fn run(args: DemoArgs) -> Result<ExitCode, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DemoError::Runtime)?;
    runtime.block_on(measured(args))
}

async fn measured(args: DemoArgs) -> Result<ExitCode, CommandError> {
    let began = Instant::now();
    let kept = args.keep.as_deref().map(Kept::new).transpose()?;
    // Before there is anything to clean up.
    let mut interrupt = Interrupt::listen()?;
    let temp = TempDir::with_prefix("moorgate-demo-");
    let temp = temp.map_err(|source| DemoError::File { action: "create", path: std::env::temp_dir(), source })?;
    let names = Names::start().await?;
    let page = Page::new(!args.json.json);
    let mut process = Process::start(temp.path(), &names)?;
    let measured = async {
        let gateway = process.ready().await?;
        with(&args, &gateway, &page, (began, kept.as_ref())).await
    };
    let measured = tokio::select! {
        measured = measured => measured,
        () = interrupt.comes() => Err(DemoError::Interrupted.into()),
    };
    // Whatever happened: no process and no file is left.
    process.stop().await;
    if measured.is_err() {
        page.clear()?;
    }
    measured
}

/// Measures with a gateway that runs.
async fn with(
    args: &DemoArgs,
    gateway: &Gateway,
    page: &Page,
    (began, kept): (Instant, Option<&Kept>),
) -> Result<ExitCode, CommandError> {
    let planted = Planted::draw(gateway.credential()?)?;
    page.begin(&planted)?;
    let ca = LocalCa::create("moorgate demo: destinations and origins").map_err(DemoError::Keys)?;
    let (destinations, origins) =
        (Identity::new(&ca, &destination_names(&planted))?, Identity::new(&ca, &origin_names(&planted))?);
    let ca = ca.cert_pem();
    let roots = TrustRoots::Given((gateway.ca()? + &ca).into());
    let trusting = Originator::new(roots).map_err(DemoError::Tls)?;
    let shield = match args.shield_through {
        Through::Shield => [Listener::OutboundHttps, Listener::OutboundSocksTls],
        Through::Static => [Listener::OutboundHttp, Listener::OutboundSocks],
    };
    let (destinations, origins) = (&destinations, &origins);
    let stage = Stage { gateway, planted: &planted, trusting: &trusting, destinations, origins, ca: &ca, shield };
    let trials = trials(&stage, page).await?;
    let mut report = Report::new(&trials, &planted, |rows| KeySearch::new(origins, rows, &gateway.dir));
    report.took = began.elapsed();
    let document = json::document(&report, &planted)?;
    let kept = kept.map(|kept| kept.write(&report, &document)).transpose()?;
    if args.json.json {
        output::print(&document)?
    } else {
        page.end(&report, &planted, kept)?
    }
    Ok(if report.broken().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Both products, each way.
async fn trials(stage: &Stage<'_>, page: &Page) -> Result<Vec<Trial>, CommandError> {
    let mut trials = Vec::new();
    for way in Way::ALL {
        for product in [Product::Static, Product::Shield] {
            page.progress(&report::title(way, product))?;
            trials.push(match way {
                Way::OutboundHttps | Way::OutboundHttp => stage.outbound(way, product).await?,
                Way::Inbound => stage.inbound(product).await?,
            });
        }
    }
    Ok(trials)
}

/// The signals by which somebody wants the demo to end.
struct Interrupt([Signal; 3]);

impl Interrupt {
    fn listen() -> Result<Self, DemoError> {
        let listen = |kind| signal(kind).map_err(DemoError::Runtime);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(listen);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Until one of them comes.
    async fn comes(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
