//! The integration tests, in one binary so that it links once.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what is wanted")]

mod account;
mod bad_input;
mod bad_pusher;
mod cli;
mod cli_services;
mod deliver;
mod deliver_mail;
mod deliver_retry;
mod deliver_secret;
mod edit_race;
mod fallback;
mod frame;
mod group;
mod group_api;
mod layers;
mod openapi;
mod page;
mod permission;
mod preset;
mod push;
mod push_token;
mod pusher;
mod queue;
mod revoke;
mod schedule;
mod send;
mod send_mail;
mod send_redirect;
mod service;
mod share;
mod share_secret;
mod store;
mod store_queue;
mod support;
mod task;
