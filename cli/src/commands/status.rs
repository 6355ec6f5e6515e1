//! `hamlet status`.

use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, CountInstancesResponse, instance_service_client::InstanceServiceClient,
};

use crate::{args::Format, failure::Failure, output, session::Session, table::facts};

/// One call that goes all the way: gateway, instance service, database.
pub(super) async fn run(session: &Session, format: Format) -> Result<(), Failure> {
    let answer: CountInstancesResponse = InstanceServiceClient::new(session.door().await?)
        .count_instances(CountInstancesRequest {})
        .await?
        .into_inner();
    output::one(format, &answer, session.url(), || {
        facts(&[
            ("server", session.url().to_owned()),
            ("state", "serving".to_owned()),
            ("instances", answer.count.to_string()),
        ])
    })
}
