//! `InstanceService`.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use hamlet_proto::hamlet::instance::v1::{
    BlockInstanceRequest, CleanSessionsRequest, CountInstancesRequest, CountInstancesResponse,
    CreateInstanceRequest, CreateResetLinkRequest, CreateTokenRequest, DeleteInstanceRequest,
    GetInstanceRequest, GetRegisterLinkRequest, Instance, ListConflictsRequest,
    ListInstancesRequest, ListInstancesResponse, ListOrphansRequest, PurgeOrphansRequest,
    RevokeTokensRequest, RotateRegisterLinkRequest, SetPassphraseRequest, Token,
    UnblockInstanceRequest, UndeleteInstanceRequest, UpdateInstanceRequest,
};
use tonic::{Request, Status};

use super::{Stage, list, page};

pub(super) fn play(stage: &Stage<'_>) {
    read(stage);
    list_instances(stage);
    change(stage);
}

fn read(stage: &Stage<'_>) {
    stage.answer(|script, asked: GetInstanceRequest| {
        let name = asked.name.to_lowercase();
        let found = script.instances.iter().find(|it| is_named(it, &name));
        found
            .cloned()
            .ok_or_else(|| Status::not_found(format!("there is no {name}")))
    });
    stage.answer(|script, _: CountInstancesRequest| {
        Ok(CountInstancesResponse {
            count: i64::try_from(script.instances.len()).expect("few instances"),
            without_database_count: script.instances_without_database,
            server_version: "9.9.9".to_owned(),
            unadopted_count: 0,
        })
    });
    stage.answer(|script, _: GetRegisterLinkRequest| Ok(script.link.clone()));
    stage.stream(|script, _: ListOrphansRequest| Ok(list(&script.orphans, script.broken.as_ref())));
    stage.stream(|script, _: ListConflictsRequest| {
        Ok(list(&script.conflicts, script.broken.as_ref()))
    });
}

fn is_named(instance: &Instance, name: &str) -> bool {
    let mut aliases = instance.domain_aliases.iter();
    instance.name == name || aliases.any(|alias| format!("instances/{alias}") == name)
}

fn list_instances(stage: &Stage<'_>) {
    let script = Arc::clone(&stage.script);
    let answered = Arc::new(AtomicUsize::new(0));
    stage
        .fake
        .answer_later(move |request: Request<ListInstancesRequest>| {
            let (script, answered) = (Arc::clone(&script), Arc::clone(&answered));
            async move {
                let asked = request.into_inner();
                let (pages, answer) = {
                    let script = script.lock().unwrap_or_else(PoisonError::into_inner);
                    let (instances, next_page_token) =
                        page(&script.instances, &asked.page_token, asked.page_size);
                    let answer = ListInstancesResponse {
                        instances,
                        next_page_token,
                    };
                    (script.pages, answer)
                };
                if pages == Some(answered.load(Ordering::SeqCst)) {
                    std::future::pending::<()>().await;
                }
                answered.fetch_add(1, Ordering::SeqCst);
                Ok(answer)
            }
        });
}

fn change(stage: &Stage<'_>) {
    stage.answer(|script, asked: CreateInstanceRequest| {
        match script.failing_creations.pop_front() {
            Some(status) => Err(status),
            None => Ok(script.change(asked.validate_only)),
        }
    });
    stage.answer(|_, _: CreateTokenRequest| {
        Ok(Token {
            token: "the-token".to_owned(),
        })
    });
    macro_rules! answer_changes {
        ($($request:ty),* $(,)?) => {
            $(stage.answer(|script, asked: $request| Ok(script.change(asked.validate_only)));)*
        };
    }
    answer_changes!(
        BlockInstanceRequest,
        CleanSessionsRequest,
        DeleteInstanceRequest,
        PurgeOrphansRequest,
        CreateResetLinkRequest,
        RevokeTokensRequest,
        RotateRegisterLinkRequest,
        SetPassphraseRequest,
        UnblockInstanceRequest,
        UndeleteInstanceRequest,
        UpdateInstanceRequest,
    );
}
