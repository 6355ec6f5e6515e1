//! Requests that are refused, and the error messages.
//!
//! Each row of the table has a call, the request, the field that the error must name, and the advice that it must give.
//! Each request is sent to a whole installation through the admin door, and none of them changes anything.
#![allow(
    clippy::needless_pass_by_value,
    reason = "a row of a table reads better without ampersands"
)]

use hamlet_tests::{
    daemon::{Daemon, Options},
    grpc::Door,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// An invalid request and the expected error.
struct Case {
    call: &'static str,
    request: Value,
    /// The expected code, and the name of the invalid field; or a code and the machine-readable reason.
    code: Code,
    names: &'static str,
    /// A part of the expected message.
    says: &'static str,
}

/// A request with an invalid field.
fn field(call: &'static str, request: Value, field: &'static str, says: &'static str) -> Case {
    Case {
        call,
        request,
        code: Code::InvalidArgument,
        names: field,
        says,
    }
}

/// A request with valid fields that is refused because of the state of the installation.
fn state(
    call: &'static str,
    request: Value,
    code: Code,
    reason: &'static str,
    says: &'static str,
) -> Case {
    Case {
        call,
        request,
        code,
        names: reason,
        says,
    }
}

const CREATE: &str = "hamlet.instance.v1.InstanceService/CreateInstance";
const GET: &str = "hamlet.instance.v1.InstanceService/GetInstance";
const LIST: &str = "hamlet.instance.v1.InstanceService/ListInstances";
const UPDATE: &str = "hamlet.instance.v1.InstanceService/UpdateInstance";
const DELETE: &str = "hamlet.instance.v1.InstanceService/DeleteInstance";
const UNDELETE: &str = "hamlet.instance.v1.InstanceService/UndeleteInstance";
const BLOCK: &str = "hamlet.instance.v1.InstanceService/BlockInstance";
const UNBLOCK: &str = "hamlet.instance.v1.InstanceService/UnblockInstance";
const LINK: &str = "hamlet.instance.v1.InstanceService/GetRegisterLink";
const ROTATE: &str = "hamlet.instance.v1.InstanceService/RotateRegisterLink";
const PASSPHRASE: &str = "hamlet.instance.v1.InstanceService/SetPassphrase";
const TOKEN: &str = "hamlet.instance.v1.InstanceService/CreateToken";
const CLIENT: &str = "hamlet.instance.v1.InstanceService/RegisterOauthClient";
const SOFTWARE: &str = "hamlet.instance.v1.InstanceService/FindOauthClient";
const SESSIONS: &str = "hamlet.instance.v1.InstanceService/CleanSessions";
const REVOKE: &str = "hamlet.instance.v1.InstanceService/RevokeTokens";
const PURGE_ORPHANS: &str = "hamlet.instance.v1.InstanceService/PurgeOrphans";
const LIST_OPERATIONS: &str = "google.longrunning.Operations/ListOperations";
const GET_OPERATION: &str = "google.longrunning.Operations/GetOperation";
const WAIT: &str = "google.longrunning.Operations/WaitOperation";
const CANCEL: &str = "google.longrunning.Operations/CancelOperation";
const FORGET: &str = "google.longrunning.Operations/DeleteOperation";
const WATCH: &str = "hamlet.instance.v1.OperationService/WatchOperation";
const RETRY: &str = "hamlet.instance.v1.OperationService/RetryOperation";
const FILE: &str = "hamlet.files.v1.FilesService/GetFile";
const CHILDREN: &str = "hamlet.files.v1.FilesService/ListChildren";
const WALK: &str = "hamlet.files.v1.FilesService/WalkTree";
const CHECK: &str = "hamlet.files.v1.FilesService/CheckTree";
const APPS: &str = "hamlet.apps.v1.AppsService/ListApps";
const APP: &str = "hamlet.apps.v1.AppsService/GetApp";
const INSTALL: &str = "hamlet.apps.v1.AppsService/InstallApp";
const UNINSTALL: &str = "hamlet.apps.v1.AppsService/UninstallApp";

/// A creation of `new.example` with these fields of the instance.
fn creating(fields: Value) -> Value {
    let mut instance = json!({"domain": "new.example"});
    let members = instance.as_object_mut().unwrap();
    members.extend(fields.as_object().unwrap().clone());
    json!({ "instance": instance })
}

/// A creation of `new.example` with these fields beside the instance.
fn creation(fields: Value) -> Value {
    let mut request = creating(json!({}));
    let members = request.as_object_mut().unwrap();
    members.extend(fields.as_object().unwrap().clone());
    request
}

/// An update of alice with this mask and these values.
fn updating(mask: &str, fields: Value) -> Value {
    let mut instance = json!({"name": "instances/alice.example"});
    let members = instance.as_object_mut().unwrap();
    members.extend(fields.as_object().unwrap().clone());
    json!({"instance": instance, "updateMask": mask})
}

/// A request for alice with these additional fields.
fn alice(fields: Value) -> Value {
    let mut request = json!({"name": "instances/alice.example"});
    let members = request.as_object_mut().unwrap();
    members.extend(fields.as_object().unwrap().clone());
    request
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

/// Invalid names of a new instance.
#[rustfmt::skip] // A row a line.
fn names() -> Vec<Case> {
    let domain = |text: &str| json!({"instance": {"domain": text}});
    let alias = |text: &str| creating(json!({"domainAliases": [text]}));
    let many: Vec<String> = (0..101).map(|it| format!("a{it}.example")).collect();
    let d = "instance.domain";
    let a = "instance.domain_aliases";
    let first = "instance.domain_aliases[0]";
    vec![
        field(CREATE, json!({}), "instance", "give at least its domain"),
        field(CREATE, json!({"instance": {}}), d, "give a host name such as alice.example.org"),
        field(CREATE, domain("  "), d, "give a host name such as"),
        field(CREATE, domain("."), d, "give a host name such as"),
        field(CREATE, domain(":8080"), d, "give a host name such as"),
        field(CREATE, domain("two words.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("a/b"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("a..b"), d, "separated by single dots"),
        field(CREATE, domain("-a.example"), d, "inner hyphens"),
        field(CREATE, domain("a_b.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("a\u{0}b.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("a\nb.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("xn--a.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("\u{202e}evil.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("https://alice.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain("bob@alice.example"), d, "use letters, digits and inner hyphens"),
        field(CREATE, domain(&format!("{}.example", long(64))), d, "at most 63"),
        field(CREATE, domain(&["a"; 130].join(".")), d, "253 characters in all"),
        field(CREATE, domain("a.example:0"), d, "use a number from 1 to 65535"),
        field(CREATE, domain("a.example:65536"), d, "use a number from 1 to 65535"),
        field(CREATE, domain("a.example:port"), d, "use a number from 1 to 65535"),
        field(CREATE, domain("a.example:-1"), d, "use a number from 1 to 65535"),
        field(CREATE, domain("a.example:"), d, "use a number from 1 to 65535"),
        field(CREATE, alias(""), first, "give a host name such as"),
        field(CREATE, alias("no name"), first, "use letters, digits and inner hyphens"),
        field(CREATE, alias("NEW.example"), first, "name another"),
        field(CREATE, alias("new.example:8080"), first, "name another"),
        field(CREATE, creating(json!({"domainAliases": many})), a, "use fewer"),
        field(CREATE, creating(json!({"oldDomain": "a b"})), "instance.old_domain", "use letters"),
        field(CREATE, creating(json!({"oldDomain": "New.example"})), "instance.old_domain", "name a former one"),
        state(CREATE, domain("alice.example"), Code::AlreadyExists, "NAME_TAKEN", "alice.example"),
        state(CREATE, domain("ALICE.example.:443"), Code::AlreadyExists, "NAME_TAKEN", "taken"),
        state(CREATE, alias("other.example"), Code::AlreadyExists, "NAME_TAKEN", "other.example"),
    ]
}

/// Other invalid fields of a new instance.
#[rustfmt::skip] // A row a line.
fn creations() -> Vec<Case> {
    let setting = |name: &str, value: &str| creating(json!({"settings": {name: value}}));
    let sponsors = |names: Value| creating(json!({"sponsorships": names}));
    let settings: serde_json::Map<String, Value> =
        (0..101).map(|it| (format!("s{it}"), "x".into())).collect();
    let apps: Vec<String> = (0..51).map(|it| format!("app{it}")).collect();
    let chosen = "leave it out";
    let case = |fields: Value, name, says| field(CREATE, creating(fields), name, says);
    vec![
        case(json!({"locale": "French"}), "instance.locale", "use one such as en, fr-FR"),
        case(json!({"locale": "xx"}), "instance.locale", "use one such as en, fr-FR"),
        case(json!({"locale": "fr-XX"}), "instance.locale", "use one such as en, fr-FR"),
        case(json!({"locale": "fr_FR.UTF-8"}), "instance.locale", "use one such as"),
        case(json!({"locale": "../../etc"}), "instance.locale", "use one such as"),
        case(json!({"timezone": "Mars/Olympus"}), "instance.timezone", "it looks like"),
        case(json!({"timezone": "paris"}), "instance.timezone", "did you mean Europe/Paris"),
        case(json!({"timezone": "+02:00"}), "instance.timezone", "IANA"),
        case(json!({"email": "bob"}), "instance.email", "looks like bob@example.org"),
        case(json!({"email": "Bob <bob@example.org>"}), "instance.email", "without a name around it"),
        case(json!({"email": "bob@example..org"}), "instance.email", "looks like"),
        case(json!({"email": format!("{}@example.org", long(250))}), "instance.email", "looks like"),
        case(json!({"email": "a@b.c\r\nBcc: x@y.z"}), "instance.email", "looks like"),
        case(json!({"publicName": "two\nlines"}), "instance.public_name", "on one line"),
        case(json!({"publicName": long(1025)}), "instance.public_name", "use a shorter text"),
        case(json!({"phone": "call me"}), "instance.phone", "looks like +33"),
        case(json!({"phone": "12"}), "instance.phone", "3 to 15 digits"),
        case(json!({"phone": "1".repeat(16)}), "instance.phone", "3 to 15 digits"),
        case(json!({"uuid": "a/b"}), "instance.uuid", "use a UUID such as"),
        case(json!({"uuid": long(129)}), "instance.uuid", "up to 128"),
        case(json!({"oidcId": "\u{e9}lodie"}), "instance.oidc_id", "printable ASCII"),
        case(json!({"franceconnectId": "\t"}), "instance.franceconnect_id", "printable ASCII"),
        case(json!({"context": "a\u{7}b"}), "instance.context", "use printable text"),
        case(json!({"diskQuotaBytes": "-1"}), "instance.disk_quota_bytes", "or 0 for no limit"),
        case(json!({"authMode": 9}), "instance.auth_mode", "use BASIC, TWO_FACTOR_MAIL"),
        case(json!({"tosSigned": "the new ones"}), "instance.tos_signed", "looks like 1.0.0"),
        case(json!({"tosSigned": "1.0.0-20261399"}), "instance.tos_signed", "looks like 1.0.0"),
        case(json!({"tosLatest": "2.0.0"}), "instance.tos_latest", "looks like 2.0.0-20250901"),
        case(json!({"tosSigned": "2.0.0", "tosLatest": "2.1.0-20260101"}), "instance.tos_latest", "name a version with a higher"),
        case(json!({"couchCluster": -1}), "instance.couch_cluster", "leave it out to have one drawn"),
        case(json!({"couchCluster": 7}), "instance.couch_cluster", "use 0"),
        case(json!({"prefix": "cozyabc"}), "instance.prefix", chosen),
        case(json!({"id": "x"}), "instance.id", chosen),
        case(json!({"blocked": true}), "instance.blocked", chosen),
        case(json!({"blockingReason": "PAYMENT_FAILED"}), "instance.blocking_reason", chosen),
        case(json!({"onboardingFinished": true}), "instance.onboarding_finished", chosen),
        case(json!({"passwordDefined": false}), "instance.password_defined", chosen),
        case(json!({"indexesVersion": 3}), "instance.indexes_version", chosen),
        case(json!({"locked": true}), "instance.locked", chosen),
        case(json!({"deleting": true}), "instance.deleting", chosen),
        case(json!({"debugUntil": "2030-01-01T00:00:00Z"}), "instance.debug_until", chosen),
        field(CREATE, setting("_id", "x"), "instance.settings", "not beginning with _"),
        field(CREATE, setting("", "x"), "instance.settings", "up to 64 bytes"),
        field(CREATE, setting("a b", "x"), "instance.settings", "without spaces"),
        field(CREATE, setting(&long(65), "x"), "instance.settings", "up to 64 bytes"),
        field(CREATE, setting("tz", "UTC"), "instance.settings.tz", "use instance.timezone"),
        field(CREATE, setting("email", "a@b.c"), "instance.settings.email", "use instance.email"),
        field(CREATE, setting("offer", "a\nb"), "instance.settings.offer", "on one line"),
        field(CREATE, setting("offer", &long(1025)), "instance.settings.offer", "use a shorter text"),
        field(CREATE, creating(json!({"settings": settings})), "instance.settings", "use fewer"),
        field(CREATE, sponsors(json!([""])), "instance.sponsorships", "such as acme"),
        field(CREATE, sponsors(json!(["a b"])), "instance.sponsorships", "such as acme"),
        field(CREATE, sponsors(json!(["a", "a"])), "instance.sponsorships", "a second time"),
        field(CREATE, creation(json!({"apps": [""]})), "apps[0]", "give a slug such as home"),
        field(CREATE, creation(json!({"apps": ["home", "home"]})), "apps[1]", "a second time"),
        field(CREATE, creation(json!({"apps": ["a\nb"]})), "apps[0]", "on one line"),
        field(CREATE, creation(json!({"apps": apps})), "apps", "install the others afterwards"),
        field(CREATE, creation(json!({"requestId": "a b"})), "request_id", "best a UUID"),
        field(CREATE, creation(json!({"requestId": long(129)})), "request_id", "up to 128"),
        field(CREATE, creation(json!({"passphrase": "ends with\n"})), "passphrase", "leave it out"),
        field(CREATE, creation(json!({"passphrase": long(1025)})), "passphrase", "use a shorter one"),
        field(CREATE, json!({"instance": {"domain": "new.example", "magicLink": true}, "passphrase": "so secret"}), "passphrase", "magic_link"),
    ]
}

/// Invalid requests for one instance.
#[rustfmt::skip] // A row a line.
fn instances() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in [GET, DELETE, UNDELETE, BLOCK, UNBLOCK, LINK] {
        cases.extend([
            field(call, json!({}), "name", "looks like instances/alice.example.org"),
            field(call, json!({"name": "alice.example"}), "name", "looks like instances/"),
            field(call, json!({"name": "instances/"}), "name", "give a host name such as"),
            field(call, json!({"name": "instances/a b"}), "name", "use letters, digits"),
            state(call, json!({"name": "instances/nobody.example"}), Code::NotFound, "INSTANCE_NOT_FOUND", "`hamlet instances ls`"),
        ]);
    }
    for call in [DELETE, UNDELETE, BLOCK, UNBLOCK] {
        cases.extend([
            field(call, alice(json!({"requestId": "a\tb"})), "request_id", "best a UUID"),
            state(call, alice(json!({"etag": "0123"})), Code::Aborted, "ETAG_MISMATCH", "tells its present etag"),
        ]);
    }
    let reason = "instance.blocking_reason";
    cases.extend([
        field(DELETE, json!({"name": "instances/other.example"}), "name", "name the main domain"),
        field(DELETE, alice(json!({"keep": "-1s"})), "keep", "use a time such as 30 days"),
        field(DELETE, alice(json!({"keep": "315576000000s"})), "keep", "use a shorter time"),
        state(UNDELETE, alice(json!({})), Code::FailedPrecondition, "INSTANCE_NOT_DELETED", "is not deleted"),
        field(BLOCK, alice(json!({"reason": long(201)})), reason, "use a short code or sentence"),
        field(BLOCK, alice(json!({"reason": "a\u{1b}[31m"})), reason, "use printable text"),
        field(LIST, json!({"pageSize": -1}), "page_size", "use 0 for the default"),
        field(LIST, json!({"pageToken": "../.."}), "page_token", "use the next_page_token"),
        field(LIST, json!({"pageToken": long(65)}), "page_token", "use the next_page_token"),
        field(PURGE_ORPHANS, json!({"requestId": "\u{e9}"}), "request_id", "best a UUID"),
    ]);
    cases
}

/// Invalid requests about passphrases, links, sessions and tokens.
#[rustfmt::skip] // A row a line.
fn secrets() -> Vec<Case> {
    let token = |audience: &str, subject: &str, scopes: Value| {
        alice(json!({"audience": format!("AUDIENCE_{audience}"), "subject": subject, "scopes": scopes}))
    };
    let living = |audience: &str, subject: &str, lifetime: &str| {
        let scopes = json!(["io.cozy.files"]);
        alice(json!({"audience": format!("AUDIENCE_{audience}"), "subject": subject, "scopes": scopes, "lifetime": lifetime}))
    };
    let client = |uri: &str, client_name: &str, software_id: &str, request_id: &str| {
        alice(json!({
            "redirect_uris": [uri], "client_name": client_name, "software_id": software_id, "request_id": request_id
        }))
    };
    let rules: Vec<String> = (0..101).map(|it| format!("io.cozy.files:GET:{it}")).collect();
    let files = json!(["io.cozy.files"]);
    let mut cases = Vec::new();
    for call in [ROTATE, PASSPHRASE, TOKEN, SESSIONS, REVOKE] {
        let named = |name: &str| {
            let fields = match call {
                PASSPHRASE => json!({"passphrase": "a good passphrase"}),
                TOKEN => json!({"audience": 3, "scopes": ["*"]}),
                _ => json!({}),
            };
            let mut request = alice(fields);
            request["name"] = name.into();
            request
        };
        cases.extend([
            field(call, named(""), "name", "looks like instances/"),
            field(call, named("alice.example"), "name", "looks like instances/"),
            field(call, named("instances/a b"), "name", "use letters, digits"),
            state(call, named("instances/nobody.example"), Code::NotFound, "INSTANCE_NOT_FOUND", "`hamlet instances ls`"),
        ]);
    }
    cases.extend([
        field(ROTATE, alice(json!({"requestId": "a b"})), "request_id", "best a UUID"),
        state(ROTATE, alice(json!({"etag": "0123"})), Code::Aborted, "ETAG_MISMATCH", "tells its present etag"),
        field(PASSPHRASE, alice(json!({})), "passphrase", "give a passphrase"),
        field(PASSPHRASE, alice(json!({"passphrase": "ends with\n"})), "passphrase", "leave it out"),
        field(PASSPHRASE, alice(json!({"passphrase": "a\u{0}b"})), "passphrase", "leave it out"),
        field(PASSPHRASE, alice(json!({"passphrase": long(5000)})), "passphrase", "use a shorter one"),
        field(PASSPHRASE, alice(json!({"passphrase": "four words of no order", "requestId": "\u{e9}"})), "request_id", "best a UUID"),
        state(PASSPHRASE, alice(json!({"passphrase": "four words of no order", "etag": "0123"})), Code::Aborted, "ETAG_MISMATCH", "tells its present etag"),
        field(SESSIONS, alice(json!({"requestId": long(129)})), "request_id", "up to 128"),
        field(REVOKE, alice(json!({"requestId": long(129)})), "request_id", "up to 128"),
        state(REVOKE, alice(json!({"etag": "0123"})), Code::Aborted, "ETAG_MISMATCH", "tells its present etag"),
        field(TOKEN, alice(json!({"scopes": ["*"]})), "audience", "say who may use the token"),
        field(TOKEN, alice(json!({"audience": 9, "scopes": ["*"]})), "audience", "say who may use the token"),
        field(TOKEN, token("CLI", "home", files.clone()), "subject", "no subject"),
        field(TOKEN, token("APP", "", json!([])), "subject", "such as drive"),
        field(TOKEN, token("APP", "../x", json!([])), "subject", "such as drive"),
        field(TOKEN, token("KONNECTOR", "A", json!([])), "subject", "such as drive"),
        field(TOKEN, token("ACCESS", "", files.clone()), "subject", "when it was registered"),
        field(TOKEN, token("REFRESH", "_design/x", files.clone()), "subject", "when it was registered"),
        field(TOKEN, token("CLI", "", json!([])), "scopes", "such as io.cozy.files:GET"),
        field(TOKEN, token("APP", "home", files.clone()), "scopes", "what its manifest says"),
        field(TOKEN, token("CLI", "", json!(rules)), "scopes", "use fewer"),
        field(TOKEN, token("CLI", "", json!(["io.cozy.files:FETCH"])), "scopes[0]", "use ALL, GET"),
        field(TOKEN, token("CLI", "", json!(["*", "io.*"])), "scopes[1]", "as in io.cozy.bank.*"),
        field(TOKEN, token("CLI", "", json!(["Files"])), "scopes[0]", "looks like io.cozy.files"),
        field(TOKEN, token("CLI", "", json!(["io.cozy.files io.cozy.jobs"])), "scopes[0]", "give each rule by itself"),
        field(TOKEN, token("CLI", "", json!(["a:GET:b:c:d"])), "scopes[0]", "looks like doctype:verbs"),
        field(TOKEN, token("CLI", "", json!([""])), "scopes[0]", "name a doctype such as io.cozy.files:GET"),
        field(TOKEN, token("CLI", "", json!(["@io.cozy.apps/No"])), "scopes[0]", "one looks like drive"),
        field(TOKEN, token("CLI", "", json!([long(1025)])), "scopes[0]", "use several rules"),
        field(TOKEN, living("CLI", "", "-1s"), "lifetime", "give a time such as 600s"),
        field(TOKEN, living("CLI", "", "0s"), "lifetime", "give a time such as 600s"),
        field(TOKEN, living("CLI", "", "360000s"), "lifetime", "at most"),
        field(TOKEN, living("REFRESH", "client", "60s"), "lifetime", "does not expire"),
        state(TOKEN, token("APP", "nothing", json!([])), Code::NotFound, "APP_NOT_FOUND", "nothing"),
        field(CLIENT, client("app://cb", "", "soft", ""), "client_name", "is missing"),
        field(CLIENT, client("app://cb", "Reader", "", ""), "software_id", "is missing"),
        field(CLIENT, client("/cb", "Reader", "soft", ""), "redirect_uris", "looks like https://app.example/callback"),
        field(CLIENT, client("javascript:x", "Reader", "soft", ""), "redirect_uris", "no address"),
        field(CLIENT, client("app://cb", &long(1025), "soft", ""), "client_name", "use a shorter one"),
        field(CLIENT, client("app://cb", "Reader", "soft", "a b"), "request_id", "best a UUID"),
        state(SOFTWARE, alice(json!({"software_id": "none"})), Code::NotFound, "OAUTH_CLIENT_NOT_FOUND", "none"),
        state(TOKEN, token("ACCESS", "nobody", files), Code::NotFound, "OAUTH_CLIENT_NOT_FOUND", "nobody"),
    ]);
    cases
}

/// Invalid updates.
#[rustfmt::skip] // A row a line.
fn updates() -> Vec<Case> {
    let mask = "update_mask";
    let case =
        |mask: &str, fields: Value, name, says| field(UPDATE, updating(mask, fields), name, says);
    vec![
        field(UPDATE, json!({"updateMask": "email"}), "instance", "give at least its name"),
        field(UPDATE, json!({"instance": {"name": "alice"}, "updateMask": "email"}), "instance.name", "looks like instances/"),
        case("", json!({"email": "a@b.c"}), mask, "name each that is to change"),
        case("*", json!({}), mask, "name each field"),
        case("favouriteColour", json!({}), mask, "name one such as email"),
        case("domain", json!({"domain": "b.example"}), mask, "leave it out of the mask"),
        case("prefix", json!({"prefix": "cozyb"}), mask, "leave it out of the mask"),
        case("couchCluster", json!({"couchCluster": 1}), mask, "leave it out of the mask"),
        case("state", json!({}), mask, "leave it out of the mask"),
        case("settings.tz", json!({}), mask, "timezone"),
        case("settings.email", json!({}), mask, "has a field of its own"),
        case("email", json!({"email": "alice"}), "instance.email", "looks like bob@example.org"),
        case("timezone", json!({"timezone": "Paris"}), "instance.timezone", "did you mean"),
        case("phone", json!({"phone": "?"}), "instance.phone", "looks like +33"),
        case("publicName", json!({"publicName": "a\nb"}), "instance.public_name", "on one line"),
        case("locale", json!({}), "instance.locale", "name a language such as en"),
        case("locale", json!({"locale": "klingon"}), "instance.locale", "use one such as"),
        case("diskQuotaBytes", json!({"diskQuotaBytes": "-7"}), "instance.disk_quota_bytes", "or 0"),
        case("authMode", json!({"authMode": 4}), "instance.auth_mode", "use BASIC"),
        case("uuid", json!({"uuid": " "}), "instance.uuid", "use a UUID"),
        case("sponsorships", json!({"sponsorships": ["-"]}), "instance.sponsorships", "such as acme"),
        case("tosLatest", json!({"tosLatest": "new"}), "instance.tos_latest", "looks like"),
        case("domainAliases", json!({"domainAliases": ["alice.example"]}), "instance.domain_aliases[0]", "name another"),
        case("oldDomain", json!({"oldDomain": "other.example"}), "instance.old_domain", "name a former one"),
        case("onboardingFinished", json!({}), "instance.onboarding_finished", "leave it out of the mask"),
        case("deleting", json!({"deleting": true}), "instance.deleting", "destroy the instance"),
        case("blockingReason", json!({"blockingReason": "UNKNOWN"}), "instance.blocking_reason", "set instance.blocked too"),
        case("labels", json!({"labels": {"A": "x"}}), "instance.labels", "such as customer"),
        case("labels", json!({"labels": {"a": "x\ny"}}), "instance.labels.a", "on one line"),
        case("settings", json!({"settings": {"_rev": "1"}}), "instance.settings", "not beginning with _"),
        case("settings", json!({"settings": {"locale": "fr"}}), "instance.settings.locale", "use instance.locale"),
    ]
}

/// Invalid requests about operations.
#[rustfmt::skip] // A row a line.
fn operations() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in [GET_OPERATION, WAIT, CANCEL, FORGET, WATCH, RETRY] {
        cases.extend([
            field(call, json!({}), "name", "looks like operations/"),
            field(call, json!({"name": "operations/../x"}), "name", "looks like operations/"),
            state(call, json!({"name": "operations/0123456789abcdef"}), Code::NotFound, "OPERATION_NOT_FOUND", "some time after their end"),
        ]);
    }
    cases.extend([
        field(LIST_OPERATIONS, json!({"name": "instances"}), "name", "use operations"),
        field(LIST_OPERATIONS, json!({"filter": "phase=3"}), "filter", "there are done, domain and kind"),
        field(LIST_OPERATIONS, json!({"pageSize": -1}), "page_size", "use 0"),
        field(LIST_OPERATIONS, json!({"pageToken": "?"}), "page_token", "next_page_token"),
        field(WAIT, json!({"name": "operations/0123456789abcdef", "timeout": "-1s"}), "timeout", "give a time"),
    ]);
    cases
}

/// Invalid requests about files.
#[rustfmt::skip] // A row a line.
fn files() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in [FILE, CHILDREN] {
        cases.extend([
            field(call, json!({}), "path", "give a path, or an id"),
            field(call, json!({"path": ""}), "path", "give an absolute path"),
            field(call, json!({"path": "Photos"}), "path", "beginning with /"),
            field(call, json!({"path": "/a//b"}), "path", "write a single /"),
            field(call, json!({"path": "/a/../b"}), "path", "without them"),
            field(call, json!({"path": "/a\u{0}"}), "path", "no name may hold"),
            field(call, json!({"path": "/a".repeat(512)}), "path", "at most 511"),
            field(call, json!({"id": ""}), "id", "give the id of a document"),
            state(call, json!({"path": "/no"}), Code::NotFound, "FILE_NOT_FOUND", "`hamlet files tree`"),
            state(call, json!({"id": "_design/x"}), Code::NotFound, "FILE_NOT_FOUND", "_design/x"),
        ]);
    }
    cases.extend([
        field(CHILDREN, json!({"path": "/", "pageSize": -1}), "page_size", "give 1 to 1000"),
        field(CHILDREN, json!({"path": "/", "pageToken": "x"}), "page_token", "next_page_token"),
        field(WALK, json!({"path": "/", "maxDepth": -1}), "max_depth", "or 0 for all the way"),
        field(WALK, json!({"path": "x"}), "path", "beginning with /"),
        field(CHECK, json!({"indexIntegrity": true, "filesConsistency": true}), "files_consistency", "neither for both checks"),
    ]);
    cases
}

/// Invalid requests about apps.
#[rustfmt::skip] // A row a line.
fn apps() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in [APP, UNINSTALL] {
        cases.extend([
            field(call, json!({}), "slug", "give a slug such as home"),
            field(call, json!({"slug": "Home!"}), "slug", "only a-z, 0-9 and -"),
            field(call, json!({"slug": long(64)}), "slug", "63"),
            field(call, json!({"slug": "home", "kind": 9}), "kind", "give a web app or a konnector"),
            state(call, json!({"slug": "nothing"}), Code::NotFound, "APP_NOT_INSTALLED", "nothing"),
        ]);
    }
    let source = |text: &str| json!({ "source": text });
    cases.extend([
        field(APPS, json!({"kind": 9}), "kind", "give a web app or a konnector"),
        field(APPS, json!({"pageSize": -1}), "page_size", "give 0 to 1000"),
        field(APPS, json!({"pageToken": "A B"}), "page_token", "use the next_page_token"),
        field(INSTALL, json!({}), "source", "give a slug such as home"),
        field(INSTALL, source("No Slug"), "source", "or give an address"),
        field(INSTALL, source("ftp://x/y"), "source", "give a slug, registry://"),
        field(INSTALL, source("registry://home/nightly"), "source", "stable, beta and dev"),
        field(INSTALL, source("registry://home/1.x"), "source", "looks like 1.2.3"),
        field(INSTALL, source("registry://a/b/c/d"), "source", "write registry://SLUG"),
        field(INSTALL, source("file://host/folder"), "source", "write file:///FOLDER"),
        field(INSTALL, source("https://me:secret@x.example/a.tgz"), "source", "give one without"),
        field(INSTALL, source("https://x.example/a.tgz#abc"), "source", "give 64 hex digits"),
        field(INSTALL, json!({"source": "home", "timeLimit": "-1s"}), "time_limit", "give 30s"),
        field(INSTALL, json!({"source": "home", "slug": "A"}), "slug", "only a-z, 0-9 and -"),
        field(INSTALL, json!({"source": "home", "kind": 3}), "kind", "give a web app"),
        field(INSTALL, json!({"source": "home", "requestId": "a b"}), "request_id", "best a UUID"),
        field(UNINSTALL, json!({"slug": "home", "requestId": "a b"}), "request_id", "best a UUID"),
    ]);
    cases
}

/// The difference between a response and the expected one; `None` when they match.
fn wrong_with(case: &Case, answer: Result<(), Status>) -> Option<String> {
    let Err(status) = answer else {
        return Some("it was accepted".to_owned());
    };
    if status.code() != case.code {
        return Some(format!(
            "the code is {:?}: {}",
            status.code(),
            status.message()
        ));
    }
    let is_about_a_field = case.names.chars().any(char::is_lowercase);
    if !is_about_a_field {
        let reason = status.get_details_error_info().map(|info| info.reason);
        let says = status.message().contains(case.says);
        return (reason.as_deref() != Some(case.names) || !says)
            .then(|| format!("{reason:?}: {}", status.message()));
    }
    let violations = status
        .get_details_bad_request()
        .map(|it| it.field_violations)
        .unwrap_or_default();
    let [violation] = violations.as_slice() else {
        return Some(format!("it names no field: {}", status.message()));
    };
    assert!(!case.says.is_empty(), "a row says what the caller is told");
    let named = violation.field == case.names && violation.description.contains(case.says);
    let message = format!("{}: {}", violation.field, violation.description);
    if !named || !status.message().contains(case.says) {
        return Some(message);
    }
    (message.len() > 1000).then(|| "it says too much".to_owned())
}

fn table() -> Vec<Case> {
    [
        names(),
        creations(),
        instances(),
        secrets(),
        updates(),
        operations(),
        files(),
        apps(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn operations_of(daemon: &Daemon) -> Vec<Value> {
    let cli = daemon.cli();
    let listed = tokio::task::spawn_blocking(move || cli.run("operations ls -o json"));
    listed.await.unwrap().done().json_lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_with_the_field_and_advice() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let cli = daemon.cli();
    let added = tokio::task::spawn_blocking(move || {
        cli.run("instances add alice.example --domain-aliases other.example")
    });
    let _ = added.await.unwrap().done();
    let before = operations_of(&daemon).await;

    let door = Door::open_for(&daemon, "alice.example").await;
    let table = table();
    assert!(table.len() >= 120, "{} cases", table.len());
    let mut wrong = Vec::new();
    for case in &table {
        let answer = door.call(case.call, &case.request).await;
        if let Some(why) = wrong_with(case, answer) {
            let request = case.request.to_string();
            let shown: String = request.chars().take(120).collect();
            let (_, call) = case.call.rsplit_once('.').unwrap();
            wrong.push(format!(
                "{call} {shown}\n    wanted {}: …{}…\n    {why}",
                case.names, case.says
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.len(),
        wrong.join("\n")
    );
    assert_eq!(operations_of(&daemon).await, before, "nothing was begun");
}
