//! The threads that carry traffic: one runtime each, each with its own sockets of every listener.
//!
//! The shape is decided here alone; traffic futures are `Send` and spawned through the runtime they run on.

use std::{future::Future, io, thread};

use tokio::runtime::Builder;

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
    /// When a thread or its runtime can't be had.
    pub fn start<F>(count: usize, mut main: impl FnMut(usize) -> F) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let threads = (0..count)
            .map(|number| {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let main = main(number);
                thread::Builder::new().name(format!("traffic-{number}")).spawn(move || runtime.block_on(main))
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
