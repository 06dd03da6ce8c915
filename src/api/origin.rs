//! Where a request comes from.

use std::net::IpAddr;

use poem::Request;
use poem::http::header;

use crate::flow::door::Visitor;

/// The address that a request comes from, as the gate has found it out: behind a proxy it is not the one that the
/// connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The address that a request comes from, if it comes over a network.
pub fn origin(request: &Request) -> Option<IpAddr> {
    request.data::<ClientAddress>().map(|found| found.0)
}

/// Who makes a request, for what slows down whoever tries too much.
pub fn visitor(request: &Request) -> Visitor {
    Visitor::new(origin(request), request.header(header::USER_AGENT).map(str::to_owned))
}
