//! Where a request comes from.

use std::net::IpAddr;

use poem::Request;

/// The address that a request comes from: the peer's.
pub fn origin(request: &Request) -> Option<IpAddr> {
    request.remote_addr().as_socket_addr().map(|peer| peer.ip().to_canonical())
}
