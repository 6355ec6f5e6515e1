//! Names of resources, with or without their collection, and other short texts.

/// The name of an operation from its id or its name.
///
/// # Errors
/// When the text is no id.
pub(crate) fn operation(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("operations/").unwrap_or(text);
    if id.is_empty() || id.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        return Err("is no operation; write an id as `hamlet operations ls` shows it".to_owned());
    }
    Ok(format!("operations/{id}"))
}

/// The slug of an app from its slug or its name.
///
/// # Errors
/// When the text is no slug.
pub(crate) fn slug(text: &str) -> Result<String, String> {
    let slug = text.strip_prefix("apps/").unwrap_or(text);
    if slug.is_empty() || slug.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        return Err("is no slug; write one as `hamlet apps ls DOMAIN` shows it".to_owned());
    }
    Ok(slug.to_owned())
}

/// An absolute path within an instance.
///
/// # Errors
/// When the text does not begin with a slash.
pub(crate) fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("is no absolute path; write /{text}"));
    }
    Ok(text.to_owned())
}

/// A UUID in its canonical form.
///
/// # Errors
/// When the text is no UUID.
pub(crate) fn request_id(text: &str) -> Result<String, String> {
    uuid::Uuid::parse_str(text)
        .map(|id| id.to_string())
        .map_err(|_| {
            "is no UUID; write one such as 6f1c2a52-6f0e-4d0c-9a3e-0d5c2b1f7a10".to_owned()
        })
}

/// A text that is not empty.
///
/// # Errors
/// When the text is empty.
pub(crate) fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty; write a value, or leave the flag out".to_owned());
    }
    Ok(text.to_owned())
}

/// The name of a sponsor.
///
/// # Errors
/// When the text is empty.
pub(crate) fn sponsor(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a sponsor is empty; write names, separated by commas".to_owned());
    }
    Ok(text.trim().to_owned())
}

/// An etag.
///
/// # Errors
/// When the text is empty: the server takes an empty etag for none.
pub(crate) fn etag(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty; write the one that `hamlet instances show` tells".to_owned());
    }
    Ok(text.to_owned())
}
