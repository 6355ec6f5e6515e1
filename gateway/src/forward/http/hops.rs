//! Headers that end at the gateway.

use http::{
    HeaderMap, HeaderName,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
};

/// Headers that are for one hop only, besides those that `Connection` names.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The words of a header that is a list.
pub(super) fn listed<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Removes what is for one hop only.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = listed(headers, &CONNECTION)
        .filter_map(|name| name.parse().ok())
        // These cannot be for one hop, whatever a sender says: services would lose what the gateway tells them.
        .filter(|name| ![HOST, CONTENT_LENGTH, TRAILER].contains(name))
        .collect();
    // Most messages have few headers, and hardly any of these.
    let there: Vec<&HeaderName> = HOP_BY_HOP
        .iter()
        .filter(|name| headers.keys().any(|key| key == *name))
        .collect();
    for name in named.iter().chain(there) {
        headers.remove(name);
    }
}
