//! Users that a writer creates, changes and deletes.

use std::collections::BTreeMap;

use serde_json::json;
use test_kit::dice::Rng;

use crate::support::{Client, add_hash, basic};

/// What the last acknowledged write made of a user: the password; `None` if it deleted it.
type Password = Option<String>;

#[derive(Default)]
pub(crate) struct Users {
    /// With the revision.
    acknowledged: BTreeMap<String, (String, Password)>,
    /// What was in progress when the server was killed.
    uncertain: Option<(String, Password)>,
}

fn path(name: &str) -> String {
    format!("/_users/org.couchdb.user:{name}")
}

impl Users {
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Creates or deletes a user, or gives it another password.
    pub(crate) async fn change(
        &mut self,
        client: &Client,
        writer: usize,
        n: u64,
        dice: &mut Rng,
    ) -> Result<(), String> {
        let name = format!("user{writer}-{}", dice.u8(..3));
        let known = self.acknowledged.get(&name);
        let rev = known.and_then(|(rev, password)| password.is_some().then(|| rev.clone()));
        let mut doc = json!({"type": "user", "name": name, "roles": []});
        if let Some(rev) = &rev {
            doc["_rev"] = rev.as_str().into();
        }
        let deletes = rev.is_some() && dice.u8(..4) == 0;
        let password = (!deletes).then(|| format!("secret{n}"));
        match &password {
            None => doc["_deleted"] = true.into(),
            Some(password) => add_hash(&mut doc, &format!("salt{n}"), password),
        }
        self.uncertain = Some((name.clone(), password.clone()));
        let body = doc.to_string();
        let reply = client
            .attempt("PUT", &path(&name), &[], body.as_bytes())
            .await?;
        assert!(reply.status < 300, "{}", reply.text());
        let rev = reply.json()["rev"].as_str().unwrap().to_owned();
        self.acknowledged.insert(name, (rev, password));
        self.uncertain = None;
        Ok(())
    }

    /// Asserts who can log in, and resolves the unknown outcome.
    pub(crate) async fn compare(&mut self, client: &Client) {
        if let Some((name, password)) = self.uncertain.take() {
            let (found, rev) = match client.get(&path(&name)).await {
                reply if reply.status == 404 => (None, String::new()),
                reply => {
                    let doc = reply.expect(200).json();
                    let rev = doc["_rev"].as_str().unwrap().to_owned();
                    let is_new = password
                        .as_ref()
                        .is_some_and(|password| doc["salt"] == password.replace("secret", "salt"));
                    let before = self.acknowledged.get(&name);
                    let before = before.and_then(|(_, password)| password.clone());
                    (if is_new { password } else { before }, rev)
                }
            };
            let was_there = self.acknowledged.contains_key(&name);
            if was_there || found.is_some() {
                self.acknowledged.insert(name, (rev, found));
            }
        }
        for (name, (rev, password)) in &self.acknowledged {
            let header = basic(name, password.as_deref().unwrap_or("any"));
            let headers = [("authorization", header.as_str())];
            let session = client.call("GET", "/_session", &headers, b"").await;
            let Some(_) = password else {
                session.expect(401);
                continue;
            };
            assert_eq!(session.expect(200).json()["userCtx"]["name"], name.as_str());
            let doc = client.get(&path(name)).await.expect(200).json();
            assert_eq!(doc["_rev"], rev.as_str(), "{name}");
        }
    }
}
