//! Starts the program.

use std::process::ExitCode;

/// musl's own allocator takes one lock for all threads; a proxy with two workers would spend its time there.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    appliance::cli::run(std::env::args_os())
}
