//! Processor time, as Linux counts it: what a process and its children have used so far. `None` where that can't be read: another host, another
//! system, somebody else's process.

use std::fs;
use std::time::Duration;

/// Linux counts for programs in hundredths of a second, whatever its own tick is.
const TICK: Duration = Duration::from_millis(10);
/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// The process of this host that serves a URL with a port.
pub fn server_of(url: &str) -> Option<u32> {
    let (_, rest) = url.split_once("://")?;
    let (_, port) = rest.split(['/', '?']).next()?.rsplit_once(':')?;
    listener(port.parse().ok()?)
}

/// The process that listens on a port of this host.
fn listener(port: u16) -> Option<u32> {
    let suffix = format!(":{port:04X}");
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| socket(line, &suffix)).collect::<Vec<_>>())
        .collect();
    processes().find(|process| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.into_iter().any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    })
}

/// Of a line of the table what a file of a socket that listens there links to.
fn socket(line: &str, suffix: &str) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let is_it = columns.get(1)?.ends_with(suffix) && *columns.get(3)? == LISTENS;
    is_it.then(|| format!("socket:[{}]", columns[9]))
}

/// What a process, those that it began, and those of these that ended, have used.
pub fn time_of(process: u32) -> Option<Duration> {
    let own = Stat::of(&format!("/proc/{process}/stat"))?;
    let all: Vec<(u32, Stat)> =
        processes().filter_map(|process| Some((process, Stat::of(&format!("/proc/{process}/stat"))?))).collect();
    let (mut ticks, mut family) = (own.ticks + own.ended, vec![process]);
    while let Some(parent) = family.pop() {
        for (child, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            ticks += stat.ticks + stat.ended;
            family.push(*child);
        }
    }
    Some(TICK * ticks)
}

/// What this process's threads of a name have used, of those that haven't ended.
pub fn time_of_own_threads(name: &str) -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = threads.filter_map(|thread| Stat::of(&thread.path().join("stat").to_string_lossy()));
    TICK * stats.filter(|stat| stat.name == name).map(|stat| stat.ticks).sum()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A line of `stat` (proc(5)).
struct Stat {
    name: String,
    parent: u32,
    /// In its own code and the kernel's for it.
    ticks: u32,
    /// Of children that ended and were waited for.
    ended: u32,
}

impl Stat {
    fn of(path: &str) -> Option<Self> {
        Self::read(&fs::read_to_string(path).ok()?)
    }

    /// A name may hold blanks and brackets: it ends at the last one.
    fn read(line: &str) -> Option<Self> {
        let (before, after) = line.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let columns: Vec<&str> = after.split_whitespace().collect();
        let number = |column: usize| columns.get(column)?.parse::<u32>().ok();
        Some(Self {
            name: name.to_owned(),
            parent: number(1)?,
            ticks: number(11)? + number(12)?,
            ended: number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process;

    #[test]
    fn the_process_that_listens_is_found() {
        let listens = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listens.local_addr().unwrap().port();
        assert_eq!(server_of(&format!("amqp://guest:secret@127.0.0.1:{port}/%2f")), Some(process::id()));
        assert_eq!(server_of("postgres://regua@127.0.0.1/regua"), None);
    }

    #[test]
    fn a_line_is_read_whatever_the_name_is() {
        let stat = Stat::read("7 (a) b (c)) S 3 7 7 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 5").unwrap();
        assert_eq!((stat.name.as_str(), stat.parent, stat.ticks, stat.ended), ("a) b (c)", 3, 33, 77));
    }

    #[test]
    fn what_a_child_used_counts_also_after_its_end() {
        let ended = || Stat::of("/proc/self/stat").unwrap().ended;
        let before = ended();
        // Work that takes some ticks, by a child that is waited for.
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(process::Command::new("sh").args(["-c", script]).status().unwrap().success());
        assert!(ended() > before);
        assert!(time_of(process::id()).unwrap() >= TICK * ended());
    }
}
