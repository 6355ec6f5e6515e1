//! An owner lets a client in: the client gets a code with which it fetches its tokens.

use identity::{
    client::Client,
    grant::{Asked, Code},
    invalid_field::InvalidField,
    secrets::new_code,
};
use service_kit::secret::Secret;

use super::{ClientDocument, OAuth};
use crate::error::Error;

/// What a client wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The client.
    pub(crate) client: ClientDocument,
    /// The rules, separated by spaces.
    pub(crate) scope: String,
}

impl OAuth<'_> {
    /// Checks what a client asks for. As long as that is not right, nobody may be sent to an address that it names.
    ///
    /// # Errors
    /// The parameter that cannot be used; the database fails.
    pub(crate) async fn wanted(&self, asked: &Asked) -> Result<Wanted, Error> {
        let client = self.client(&asked.client_id).await?;
        let client = client.ok_or_else(|| {
            let wrong =
                "is not that of a program that is registered here; it may have waited for too long";
            Error::from(InvalidField::new("client_id", wrong))
        })?;
        let scope = asked.check(Client::of(&client.body))?;
        Ok(Wanted { client, scope })
    }

    /// Lets the client in. Returns the code.
    ///
    /// # Errors
    /// The client is gone; the database fails.
    pub(crate) async fn allow(&self, asked: &Asked, wanted: Wanted) -> Result<Secret, Error> {
        let now = self.clock.now();
        let location = self.instance.location();
        // Those that nobody has fetched would stay for ever.
        for code in self.store.codes(location).await? {
            if code.body.is_over(now) {
                let _gone = self.store.use_up(location, &code).await?;
            }
        }
        // From now on it waits for nobody.
        self.edit(wanted.client, |document| {
            document.shift_remove("pending").is_some()
        })
        .await?;
        let code = new_code()?;
        let document = Code::new(asked, wanted.scope, now);
        self.store.add_code(location, &code, &document).await?;
        Ok(Secret::new(code))
    }
}
