//! The integration tests, in one binary so that it links once.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what is wanted")]

mod account;
mod cli;
mod cli_services;
mod edit_race;
mod frame;
mod group_api;
mod page;
mod preset;
mod push;
mod pusher;
mod send;
mod send_mail;
mod send_redirect;
mod service;
mod store;
mod store_queue;
mod support;
mod task;
