//! Whether the values of a change can be used: the rules of a creation, and those that depend on what the
//! instance is now.

use super::Change;
use crate::domain::{
    instance::InstanceDocument,
    locale,
    name::Name,
    spec::{
        InvalidField, canonical_aliases, canonical_old_domain, canonical_tos_signed, check_email,
        check_phone, check_quota, check_setting, check_sponsorships, check_subject, check_text,
        check_timezone, check_tos_latest, check_uuid, invalid, parse_name,
    },
    tos,
};

/// The longest reason for a block, in bytes.
const LONGEST_REASON: usize = 200;

impl Change {
    /// Checks the values and brings names into their canonical form. `document` is the instance as it is
    /// now.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn check(mut self, document: &InstanceDocument) -> Result<Self, InvalidField> {
        self.check_names(document)?;
        self.check_texts()?;
        self.check_terms(document)?;
        self.check_blocking(document)?;
        if let Some(bytes) = self.instance.disk_quota_bytes {
            check_quota(bytes)?;
        }
        if self.instance.onboarding_finished == Some(false) {
            return Err(invalid(
                "instance.onboarding_finished",
                "cannot be taken back; set it to true or leave it out of the mask",
            ));
        }
        if self.instance.deleting == Some(true) {
            return Err(invalid(
                "instance.deleting",
                "cannot be set; set it to false to take the flag away, or destroy the instance",
            ));
        }
        self.check_settings()?;
        Ok(self)
    }

    fn check_names(&mut self, document: &InstanceDocument) -> Result<(), InvalidField> {
        let patch = &mut self.instance;
        if patch.domain_aliases.is_none() && patch.old_domain.is_none() {
            return Ok(());
        }
        let domain = parse_name("instance.domain", &document.domain)?;
        if let Some(aliases) = &mut patch.domain_aliases {
            *aliases = canonical_aliases(&domain, aliases)?;
        }
        if let Some(old) = patch.old_domain.as_mut().filter(|old| !old.is_empty()) {
            let aliases = patch
                .domain_aliases
                .as_ref()
                .unwrap_or(&document.domain_aliases);
            let present: Vec<Name> = [domain]
                .into_iter()
                .chain(aliases.iter().filter_map(|alias| alias.parse().ok()))
                .collect();
            *old = canonical_old_domain(old, &present)?;
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), InvalidField> {
        let patch = &self.instance;
        if let Some(language) = &patch.locale {
            if language.is_empty() {
                return Err(invalid(
                    "instance.locale",
                    "cannot be cleared; name a language such as en",
                ));
            }
            locale::check(language).map_err(|wrong| invalid("instance.locale", wrong))?;
        }
        check_text(
            "instance.context",
            patch.context.as_deref().unwrap_or_default(),
        )?;
        check_uuid(patch.uuid.as_deref().unwrap_or_default())?;
        for (field, subject) in [
            ("instance.oidc_id", &patch.oidc_id),
            ("instance.franceconnect_id", &patch.franceconnect_id),
        ] {
            check_subject(field, subject.as_deref().unwrap_or_default())?;
        }
        check_sponsorships(patch.sponsorships.as_deref().unwrap_or_default())
    }

    fn check_terms(&mut self, document: &InstanceDocument) -> Result<(), InvalidField> {
        let patch = &mut self.instance;
        if let Some(signed) = patch.tos_signed.as_mut().filter(|text| !text.is_empty()) {
            *signed = canonical_tos_signed(signed)?;
        }
        let Some(latest) = patch.tos_latest.as_ref().filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        check_tos_latest(latest)?;
        let signed = patch.tos_signed.as_ref().unwrap_or(&document.tos);
        if !tos::awaits_signature(latest, signed) {
            return Err(invalid(
                "instance.tos_latest",
                format!(
                    "{latest:?} needs no signature: {signed:?} is signed already; name a version \
                     with a higher first number"
                ),
            ));
        }
        Ok(())
    }

    fn check_blocking(&self, document: &InstanceDocument) -> Result<(), InvalidField> {
        let Some(reason) = self.instance.blocking_reason.as_deref() else {
            return Ok(());
        };
        if reason.len() > LONGEST_REASON {
            return Err(invalid(
                "instance.blocking_reason",
                format!("is longer than {LONGEST_REASON} bytes; use a short code or sentence"),
            ));
        }
        check_text("instance.blocking_reason", reason)?;
        let blocked = self.instance.blocked.unwrap_or(document.blocked);
        if !blocked && !reason.is_empty() {
            return Err(invalid(
                "instance.blocking_reason",
                "is given for an instance that is not blocked; set instance.blocked too, with \
                 `blocked` in the mask",
            ));
        }
        Ok(())
    }

    fn check_settings(&self) -> Result<(), InvalidField> {
        for (name, value) in &self.settings {
            let value = value.as_deref().unwrap_or_default();
            match name.as_str() {
                "email" => {
                    check_email(value)?;
                }
                "tz" => check_timezone(value)?,
                "public_name" => check_text("instance.public_name", value)?,
                "phone" => check_phone(value)?,
                _ => check_setting(name, value)?,
            }
        }
        Ok(())
    }
}
