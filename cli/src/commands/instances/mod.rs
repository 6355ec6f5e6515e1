//! `hamlet instances`.

mod add;
mod auth_mode;
mod block;
mod clean_sessions;
mod client_oauth;
mod conflicts;
mod count;
mod debug;
mod destroy;
mod disabled;
mod find_oauth_client;
mod fsck;
mod ls;
mod modify;
mod orphans;
mod refresh_token_oauth;
mod register_link;
mod reset_link;
mod revoke_tokens;
mod set_disk_quota;
mod set_passphrase;
mod show;
mod show_app_version;
mod show_db_prefix;
mod token_app;
mod token_cli;
mod token_konnector;
mod token_oauth;
mod unblock;
mod undelete;

use super::group::command_group;

command_group! {
    /// Create, list, show, change, block and destroy instances.
    #[command(visible_alias = "instance", arg_required_else_help = true)]
    Instances {
        Add(Box<add::Add>),
        Ls(ls::Ls),
        Show(show::Show),
        Count(count::Count),
        Modify(Box<modify::Modify>),
        Destroy(destroy::Destroy),
        Undelete(undelete::Undelete),
        Block(block::Block),
        Unblock(unblock::Unblock),
        SetDiskQuota(set_disk_quota::SetDiskQuota),
        SetPassphrase(set_passphrase::SetPassphrase),
        AuthMode(auth_mode::AuthMode),
        Debug(debug::Debug),
        ShowAppVersion(show_app_version::ShowAppVersion),
        ShowDbPrefix(show_db_prefix::ShowDbPrefix),
        TokenCli(token_cli::TokenCli),
        TokenApp(token_app::TokenApp),
        TokenKonnector(token_konnector::TokenKonnector),
        TokenOauth(token_oauth::TokenOauth),
        RefreshTokenOauth(refresh_token_oauth::RefreshTokenOauth),
        ClientOauth(client_oauth::ClientOauth),
        FindOauthClient(find_oauth_client::FindOauthClient),
        CleanSessions(clean_sessions::CleanSessions),
        RevokeTokens(revoke_tokens::RevokeTokens),
        Fsck(fsck::Fsck),
        RegisterLink(register_link::RegisterLink),
        ResetLink(reset_link::ResetLink),
        Orphans(orphans::Orphans),
        Conflicts(conflicts::Conflicts),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Args as _, Command, FromArgMatches as _};
    use hamlet_proto::fields::{FIELDS, by_flag};

    use super::{add::Add, modify::Modify};
    use crate::fields::{instance::FieldFlags, unset};

    fn command<A: clap::Args>() -> Command {
        let mut command = A::augment_args(Command::new("test"));
        command.build();
        command
    }

    fn flags(command: &Command) -> BTreeSet<String> {
        command
            .get_arguments()
            .filter_map(|flag| flag.get_long().map(ToOwned::to_owned))
            .collect()
    }

    #[test]
    fn add_and_modify_have_the_flags_that_the_table_of_fields_says() {
        let (add, modify) = (command::<Add>(), command::<Modify>());
        let (add, modify) = (flags(&add), flags(&modify));
        for field in FIELDS {
            let Some(flag) = field.flag else { continue };
            assert_eq!(add.contains(flag), field.at_creation, "add --{flag}");
            assert_eq!(
                modify.contains(flag),
                field.change.may_set(),
                "modify --{flag}"
            );
        }
        let shared = FieldFlags::augment_args(Command::new("test"));
        for flag in flags(&shared) {
            let is_of_field = by_flag(&flag).is_some() || flag == "setting";
            assert!(is_of_field, "no field has the flag --{flag}");
        }
    }

    #[test]
    fn a_flag_sets_its_field_and_no_other() -> Result<(), Box<dyn std::error::Error>> {
        let command = command::<Modify>();
        for field in FIELDS.iter().filter(|field| field.change.may_set()) {
            let Some(flag) = field.flag else { continue };
            // One of these is a value that the flag takes.
            let matches = ["", "=basic", "=true", "=false", "=1", "=a:1", "=a=1"]
                .iter()
                .map(|value| ["test", "bob.example", &format!("--{flag}{value}")].map(String::from))
                .find_map(|line| command.clone().try_get_matches_from(line).ok())
                .ok_or_else(|| format!("--{flag} takes none of the values"))?;
            let (_, patch) = Modify::from_arg_matches(&matches)?.into_patch()?;
            let path = if field.keyed {
                format!("{}.a", field.path)
            } else {
                field.path.to_owned()
            };
            assert_eq!(patch.paths, [path], "--{flag}");
        }
        Ok(())
    }

    #[test]
    fn the_help_of_unset_names_what_can_be_cleared() {
        let command = command::<Modify>();
        let help = command
            .get_arguments()
            .find(|flag| flag.get_id() == "unset")
            .and_then(|flag| flag.get_help().map(ToString::to_string))
            .unwrap_or_default();
        let examples: Vec<_> = help
            .rsplit(": ")
            .next()
            .unwrap_or_default()
            .split(", ")
            .filter(|name| *name != "…")
            .collect();
        assert!(examples.len() > 3, "{help}");
        for example in examples {
            assert!(
                unset::names().iter().any(|name| name == example),
                "{example}"
            );
        }
    }
}
