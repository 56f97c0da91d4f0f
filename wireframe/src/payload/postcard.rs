//! The format of the crate `postcard`.

use bytes::Bytes;
use postcard::{take_from_bytes, to_allocvec};
use serde::{Serialize, de::DeserializeOwned};
use wireframe_proto::{Malformed, Unencodable};

use super::PayloadFormat;

/// The compact format of the crate `postcard`, for all types that `serde` can handle: the
/// feature `postcard`.
///
/// A payload is one value. Bytes that follow it are malformed, so a field that only newer
/// peers send has to be a variant of its own.
///
/// Do not decode a sequence whose items take no bytes, such as `Vec<()>`, from peers whom
/// you do not trust: ten bytes may announce any number of them. Of other sequences up to
/// 1 MiB may be set aside before the items come.
#[derive(Clone, Copy, Debug)]
pub enum Postcard {}

impl<T: Serialize + DeserializeOwned> PayloadFormat<T> for Postcard {
    fn decode(payload: Bytes) -> Result<T, Malformed> {
        match take_from_bytes(&payload) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => {
                let (left, end) = (rest.len(), payload.len() - rest.len());
                let what = format!("the value ends after {end} bytes, and {left} more follow");
                Err(Malformed::new(what))
            }
            Err(error) => Err(Malformed::new(error.to_string())),
        }
    }

    fn encode(value: &T) -> Result<Bytes, Unencodable> {
        match to_allocvec(value) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(Unencodable::new(error.to_string())),
        }
    }
}
