//! What the integration tests share: servers on loopback that record what reaches them.
#![allow(dead_code, reason = "each test uses a part")]

pub mod caller;
pub mod certificates;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod database;
pub mod http_sink;
pub mod install;
pub mod log;
pub mod mime;
pub mod newcomer;
pub mod plain;
pub mod program;
pub mod proxy;
pub mod scene;
pub mod smtp_sink;
pub mod world;

use std::time::Duration;

/// How long a test waits for what it expects before it fails.
pub const PATIENCE: Duration = Duration::from_secs(10);
