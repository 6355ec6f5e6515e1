//! Hamlet's gRPC contracts: the `.proto` files under `proto/`, and the code generated from them.
//!
//! The modules follow the packages. Every message knows the name of its type ([`prost::Name`]), so that it can be
//! packed into a `google.protobuf.Any`.

mod any;
pub mod fields;
#[cfg(feature = "json")]
pub mod json;
mod redacted;

pub use any::{Unpack, pack, unpack};

/// Google's public contracts that Hamlet implements.
pub mod google {
    /// Long-running operations.
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        reason = "generated code"
    )]
    pub mod longrunning {
        tonic::include_proto!("google.longrunning");
    }
    /// The error model.
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        reason = "generated code"
    )]
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// Hamlet's own contracts.
pub mod hamlet {
    /// The apps of an instance.
    pub mod apps {
        /// Version 1.
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::wildcard_imports,
            reason = "generated code"
        )]
        pub mod v1 {
            tonic::include_proto!("hamlet.apps.v1");
        }
    }
    /// The tree of an instance.
    pub mod files {
        /// Version 1.
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::wildcard_imports,
            reason = "generated code"
        )]
        pub mod v1 {
            tonic::include_proto!("hamlet.files.v1");
        }
    }
    /// The lifecycle of instances.
    pub mod instance {
        /// Version 1.
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::wildcard_imports,
            reason = "generated code"
        )]
        pub mod v1 {
            tonic::include_proto!("hamlet.instance.v1");
        }
    }
}

/// The encoded `FileDescriptorSet` of all contracts, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("hamlet_descriptor");
