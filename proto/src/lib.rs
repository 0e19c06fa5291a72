//! The gRPC API of Windhover, made from the proto files beside this crate. They are its documentation; the README of
//! this folder has the conventions and the table of reasons.

mod names;
pub mod reasons;
mod redact;

/// `windhover.v1`: what flows are made with and seen by.
#[allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("windhover.v1");
}

/// `windhover.admin.v1`: tenants, access, the cluster.
pub mod admin {
    /// `windhover.admin.v1`: tenants, access, the cluster.
    #[allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
    pub mod v1 {
        tonic::include_proto!("windhover.admin.v1");
    }
}

/// All proto files as an encoded `google.protobuf.FileDescriptorSet`, for server reflection and for JSON.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/windhover.bin"));

/// The `domain` of every `google.rpc.ErrorInfo` of Windhover.
pub const ERROR_DOMAIN: &str = "windhover";

/// Names of the gRPC metadata that Windhover reads and writes.
pub mod metadata {
    /// `Bearer …` with a token.
    pub const AUTHORIZATION: &str = "authorization";
    /// The tenant to act in, for credentials that may act in several.
    pub const TENANT: &str = "windhover-tenant";
    /// In every response: names the call in the server's logs.
    pub const REQUEST_ID: &str = "windhover-request-id";
}
