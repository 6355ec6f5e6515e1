//! What a caller may do in a database: its `_security`.

use http::Method;

use super::{auth::Caller, users::USERS};
use crate::{api_error::ApiError, json::Json, storage::databases::Database};

/// The rights of a caller in a database of which it is a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// Whether it may write design documents.
    is_database_admin: bool,
    is_stranger: bool,
}

impl Access {
    /// The rights of a caller.
    ///
    /// # Errors
    /// 401 for a stranger and 403 for a user that is no member.
    pub(crate) fn of(caller: &Caller, db: &Database) -> Result<Self, ApiError> {
        let is_stranger = caller.name.is_none();
        if caller.is_admin() {
            return Ok(Self {
                is_database_admin: true,
                is_stranger,
            });
        }
        let security = db.security();
        let is_database_admin = is_listed(caller, security.get("admins"));
        // An older name of the group.
        let members = security.get("members").or(security.get("readers"));
        if !is_database_admin && !is_empty(members) && !is_listed(caller, members) {
            return Err(if is_stranger {
                ApiError::unauthorized("You are not authorized to access this db.")
            } else {
                ApiError::forbidden("You are not allowed to access this db.")
            });
        }
        Ok(Self {
            is_database_admin,
            is_stranger,
        })
    }

    /// Whether the caller is an administrator of the database.
    pub(crate) fn is_database_admin(self) -> bool {
        self.is_database_admin
    }

    /// Refuses what only an administrator of the database may do.
    pub(crate) fn demand_admin(self) -> Result<(), ApiError> {
        const REASON: &str = "You are not a db or server admin.";
        match (self.is_database_admin, self.is_stranger) {
            (true, _) => Ok(()),
            (false, true) => Err(ApiError::unauthorized(REASON)),
            (false, false) => Err(ApiError::forbidden(REASON)),
        }
    }

    /// Refuses a design document of who is no administrator of the database.
    pub(crate) fn check_document(self, id: &str) -> Result<(), ApiError> {
        if id.starts_with("_design/") {
            self.demand_admin()
        } else {
            Ok(())
        }
    }
}

fn items<'a>(group: Option<&'a Json>, list: &str) -> &'a [Json] {
    group
        .and_then(|group| group.get(list))
        .and_then(Json::as_arr)
        .unwrap_or_default()
}

fn is_empty(group: Option<&Json>) -> bool {
    items(group, "names").is_empty() && items(group, "roles").is_empty()
}

fn is_listed(caller: &Caller, group: Option<&Json>) -> bool {
    let has = |list: &[Json], text: &str| list.iter().any(|item| item.as_str() == Some(text));
    caller
        .name
        .as_deref()
        .is_some_and(|name| has(items(group, "names"), name))
        || caller
            .roles
            .iter()
            .any(|role| has(items(group, "roles"), role))
}

/// Refuses what only a server administrator may do, before anybody looks whether the database is there.
pub(crate) fn check_route(
    caller: &Caller,
    method: &Method,
    segments: &[&str],
) -> Result<(), ApiError> {
    let is_for_server_admins = match segments {
        [_] => matches!(*method, Method::PUT | Method::DELETE),
        [USERS, "_all_docs" | "_changes", ..] => true,
        [_, "_purge" | "_purged_infos_limit" | "_sync_shards", ..] => true,
        _ => false,
    };
    if is_for_server_admins && !caller.is_admin() {
        return Err(not_server_admin());
    }
    Ok(())
}

/// The error for who is no server administrator.
pub(crate) fn not_server_admin() -> ApiError {
    ApiError::unauthorized("You are not a server admin.")
}
