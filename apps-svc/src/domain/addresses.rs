//! Where an app and its instance are, as whoever opened the app reaches them.

use service_kit::contexts::Subdomains;
use url::Url;

/// The addresses of an app and of its instance. They are those of the request: an instance that was reached by another of
/// its names, or at another port, stays there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    is_secure: bool,
    /// The host of the app, with its port.
    app: String,
    /// The host of the instance, with its port.
    pub(crate) instance: String,
    subdomains: Subdomains,
}

impl Addresses {
    /// Reads them from the host of the app `slug` and the address of its instance. `None` when neither makes sense.
    pub(crate) fn of(host: &str, slug: &str, subdomains: Subdomains, url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let is_secure = url.scheme() == "https";
        let app = host.to_ascii_lowercase();
        if let Some(instance) = instance_of(&app, slug, subdomains) {
            return Some(Self {
                is_secure,
                app,
                instance,
                subdomains,
            });
        }
        // The host is that of no app where the gateway stands in for it.
        let instance = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        Some(Self {
            is_secure,
            app: host_of(&instance, slug, subdomains),
            instance,
            subdomains,
        })
    }

    /// The origin of the instance.
    pub(crate) fn instance_origin(&self) -> String {
        self.origin(&self.instance)
    }

    /// The origin of the app.
    pub(crate) fn app_origin(&self) -> String {
        self.origin(&self.app)
    }

    /// The origin of another app of the instance.
    pub(crate) fn sibling_origin(&self, slug: &str) -> String {
        self.origin(&host_of(&self.instance, slug, self.subdomains))
    }

    /// The origin of web sockets of the instance.
    pub(crate) fn socket_origin(&self) -> String {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        format!("{scheme}://{}", self.instance)
    }

    /// All apps of the instance, as a source in a policy; `None` where no pattern fits them alone.
    pub(crate) fn siblings(&self) -> Option<String> {
        match self.subdomains {
            Subdomains::Nested => Some(self.origin(&format!("*.{}", self.instance))),
            Subdomains::Flat => None,
        }
    }

    /// How the hosts of its apps are made.
    pub(crate) const fn subdomains(&self) -> Subdomains {
        self.subdomains
    }

    fn origin(&self, host: &str) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{host}")
    }
}

fn host_of(instance: &str, slug: &str, subdomains: Subdomains) -> String {
    match (subdomains, instance.split_once('.')) {
        (Subdomains::Flat, Some((name, parent))) => format!("{name}-{slug}.{parent}"),
        (Subdomains::Flat | Subdomains::Nested, _) => format!("{slug}.{instance}"),
    }
}

fn instance_of(app: &str, slug: &str, subdomains: Subdomains) -> Option<String> {
    let (label, rest) = app.split_once('.')?;
    match subdomains {
        Subdomains::Nested => (label == slug).then(|| rest.to_owned()),
        Subdomains::Flat => {
            let name = label.strip_suffix(slug)?.strip_suffix('-')?;
            (!name.is_empty()).then(|| format!("{name}.{rest}"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Addresses;
    use service_kit::contexts::Subdomains::{Flat, Nested};

    #[test]
    fn an_instance_stays_where_it_was_reached() {
        let by_alias = Addresses::of(
            "Home.petra.example:81",
            "home",
            Nested,
            "http://pete.example/",
        )
        .unwrap();
        assert_eq!(by_alias.instance_origin(), "http://petra.example:81");
        assert_eq!(by_alias.app_origin(), "http://home.petra.example:81");
        assert_eq!(by_alias.socket_origin(), "ws://petra.example:81");
        assert_eq!(
            by_alias.sibling_origin("drive"),
            "http://drive.petra.example:81"
        );
        assert_eq!(by_alias.siblings().unwrap(), "http://*.petra.example:81");
    }

    #[test]
    fn flat_hosts_have_no_pattern_for_one_instance() {
        let flat = Addresses::of("ann-my-app.x.org", "my-app", Flat, "https://ann.x.org/").unwrap();
        assert_eq!(flat.instance, "ann.x.org");
        assert_eq!(flat.socket_origin(), "wss://ann.x.org");
        assert_eq!(flat.sibling_origin("drive"), "https://ann-drive.x.org");
        assert_eq!(flat.siblings(), None);
    }

    #[test]
    fn another_host_leads_to_the_usual_addresses() {
        let usual =
            Addresses::of("127.0.0.1:80", "home", Nested, "https://ann.x.org:8443/").unwrap();
        assert_eq!(usual.instance_origin(), "https://ann.x.org:8443");
        assert_eq!(usual.app_origin(), "https://home.ann.x.org:8443");
        assert_eq!(Addresses::of("x", "home", Nested, "no address"), None);
    }
}
