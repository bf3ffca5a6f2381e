//! Being built.
/// Runs.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
