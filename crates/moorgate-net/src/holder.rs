//! Who holds a port, where it can be seen: for the error that a taken port gives.

use std::{fs, net::SocketAddr, path::Path};

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The program's name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// The process that listens on `address` or on its port of every address. `None` when /proc does not tell
/// (another user's process).
pub fn of(address: SocketAddr) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listening_inodes(Path::new(table), address.port()))
        .collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd")).ok()?.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|link| links.iter().any(|wanted| link.as_os_str() == wanted.as_str()))
        });
        let name = fs::read_to_string(process.path().join("comm")).ok()?.trim().to_owned();
        holds.then_some(Holder { name, pid })
    })
}

/// Columns of proc_pid_net(5): 1 local address, 3 state (0A is LISTEN), 9 inode.
fn listening_inodes(table: &Path, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let Ok(text) = fs::read_to_string(table) else { return Vec::new() };
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let fits = columns.get(1)?.ends_with(&port) && *columns.get(3)? == "0A";
            fits.then(|| columns.get(9).map(|inode| (*inode).to_owned()))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
    }
}
