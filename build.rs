//! Compiles `proto/` with protox, so that no `protoc` needs to be installed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["frame", "identity", "control", "roster", "room", "order", "sync", "keep"]
        .map(|name| format!("proto/p2pgroup/v1/{name}.proto"));
    let set = protox::compile(&files, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(set)?;
    Ok(())
}
