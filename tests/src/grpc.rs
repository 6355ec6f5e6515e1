//! Makes gRPC calls, as internal tools do.

use std::{fs, sync::LazyLock};

use hamlet_proto::{
    google::longrunning::{
        Operation, WaitOperationRequest, operation, operations_client::OperationsClient,
    },
    hamlet::instance::v1::{
        CountInstancesRequest, CreateInstanceRequest, Instance,
        instance_service_client::InstanceServiceClient,
    },
};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use test_kit::doors::{self, Way};
use tonic::{Request, Status};

use crate::daemon::Daemon;

static CONTRACTS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(hamlet_proto::FILE_DESCRIPTOR_SET).expect("contracts"));

/// All methods of the contracts, as in `hamlet.instance.v1.InstanceService/GetInstance`.
#[must_use]
pub fn methods() -> Vec<String> {
    let methods = CONTRACTS.services().flat_map(|service| {
        let of_service = service.methods().map(|method| {
            let service = method.parent_service().full_name().to_owned();
            format!("{service}/{}", method.name())
        });
        of_service.collect::<Vec<_>>()
    });
    methods.collect()
}

/// A client of a door of a `hamletd`.
#[derive(Clone, Debug)]
pub struct Door(Way);

impl Door {
    /// Connects with the credential in the data folder.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn open(daemon: &Daemon) -> Self {
        Self::open_for(daemon, "localhost").await
    }

    /// As [`Self::open`], for calls to the instance with this host.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn open_for(daemon: &Daemon, host: &str) -> Self {
        let credential = fs::read_to_string(daemon.data().join("admin-credential"))
            .expect("the credential can be read");
        Self(doors::admin(&daemon.admin, host, credential.trim()).await)
    }

    /// Connects to the public door, for calls to the instance with this host. Without a token, they are a stranger's.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn public(daemon: &Daemon, host: &str, token: Option<&str>) -> Self {
        Self(doors::public(&daemon.public, host, token).await)
    }

    /// Connects to the admin door with this credential, or without one.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn admin_with(daemon: &Daemon, host: &str, credential: Option<&str>) -> Self {
        Self(doors::public(&daemon.admin, host, credential).await)
    }

    /// Calls a method, such as `hamlet.instance.v1.InstanceService/GetInstance`, with a request in JSON form. The
    /// response is ignored.
    ///
    /// # Errors
    /// The status with which the method refuses the request.
    ///
    /// # Panics
    /// When the method does not exist, or the JSON does not match its request type.
    pub async fn call(&self, method: &str, request: &Value) -> Result<(), Status> {
        // The response is decoded as a message without fields, which skips all its fields.
        self.send::<()>(method, request).await.map(|_| ())
    }

    /// As [`Self::call`], for a method whose response is an operation.
    ///
    /// # Errors
    /// The status with which the method refuses the request.
    ///
    /// # Panics
    /// As [`Self::call`], and when the response is empty.
    pub async fn operation(&self, method: &str, request: &Value) -> Result<Operation, Status> {
        let answer = self.send(method, request).await?;
        Ok(answer.expect("an answer"))
    }

    async fn send<Answer: prost::Message + Default + 'static>(
        &self,
        method: &str,
        request: &Value,
    ) -> Result<Option<Answer>, Status> {
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
    /// When its state cannot be read.
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

    /// Creates an instance and waits for the end of the operation.
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

    /// How many instances of other software are still to be adopted.
    ///
    /// # Errors
    /// When they cannot be counted.
    pub async fn unadopted(&self) -> Result<i64, Status> {
        let counted = InstanceServiceClient::new(self.0.clone())
            .count_instances(CountInstancesRequest {})
            .await?;
        Ok(counted.into_inner().unadopted_count)
    }
}
