//! Fanfare: one HTTP call becomes messages on any channel.

pub mod domain;
pub mod service;
