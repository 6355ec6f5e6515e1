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

/// The result of [`unpack`]: the message, or `None` for another type.
pub type Unpack<M> = Result<Option<M>, DecodeError>;

/// Decodes a message of type `M` from an `Any`; `None` when it holds another type.
///
/// # Errors
/// When the type matches but the bytes cannot be decoded.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Unpack<M> {
    if any.type_url.rsplit('/').next() != Some(M::full_name().as_str()) {
        return Ok(None);
    }
    M::decode(any.value.as_slice()).map(Some)
}
