//! The JSON form of messages, as protobuf defines it.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::FileDescriptorSet;
use serde_json::Value;

/// Why a message has no JSON form.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The type is not in the contracts.
    #[error("the contracts hold no message type {0}")]
    UnknownType(String),
    /// The bytes cannot be decoded as the type.
    #[error("the message does not fit its type")]
    Decode(#[from] prost::DecodeError),
    /// A value has no JSON form, such as an `Any` of an unknown type.
    #[error("the message has no JSON form")]
    Serialize(#[from] serde_json::Error),
}

static POOL: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET);
    pool.map_err(|error| error.to_string())
        .and_then(with_error_details)
});

/// Adds the types of error details (`google/rpc/error_details.proto`), which travel as `Any`.
fn with_error_details(mut pool: DescriptorPool) -> Result<DescriptorPool, String> {
    let known = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .map_err(|error| error.to_string())?;
    let missing: Vec<_> = known
        .file
        .into_iter()
        .filter(|file| {
            file.message_type.iter().all(|message| {
                let name = format!("{}.{}", file.package(), message.name());
                pool.get_message_by_name(&name).is_none()
            })
        })
        .collect();
    pool.add_file_descriptor_protos(missing)
        .map_err(|error| error.to_string())?;
    Ok(pool)
}

/// The JSON form of `message`, as protobuf defines it: lower camel case names, 64-bit integers as strings, and `Any`
/// with its `@type`. Empty fields are left out.
///
/// # Errors
/// When the message contains an `Any` of a type that is not in the contracts.
pub fn to_json<M: Message + Name>(message: &M) -> Result<Value, Error> {
    serialize(message, &SerializeOptions::new().skip_default_fields(true))
}

/// As [`to_json`], but with every field under its name in the contract, and including empty fields. Only messages and
/// fields declared `optional` can be missing.
///
/// # Errors
/// As [`to_json`].
pub fn to_json_fields<M: Message + Name>(message: &M) -> Result<Value, Error> {
    let options = SerializeOptions::new()
        .skip_default_fields(false)
        .use_proto_field_name(true);
    serialize(message, &options)
}

fn serialize<M: Message + Name>(message: &M, options: &SerializeOptions) -> Result<Value, Error> {
    let name = M::full_name();
    let descriptor = POOL
        .as_ref()
        .ok()
        .and_then(|pool| pool.get_message_by_name(&name))
        .ok_or(Error::UnknownType(name))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, options)?)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use prost::Message as _;

    use super::to_json;
    use crate::{
        google::{
            longrunning::{Operation, operation},
            rpc::Status,
        },
        hamlet::instance::v1::OperationMetadata,
        pack,
    };

    #[test]
    fn an_any_is_spelled_out_with_its_type() {
        let operation = Operation {
            name: "operations/1".to_owned(),
            metadata: Some(pack(&OperationMetadata {
                kind: "create".to_owned(),
                ..OperationMetadata::default()
            })),
            ..Operation::default()
        };
        let json = to_json(&operation).unwrap();
        assert_eq!(
            json["metadata"]["@type"],
            "type.googleapis.com/hamlet.instance.v1.OperationMetadata"
        );
        assert_eq!(json["metadata"]["kind"], "create");
    }

    #[test]
    fn the_details_of_a_failed_operation_are_spelled_out() {
        use tonic_types::StatusExt as _;

        let details = tonic_types::ErrorDetails::with_error_info("NAME_TAKEN", "hamlet", []);
        let status =
            tonic::Status::with_error_details(tonic::Code::AlreadyExists, "taken", details);
        let error = Status::decode(status.details()).unwrap();
        let operation = Operation {
            done: true,
            result: Some(operation::Result::Error(error)),
            ..Operation::default()
        };
        let json = to_json(&operation).unwrap();
        assert_eq!(json["error"]["details"][0]["reason"], "NAME_TAKEN");
    }
}
