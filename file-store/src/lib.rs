//! A file store on a local disk that Hamlet shares with other software.
//!
//! The store is one folder. Each instance has a folder in it, which is named after the instance's domain and holds the
//! tree of the instance by its paths. What is in it was written by others, so nothing in it is trusted: every step from
//! folder to folder is made by a single name, and no symbolic link is followed.

mod domain;
mod folder;
mod identity;
mod removal;
mod walk;

pub use domain::folder_name;
pub use folder::{Entry, Folder, Kind};
pub use identity::Identity;
pub use walk::{Found, Walk};

/// The folder of the trash.
pub const TRASH: &str = ".cozy_trash";
/// The folder of old versions of files.
pub const VERSIONS: &str = ".cozy_versions";
/// The folder of thumbnails.
pub const THUMBNAILS: &str = ".thumbs";
/// The folder of the code of web apps.
pub const APPS: &str = ".cozy_apps";
/// The folder of the code of konnectors.
pub const KONNECTORS: &str = ".cozy_konnectors";

/// An error of the system as one of the standard library.
fn io(error: rustix::io::Errno) -> std::io::Error {
    error.into()
}
