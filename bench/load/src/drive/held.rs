//! Connections that are opened and then held, while somebody else looks at the proxy's memory.

use std::io::{self, stdin};

use super::{Tally, way::Way, work};
use crate::{
    cli::{Drive, Work},
    error::LoadError,
};

/// Opens them one by one, prints `held`, and waits until standard input ends.
///
/// # Errors
/// One that does not come about.
pub(super) async fn hold(drive: &Drive) -> Result<(), LoadError> {
    let way = Way::new(drive)?;
    let mut held = Vec::with_capacity(drive.count);
    for number in 1..=drive.count {
        let failed = |source| LoadError::Held { number, count: drive.count, source };
        let mut stream = way.open(&mut Tally::default()).await.map_err(failed)?;
        let said = match drive.work {
            Work::Stalled => work::stalled(&mut stream).await,
            _ => work::idle(&mut stream).await,
        };
        said.map_err(failed)?;
        held.push(stream);
    }
    crate::print_line("held")?;
    // This blocks the only thread, and may: nothing has to move any more.
    io::copy(&mut stdin().lock(), &mut io::sink()).map(drop).map_err(LoadError::Print)
}
