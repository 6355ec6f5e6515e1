//! Messages inside `google.protobuf.Any`.

use prost::{DecodeError, Message, Name};
use prost_types::Any;

/// Puts a message into an `Any`.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// What became of taking a message out of an `Any`.
pub type Unpack<M> = Result<Option<M>, DecodeError>;

/// Takes a message of one type out of an `Any`; `None` when it holds another type.
///
/// # Errors
/// When the type is right and the bytes are not.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Unpack<M> {
    if any.type_url.rsplit('/').next() != Some(M::full_name().as_str()) {
        return Ok(None);
    }
    M::decode(any.value.as_slice()).map(Some)
}
