//! Where a request comes from, for what slows down whoever tries too much.

use std::net::IpAddr;

use poem::Request;
use poem::http::header;

use crate::flow::door::Visitor;

/// The address that a request comes from, where somebody in front has found it out: behind a proxy it is not the one
/// that the connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Who makes a request.
pub fn visitor(request: &Request) -> Visitor {
    let found = request.data::<ClientAddress>().map(|found| found.0);
    let address = found.or_else(|| request.remote_addr().as_socket_addr().map(std::net::SocketAddr::ip));
    Visitor::new(address, request.header(header::USER_AGENT).map(str::to_owned))
}
