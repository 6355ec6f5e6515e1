//! What the model knows of users: who can log in, and who may write.

use serde_json::json;

use crate::{
    steps::Members,
    support::{Client, add_hash, basic},
};

/// After more wrong tries of one password the server would lock the user out.
const MOST_WRONG: usize = 3;

/// A user as it is stored.
#[derive(Clone, Debug)]
struct User {
    role: usize,
    password: String,
    wrong: usize,
}

/// The users of one case. Their names are those of no other case.
pub(crate) struct Users {
    case: u64,
    users: [Option<User>; 3],
    /// The latest revision of each, also of one that is deleted.
    revs: [Option<String>; 3],
    /// `None` until somebody says it: the administrator alone.
    members: Option<Members>,
    passwords: usize,
}

impl Users {
    pub(crate) fn new(case: u64) -> Self {
        Self {
            case,
            users: [const { None }; 3],
            revs: [const { None }; 3],
            members: None,
            passwords: 0,
        }
    }

    fn name(&self, user: usize) -> String {
        format!("user{}-{user}", self.case)
    }

    fn path(&self, user: usize) -> String {
        format!("/_users/org.couchdb.user:{}", self.name(user))
    }

    pub(crate) async fn put(&mut self, client: &Client, user: usize, role: usize) {
        self.passwords += 1;
        let password = format!("secret{}", self.passwords);
        let mut doc =
            json!({"type": "user", "name": self.name(user), "roles": [format!("role{role}")]});
        if self.passwords.is_multiple_of(8) {
            // The server makes a hash, which takes a while.
            doc["password"] = password.as_str().into();
        } else {
            add_hash(&mut doc, &format!("salt of {password}"), &password);
        }
        if let (Some(_), Some(rev)) = (&self.users[user], &self.revs[user]) {
            doc["_rev"] = rev.as_str().into();
        }
        let reply = client.put(&self.path(user), &doc).await.expect(201).json();
        self.revs[user] = reply["rev"].as_str().map(str::to_owned);
        self.users[user] = Some(User {
            role,
            password,
            wrong: 0,
        });
    }

    pub(crate) async fn delete(&mut self, client: &Client, user: usize) {
        let path = self.path(user);
        let Some(rev) = self.revs[user]
            .as_ref()
            .filter(|_| self.users[user].is_some())
        else {
            client.delete(&path).await.expect(404);
            return;
        };
        client
            .delete(&format!("{path}?rev={rev}"))
            .await
            .expect(200);
        self.users[user] = None;
    }

    pub(crate) async fn login(&mut self, client: &Client, user: usize, is_right: bool) {
        let name = self.name(user);
        let password = match &mut self.users[user] {
            Some(user) if is_right => user.password.clone(),
            Some(user) if user.wrong == MOST_WRONG => return,
            Some(user) => {
                user.wrong += 1;
                "wrong".to_owned()
            }
            None => "any".to_owned(),
        };
        let login = json!({"name": name, "password": password});
        let mut stranger = client.clone();
        stranger.authorization = None;
        let reply = stranger.post("/_session", &login).await;
        let Some(user) = self.users[user].as_ref().filter(|_| is_right) else {
            reply.expect(401);
            return;
        };
        let roles = json!([format!("role{}", user.role)]);
        let reply = reply.expect(200);
        assert_eq!(reply.json()["name"], json!(name));
        assert_eq!(reply.json()["roles"], roles);
        let cookie = reply.headers["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap();
        let session = stranger
            .call("GET", "/_session", &[("cookie", cookie)], b"")
            .await
            .expect(200)
            .json();
        assert_eq!(session["userCtx"], json!({"name": name, "roles": roles}));
    }

    pub(crate) async fn set_members(&mut self, client: &Client, db: &str, members: &Members) {
        self.members = Some(members.clone());
        let members = match members {
            Members::Everybody => json!({}),
            Members::Role(role) => json!({"roles": [format!("role{role}")]}),
            Members::User(user) => json!({"names": [self.name(*user)]}),
        };
        let security = json!({"admins": {"roles": ["_admin"]}, "members": members});
        client
            .put(&format!("{db}/_security"), &security)
            .await
            .expect(200);
    }

    /// The header of a user, and the status with which the database refuses it, if it does.
    pub(crate) fn caller(&self, user: usize) -> (String, Option<u16>) {
        let name = self.name(user);
        let Some(known) = &self.users[user] else {
            return (basic(&name, "any"), Some(401));
        };
        let is_member = match self.members {
            None => false,
            Some(Members::Everybody) => true,
            Some(Members::Role(role)) => known.role == role,
            Some(Members::User(only)) => only == user,
        };
        (basic(&name, &known.password), (!is_member).then_some(403))
    }

    /// Asserts who can log in and read.
    pub(crate) async fn check(&mut self, client: &Client, db: &str) {
        for user in 0..self.users.len() {
            self.login(client, user, true).await;
            let (header, refused) = self.caller(user);
            let headers = [("authorization", header.as_str())];
            let read = client.call("GET", db, &headers, b"").await;
            read.expect(refused.unwrap_or(200));
        }
    }
}
