//! The parameters of a query. An empty parameter is one that was not given.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeOwned, Error as _, value::MapDeserializer},
};
use url::form_urlencoded;

use super::Error;

/// The parameters of a request. Unknown ones are ignored; one that cannot be read is named in the refusal.
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads parameters. Of one that is given several times, the first counts.
///
/// # Errors
/// Names the parameter that cannot be read.
pub fn read<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    let mut given: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !value.is_empty() && !given.iter().any(|(known, _)| *known == name) {
            given.push((name, value));
        }
    }
    let pairs = given.into_iter();
    let reader = MapDeserializer::<_, serde::de::value::Error>::new(pairs);
    serde_path_to_error::deserialize(reader)
        .map_err(|wrong| Error::parameter(&wrong.path().to_string(), wrong.inner().to_string()))
}

/// A text.
///
/// # Errors
/// Never: every parameter is a text.
pub fn text<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    String::deserialize(reader).map(Some)
}

/// A truth value, in each of the ways in which compatible clients may write it.
///
/// # Errors
/// When it is none.
pub fn flag<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<bool>, D::Error> {
    match String::deserialize(reader)?.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
        other => Err(D::Error::custom(format!(
            "{other:?} is neither true nor false"
        ))),
    }
}

/// A whole number.
///
/// # Errors
/// When it is none.
pub fn number<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<i64>, D::Error> {
    let given = String::deserialize(reader)?;
    given
        .parse()
        .map(Some)
        .map_err(|_| D::Error::custom(format!("{given:?} is no whole number")))
}

/// A list, separated by commas. Blank items are left out, so a lone comma is an empty list.
///
/// # Errors
/// Never: every text is a list.
pub fn list<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Vec<String>>, D::Error> {
    let given = String::deserialize(reader)?;
    let items = given.split(',').map(str::trim);
    Ok(Some(
        items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde::Deserialize;

    use super::{flag, list, number, read, text};

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Asked {
        #[serde(rename = "Domain", deserialize_with = "text")]
        domain: Option<String>,
        #[serde(rename = "DiskQuota", deserialize_with = "number")]
        disk_quota: Option<i64>,
        #[serde(rename = "MagicLink", deserialize_with = "flag")]
        magic_link: Option<bool>,
        #[serde(rename = "Apps", deserialize_with = "list")]
        apps: Option<Vec<String>>,
    }

    #[test]
    fn parameters_are_read_and_empty_ones_are_absent() {
        let asked: Asked = read(
            "Domain=a.localhost%3A8085&DiskQuota=-1&MagicLink=T&Apps=a%2C+b%2C%2C&Trace=true&Domain=b",
        )
        .unwrap();
        assert_eq!(
            asked,
            Asked {
                domain: Some("a.localhost:8085".to_owned()),
                disk_quota: Some(-1),
                magic_link: Some(true),
                apps: Some(vec!["a".to_owned(), "b".to_owned()]),
            }
        );
        assert_eq!(
            read::<Asked>("Domain=&DiskQuota=").unwrap(),
            Asked::default()
        );
        assert_eq!(read::<Asked>("Apps=%2C").unwrap().apps, Some(Vec::new()));
    }

    #[test]
    fn the_wrong_parameter_is_named() {
        for (query, name) in [("DiskQuota=x", "DiskQuota"), ("MagicLink=x", "MagicLink")] {
            let refused = read::<Asked>(query).unwrap_err();
            let told = format!("{refused:?}");
            assert!(told.contains(&format!("Some({name:?})")), "{told}");
        }
    }
}
