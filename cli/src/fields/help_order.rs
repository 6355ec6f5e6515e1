//! The order of flags in the help of `instances add` and `instances modify`.

use clap::Command;

/// Sorts the command's own flags by name, with those of `first` before them and those of `last` after them.
///
/// clap prints flags in the order of their declaration. Those of fields are declared in two places:
/// [`FieldFlags`](super::instance::FieldFlags) and the command. Global flags keep their place.
pub(crate) fn sort_flags(mut command: Command, first: &[&str], last: &[&str]) -> Command {
    let mut flags: Vec<(String, String)> = Vec::new();
    let mut global: Vec<String> = Vec::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().to_string();
        match argument.get_long() {
            Some(_) if argument.is_global_set() => global.push(id),
            Some(flag) => flags.push((flag.to_owned(), id)),
            None => {}
        }
    }
    let position = |flags: &[&str], flag: &str| flags.iter().position(|known| *known == flag);
    flags.sort_by_cached_key(|(flag, _)| {
        match (position(first, flag), position(last, flag)) {
            (Some(index), _) => (0, index, String::new()),
            (None, Some(index)) => (2, index, String::new()),
            // `--unlock` follows `--lock`.
            (None, None) => (1, 0, flag.strip_prefix("un").unwrap_or(flag).to_owned()),
        }
    });
    // `mut_arg` moves an argument to the end. Scripts of `completions` list arguments in that order.
    for (order, (_, id)) in flags.into_iter().enumerate() {
        command = command.mut_arg(id, |flag| flag.display_order(order));
    }
    for id in global {
        command = command.mut_arg(id, |flag| flag);
    }
    command
}
