//! Decides which addresses a delivery may reach: public ones, and those that the operator allows. Resolves names itself,
//! so that the address that was checked is the address that is connected to. Opens no connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::Host;

/// The hosts and networks that deliveries may reach although they are private.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    /// Lower case, without a trailing dot.
    names: Vec<String>,
    /// With the leading dot: `.lan` stands for `*.lan`.
    suffixes: Vec<String>,
    networks: Vec<IpNet>,
}

impl Allow {
    /// Reads a comma-separated list of host names, `*.suffix` patterns, addresses and CIDR networks; empty items are
    /// passed over. A pattern stands for the names below the suffix, not for the suffix itself.
    ///
    /// # Errors
    ///
    /// A text that names the item that is none of these.
    pub fn parse(list: &str) -> Result<Allow, String> {
        let mut allow = Allow::default();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            allow.add(item).ok_or_else(|| {
                format!(
                    "`{item}` is neither a host name, `*.` and a suffix, an address, nor a network such as 10.0.0.0/8"
                )
            })?;
        }
        Ok(allow)
    }

    fn add(&mut self, item: &str) -> Option<()> {
        if let Ok(ip) = item.parse::<IpAddr>() {
            self.networks.push(ip.into());
        } else if let Ok(network) = item.parse::<IpNet>() {
            self.networks.push(network);
        } else if let Some(suffix) = item.strip_prefix("*.") {
            self.suffixes.push(format!(".{}", name(suffix)?));
        } else if let Ok(Host::Ipv6(ip)) = Host::parse(item) {
            self.networks.push(IpAddr::V6(ip).into());
        } else {
            self.names.push(name(item)?);
        }
        Some(())
    }

    /// Whether the list names this host: such a host may resolve to any address. An address in text form counts as
    /// that address.
    #[must_use]
    pub fn permits_host(&self, host: &str) -> bool {
        match Host::parse(host) {
            Ok(Host::Ipv4(ip)) => self.permits_ip(ip.into()),
            Ok(Host::Ipv6(ip)) => self.permits_ip(ip.into()),
            Ok(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                self.names.iter().any(|known| known == name)
                    || self.suffixes.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix.as_str()))
            }
            Err(_) => false,
        }
    }

    /// Whether the list names this address or a network that holds it. An IPv4 address written as an IPv6 one
    /// (`::ffff:10.0.0.1`) counts as the IPv4 address.
    #[must_use]
    pub fn permits_ip(&self, ip: IpAddr) -> bool {
        let plain = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip) || network.contains(&plain))
    }

    /// Whether a delivery may connect to this address.
    pub(super) fn may_reach(&self, ip: IpAddr) -> bool {
        is_public(ip) || self.permits_ip(ip)
    }

    /// Checks a host as the URL parser understood it. Names pass: their addresses are checked when they are known.
    pub(super) fn check_literal(&self, host: &Host<&str>) -> Result<(), Blocked> {
        let ip: IpAddr = match host {
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(ip) => (*ip).into(),
            Host::Ipv6(ip) => (*ip).into(),
        };
        if self.may_reach(ip) { Ok(()) } else { Err(Blocked::Refused) }
    }

    /// The addresses of a host, by name or in text form, that a delivery may connect to.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Blocked> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| Blocked::NotFound)?;
        if self.permits_host(host) {
            return non_empty(found.collect(), Blocked::NotFound);
        }
        self.keep_reachable(found.collect())
    }

    fn keep_reachable(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Blocked> {
        let found = non_empty(found, Blocked::NotFound)?;
        let kept = found.into_iter().filter(|address| self.may_reach(address.ip()));
        non_empty(kept.collect(), Blocked::Refused)
    }
}

/// A host name in its canonical spelling; `None` if the text is something else.
fn name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.chars().all(plain) {
        return None;
    }
    match Host::parse(text) {
        Ok(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            (!name.is_empty() && !name.split('.').any(str::is_empty)).then(|| name.to_owned())
        }
        _ => None,
    }
}

fn non_empty(list: Vec<SocketAddr>, otherwise: Blocked) -> Result<Vec<SocketAddr>, Blocked> {
    if list.is_empty() { Err(otherwise) } else { Ok(list) }
}

/// Why there is no address to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// The name has no address.
    NotFound,
    /// It has, but none that may be reached.
    Refused,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blocked::NotFound => "the name has no address",
            Blocked::Refused => "the address may not be reached",
        })
    }
}

impl std::error::Error for Blocked {}

/// Whether the address belongs to the public internet. False for everything that is local, private, reserved, used
/// in documentation, a multicast group or a cloud's metadata service, and for IPv6 addresses that carry such an IPv4
/// address inside (mapped, NAT64, 6to4, Teredo).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 100 && (64..128).contains(&b) // carrier-grade NAT
        || a == 192 && b == 0 && c == 0 // protocol assignments
        || a == 192 && b == 88 && c == 99 // 6to4 relays
        || a == 198 && (18..20).contains(&b) // benchmarking
        || a >= 224 // multicast, reserved, broadcast
        || ip == Ipv4Addr::new(168, 63, 129, 16); // Azure's host services
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(inner) = ip.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let s = ip.segments();
    if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(joined(s[6], s[7]));
    }
    if s[0] == 0x2002 {
        return is_public_v4(joined(s[1], s[2]));
    }
    if s[0] == 0x2001 && s[1] == 0 {
        // Teredo: the server, and the client with every bit turned over.
        return is_public_v4(joined(s[2], s[3])) && is_public_v4(joined(!s[6], !s[7]));
    }
    let global = s[0] & 0xe000 == 0x2000;
    // Protocol assignments, and twice documentation.
    let special = s[0] == 0x2001 && (s[1] < 0x200 || s[1] == 0xdb8) || s[0] == 0x3fff && s[1] < 0x1000;
    global && !special
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
#[path = "guard_oracle.rs"]
mod oracle;
#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
