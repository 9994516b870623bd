#![allow(warnings, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]
#[tokio::main]
async fn main() -> std::process::ExitCode {
    match session_worker::run().await { Ok(()) => std::process::ExitCode::SUCCESS, Err(e) => { eprintln!("ended: {e}"); std::process::ExitCode::FAILURE } }
}
