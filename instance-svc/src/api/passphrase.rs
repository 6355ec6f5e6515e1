//! Handlers for passphrases, register links and sessions.

use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::instance::v1::{
        CheckRegisterTokenRequest, CleanSessionsRequest, CreateResetLinkRequest,
        PassphraseParameters, RegisterLink, RegisterPassphraseRequest, RevokeTokensRequest,
        RotateRegisterLinkRequest, SetPassphraseRequest, Tenant,
    },
};
use std::time::Duration;

use identity::tries::Guesser;
use service_kit::{secret::Secret, status::invalid_field};
use tonic::Status;

use super::{Shared, change};
use crate::{
    actions::{
        change_passphrase::{ChangePassphrase, Next},
        find,
        follow::end_of,
        register_passphrase::{Link, RegisterPassphrase},
        request::{
            Answer, Plan, RequestOptions, Requests,
            change::{ChangePlan, ChangePreview, Changes},
            check_request_id,
            secret::{
                CarryPassphrase, CarryRegisterToken, CarryResetToken, CarryTokenKeys,
                passphrase_change, register_link_change,
            },
        },
    },
    domain::{
        change::{Change, ChangeKind},
        name::Name,
        passphrase::{
            Chosen,
            client::{Iterations, is_login_hash},
            credentials::{check_hint, check_plain},
            register::RegisterToken,
            strength::check_strength,
            vault::VaultKeys,
        },
        record::Refusal,
        spec::InvalidField,
        time::Time,
    },
    error::Error,
    messages,
    store::Found,
};

/// The register link of an instance.
///
/// # Errors
/// When the passphrase is set, or the link has expired.
pub(super) fn register_link(shared: &Shared, found: &Found) -> Result<RegisterLink, Error> {
    let domain = &found.document.body.domain;
    let deleted = found.record.as_ref().and_then(|it| it.body.deleted_at);
    if deleted.is_some() {
        // The page of the link is not there either.
        return Err(Error::Refused {
            domain: domain.clone(),
            why: Refusal::Deleted,
        });
    }
    let link = messages::link_of(&shared.config, found)
        .ok_or_else(|| Error::NoRegisterToken(domain.clone()))?;
    if expires_at(found).is_some_and(|end| end <= shared.clock.now()) {
        return Err(Error::RegisterLinkExpired(domain.clone()));
    }
    Ok(link)
}

fn expires_at(found: &Found) -> Option<Time> {
    found.record.as_ref()?.body.register_expires_at
}

/// Makes a new register link.
pub(super) async fn rotate(
    shared: &Shared,
    request: &RotateRegisterLinkRequest,
) -> Result<Operation, Status> {
    let name = find::parse_resource_name("name", &request.name)?;
    let expires_at = shared.clock.after(shared.config.register_link_life());
    let change = register_link_change(&request.etag, expires_at);
    let kind = change.kind;
    let carry = CarryRegisterToken {
        sealing: &shared.sealing,
    };
    let plan = ChangePlan::new(changes(shared), &name, &request.etag, change).carrying(carry);
    let options = RequestOptions {
        request_id: &request.request_id,
        validate_only: request.validate_only,
    };
    ask(shared, plan, kind, options).await
}

/// Makes a new register link in the place of one that has expired, for the mail to the owner.
///
/// # Errors
/// When the instance is busy, or the database fails.
pub(super) async fn renew_register_link(shared: &Shared, found: &Found) -> Result<String, Error> {
    let domain = &found.document.body.domain;
    let name: Name = domain
        .parse()
        .map_err(|_| Error::NoSuchInstance(domain.clone()))?;
    let expires_at = shared.clock.after(shared.config.register_link_life());
    let carry = CarryRegisterToken {
        sealing: &shared.sealing,
    };
    let change = register_link_change("", expires_at);
    let plan = ChangePlan::new(changes(shared), &name, (), change).carrying(carry);
    let options = RequestOptions {
        request_id: "",
        validate_only: false,
    };
    let key = shared.key.current();
    let asked = requests(shared, &key).ask(plan, options).await?;
    if let Answer::Accepted { id, .. } = asked
        && let Some(failure) = end_of(&shared.engine, id).await?
    {
        return Err(Error::Ended(failure));
    }
    let found = shared.store.found(&found.id, found.kind).await?;
    let found = found.ok_or_else(|| Error::NoSuchInstance(domain.clone()))?;
    Ok(register_link(shared, &found)?.link)
}

/// Sets a passphrase on behalf of an administrator.
pub(super) async fn set(
    shared: &Shared,
    mut request: SetPassphraseRequest,
) -> Result<Operation, Status> {
    let passphrase = Secret::new(std::mem::take(&mut request.passphrase));
    let name = find::parse_resource_name("name", &request.name);
    if let Err(wrong) = check_plain("passphrase", passphrase.expose()) {
        let mut wrong = vec![wrong];
        wrong.extend(check_request_id(&request.request_id).err());
        let refused = match name {
            Ok(_) => wrong.into(),
            Err(error) => error.with_fields(wrong),
        };
        return Err(refused.into());
    }
    let name = name?;
    let arguments = (&request.etag, passphrase.expose());
    let change = passphrase_change(&request.etag);
    let kind = change.kind;
    let carry = CarryPassphrase {
        passphrase: &passphrase,
        score: shared.config.passphrase_score,
        deriver: &shared.deriver,
        sealing: &shared.sealing,
    };
    let plan = ChangePlan::new(changes(shared), &name, arguments, change).carrying(carry);
    let options = RequestOptions {
        request_id: &request.request_id,
        validate_only: request.validate_only,
    };
    ask(shared, plan, kind, options).await
}

/// Ends all sessions.
pub(super) async fn clean_sessions(
    shared: &Shared,
    request: &CleanSessionsRequest,
) -> Result<Operation, Status> {
    let name = find::parse_resource_name("name", &request.name)?;
    let change = Change {
        kind: ChangeKind::Sessions,
        ..Change::default()
    };
    let kind = change.kind;
    let plan = ChangePlan::new(changes(shared), &name, (), change);
    let options = RequestOptions {
        request_id: &request.request_id,
        validate_only: request.validate_only,
    };
    ask(shared, plan, kind, options).await
}

/// Ends all sessions and tokens.
pub(super) async fn revoke_tokens(
    shared: &Shared,
    request: &RevokeTokensRequest,
) -> Result<Operation, Status> {
    let name = find::parse_resource_name("name", &request.name)?;
    let change = Change {
        kind: ChangeKind::Tokens,
        etag: request.etag.clone(),
        ..Change::default()
    };
    let kind = change.kind;
    let carry = CarryTokenKeys {
        sealing: &shared.sealing,
    };
    let plan = ChangePlan::new(changes(shared), &name, &request.etag, change).carrying(carry);
    let options = RequestOptions {
        request_id: &request.request_id,
        validate_only: request.validate_only,
    };
    ask(shared, plan, kind, options).await
}

/// How long a link to choose a new passphrase works.
const RESET_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Makes a link to choose a new passphrase.
pub(super) async fn create_reset_link(
    shared: &Shared,
    request: &CreateResetLinkRequest,
) -> Result<Operation, Status> {
    let name = find::parse_resource_name("name", &request.name)?;
    let change = Change {
        kind: ChangeKind::ResetLink,
        etag: request.etag.clone(),
        ..Change::default()
    };
    let kind = change.kind;
    let carry = CarryResetToken {
        sealing: &shared.sealing,
        end: shared.clock.after(RESET_LIFE),
    };
    let plan = ChangePlan::new(changes(shared), &name, &request.etag, change).carrying(carry);
    let options = RequestOptions {
        request_id: &request.request_id,
        validate_only: request.validate_only,
    };
    ask(shared, plan, kind, options).await
}

/// Checks the token of a link.
pub(super) async fn check(
    shared: &Shared,
    instance: &str,
    link: Link,
    request: &CheckRegisterTokenRequest,
) -> Result<PassphraseParameters, Status> {
    let token = token(&request.register_token)?;
    let key = shared.key.current();
    let salt = registrations(shared, &key, link)
        .check(instance, &token)
        .await?;
    Ok(PassphraseParameters {
        salt,
        iterations: i32::try_from(Iterations::DEFAULT.get()).unwrap_or(i32::MAX),
    })
}

/// Sets a passphrase with the token of a link.
pub(super) async fn register(
    shared: &Shared,
    tenant: &Tenant,
    link: Link,
    request: RegisterPassphraseRequest,
) -> Result<(), Status> {
    let token = token(&request.register_token)?;
    let hint = request.hint.clone();
    let chosen = chosen(request)?;
    if let Chosen::Plain(passphrase) = &chosen {
        let known = [tenant.domain.as_str(), hint.as_str()];
        check_strength(
            "passphrase",
            passphrase,
            &known,
            shared.config.passphrase_score,
        )
        .map_err(Error::WeakPassphrase)?;
    }
    let key = shared.key.current();
    registrations(shared, &key, link)
        .choose(&tenant.id, &token, chosen, hint)
        .await?;
    Ok(())
}

fn token(text: &str) -> Result<RegisterToken, Status> {
    RegisterToken::parse(text).map_err(|wrong| invalid_field("register_token", wrong.to_string()))
}

/// The new passphrase of a request. Fields are checked in the order of the compatible API.
fn chosen(request: RegisterPassphraseRequest) -> Result<Chosen, Status> {
    let iterations = match request.iterations {
        0 => None,
        count => Some(
            Iterations::new(count)
                .map_err(|wrong| invalid_field("iterations", wrong.to_string()))?,
        ),
    };
    check_plain("passphrase", &request.passphrase).map_err(Error::from)?;
    check_hint(&request.hint, &request.passphrase).map_err(Error::from)?;
    let Some(iterations) = iterations else {
        let keys = [&request.key, &request.public_key, &request.private_key];
        if keys.iter().any(|key| !key.is_empty()) {
            return Err(invalid_field(
                "key",
                "goes with a passphrase that the client hashed; give its iterations too, or no keys",
            ));
        }
        return Ok(Chosen::Plain(request.passphrase));
    };
    if !is_login_hash(&request.passphrase) {
        return Err(invalid_field(
            "passphrase",
            "is not what a client makes with iterations: 32 bytes in base64; send 0 iterations with a \
             passphrase in plain text",
        ));
    }
    let keys = VaultKeys::from_client(&request.key, &request.public_key, &request.private_key)
        .map_err(|(field, wrong)| invalid_field(field, wrong))?;
    Ok(Chosen::Hashed {
        login_hash: request.passphrase,
        iterations,
        keys,
    })
}

/// The next passphrase as a client hashed it.
///
/// # Errors
/// The field that cannot be used.
pub(super) fn hashed(
    login_hash: String,
    iterations: i32,
    key: &str,
    public_key: &str,
    private_key: &str,
) -> Result<Next, Error> {
    let wrong = |field: &str, wrong: String| {
        Error::Field(InvalidField {
            field: field.to_owned(),
            wrong,
        })
    };
    let iterations =
        Iterations::new(iterations).map_err(|it| wrong("iterations", it.to_string()))?;
    if !is_login_hash(&login_hash) {
        let told = "is not what a client makes with iterations: 32 bytes in base64; send 0 iterations with a \
                    passphrase in plain text";
        return Err(wrong("new_passphrase", told.to_owned()));
    }
    let keys = VaultKeys::from_client(key, public_key, private_key)
        .map_err(|(field, told)| wrong(field, told.to_owned()))?;
    Ok(Next::Hashed {
        login_hash,
        iterations,
        keys,
    })
}

/// Changes the passphrase of whoever knows the present one.
///
/// # Errors
/// [`Error::WrongPassphrase`]; what is wrong with the next one; the database fails.
pub(super) async fn change(
    shared: &Shared,
    found: &Found,
    present: &Secret,
    next: Next,
    guesser: Guesser<'_>,
) -> Result<(), Error> {
    shared
        .log_in()
        .require(&found.document.body, present, guesser)
        .await?;
    let key = shared.key.current();
    let change = ChangePassphrase {
        store: &shared.store,
        contexts: &shared.contexts,
        config: &shared.config,
        requests: requests(shared, &key),
        deriver: &shared.deriver,
        sealing: &shared.sealing,
    };
    change.change(found, present, next).await
}

/// Asks for a change, and answers with its operation.
async fn ask(
    shared: &Shared,
    plan: impl Plan<Preview = ChangePreview>,
    kind: ChangeKind,
    options: RequestOptions<'_>,
) -> Result<Operation, Status> {
    let key = shared.key.current();
    let asked = requests(shared, &key).ask(plan, options).await?;
    Ok(change::answer(shared, kind, asked).await?)
}

pub(super) fn requests<'a>(shared: &'a Shared, key: &'a Secret) -> Requests<'a> {
    Requests {
        engine: &shared.engine,
        key,
    }
}

fn changes(shared: &Shared) -> Changes<'_> {
    Changes {
        store: &shared.store,
        contexts: &shared.contexts,
        config: &shared.config,
    }
}

fn registrations<'a>(shared: &'a Shared, key: &'a Secret, link: Link) -> RegisterPassphrase<'a> {
    RegisterPassphrase {
        store: &shared.store,
        contexts: &shared.contexts,
        config: &shared.config,
        requests: requests(shared, key),
        deriver: &shared.deriver,
        sealing: &shared.sealing,
        clock: &shared.clock,
        link,
    }
}
