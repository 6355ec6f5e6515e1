//! The names of objects in the content store, below an instance's prefix.
//!
//! They follow the compatible layout v3: `ID/INTERNAL` for contents, current or of an old version, where an id of 32
//! characters is split in three when the internal id has 16; `thumbs/ID-FORMAT` for thumbnails; `avatar`.

/// What an object of the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// The contents of a file or of an old version of one.
    Contents {
        /// The id of the file's document.
        file: String,
        /// The internal id of these contents: one file can have several.
        internal: String,
    },
    /// A thumbnail of a file.
    Thumbnail {
        /// The id of the file's document.
        file: String,
    },
    /// The avatar of the owner.
    Avatar,
}

/// The length of the internal ids that the compatible software generates.
const INTERNAL_LENGTH: usize = 16;
const THUMBNAILS: &str = "thumbs";
const AVATAR: &str = "avatar";

/// The path segments under which contents are stored.
pub(crate) fn contents_name(file: &str, internal: &str) -> Vec<String> {
    let mut parts = if internal.len() == INTERNAL_LENGTH {
        split(file)
    } else {
        vec![file.to_owned()]
    };
    parts.push(internal.to_owned());
    parts
}

/// Recognizes an object by its path segments. `None` for names of no known layout.
pub(crate) fn object_of(parts: &[String]) -> Option<Object> {
    match parts {
        [avatar] if avatar == AVATAR => Some(Object::Avatar),
        [first, id @ .., last] if first == THUMBNAILS => {
            let (end, _format) = last.rsplit_once('-')?;
            let mut id = id.to_vec();
            id.push(end.to_owned());
            Some(Object::Thumbnail { file: joined(&id)? })
        }
        [id @ .., internal] => Some(Object::Contents {
            file: joined(id)?,
            internal: internal.clone(),
        }),
        [] => None,
    }
}

fn split(id: &str) -> Vec<String> {
    match (id.get(..22), id.get(22..27), id.get(27..)) {
        (Some(first), Some(second), Some(third)) if id.len() == 32 => {
            [first, second, third].map(str::to_owned).to_vec()
        }
        _ => vec![id.to_owned()],
    }
}

fn joined(parts: &[String]) -> Option<String> {
    match parts {
        [whole] => Some(whole.clone()),
        [first, second, third] if [first.len(), second.len(), third.len()] == [22, 5, 5] => {
            Some(parts.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Object, contents_name, object_of};

    fn parts(name: &str) -> Vec<String> {
        name.split('/').map(str::to_owned).collect()
    }

    /// Test vectors of the compatible layout.
    #[test]
    fn names_of_contents_follow_the_compatible_layout() {
        for (file, internal, name) in [
            (
                "0123456789abcdef0123456789abcdef",
                "aBcDeFgHiJkLmNoP",
                "0123456789abcdef012345/6789a/bcdef/aBcDeFgHiJkLmNoP",
            ),
            (
                "018f2f6e-5a3b-7c1d-9e2f-0a1b2c3d4e5f",
                "aBcDeFgHiJkLmNoP",
                "018f2f6e-5a3b-7c1d-9e2f-0a1b2c3d4e5f/aBcDeFgHiJkLmNoP",
            ),
            (
                "0123456789abcdef0123456789abcdef",
                "short",
                "0123456789abcdef0123456789abcdef/short",
            ),
        ] {
            assert_eq!(contents_name(file, internal).join("/"), name);
            let contents = Object::Contents {
                file: file.to_owned(),
                internal: internal.to_owned(),
            };
            assert_eq!(object_of(&parts(name)), Some(contents), "{name}");
        }
    }

    #[test]
    fn thumbnails_are_recognized_with_their_file() {
        for (name, file) in [
            (
                "thumbs/0123456789abcdef012345/6789a/bcdef-tiny",
                "0123456789abcdef0123456789abcdef",
            ),
            ("thumbs/018f2f6e-5a3b-7c1d-large", "018f2f6e-5a3b-7c1d"),
        ] {
            let file = file.to_owned();
            assert_eq!(object_of(&parts(name)), Some(Object::Thumbnail { file }));
        }
        assert_eq!(object_of(&parts("avatar")), Some(Object::Avatar));
    }

    #[test]
    fn other_names_are_not_recognized() {
        for name in ["x", "a/b/c", "thumbs/x", "thumbs", "a/b/c/d/e"] {
            assert_eq!(object_of(&parts(name)), None, "{name}");
        }
    }
}
