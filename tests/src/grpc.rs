//! Calls over gRPC, as internal tools make them.

use std::{fs, time::Duration};

use hamlet_proto::{
    google::longrunning::{
        Operation, WaitOperationRequest, operation, operations_client::OperationsClient,
    },
    hamlet::instance::v1::{
        CreateInstanceRequest, Instance, instance_service_client::InstanceServiceClient,
    },
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::daemon::Daemon;

/// The admin door of a `hamletd`.
#[derive(Clone, Debug)]
pub struct Door {
    channel: Channel,
    bearer: MetadataValue<Ascii>,
}

impl Door {
    /// Opens the door with the credential that lies in the data folder.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open(daemon: &Daemon) -> Self {
        let credential = fs::read_to_string(daemon.data().join("admin-credential"))
            .expect("the credential can be read");
        let channel = Endpoint::from_shared(format!("http://{}", daemon.admin))
            .expect("an address")
            .connect_timeout(Duration::from_secs(5))
            .connect()
            .await
            .expect("the door opens");
        let bearer = format!("Bearer {}", credential.trim());
        Self {
            channel,
            bearer: bearer.parse().expect("it can stand in a header"),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", self.bearer.clone());
        request
    }

    /// Creates an instance and waits for the end.
    ///
    /// # Errors
    /// When a call or the operation fails.
    pub async fn create(&self, domain: &str) -> Result<Operation, Status> {
        let request = self.request(CreateInstanceRequest {
            instance: Some(Instance {
                domain: domain.to_owned(),
                ..Instance::default()
            }),
            ..CreateInstanceRequest::default()
        });
        let accepted = InstanceServiceClient::new(self.channel.clone())
            .create_instance(request)
            .await?
            .into_inner();
        let request = self.request(WaitOperationRequest {
            name: accepted.name,
            timeout: None,
        });
        let ended = OperationsClient::new(self.channel.clone())
            .wait_operation(request)
            .await?
            .into_inner();
        match &ended.result {
            Some(operation::Result::Error(error)) => Err(Status::new(
                tonic::Code::from_i32(error.code),
                error.message.clone(),
            )),
            _ => Ok(ended),
        }
    }
}
