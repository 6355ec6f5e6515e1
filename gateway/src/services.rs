//! The addresses of the services.

use service_kit::{
    peer::{Addresses, Channel},
    tls::Tls,
};

use crate::{Config, Error, route::Service};

/// The addresses of all services, and TLS if it is used with them.
pub(crate) struct Services {
    instances: Addresses,
    files: Addresses,
    apps: Addresses,
    pub(crate) tls: Option<Tls>,
}

impl Services {
    /// Reads the addresses.
    pub(crate) fn new(config: &Config, tls: Option<&Tls>) -> Result<Self, Error> {
        let read = |setting, text: &str| {
            Addresses::parse(text, tls.is_some())
                .map_err(|source| Error::Address { setting, source })
        };
        Ok(Self {
            instances: read("instance-service", &config.instance_service)?,
            files: read("files-service", &config.files_service)?,
            apps: read("apps-service", &config.apps_service)?,
            tls: tls.cloned(),
        })
    }

    /// The addresses of a service.
    pub(crate) const fn addresses(&self, service: Service) -> &Addresses {
        match service {
            Service::Instances => &self.instances,
            Service::Files => &self.files,
            Service::Apps => &self.apps,
        }
    }

    /// A channel to a service for the gateway's own calls.
    pub(crate) fn channel(&self, service: Service) -> Channel {
        Channel::new(self.addresses(service).clone(), self.tls.clone())
    }
}
