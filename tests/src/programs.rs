//! Builds and finds the programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// How the environment variables begin by which cargo tells a test of its package.
const OF_A_TEST: [&str; 4] = [
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_CRATE_NAME",
    "OUT_DIR",
];

/// The root of the workspace.
#[must_use]
pub fn root() -> &'static Path {
    // This crate's folder is directly below the root.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate has a parent folder")
}

/// A program of the workspace. It is built once for all tests, in the profile of the tests.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--workspace", "--bins"])
            .current_dir(root());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        // Cargo sets these for a test. A dependency whose build script watches them would be built again, and all above it.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if OF_A_TEST.iter().any(|prefix| name.starts_with(prefix)) {
                build.env_remove(name.as_ref());
            }
        }
        let built = build.status().expect("cargo can be run");
        assert!(built.success(), "the programs cannot be built");
        target_folder()
    });
    folder.join(name)
}

/// The folder of the test binaries: target/PROFILE/deps/TEST.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let deps = test.parent().expect("a test lies in a folder");
    deps.parent().expect("deps lies in a folder").to_owned()
}
