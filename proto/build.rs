//! Compiles the proto files without `protoc` and keeps their descriptors for server reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: &[&str] = &[
    "windhover/v1/common.proto",
    "windhover/v1/flow.proto",
    "windhover/v1/execution.proto",
    "windhover/v1/log.proto",
    "windhover/v1/secret.proto",
    "windhover/v1/trigger.proto",
    "windhover/v1/kv.proto",
    "windhover/v1/namespace.proto",
    "windhover/v1/file.proto",
    "windhover/admin/v1/tenant.proto",
    "windhover/admin/v1/access.proto",
    "windhover/admin/v1/cluster.proto",
];

/// Messages that carry a secret: their `Debug` is written by hand.
const SECRET: &[&str] = &[".windhover.v1.PutSecretRequest", ".windhover.admin.v1.CreateTokenResponse"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=windhover");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("windhover.bin"), descriptors.encode_to_vec())?;
    // Every message knows its full name, by which its descriptor is found.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        // Sorted maps: the same message has the same bytes, which request ids are compared by.
        .btree_map(".")
        .skip_debug(SECRET.iter().copied())
        // An execution is much larger than a log line, and followers mostly get log lines.
        .boxed(".windhover.v1.FollowExecutionResponse.event.execution")
        .boxed(".windhover.v1.FollowExecutionResponse.event.task_run")
        .boxed(".windhover.v1.BatchCreateExecutionsResult.outcome.execution")
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
