//! Which service a request goes to, and through which door it may come.

use http::Method;
use service_kit::{backend::RouteGroup, unbuilt};

/// One of the services behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The instance service.
    Instances,
    /// The files service.
    Files,
    /// The apps service.
    Apps,
}

impl Service {
    /// Its name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Instances => "instance service",
            Self::Files => "files service",
            Self::Apps => "apps service",
        }
    }
}

/// The target of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) service: Service,
    /// Whether the call is for the instance of the host.
    pub(crate) for_instance: bool,
}

/// Which service answers the requests of the public door that are no gRPC. The gateway answers the others with its pages.
#[derive(Clone, Debug)]
pub struct HttpRoutes {
    /// Paths and what is below them. A `*` stands for one segment. The longest that fits counts.
    pub paths: Vec<(String, Service)>,
    /// Paths without what is below them.
    pub alone: Vec<(String, Service)>,
    /// Who answers on the hosts of apps.
    pub app_hosts: Service,
}

/// What the services can do.
impl Default for HttpRoutes {
    fn default() -> Self {
        let paths = [
            "/.well-known/change-password",
            "/apps",
            "/assets",
            "/auth",
            "/konnectors",
            "/permissions",
            "/public",
            "/settings",
        ];
        // The instance service says, too, what is not built yet.
        let unbuilt = unbuilt::PATHS.map(|path| (format!("/{path}"), Service::Instances));
        let of_apps = [
            "/apps/*/icon",
            "/apps/*/download",
            "/konnectors/*/icon",
            "/konnectors/*/download",
        ];
        let of = |service| move |path: &str| (path.to_owned(), service);
        Self {
            paths: [
                paths.map(of(Service::Instances)).as_slice(),
                &of_apps.map(of(Service::Apps)),
                &unbuilt,
            ]
            .concat(),
            // The gateway says what is nowhere.
            alone: vec![("/".to_owned(), Service::Instances)],
            app_hosts: Service::Apps,
        }
    }
}

impl HttpRoutes {
    /// The service of a path that Hamlet serves although the instance has a backend, because a group of routes is its own.
    pub(crate) fn own(
        &self,
        own: &[RouteGroup],
        method: &Method,
        path: &str,
        is_app_host: bool,
    ) -> Option<Service> {
        if is_app_host || !group_of(method, path).is_some_and(|group| own.contains(&group)) {
            return None;
        }
        self.of(path, false)
    }

    /// The service of a path, on the host of an app or on that of an instance. It says which methods the path has.
    pub(crate) fn of(&self, path: &str, is_app_host: bool) -> Option<Service> {
        if is_app_host {
            return Some(self.app_hosts);
        }
        if let Some((_, service)) = self.alone.iter().find(|(at, _)| at == path) {
            return Some(*service);
        }
        let routes = self.paths.iter();
        longest(
            path,
            routes.map(|(route, service)| (route.as_str(), *service)),
        )
    }
}

/// The group of a route that contexts with a backend can leave to Hamlet.
fn group_of(method: &Method, path: &str) -> Option<RouteGroup> {
    let is_at = |route: &str| {
        path.strip_prefix(route)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    RouteGroup::ALL.into_iter().find(|group| match group {
        RouteGroup::Apps => is_at("/apps"),
        RouteGroup::Konnectors => is_at("/konnectors"),
        RouteGroup::Flags => is_at("/settings/flags"),
        RouteGroup::Passphrase => method == Method::PUT && path == "/settings/passphrase",
    })
}

/// The service of the longest route that a path fits: the path is the route, or lies below it.
fn longest<'a>(path: &str, routes: impl Iterator<Item = (&'a str, Service)>) -> Option<Service> {
    routes
        .filter(|(route, _)| fits(path, route))
        .max_by_key(|(route, _)| route.len())
        .map(|(_, service)| service)
}

/// Whether a path is a route, or lies below it.
fn fits(path: &str, route: &str) -> bool {
    let Some((before, after)) = route.split_once('*') else {
        return path
            .strip_prefix(route)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || route.ends_with('/'));
    };
    path.strip_prefix(before).is_some_and(|rest| {
        let end = rest.find('/').unwrap_or(rest.len());
        end > 0 && fits(rest.get(end..).unwrap_or_default(), after)
    })
}

/// The paths of the admin door, and what is below them, with the services that answer requests that are no gRPC.
const ADMIN_HTTP: [(&str, Service); 3] = [
    ("/instances", Service::Instances),
    ("/openapi.json", Service::Instances),
    ("/operations", Service::Instances),
];

/// The service that answers a request of the admin door that is no gRPC.
pub(crate) fn admin_http(path: &str) -> Option<Service> {
    longest(path, ADMIN_HTTP.into_iter())
}

/// The gRPC service of a path `/package.Service/Method`.
pub(crate) fn service_of(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let plain = !service.is_empty() && !method.is_empty() && !method.contains('/');
    plain.then_some(service)
}

/// The gRPC services of the public door. Those between services are on neither list.
pub(crate) fn public(service: &str) -> Option<Route> {
    let service = match service {
        "hamlet.files.v1.FilesService" => Service::Files,
        "hamlet.apps.v1.AppsService" => Service::Apps,
        "hamlet.instance.v1.OwnerService" | "hamlet.instance.v1.TenantService" => {
            Service::Instances
        }
        _ => return None,
    };
    Some(Route {
        service,
        for_instance: true,
    })
}

/// The gRPC services of the admin door.
pub(crate) fn admin(service: &str) -> Option<Route> {
    match service {
        "hamlet.instance.v1.FeatureService"
        | "hamlet.instance.v1.InstanceService"
        | "hamlet.instance.v1.OperationService"
        | "google.longrunning.Operations"
        | "grpc.reflection.v1.ServerReflection" => Some(Route {
            service: Service::Instances,
            for_instance: false,
        }),
        other => public(other),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use service_kit::backend::RouteGroup;

    use super::{HttpRoutes, Service, admin, admin_http, group_of, public, service_of};

    #[test]
    fn the_longest_path_counts() {
        let routes = HttpRoutes {
            paths: vec![
                ("/files".to_owned(), Service::Files),
                ("/files/apps".to_owned(), Service::Apps),
            ],
            alone: vec![("/form".to_owned(), Service::Instances)],
            app_hosts: Service::Apps,
        };
        for (path, service) in [
            ("/files", Some(Service::Files)),
            ("/files/x", Some(Service::Files)),
            ("/files/apps/x", Some(Service::Apps)),
            ("/filesystem", None),
            ("/", None),
        ] {
            assert_eq!(routes.of(path, false), service, "{path}");
        }
        assert_eq!(routes.of("/", true), Some(Service::Apps));
        assert_eq!(routes.of("/form", false), Some(Service::Instances));
        assert_eq!(routes.of("/form/x", false), None);
        let default = HttpRoutes::default();
        for (path, service) in [
            ("/apps", Service::Instances),
            ("/apps/", Service::Instances),
            ("/apps/drive/logs", Service::Instances),
            ("/apps/icon", Service::Instances),
            ("/apps//icon", Service::Instances),
            ("/apps/drive/icons", Service::Instances),
            ("/apps/drive/icon", Service::Apps),
            ("/apps/drive/icon/1.0.0", Service::Apps),
            ("/konnectors/bills/icon", Service::Apps),
        ] {
            assert_eq!(default.of(path, false), Some(service), "{path}");
        }
        let of_app = default.of("/apps", true);
        assert_eq!(of_app, Some(Service::Apps));
    }

    /// A context can leave to Hamlet only what it has. Logins, pages and settings as a whole stay with the backend: its other
    /// pages need them.
    #[test]
    fn every_group_has_a_route() {
        let routes = HttpRoutes::default();
        for (group, method, path) in [
            (RouteGroup::Apps, Method::GET, "/apps/"),
            (RouteGroup::Konnectors, Method::GET, "/konnectors"),
            (RouteGroup::Flags, Method::GET, "/settings/flags"),
            (RouteGroup::Passphrase, Method::PUT, "/settings/passphrase"),
        ] {
            assert_eq!(group_of(&method, path), Some(group), "{path}");
            let own = routes.own(&[group], &method, path, false);
            assert_eq!(own, Some(Service::Instances), "{path}");
        }
        for path in ["/", "/auth/login", "/settings/instance", "/files"] {
            assert_eq!(group_of(&Method::GET, path), None, "{path}");
        }
        let own = |own: &[RouteGroup], path| routes.own(own, &Method::GET, path, false);
        assert_eq!(
            own(&[RouteGroup::Apps], "/apps/drive"),
            Some(Service::Instances)
        );
        assert_eq!(own(&[RouteGroup::Flags], "/apps/drive"), None);
        assert_eq!(own(&[], "/apps"), None);
    }

    #[test]
    fn the_admin_door_knows_the_owner_of_a_path() {
        for path in ["/instances", "/instances/", "/instances/a.example/prefix"] {
            assert_eq!(admin_http(path), Some(Service::Instances), "{path}");
        }
        for path in ["/", "/instance", "/instancesx", "/files"] {
            assert_eq!(admin_http(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_names_service_and_method() {
        assert_eq!(service_of("/a.B/C"), Some("a.B"));
        for wrong in ["", "/", "a.B/C", "//C", "/a.B/", "/a.B/C/D", "/a.B"] {
            assert_eq!(service_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn internal_services_are_reachable_through_neither_door() {
        for internal in [
            "hamlet.instance.v1.DirectoryService",
            "hamlet.files.v1.FilesLifecycleService",
            "hamlet.apps.v1.AppsLifecycleService",
        ] {
            assert_eq!(public(internal), None);
            assert_eq!(admin(internal), None);
        }
        assert_eq!(public("hamlet.instance.v1.InstanceService"), None);
    }
}
