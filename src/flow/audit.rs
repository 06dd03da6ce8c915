//! Who did what, for the record. An event is written in the transaction of what it tells of.

use super::{Caller, Engine};
use crate::domain::audit::{AuditAction, AuditEvent, Who};

impl Caller {
    /// The caller, as the record names it.
    pub fn who(&self) -> Who {
        let token = self.token.as_ref().map(|token| token.id.clone());
        Who { account: Some(self.account.id.clone()), token, origin: self.origin }
    }
}

impl Engine {
    /// Something that is done now; give it to `Tx::audit`.
    pub fn event(&self, who: &Who, action: AuditAction) -> AuditEvent {
        AuditEvent::new(self.clock.now(), rand::random(), who, action)
    }
}
