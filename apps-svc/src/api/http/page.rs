//! Answers with a page of an app, and what it holds for whoever opens it.

use axum::response::{IntoResponse as _, Response};
use hamlet_proto::hamlet::instance::v1::{AppPage, GetAppPageRequest};
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use service_kit::{
    caller::{for_tenant, on_behalf_of},
    contexts::Subdomains,
};

use super::{refusal::Why, visit::Visit};
use crate::{
    actions::{
        list::slugs,
        open::Opened,
        page::{PageError, template, values},
    },
    contents::Leaf,
    domain::page::Values,
};

/// A page of an app.
pub(super) struct Page<'a> {
    pub(super) visit: &'a Visit<'a>,
    pub(super) app: &'a Opened,
    /// Whether strangers may see it.
    pub(super) is_public: bool,
}

impl Page<'_> {
    /// Answers with the page in a file.
    pub(super) async fn answer(&self, leaf: &Leaf) -> Result<Response, Why> {
        let visit = self.visit;
        let (template, held) = (template(visit.shared, leaf).await, self.held().await?);
        let values = self.values(&held);
        let page = template
            .and_then(|template| Ok(template.fill(|name| values.of(name))?))
            .map_err(|error| self.broken(error))?;
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("text/html; charset=UTF-8");
        headers.insert(CONTENT_TYPE, kind);
        // It holds a token.
        let kept = HeaderValue::from_static("private, no-store, must-revalidate");
        headers.insert(CACHE_CONTROL, kept);
        headers.insert(CONTENT_LENGTH, page.len().into());
        if visit.at.subdomains() == Subdomains::Flat {
            // A pattern would fit the apps of other instances, too.
            let apps = slugs(visit.shared, visit.tenant).await?;
            if let Ok(policy) = visit.policy(&apps).try_into() {
                headers.insert(CONTENT_SECURITY_POLICY, policy);
            }
        }
        Ok((headers, page).into_response())
    }

    /// What the instance service says.
    async fn held(&self) -> Result<AppPage, Why> {
        let visit = self.visit;
        let message = GetAppPageRequest {
            slug: self.app.slug.clone(),
        };
        let request = if visit.is_logged_in {
            on_behalf_of(message, visit.caller).map_err(Why::Failed)?
        } else {
            for_tenant(message, visit.tenant)
        };
        values(visit.shared, request).await.map_err(Why::Failed)
    }

    fn values<'a>(&'a self, held: &'a AppPage) -> Values<'a> {
        let visit = self.visit;
        // Whoever opens a shared link has its code for a token.
        let code = if self.is_public {
            visit.parameter("sharecode")
        } else {
            None
        };
        Values {
            token: code.unwrap_or_else(|| held.token.clone()),
            is_logged_in: visit.is_logged_in,
            tracking: held.tracking,
            flags: &held.flags,
            capabilities: &held.capabilities,
            at: &visit.at,
            locale: &visit.tenant.locale,
            context: &visit.tenant.context,
            slug: &self.app.slug,
            name: &self.app.name,
            name_prefix: &self.app.name_prefix,
            editor: &self.app.editor,
            icon: &self.app.icon,
        }
    }

    /// A page that cannot be shown: whoever wrote the app, or runs the installation, has to know why.
    fn broken(&self, error: PageError) -> Why {
        match error {
            PageError::Missing => Why::NotReady,
            PageError::Store(error) => error.into(),
            error => {
                tracing::debug!(
                    domain = self.visit.tenant.domain,
                    slug = self.app.slug,
                    version = self.app.version,
                    %error,
                    "the page of an app cannot be shown"
                );
                Why::Broken(error.to_string())
            }
        }
    }
}
