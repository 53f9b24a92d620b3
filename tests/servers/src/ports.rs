//! Free ports on the loopback interface.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below 32768, where Linux begins to choose the ports of outgoing connections: a client that knocks again and again at a stopped server's
/// port out of that range ends up connected to itself.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Starts at random, so that processes that look for ports at the same moment seldom meet.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let [a, b, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    AtomicU16::new(u16::from_ne_bytes([a, b]))
});

/// A port that nobody listened on a moment ago. Another process may still take it first: who starts a server tries again then.
pub(crate) fn free_port() -> io::Result<u16> {
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, format!("no free port from {FIRST} to {}", FIRST + COUNT - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_handed_out() {
        // Whoever looks for a port at this moment may be trying this one.
        let held = (0..100).find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().unwrap())).ok()).unwrap();
        let taken = held.local_addr().unwrap().port();
        for _ in 0..COUNT {
            assert_ne!(free_port().unwrap(), taken);
        }
    }
}
