//! The threads that carry traffic: one runtime each, each with its own sockets of every listener.

use std::{future::Future, io, thread};

use crate::runtime;

/// How many there are: one per processor.
pub fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` workers; each runs the future that `main` makes of its number, and what that spawns until it ends.
    ///
    /// # Errors
    /// When a thread can't be had.
    pub fn start<F>(count: usize, mut main: impl FnMut(usize) -> F) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let threads = (0..count)
            .map(|number| {
                let main = main(number);
                thread::Builder::new().name(format!("traffic-{number}")).spawn(move || {
                    if let Err(error) = runtime::run(main) {
                        tracing::error!(%error, "a thread that carries traffic has ended");
                    }
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Waits until every worker has ended. A worker that died of a panic has said so on its way.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
