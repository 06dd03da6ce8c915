//! The guard against a second opinion, which knows only a table of networks and how IPv6 carries IPv4: whatever a host
//! is written as, what the connector would connect to is refused if it lies in one of them.

use std::sync::LazyLock;

use proptest::prelude::*;
use url::Url;

use super::*;
use crate::domain::trials::trials;

/// What IANA's registries of special addresses do not give to the public, multicast, and what clouds keep for
/// themselves.
const FORBIDDEN: [&str; 35] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/3", // but what carries a public IPv4 address, which is asked before
    "2001::/32",
    "2001:1::/32",
    "2001:2::/31",
    "2001:4::/30",
    "2001:8::/29",
    "2001:10::/28",
    "2001:20::/27",
    "2001:40::/26",
    "2001:80::/25",
    "2001:100::/24",
    "2001:db8::/32",
    "3fff::/20",
    "4000::/2",
    "8000::/2",
    "c000::/3",
    "e000::/4",
    "f000::/5",
    "f800::/5",
];

/// Where an IPv6 address may carry an IPv4 one: the network, the first bit of it, and whether it is written inverted.
const CARRIERS: [(&str, u32, bool); 5] = [
    ("::ffff:0:0/96", 96, false),
    ("64:ff9b::/96", 96, false),
    ("2002::/16", 16, false),
    ("2001::/32", 32, false),
    ("2001::/32", 96, true),
];

static NETWORKS: LazyLock<Vec<IpNet>> = LazyLock::new(|| FORBIDDEN.iter().map(|n| n.parse().unwrap()).collect());
static CARRYING: LazyLock<Vec<(IpNet, u32, bool)>> =
    LazyLock::new(|| CARRIERS.iter().map(|(n, first, inverted)| (n.parse().unwrap(), *first, *inverted)).collect());

fn forbidden(ip: IpAddr) -> bool {
    if let IpAddr::V6(v6) = ip {
        let carriers = CARRYING.iter().filter(|(network, ..)| network.contains(&ip));
        let carried: Vec<IpAddr> = carriers
            .map(|(_, first, inverted)| {
                let bits = (v6.to_bits() >> (96 - first)) as u32;
                IpAddr::V4(Ipv4Addr::from_bits(if *inverted { !bits } else { bits }))
            })
            .collect();
        if !carried.is_empty() {
            return carried.into_iter().any(forbidden);
        }
    }
    NETWORKS.iter().any(|network| network.contains(&ip))
}

/// Addresses near every edge and anywhere.
fn address() -> impl Strategy<Value = IpAddr> {
    let networks: Vec<IpNet> =
        FORBIDDEN.iter().chain(CARRIERS.iter().map(|(n, ..)| n)).map(|n| n.parse().unwrap()).collect();
    let edge =
        (prop::sample::select(networks), 0u8..5, any::<u128>()).prop_map(|(network, at, random)| match network {
            IpNet::V4(n) => {
                let (low, high) = (n.network().to_bits(), n.broadcast().to_bits());
                let bits = match at {
                    0 => low,
                    1 => high,
                    2 => low.wrapping_sub(1),
                    3 => high.wrapping_add(1),
                    _ => low | (random as u32 & !n.netmask().to_bits()),
                };
                IpAddr::V4(Ipv4Addr::from_bits(bits))
            }
            IpNet::V6(n) => {
                let (low, high) = (n.network().to_bits(), n.broadcast().to_bits());
                let bits = match at {
                    0 => low,
                    1 => high,
                    2 => low.wrapping_sub(1),
                    3 => high.wrapping_add(1),
                    _ => low | (random & !n.netmask().to_bits()),
                };
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            }
        });
    let any_v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    let any_v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    let carrying =
        (prop::sample::select(CARRIERS.to_vec()), edge.clone(), any::<u128>()).prop_map(|(carrier, inner, random)| {
            let (network, first, inverted) = carrier;
            let IpNet::V6(network) = network.parse().unwrap() else { panic!("not IPv6") };
            let IpAddr::V4(inner) = inner else { return inner };
            let bits = u128::from(if inverted { !inner.to_bits() } else { inner.to_bits() }) << (96 - first);
            let mask = u128::from(u32::MAX) << (96 - first);
            let rest = random & !mask & !network.netmask().to_bits();
            IpAddr::V6(Ipv6Addr::from_bits(network.network().to_bits() | bits | rest))
        });
    prop_oneof![2 => edge, 1 => any_v4, 1 => any_v6, 2 => carrying]
}

/// A host as somebody might write it to get past a check.
fn host() -> impl Strategy<Value = String> {
    let digits = |text: String| {
        text.chars()
            .map(|c| if c.is_ascii_digit() { char::from_u32(c as u32 - 0x30 + 0xff10).unwrap() } else { c })
            .collect()
    };
    let number = prop_oneof![
        "[0-9]{1,11}",
        "0[xX][0-9a-fA-F]{0,9}",
        "0[0-7]{0,12}",
        Just("127".to_owned()),
        Just("0x7f".to_owned()),
        Just("1".to_owned()),
    ];
    let dot = prop::sample::select(vec![".", "。", "．", "｡", "%2e", "%E3%80%82", ".."]);
    let numbers = (prop::collection::vec((number, dot), 1..6), any::<bool>()).prop_map(|(parts, ends)| {
        let mut text: String = parts.iter().flat_map(|(number, dot)| [number.as_str(), dot]).collect();
        if !ends && let Some((_, dot)) = parts.last() {
            text.truncate(text.len() - dot.len());
        }
        text
    });
    let v6 = address().prop_map(|ip| match ip {
        IpAddr::V6(ip) => format!("[{ip}]"),
        IpAddr::V4(ip) => format!("[::ffff:{ip}]"),
    });
    let zone = address().prop_map(|ip| format!("[{ip}%25eth0]"));
    prop_oneof![
        numbers.clone(),
        numbers.prop_map(digits),
        address().prop_map(|ip| ip.to_string()),
        v6,
        zone,
        "[0-9a-fx.:%\\[\\]@/\\\\#?-]{1,20}",
        "(?s)\\PC{1,16}",
    ]
}

/// What a system's resolver makes of a text that is a number in its eyes, as `inet_aton` reads it.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text
        .split('.')
        .map(|part| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
            Some("") => None,
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None if part.len() > 1 && part.starts_with('0') => u64::from_str_radix(part, 8).ok(),
            None => part.parse().ok(),
        })
        .collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) || *last >= 1 << (32 - 8 * first.len()) {
        return None;
    }
    let high = first.iter().enumerate().fold(0, |sum, (at, part)| sum | part << (24 - 8 * at));
    Some(Ipv4Addr::from_bits(u32::try_from(high | last).ok()?))
}

proptest! {
    #![proptest_config(trials(8000))]

    #[test]
    fn both_opinions_of_an_address_agree(ip in address()) {
        prop_assert_eq!(is_public(ip), !forbidden(ip), "{}", ip);
    }

    #[test]
    fn no_way_of_writing_a_host_gets_past(
        host in host(), user in "[a-z0-9.:%]{0,12}@|", port in prop::option::of(any::<u16>()), back: bool,
    ) {
        let slashes = if back { "\\\\" } else { "//" };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let Ok(url) = Url::parse(&format!("http:{slashes}{user}{host}{port}/x")) else { return Ok(()) };
        let allow = Allow::default();
        let literal = url.host().unwrap();
        let target = match &literal {
            Host::Ipv4(ip) => IpAddr::from(*ip),
            Host::Ipv6(ip) => IpAddr::from(*ip),
            Host::Domain(name) => {
                // The connector reads it as an address if it can, else it asks the resolver, which has an eye for numbers.
                prop_assert!(name.parse::<IpAddr>().is_err(), "{} passes for a name", name);
                let Some(ip) = inet_aton(name.trim_end_matches('.')) else { return Ok(()) };
                let found = vec![SocketAddr::new(ip.into(), 80)];
                prop_assert!(!forbidden(ip.into()) || allow.keep_reachable(found).is_err(), "{}", url);
                return Ok(());
            }
        };
        prop_assert_eq!(allow.check_literal(&literal).is_err(), forbidden(target), "{}", url);
        prop_assert_eq!(allow.permits_host(&host), false);
        // The mail path asks by text.
        let found = vec![SocketAddr::new(target, 25)];
        prop_assert_eq!(allow.keep_reachable(found).is_err(), forbidden(target));
    }

    #[test]
    fn of_a_rebinding_name_only_public_addresses_are_ever_used(answers in prop::collection::vec(prop::collection::vec(address(), 0..5), 1..4)) {
        // A name that answers differently each time: each answer is judged by itself, and only what passes is returned to
        // the connector, which asks no second time.
        for answer in answers {
            let found: Vec<SocketAddr> = answer.iter().map(|ip| SocketAddr::new(*ip, 443)).collect();
            match Allow::default().keep_reachable(found.clone()) {
                Ok(kept) => {
                    prop_assert!(!kept.is_empty() && kept.iter().all(|at| !forbidden(at.ip()) && found.contains(at)));
                }
                Err(Blocked::NotFound) => prop_assert!(found.is_empty()),
                Err(Blocked::Refused) => prop_assert!(answer.iter().all(|ip| forbidden(*ip))),
            }
        }
    }

    #[test]
    fn a_list_of_hosts_never_panics(list in "[a-z0-9.*:/,\\[\\]% -]{0,40}|(?s).{0,30}", host in host()) {
        if let Ok(allow) = Allow::parse(&list) {
            let _ = allow.permits_host(&host);
        }
    }
}
