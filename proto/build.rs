//! Compiles the contracts. protox parses them in-process, so no protoc binary is needed.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(
        [
            "google/longrunning/operations.proto",
            "google/rpc/status.proto",
            "hamlet/apps/v1/apps.proto",
            "hamlet/files/v1/files.proto",
            "hamlet/instance/v1/directory.proto",
            "hamlet/instance/v1/features.proto",
            "hamlet/instance/v1/identity.proto",
            "hamlet/instance/v1/instance.proto",
            "hamlet/instance/v1/operation.proto",
            "hamlet/instance/v1/owner.proto",
        ],
        ["proto"],
    )?;

    // The encoded set is used for reflection and for the JSON form of messages.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("hamlet_descriptor.bin"),
        descriptors.encode_to_vec(),
    )?;

    // These messages contain secrets. `src/redacted.rs` implements `Debug` for them.
    const SECRET: [&str; 11] = [
        ".hamlet.instance.v1.AppPage",
        ".hamlet.instance.v1.AuthenticateRequest",
        ".hamlet.instance.v1.CheckRegisterTokenRequest",
        ".hamlet.instance.v1.CreateInstanceRequest",
        ".hamlet.instance.v1.CreateInstanceResult",
        ".hamlet.instance.v1.OauthClient",
        ".hamlet.instance.v1.RegisterLink",
        ".hamlet.instance.v1.RegisterPassphraseRequest",
        ".hamlet.instance.v1.ResetLink",
        ".hamlet.instance.v1.SetPassphraseRequest",
        ".hamlet.instance.v1.Token",
    ];
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    config.type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure()
        .skip_debug(SECRET)
        .compile_fds_with_config(descriptors, config)?;

    // compile_fds knows no paths, so cargo has to be told what to watch.
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
