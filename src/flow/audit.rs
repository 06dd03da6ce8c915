//! Who did what, for the record. An event is written in the transaction of what it tells of.

use std::net::IpAddr;

use super::{Caller, Engine};
use crate::domain::audit::{AuditAction, AuditEvent, Who};
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;

impl Caller {
    /// The caller, as the record names it.
    pub fn who(&self) -> Who {
        let token = self.api_token.as_ref().map(|token| token.id.clone());
        Who { token, ..somebody(Some(self.account.id.clone()), self.origin) }
    }
}

/// Somebody without a token: at most the address is known, and whose password it was.
pub fn somebody(account: Option<AccountId>, origin: Option<IpAddr>) -> Who {
    Who { account, token: None, origin: origin.map(|address| address.to_canonical().to_string()) }
}

/// Whoever has access to the machine: no account, and the command line in place of an address.
pub fn operator() -> Who {
    Who { origin: Some("cli".to_owned()), ..Who::default() }
}

/// Something that is done at this time, where there is no engine.
pub fn event_at(now: Timestamp, who: &Who, action: AuditAction) -> AuditEvent {
    AuditEvent::new(now, rand::random(), who, action)
}

impl Engine {
    /// Something that is done now; give it to `Tx::audit`.
    pub fn event(&self, who: &Who, action: AuditAction) -> AuditEvent {
        event_at(self.clock.now(), who, action)
    }
}
