//! A gateway's clock, as a test sets it: libfaketime answers for the kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::world::World;
use crate::gateway::Setup;

/// How long a program goes on with what it has read of the clock's file.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A clock that only programs see that were started by it. What measures spans of time is left alone.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// One that is right.
    pub fn new(world: &World) -> Self {
        let clock = Self { file: world.path("clock") };
        clock.write(0);
        clock
    }

    /// Starts the gateway by it.
    pub fn over(&self, setup: Setup) -> Setup {
        let setup = setup.env("LD_PRELOAD", library()).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let setup = setup.env("FAKETIME_CACHE_DURATION", READ_AGAIN.as_secs().to_string());
        setup.env("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string())
    }

    /// Sets it to so many hours from the true time.
    pub fn set(&self, hours: i64) {
        self.write(hours);
        // Until every thread has looked.
        std::thread::sleep(2 * READ_AGAIN);
    }

    fn write(&self, hours: i64) {
        // Whole at every moment, for whoever reads it meanwhile.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{hours:+}h\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }
}

fn library() -> String {
    let places = fs::read_dir("/usr/lib").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let all = places.map(|place| place.join("faketime/libfaketimeMT.so.1"));
    let found = all.into_iter().find(|path: &PathBuf| Path::exists(path));
    found.expect("faketime is installed: run `cargo xtask test`").display().to_string()
}
