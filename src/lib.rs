//! Fanfare: one HTTP call becomes messages on any channel.
//!
//! A request comes in through `api`, which knows HTTP and nothing else. `flow` does what takes several steps, by the
//! rules of `domain`, which are pure; `store` keeps it, and `jobs` runs the workers that deliver it: `service` turns
//! parameters into a request, `send` makes it. Arrows go one way only: cli, app, then api and jobs, then flow, then
//! store, send and service, then domain.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod flow;
pub mod jobs;
pub mod logs;
pub mod metrics;
pub mod send;
pub mod service;
pub mod store;
