//! Fanfare: one HTTP call becomes messages on any channel.

pub mod api;
pub mod config;
pub mod domain;
pub mod error;
pub mod logs;
pub mod metrics;
