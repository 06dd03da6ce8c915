//! The rules: what a push means, who may do what, and when. Pure: no I/O, no clock, no randomness of its own,
//! and nothing of the crate but this module.

pub mod account;
pub mod address;
pub mod agenda;
pub mod attempts;
pub mod audit;
pub mod captcha;
pub mod complaint;
pub mod delivery;
#[cfg(test)]
mod fuzz_tests;
pub mod grant;
pub mod group;
pub mod id;
pub mod idempotency;
pub mod invite;
pub mod language;
pub mod mailbox;
pub mod mask;
pub mod modifier;
pub mod params;
pub mod permission;
pub mod pusher;
pub mod rate;
pub mod refusal;
pub mod relay;
pub mod resolve;
pub mod retry;
pub mod schedule;
pub mod scope;
pub mod shown;
pub mod stock;
pub mod task;
pub mod time;
#[cfg(test)]
pub mod trials;
