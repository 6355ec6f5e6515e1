//! Every method of the contracts.

use std::collections::BTreeSet;

use hamlet_tests::grpc::{Door, methods};
use serde_json::{Value, json};
use tonic::Code;

use super::{
    ADMIN_SERVICES, ANOTHER, METHODS,
    Open::{To, ToAdministrators, ToStrangers, ToTokens},
    World, is_public_service, of_public_door, reason, refusal_of,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_method_opens_for_those_for_whom_it_is_made_and_nobody_else() {
    let world = World::start().await;
    let (ann, ben, cat) = (&world.ann, &world.ben, &world.cat);
    let expired = world.expired().await;
    let of_ben = world.token(ben, "*");
    let another = world.token(ann, ANOTHER);
    let login = world.token(ann, "login");
    let settings = "hamlet.instance.v1.OwnerService/GetSettings";
    let refused = world.call(settings, ann, Some(&login)).await;
    assert_eq!(refusal_of(&refused), "TOKEN_SCOPE", "{refused:?}");
    for method in methods() {
        let service = method.split('/').next().unwrap();
        let Some(open) = of_public_door(&method) else {
            assert!(
                !is_public_service(service),
                "{method} is at the public door: say for whom it is"
            );
            let refused = world.call(&method, ann, Some(&of_ben)).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unimplemented, "{method}: {refused:?}");
            continue;
        };
        // A token that proves nothing is as if it were not there where everybody may call.
        let wrong = if open == ToStrangers {
            ""
        } else {
            "TOKEN_WRONG"
        };
        for (what, token, expected) in [
            (
                "nothing",
                None,
                if open == ToStrangers {
                    ""
                } else {
                    "TOKEN_MISSING"
                },
            ),
            ("no token", Some("x"), wrong),
            ("a wrong one", Some("eyJhbGciOiJIUzUxMiJ9.e30.AAAA"), wrong),
            ("another's", Some(of_ben.as_str()), wrong),
            (
                "an expired one",
                Some(expired.as_str()),
                if open == ToStrangers {
                    ""
                } else {
                    "TOKEN_EXPIRED"
                },
            ),
            (
                "another scope",
                Some(another.as_str()),
                match open {
                    ToStrangers | ToTokens => "",
                    To(_) => "TOKEN_SCOPE",
                    ToAdministrators => "ADMIN_DOOR_ONLY",
                },
            ),
        ] {
            let answer = world.call(&method, ann, token).await;
            // A register token is not one of those.
            let refused = refusal_of(&answer);
            let refused = refused
                .strip_prefix("REGISTER_")
                .map_or(refused.as_str(), |_| "");
            assert_eq!(refused, expected, "{method} with {what}: {answer:?}");
        }
        if let To(scope) = open {
            let right = world.token(ann, scope);
            let answer = world.call(&method, ann, Some(&right)).await;
            assert_eq!(refusal_of(&answer), "", "{method} with {scope}: {answer:?}");
        }
        let all = world.token(ann, "*");
        let answer = world.call(&method, ann, Some(&all)).await;
        let expected = if open == ToAdministrators {
            "ADMIN_DOOR_ONLY"
        } else {
            ""
        };
        let refused = refusal_of(&answer);
        let refused = refused
            .strip_prefix("REGISTER_")
            .map_or(refused.as_str(), |_| "");
        assert_eq!(refused, expected, "{method} with all rights: {answer:?}");
        for (host, expected) in [(ben, "INSTANCE_BLOCKED"), (cat, "INSTANCE_DELETING")] {
            for token in [None, Some(world.token(host, "*"))] {
                let refused = world
                    .call(&method, host, token.as_deref())
                    .await
                    .unwrap_err();
                assert_eq!(reason(&refused), expected, "{method}: {refused:?}");
            }
        }
    }
    let known: BTreeSet<String> = methods().into_iter().collect();
    for (method, _) in METHODS {
        assert!(known.contains(method), "{method} is in no contract");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_door_opens_to_its_credential_alone() {
    let world = World::start().await;
    let token = world.token(&world.ann, "*");
    let right = Door::open_for(&world.daemon, &world.ann).await;
    for method in methods() {
        for credential in [None, Some(token.as_str())] {
            let door = Door::admin_with(&world.daemon, &world.ann, credential).await;
            let refused = door.call(&method, &json!({})).await.unwrap_err();
            let expected = [Code::Unauthenticated, Code::Unimplemented];
            assert!(expected.contains(&refused.code()), "{method}: {refused:?}");
        }
        let service = method.split('/').next().unwrap();
        let is_served = is_public_service(service) || ADMIN_SERVICES.contains(&service);
        // These would wait, or remove what the others need.
        if is_served
            && ["PurgeOrphans", "WatchOperation", "WaitOperation"]
                .iter()
                .any(|it| method.ends_with(it))
        {
            continue;
        }
        let answer = right.call(&method, &json!({})).await;
        let is_unknown = matches!(&answer, Err(status) if status.code() == Code::Unimplemented);
        assert_eq!(is_unknown, !is_served, "{method}: {answer:?}");
        let is_refused = matches!(&answer, Err(status) if status.code() == Code::Unauthenticated);
        assert!(!is_refused, "{method}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_a_directory_is_for_all_that_is_in_it() {
    let world = World::start().await;
    let ann = &world.ann;
    let all = world.token(ann, "io.cozy.files:GET");
    let tree = world.daemon.cli().run(&format!("files tree {ann} -o json"));
    let lines = tree.done().json_lines();
    let entries: Vec<Value> = lines.iter().map(|line| line["file"].clone()).collect();
    let at = |path: &str| {
        let found = entries.iter().find(|it| it["path"] == path);
        found.unwrap_or_else(|| panic!("{path}: {entries:?}"))["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let inner = entries
        .iter()
        .filter_map(|it| it["path"].as_str())
        .find(|path| path.matches('/').count() == 2 && !path.starts_with("/.cozy"))
        .unwrap()
        .to_owned();
    let outer = inner.rsplit_once('/').unwrap().0.to_owned();
    let some = world.token(ann, &format!("io.cozy.files:GET:{}", at(&outer)));
    let call = async |method: &str, token: &str, request: Value| {
        let door = Door::public(&world.daemon, ann, Some(token)).await;
        let method = format!("hamlet.files.v1.FilesService/{method}");
        door.call(&method, &request)
            .await
            .map_err(|status| status.code())
    };
    for (method, request) in [
        ("GetFile", json!({"path": outer})),
        ("GetFile", json!({"path": inner})),
        ("GetFile", json!({"id": at(&inner)})),
        ("ListChildren", json!({"path": outer})),
        ("WalkTree", json!({"path": inner})),
    ] {
        assert_eq!(
            call(method, &some, request.clone()).await,
            Ok(()),
            "{method} {request}"
        );
    }
    for (method, request) in [
        ("GetFile", json!({"path": "/"})),
        ("GetFile", json!({"path": "/nosuch"})),
        ("ListChildren", json!({"path": "/"})),
        ("WalkTree", json!({})),
    ] {
        let refused = call(method, &some, request.clone()).await;
        assert_eq!(refused, Err(Code::PermissionDenied), "{method} {request}");
    }
    assert_eq!(
        call("GetFile", &all, json!({"path": "/nosuch"})).await,
        Err(Code::NotFound)
    );
}
