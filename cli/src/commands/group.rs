//! The enum of a group of commands.

/// Defines the enum that clap reads a group of commands into, with a `run` that runs the one that was given. A line
/// of the group is the name of a command and its arguments: a struct with its help and a `run` of its own.
macro_rules! command_group {
    (
        $(#[$attribute:meta])*
        $group:ident {
            $($(#[$command_attribute:meta])* $command:ident($arguments:ty),)+
        }
    ) => {
        #[derive(Debug, clap::Subcommand)]
        $(#[$attribute])*
        pub(crate) enum $group {
            $($(#[$command_attribute])* $command($arguments),)+
        }

        impl $group {
            /// Runs the command that was given.
            pub(crate) async fn run(
                self,
                global: &crate::flags::global::GlobalFlags,
            ) -> Result<(), crate::error::CommandError> {
                match self {
                    $(Self::$command(arguments) => arguments.run(global).await,)+
                }
            }
        }
    };
}

pub(crate) use command_group;
