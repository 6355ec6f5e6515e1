//! Calls over gRPC, as internal tools make them.

use std::{fs, sync::LazyLock};

use hamlet_proto::{
    google::longrunning::{
        Operation, WaitOperationRequest, operation, operations_client::OperationsClient,
    },
    hamlet::instance::v1::{
        CreateInstanceRequest, Instance, instance_service_client::InstanceServiceClient,
    },
};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use test_kit::doors::{self, Way};
use tonic::{Request, Status};

use crate::daemon::Daemon;

/// The admin door of a `hamletd`.
#[derive(Clone, Debug)]
pub struct Door(Way);

impl Door {
    /// Opens the door with the credential that lies in the data folder.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open(daemon: &Daemon) -> Self {
        Self::open_for(daemon, "localhost").await
    }

    /// The same, for calls of the instance that has this host.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open_for(daemon: &Daemon, host: &str) -> Self {
        let credential = fs::read_to_string(daemon.data().join("admin-credential"))
            .expect("the credential can be read");
        Self(doors::admin(&daemon.admin, host, credential.trim()).await)
    }

    /// Calls a method, such as `hamlet.instance.v1.InstanceService/GetInstance`, with a request in its JSON
    /// form. What it answers does not matter.
    ///
    /// # Errors
    /// What the method refuses.
    ///
    /// # Panics
    /// When there is no such method, or the JSON is none of its request.
    pub async fn call(&self, method: &str, request: &Value) -> Result<(), Status> {
        // The answer is read as a message without fields, which skips all of them.
        self.send::<()>(method, request).await.map(|_| ())
    }

    /// The same for a method that answers with an operation.
    ///
    /// # Errors
    /// What the method refuses.
    ///
    /// # Panics
    /// As [`Self::call`], and when there is no answer.
    pub async fn operation(&self, method: &str, request: &Value) -> Result<Operation, Status> {
        let answer = self.send(method, request).await?;
        Ok(answer.expect("an answer"))
    }

    async fn send<Answer: prost::Message + Default + 'static>(
        &self,
        method: &str,
        request: &Value,
    ) -> Result<Option<Answer>, Status> {
        static CONTRACTS: LazyLock<DescriptorPool> = LazyLock::new(|| {
            DescriptorPool::decode(hamlet_proto::FILE_DESCRIPTOR_SET).expect("contracts")
        });
        let (service, name) = method.split_once('/').expect("a service and a method");
        let service = CONTRACTS.get_service_by_name(service).expect(service);
        let found = service.methods().find(|it| it.name() == name);
        let input = found.expect(method).input();
        let message = DynamicMessage::deserialize(input, request)
            .unwrap_or_else(|error| panic!("{method} {request}: {error}"));
        let mut client = tonic::client::Grpc::new(self.0.clone());
        client.ready().await.expect("the door is open");
        let path = format!("/{method}").parse().expect("a path");
        let codec = tonic_prost::ProstCodec::<DynamicMessage, Answer>::default();
        client
            .server_streaming(Request::new(message), path, codec)
            .await?
            .into_inner()
            .message()
            .await
    }

    /// Waits for the end of an operation.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub async fn end_of(&self, name: &str) -> Result<Operation, Status> {
        let request = WaitOperationRequest {
            name: name.to_owned(),
            timeout: None,
        };
        let ended = OperationsClient::new(self.0.clone())
            .wait_operation(request)
            .await?;
        Ok(ended.into_inner())
    }

    /// Creates an instance and waits for the end.
    ///
    /// # Errors
    /// When a call or the operation fails.
    pub async fn create(&self, domain: &str) -> Result<Operation, Status> {
        let request = CreateInstanceRequest {
            instance: Some(Instance {
                domain: domain.to_owned(),
                ..Instance::default()
            }),
            ..CreateInstanceRequest::default()
        };
        let accepted = InstanceServiceClient::new(self.0.clone())
            .create_instance(request)
            .await?
            .into_inner();
        let ended = self.end_of(&accepted.name).await?;
        match &ended.result {
            Some(operation::Result::Error(error)) => Err(Status::new(
                tonic::Code::from_i32(error.code),
                error.message.clone(),
            )),
            _ => Ok(ended),
        }
    }
}
