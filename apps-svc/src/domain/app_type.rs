//! Kinds of apps.

/// The kind of an app. Always given by the caller, never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AppType {
    /// An app that runs in the browser.
    Webapp,
    /// A script that runs on the server.
    Konnector,
}

impl AppType {
    /// The doctype of its documents.
    pub(crate) const fn doctype(self) -> &'static str {
        match self {
            Self::Webapp => "io.cozy.apps",
            Self::Konnector => "io.cozy.konnectors",
        }
    }

    /// The name of its manifest file.
    pub(crate) const fn manifest_name(self) -> &'static str {
        match self {
            Self::Webapp => "manifest.webapp",
            Self::Konnector => "manifest.konnector",
        }
    }

    /// The `type` in a manifest.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Webapp => "webapp",
            Self::Konnector => "konnector",
        }
    }

    /// The `type` of its permission document.
    pub(crate) const fn permission_type(self) -> &'static str {
        match self {
            Self::Webapp => "app",
            Self::Konnector => "konnector",
        }
    }

    /// The id of the document of the app `slug`.
    pub(crate) fn document_id(self, slug: &str) -> String {
        format!("{}/{slug}", self.doctype())
    }
}
