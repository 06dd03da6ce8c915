//! The guard by table and by property: no spelling of a private address passes.

use proptest::prelude::*;
use url::Url;

use super::*;

fn passes(allow: &Allow, url: &str) -> bool {
    let url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    match url.host().unwrap() {
        // What the system's resolver makes of a name is checked after it is resolved.
        Host::Domain(name) => panic!("{url}: the parser took {name} for a name"),
        literal => allow.check_literal(&literal).is_ok(),
    }
}

const PRIVATE: &[&str] = &[
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:808:808::f5ff:fffe",
    "2001:0:a00:1::f7f7:f7f7",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
];

const PUBLIC: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:0:808:808::f7f7:f7f7",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2002:808:808::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "3ffe::1",
];

#[test]
fn private_addresses_are_not_public() {
    assert!(PRIVATE.len() >= 60);
    for text in PRIVATE {
        assert!(!is_public(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn public_addresses_are_public() {
    for text in PUBLIC {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn no_spelling_of_a_private_address_passes() {
    let hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "0x7f.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0177.1",
        "017700000001",
        "0x7f.0x0.0x0.0x1",
        "127.0.0.0x1",
        "127.00.00.01",
        "%31%32%37.0.0.1",
        "127%2e0%2e0%2e1",
        "127。0。0。1",
        "127．0．0．1",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "0",
        "0x0",
        "0.0",
        "00000000",
        "10.1",
        "0xa.1",
        "012.1",
        "167772161",
        "0x0a000001",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "0xa9.0xfe.0xa9.0xfe",
        "192.168.1",
        "0xc0a80001",
        "3232235521",
        "172.1048577",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[FD00:EC2::254]",
        "[fc00::]",
        "[ff02::1]",
        "[::ffff:a9fe:a9fe]",
        "[::ffff:0:7f00:1]",
        "user@127.0.0.1",
        "8.8.8.8@127.0.0.1",
        "8.8.8.8:80@127.0.0.1",
        "example.org%20@127.0.0.1",
        "user:example.org@0x7f.1",
        "@[::1]",
        "127.0.0.1:80",
        "127.0.0.1:8080",
        "127.1:443",
        "\t127.0.0.1",
        "127.0.\n0.1",
    ];
    assert!(hosts.len() >= 60);
    for host in hosts {
        assert!(!passes(&Allow::default(), &format!("http://{host}/x")), "{host}");
        assert!(!passes(&Allow::default(), &format!("https:\\\\{host}\\x")), "{host}");
    }
    assert!(passes(&Allow::default(), "http://127.0.0.1@8.8.8.8/"));
    assert!(passes(&Allow::default(), "http://[2606:4700::1]/"));
}

fn private_v4() -> impl Strategy<Value = Ipv4Addr> {
    let within = |base: [u8; 4], bits: u32| {
        (0..=u32::MAX >> bits).prop_map(move |low| Ipv4Addr::from_bits(Ipv4Addr::from(base).to_bits() | low))
    };
    prop_oneof![
        within([0, 0, 0, 0], 8),
        within([10, 0, 0, 0], 8),
        within([100, 64, 0, 0], 10),
        within([127, 0, 0, 0], 8),
        within([169, 254, 0, 0], 16),
        within([172, 16, 0, 0], 12),
        within([192, 168, 0, 0], 16),
        within([198, 18, 0, 0], 15),
        within([224, 0, 0, 0], 4),
        within([240, 0, 0, 0], 4),
    ]
}

/// One number of an IPv4 address in one of the bases that URLs know.
fn number(value: u32, base: u8) -> String {
    match base % 4 {
        0 => value.to_string(),
        1 => format!("0x{value:x}"),
        2 => format!("0X{value:08X}"),
        _ => format!("0{value:o}"),
    }
}

/// `parts` numbers, the last of which takes the bytes that are left.
fn spelled(ip: Ipv4Addr, parts: usize, bases: [u8; 4]) -> String {
    let octets = ip.octets();
    let mut words: Vec<String> = (0..parts - 1).map(|i| number(octets[i].into(), bases[i])).collect();
    let rest = octets[parts - 1..].iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
    words.push(number(rest, bases[parts - 1]));
    words.join(".")
}

fn embedded(ip: Ipv4Addr, way: u8) -> String {
    let (high, low) = ((ip.to_bits() >> 16) as u16, ip.to_bits() as u16);
    match way % 7 {
        0 => format!("[::ffff:{ip}]"),
        1 => format!("[0:0:0:0:0:FFFF:{high:x}:{low:04X}]"),
        2 => format!("[64:ff9b::{ip}]"),
        3 => format!("[2002:{high:x}:{low:x}::1]"),
        4 => format!("[2001:0:808:808:0:0:{:x}:{:x}]", !high, !low),
        5 => format!("[2001:0:{high:x}:{low:x}:0:0:f7f7:f7f7]"),
        _ => format!("[::{ip}]"),
    }
}

proptest! {
    #[test]
    fn no_written_form_of_a_private_address_passes(
        ip in private_v4(), parts in 1usize..=4, bases: [u8; 4], way: u8, dot: bool, user in "[a-z0-9.]{0,12}", port: u16,
    ) {
        let dot = if dot { "." } else { "" };
        for host in [format!("{}{dot}", spelled(ip, parts, bases)), embedded(ip, way)] {
            let url = format!("http://{user}:8.8.8.8@{host}:{port}/path");
            prop_assert!(!passes(&Allow::default(), &url), "{}", url);
        }
    }

    #[test]
    fn an_allowed_network_opens_its_addresses_and_no_other(ip in private_v4(), bits in 9u8..=32) {
        let allow = Allow::parse(&format!("{ip}/{bits}")).unwrap();
        prop_assert!(allow.may_reach(ip.into()));
        prop_assert!(allow.may_reach(ip.to_ipv6_mapped().into()));
        let other = Ipv4Addr::from_bits(ip.to_bits() ^ (1 << (32 - bits)));
        prop_assert_eq!(allow.may_reach(other.into()), is_public(other.into()));
    }
}

#[test]
fn a_list_names_hosts_suffixes_addresses_and_networks() {
    let allow = Allow::parse(" nas.lan ,*.Home.Arpa, 10.0.0.0/8, 192.168.1.7,fd00::/8,[::1],bücher.example,").unwrap();
    for host in [
        "nas.lan",
        "NAS.LAN",
        "nas.lan.",
        "a.home.arpa",
        "a.b.home.arpa",
        "10.1.2.3",
        "192.168.1.7",
        "xn--bcher-kva.example",
        "bücher.example",
    ] {
        assert!(allow.permits_host(host), "{host}");
    }
    for host in ["lan", "x.nas.lan", "home.arpa", "evilhome.arpa", "nas.lan.example.org", "11.0.0.1", "", ".", "a b"] {
        assert!(!allow.permits_host(host), "{host}");
    }
    for ip in ["10.1.2.3", "::ffff:10.1.2.3", "192.168.1.7", "fd12::1", "::1"] {
        assert!(allow.permits_ip(ip.parse().unwrap()), "{ip}");
    }
    for ip in ["192.168.1.8", "fc00::1", "127.0.0.1", "64:ff9b::10.1.2.3"] {
        assert!(!allow.permits_ip(ip.parse().unwrap()), "{ip}");
    }
    assert!(!Allow::parse("").unwrap().permits_host("localhost"));
}

#[test]
fn a_bad_item_is_named() {
    for item in [
        "http://nas.lan",
        "nas.lan:80",
        "10.0.0.0/33",
        "10.0.0.256",
        "10.1",
        "0x7f.1",
        "*",
        "*.",
        "a..b",
        "a b",
        "user@host",
        "*.*.lan",
        "fe80::1%eth0",
        "/8",
    ] {
        let error = Allow::parse(&format!("ok.lan, {item} ,10.0.0.1")).unwrap_err();
        assert!(error.contains(&format!("`{item}`")), "{error}");
    }
}

#[test]
fn forbidden_addresses_are_dropped_from_what_a_name_resolves_to() {
    let addresses = |list: &[&str]| list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect::<Vec<_>>();
    let allow = Allow::parse("10.0.0.0/8").unwrap();
    let kept = allow.keep_reachable(addresses(&["127.0.0.1", "8.8.8.8", "10.0.0.1", "::1", "2606:4700::1"])).unwrap();
    assert_eq!(kept, addresses(&["8.8.8.8", "10.0.0.1", "2606:4700::1"]));
    assert_eq!(allow.keep_reachable(addresses(&["127.0.0.1", "::1"])), Err(Blocked::Refused));
    assert_eq!(allow.keep_reachable(Vec::new()), Err(Blocked::NotFound));
}

#[tokio::test]
async fn a_name_that_means_this_machine_is_refused_unless_it_is_allowed() {
    assert_eq!(Allow::default().addresses("localhost", 80).await, Err(Blocked::Refused));
    assert_eq!(Allow::default().addresses("127.0.0.1", 80).await, Err(Blocked::Refused));
    for host in ["localhost", "127.0.0.1", "0x7f.1"] {
        if let Ok(found) = Allow::default().addresses(host, 80).await {
            panic!("{host} gave {found:?}");
        }
    }
    let found = Allow::parse("localhost").unwrap().addresses("localhost", 80).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
}
