//! Who may come in: where a request comes from, whether that address may make another one now, and whether there is room
//! for its body. Believes a proxy only if the operator trusts it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use poem::Request;
use poem::http::{HeaderMap, Method, Version, header};

use super::envelope::ApiError;
use crate::error::Error;
use crate::flow::Engine;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Paths for probes and scrapers: a proxy's own probes must not fail because of who is behind it.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// Bodies up to this size are not counted.
const SMALL: usize = 16 * 1024;
/// Most bytes of larger ones at a time, unless two of the largest are more.
const MOST_BODIES: usize = 8 * 1024 * 1024;
/// What a body counts that does not say how long it is.
const UNTOLD: usize = 64 * 1024;
const SOON: Duration = Duration::from_secs(1);
/// Most hops that are looked at.
const MOST_HOPS: usize = 32;

/// Lets requests in, as many from each address as are allowed.
pub struct Gate {
    engine: Option<Arc<Engine>>,
    proxies: Vec<IpNet>,
    count_loopback: bool,
    bodies: Arc<Bodies>,
    /// Whether it was told that there is a proxy that nobody named.
    told: AtomicBool,
}

/// The large bodies of the requests that are being answered. What is small is not counted: there are only so many
/// connections, and whoever fills the room with large bodies must not keep out an ordinary push.
struct Bodies {
    most: usize,
    bytes: AtomicUsize,
}

/// The room that a body takes, until the request is answered.
#[derive(Default)]
pub struct Room(Option<(Arc<Bodies>, usize)>);

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((bodies, taken)) = &self.0 {
            bodies.bytes.fetch_sub(*taken, Ordering::Relaxed);
        }
    }
}

impl Bodies {
    fn new(body_limit: usize) -> Arc<Self> {
        Arc::new(Self { most: MOST_BODIES.max(2 * body_limit), bytes: AtomicUsize::new(0) })
    }

    fn take(this: &Arc<Self>, length: usize) -> Result<Room, ApiError> {
        // One that is larger than any may be is refused elsewhere.
        let length = length.min(this.most);
        let taken = this.bytes.fetch_add(length, Ordering::Relaxed) + length;
        let room = Room(Some((this.clone(), length)));
        if taken > this.most { Err(Error::Busy { retry_after: SOON }.into()) } else { Ok(room) }
    }
}

impl Gate {
    /// A gate that counts in the engine, and takes the word of these proxies. This machine's own addresses are counted
    /// only if `count_loopback` says so: behind a proxy that nobody named, everybody would come from them.
    pub fn new(engine: Arc<Engine>, proxies: Vec<IpNet>, count_loopback: bool, body_limit: usize) -> Self {
        let bodies = Bodies::new(body_limit);
        Self { engine: Some(engine), proxies, count_loopback, bodies, told: AtomicBool::new(false) }
    }

    /// A gate that lets everybody in.
    pub fn open() -> Self {
        let (bodies, told) = (Bodies::new(0), AtomicBool::new(false));
        Self { engine: None, proxies: Vec::new(), count_loopback: false, bodies, told }
    }

    /// Counts a request that comes from this address. What is returned must be kept until it is answered.
    ///
    /// # Errors
    /// 429 if its address has had too many, 503 if there is no room for its body.
    pub fn admit(&self, request: &Request, address: Option<IpAddr>) -> Result<Room, ApiError> {
        let (Some(engine), Some(address)) = (&self.engine, address) else { return Ok(Room::default()) };
        let counts = self.count_loopback || !address.is_loopback();
        match engine.limits.address(number(address), engine.clock.now()) {
            Err(limited) if counts && !PROBES.contains(&request.uri().path()) => return Err(limited.into()),
            _ => {}
        }
        self.room(request)
    }

    fn room(&self, request: &Request) -> Result<Room, ApiError> {
        // HTTP/2 does not announce a body at all; no operation reads one that comes with these methods.
        let may_bring =
            || request.version() == Version::HTTP_2 && !matches!(*request.method(), Method::GET | Method::HEAD);
        match request.header(header::CONTENT_LENGTH).map(str::parse::<usize>) {
            Some(Ok(length)) if length > SMALL => Bodies::take(&self.bodies, length),
            None if request.headers().contains_key(header::TRANSFER_ENCODING) || may_bring() => {
                Bodies::take(&self.bodies, UNTOLD)
            }
            _ => Ok(Room::default()),
        }
    }

    /// The address that a request comes from: the peer's, unless that is a trusted proxy; then the last hop before the
    /// trusted ones.
    pub fn client(&self, request: &Request) -> Option<IpAddr> {
        let peer = request.remote_addr().as_socket_addr()?.ip().to_canonical();
        Some(self.origin(peer, request.headers()))
    }

    fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.proxies.is_empty() || !self.trusts(peer) {
            if peer.is_loopback() && headers.contains_key(FORWARDED_FOR) && !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "requests come through a proxy on this machine that trusted_proxies does not name: all who come \
                     through it count as this machine, which no limit of addresses holds for"
                );
            }
            return peer;
        }
        let headers = headers.get_all(FORWARDED_FOR).iter();
        let hops: Vec<&str> =
            headers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
        let mut nearest = peer;
        for hop in hops.into_iter().rev().take(MOST_HOPS) {
            // What a trusted hop did not understand nobody need believe.
            let Some(address) = parse(hop) else { break };
            nearest = address;
            if !self.trusts(address) {
                break;
            }
        }
        nearest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }
}

/// An address, which some proxies write with a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = || hop.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let with_port = || hop.parse::<std::net::SocketAddr>().map(|address| address.ip());
    bare().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

/// By which number the connections of a peer are counted. Those of trusted proxies are not, nor are this machine's own
/// unless `count_loopback` says so.
pub fn counted(peer: IpAddr, proxies: &[IpNet], count_loopback: bool) -> Option<u64> {
    let free = peer.is_loopback() && !count_loopback || proxies.iter().any(|network| network.contains(&peer));
    (!free).then(|| number(peer))
}

/// What an address counts as: of IPv6 the first 64 bits, because whoever has one address there has all of them.
fn number(address: IpAddr) -> u64 {
    match address {
        // No IPv6 network begins so.
        IpAddr::V4(address) => 0xffff_0000_0000 | u64::from(u32::from(address)),
        IpAddr::V6(address) => u64::try_from(u128::from(address) >> 64).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, trusted: &[&str], forwarded: &[&str]) -> String {
        let gate = Gate { proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(), ..Gate::open() };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        gate.origin(peer.parse::<IpAddr>().unwrap().to_canonical(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let proxies = &["10.0.0.0/8", "::1/128"][..];
        for (peer, trusted, forwarded, expected) in [
            ("192.0.2.1", &[][..], &[][..], "192.0.2.1"),
            ("192.0.2.1", &[], &["198.51.100.1"], "192.0.2.1"),
            ("192.0.2.1", proxies, &["198.51.100.1"], "192.0.2.1"),
            ("10.1.1.1", proxies, &[], "10.1.1.1"),
            ("10.1.1.1", proxies, &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.1.1.1", proxies, &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("::1", proxies, &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            ("::1", proxies, &["203.0.113.9, 198.51.100.1 ,10.2.2.2"], "198.51.100.1"),
            ("::1", proxies, &["203.0.113.9", "198.51.100.1", "10.2.2.2"], "198.51.100.1"),
            ("10.1.1.1", proxies, &["10.9.9.9, 10.2.2.2"], "10.9.9.9"),
            ("10.1.1.1", proxies, &["203.0.113.9, nonsense"], "10.1.1.1"),
            ("10.1.1.1", proxies, &["203.0.113.9, nonsense, 10.2.2.2"], "10.2.2.2"),
            ("10.1.1.1", proxies, &["198.51.100.1:1234"], "198.51.100.1"),
            ("10.1.1.1", proxies, &["[2001:db8::1]:1234"], "2001:db8::1"),
            ("10.1.1.1", proxies, &["[2001:db8::1]"], "2001:db8::1"),
        ] {
            assert_eq!(client(peer, trusted, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn large_bodies_have_so_much_room_together() {
        let bodies = Bodies::new(0);
        let taken: Vec<Room> = (0..32).map(|_| Bodies::take(&bodies, 256 * 1024).unwrap()).collect();
        assert_eq!(Bodies::take(&bodies, 1).map(drop).unwrap_err().code(), "busy");
        drop(taken);
        assert_eq!(bodies.bytes.load(Ordering::Relaxed), 0, "what was refused takes no room");
        assert!(Bodies::take(&bodies, usize::MAX).is_ok());
    }

    #[test]
    fn a_body_takes_room_whether_it_says_how_long_it_is_or_not() {
        let gate = Gate::open();
        for (method, version, header, taken) in [
            (Method::POST, Version::HTTP_11, ("x", ""), 0),
            (Method::POST, Version::HTTP_11, ("content-length", "16384"), 0),
            (Method::POST, Version::HTTP_11, ("content-length", "16385"), 16385),
            (Method::POST, Version::HTTP_11, ("transfer-encoding", "chunked"), UNTOLD),
            (Method::POST, Version::HTTP_2, ("x", ""), UNTOLD),
            (Method::POST, Version::HTTP_2, ("content-length", "16385"), 16385),
            (Method::POST, Version::HTTP_2, ("content-length", "0"), 0),
            (Method::GET, Version::HTTP_2, ("x", ""), 0),
        ] {
            let told = format!("{method} {version:?} {header:?}");
            let request = Request::builder().method(method).version(version).header(header.0, header.1).finish();
            let _room = gate.room(&request).unwrap();
            assert_eq!(gate.bodies.bytes.load(Ordering::Relaxed), taken, "{told}");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let same = |a: &str, b: &str| number(a.parse().unwrap()) == number(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::2"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("192.0.2.1", "::1"));
    }
}
