//! The HTTP side: the only place that knows status codes, and the only place that knows poem.

pub mod docs;
pub mod document;
pub mod envelope;
pub mod fault;
pub mod form;
pub mod frame;
pub mod input;
pub mod messages;
pub mod page;
