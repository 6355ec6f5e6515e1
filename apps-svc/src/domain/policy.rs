//! What the pages of an app may load, and where they may send something.

use super::addresses::Addresses;

/// The content security policy of an app. `frames` are the origins whose pages the app may embed, besides its own and
/// those of its instance.
pub(crate) fn policy(at: &Addresses, frames: &[String]) -> String {
    let near = format!("'self' {} {}", at.instance_origin(), at.socket_origin());
    let frames: String = frames.iter().map(|frame| format!("{frame} ")).collect();
    let instance = at.instance_origin();
    format!(
        "default-src {near};script-src 'wasm-unsafe-eval' {near};frame-src {frames}{near};connect-src blob: {near};\
         font-src data: {near};img-src data: blob: {near};object-src 'none';style-src 'unsafe-inline' {near};\
         worker-src 'self' blob:;frame-ancestors 'self';base-uri 'self';form-action {instance};"
    )
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use std::collections::BTreeMap;

    use serde_json::Value;
    use service_kit::contexts::Subdomains;

    use super::policy;
    use crate::domain::addresses::Addresses;

    /// Sources in the policy of an existing server that Hamlet does not name: hosts of one company, and schemes of its
    /// programs.
    fn is_left_out(source: &str) -> bool {
        source == "MOVEURL" || source.starts_with("https://") || source.starts_with("cozy")
    }

    #[test]
    fn a_policy_is_the_recorded_one_without_the_hosts_of_a_company() {
        let at = Addresses::of(
            "home.pete.localhost:8085",
            "home",
            Subdomains::Nested,
            "http://pete.localhost:8085/",
        )
        .unwrap();
        let made = policy(&at, &[at.siblings().unwrap()]);
        let made: BTreeMap<&str, Vec<&str>> = made
            .split(';')
            .filter_map(|directive| directive.split_once(' '))
            .map(|(name, sources)| (name, sources.split(' ').collect()))
            .collect();
        let recorded: Value =
            serde_json::from_str(include_str!("../../tests/data/policy.json")).unwrap();
        let recorded = recorded["directives"].as_array().unwrap();
        assert_eq!(made.len(), recorded.len());
        for directive in recorded {
            let name = directive[0].as_str().unwrap();
            let sources = directive[1].as_str().unwrap();
            // A remark about what is left out here anyway.
            let sources = sources.replace("(same three hosts as script-src) ", "");
            let expected: Vec<&str> = sources
                .split(' ')
                .filter(|source| !is_left_out(source))
                .map(|source| match source {
                    "P" => "http://pete.localhost:8085",
                    "W" => "ws://pete.localhost:8085",
                    "S" => "http://*.pete.localhost:8085",
                    other => other,
                })
                .collect();
            assert_eq!(made[name], expected, "{name}");
        }
    }
}
