//! Black-box tests: the real program, real sockets, and peers that look at the bytes.
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "tests wait, and tell what they see")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test that panics has said what it has to say")]

mod accessible_pages;
mod architecture;
mod assumptions;
mod bootstrap;
mod check;
mod clients;
mod commands;
mod deploy;
mod documents;
mod download_button;
mod help;
mod infra;
mod left_out;
mod login;
mod messages;
mod nixos;
mod own_pages;
mod pages;
mod personal_page;
mod product;
mod properties;
mod reader;
mod readme;
mod sandbox;
mod screenshots;
mod serve;
mod support;
mod token;
mod ui;
