//! `Debug` implementations for messages with secrets; they leave the secrets out.

use std::fmt::{Debug, Formatter, Result};

use crate::hamlet::instance::v1::{
    AppPage, AuthenticateRequest, CheckRegisterTokenRequest, CreateInstanceRequest,
    CreateInstanceResult, OauthClient, RegisterLink, RegisterPassphraseRequest, ResetLink,
    SetPassphraseRequest, Token,
};

impl Debug for AppPage {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AppPage")
            .field("flags", &self.flags)
            .field("capabilities", &self.capabilities)
            .field("tracking", &self.tracking)
            .finish_non_exhaustive()
    }
}

impl Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthenticateRequest")
            .finish_non_exhaustive()
    }
}

impl Debug for CreateInstanceRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("CreateInstanceRequest")
            .field("instance", &self.instance)
            .field("apps", &self.apps)
            .field("request_id", &self.request_id)
            .field("validate_only", &self.validate_only)
            .field("trace", &self.trace)
            .finish_non_exhaustive()
    }
}

impl Debug for CreateInstanceResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("CreateInstanceResult")
            .field("instance", &self.instance)
            .field("apps", &self.apps)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Debug for SetPassphraseRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("SetPassphraseRequest")
            .field("name", &self.name)
            .field("etag", &self.etag)
            .field("request_id", &self.request_id)
            .field("validate_only", &self.validate_only)
            .finish_non_exhaustive()
    }
}

impl Debug for RegisterPassphraseRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RegisterPassphraseRequest")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl Debug for OauthClient {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("OauthClient")
            .field("client_id", &self.client_id)
            .field("client_name", &self.client_name)
            .field("software_id", &self.software_id)
            .finish_non_exhaustive()
    }
}

impl Debug for RegisterLink {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RegisterLink")
            .field("expire_time", &self.expire_time)
            .finish_non_exhaustive()
    }
}

impl Debug for ResetLink {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("ResetLink")
            .field("expire_time", &self.expire_time)
            .finish_non_exhaustive()
    }
}

impl Debug for CheckRegisterTokenRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("CheckRegisterTokenRequest")
            .finish_non_exhaustive()
    }
}

impl Debug for Token {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AppPage, AuthenticateRequest, CheckRegisterTokenRequest, CreateInstanceRequest,
        CreateInstanceResult, RegisterLink, RegisterPassphraseRequest, ResetLink,
        SetPassphraseRequest, Token,
    };

    #[test]
    fn debug_output_contains_no_secret() {
        let secret = || "the secret".to_owned();
        let shown = [
            format!(
                "{:?}",
                CreateInstanceRequest {
                    passphrase: secret(),
                    ..CreateInstanceRequest::default()
                }
            ),
            format!(
                "{:?}",
                CreateInstanceResult {
                    register_link: secret(),
                    register_token: secret(),
                    ..CreateInstanceResult::default()
                }
            ),
            format!(
                "{:?}",
                SetPassphraseRequest {
                    passphrase: secret(),
                    ..SetPassphraseRequest::default()
                }
            ),
            format!(
                "{:?}",
                RegisterPassphraseRequest {
                    register_token: secret(),
                    passphrase: secret(),
                    key: secret(),
                    public_key: secret(),
                    private_key: secret(),
                    hint: secret(),
                    ..RegisterPassphraseRequest::default()
                }
            ),
            format!(
                "{:?}",
                RegisterLink {
                    link: secret(),
                    token: secret(),
                    expire_time: None,
                    warnings: Vec::new(),
                }
            ),
            format!(
                "{:?}",
                ResetLink {
                    link: secret(),
                    expire_time: None,
                }
            ),
            format!(
                "{:?}",
                CheckRegisterTokenRequest {
                    register_token: secret(),
                }
            ),
            format!("{:?}", Token { token: secret() }),
            format!(
                "{:?}",
                AppPage {
                    token: secret(),
                    ..AppPage::default()
                }
            ),
            format!(
                "{:?}",
                AuthenticateRequest {
                    session_cookie: secret(),
                    token: secret(),
                }
            ),
        ];
        for text in shown {
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
