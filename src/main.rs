//! The door: hands over to `cli` and turns its verdict into an exit code.
//! Owns: nothing.
//! Must not know: anything.
//! Invariants: the exit code is one of those documented in `cli`.
//! Start reading at: [`p2pgroup::cli::run`].

fn main() -> std::process::ExitCode {
    p2pgroup::cli::run()
}
