//! The demo: one instance with an example app, created through the admin door.

use std::{env, fmt::Write as _, net::SocketAddr, path::Path};

use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{
        CreateInstanceRequest, CreateInstanceResult, GetInstanceRequest, GetRegisterLinkRequest,
        Instance, OperationMetadata, WatchOperationRequest,
        instance_service_client::InstanceServiceClient,
        operation_service_client::OperationServiceClient, step,
    },
    unpack,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};

use crate::door::Door;

/// The host of the instance, without a port.
const NAME: &str = "alice.localhost";

/// The host of the instance that is suggested next.
const OTHER: &str = "bob.localhost";

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A gRPC call failed.
    #[error("{}", .0.message())]
    Call(#[from] Status),
    /// The creation of the instance failed.
    #[error("the demonstration's instance could not be created: {0}")]
    Creation(String),
    /// An answer cannot be decoded.
    #[error("the answer cannot be read")]
    Answer(#[from] prost::DecodeError),
}

/// The dependencies of the demo.
#[derive(Debug)]
pub(crate) struct Demo<'a> {
    /// The address of the public door.
    pub(crate) public: SocketAddr,
    /// A client of the admin door.
    pub(crate) door: &'a Door,
    /// The folder of example apps, if it exists.
    pub(crate) apps: Option<&'a Path>,
    /// The data folder.
    pub(crate) data: &'a Path,
    /// The settings of instances, which say where a browser finds one.
    pub(crate) instances: &'a instance_svc::Config,
}

impl Demo<'_> {
    /// Creates the instance unless it exists, and prints the next steps for the user.
    pub(crate) async fn run(&self) -> Result<(), Error> {
        let door = self.door.clone();
        let mut instances = InstanceServiceClient::new(door.clone());
        let domain = format!("{NAME}:{}", self.public.port());
        // An earlier start may have had another port.
        let name = format!("instances/{NAME}");
        let known = instances.get_instance(GetInstanceRequest { name }).await;
        let domain = match known {
            Ok(instance) => {
                let instance = instance.into_inner();
                say(&format!("{} is there already", instance.domain));
                if instance.domain != domain {
                    say(&format!(
                        "warning: its links lead to {}, and browsers reach this installation at port {}; start it with \
                         --listen and the port of the instance, or give it an alias",
                        instance.domain,
                        self.public.port()
                    ));
                }
                instance.domain
            }
            Err(status) if status.code() == Code::NotFound => {
                self.create(&domain, door).await?;
                domain
            }
            Err(status) => return Err(status.into()),
        };
        let link = instances
            .get_register_link(GetRegisterLinkRequest {
                name: format!("instances/{domain}"),
            })
            .await;
        let link = match link {
            Ok(link) => Some(link.into_inner().link),
            Err(status) if status.code() == Code::FailedPrecondition => None,
            Err(status) => return Err(status.into()),
        };
        let name = format!("instances/{OTHER}");
        let other = instances.get_instance(GetInstanceRequest { name }).await;
        let is_free = match other {
            Ok(_) => false,
            Err(status) if status.code() == Code::NotFound => true,
            Err(status) => return Err(status.into()),
        };
        self.farewell(&domain, link.as_deref(), is_free);
        Ok(())
    }

    async fn create(&self, domain: &str, door: Door) -> Result<(), Error> {
        say(&format!("creating {domain}"));
        let apps = self
            .apps
            .map(|folder| format!("file://{}", folder.join("home").display()))
            .into_iter()
            .collect();
        let accepted = InstanceServiceClient::new(door.clone())
            .create_instance(CreateInstanceRequest {
                instance: Some(Instance {
                    domain: domain.to_owned(),
                    locale: "fr".to_owned(),
                    public_name: "Alice".to_owned(),
                    email: "alice@example.org".to_owned(),
                    ..Instance::default()
                }),
                apps,
                ..CreateInstanceRequest::default()
            })
            .await?
            .into_inner();
        let mut states = OperationServiceClient::new(door)
            .watch_operation(WatchOperationRequest {
                name: accepted.name,
            })
            .await?
            .into_inner();
        let mut told = 0;
        while let Some(state) = states.next().await {
            let state = state?;
            told = tell_steps(&state, told)?;
            match state.result {
                None => {}
                Some(operation::Result::Error(error)) => {
                    return Err(Error::Creation(error.message));
                }
                Some(operation::Result::Response(result)) => {
                    let result: CreateInstanceResult = unpack(&result)?.unwrap_or_default();
                    for app in result.apps {
                        if app.error.is_empty() {
                            say(&format!("  app {} {} installed", app.slug, app.version));
                        } else {
                            say(&format!(
                                "  app {} not installed: {}",
                                app.source, app.error
                            ));
                        }
                    }
                    return Ok(());
                }
            }
        }
        Err(Error::Creation("its progress was cut off".to_owned()))
    }

    fn farewell(&self, domain: &str, link: Option<&str>, suggest_other: bool) {
        let mut text = String::new();
        let port = self.public.port();
        let hamlet = command(self.data);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\nTry next, in another terminal:\n  {hamlet} instances ls\n  {hamlet} files tree {domain}\n"
        );
        if suggest_other {
            // Without the folder of example apps there is no app called home.
            let apps = self.apps.map_or("", |_| " --apps home");
            let _ = writeln!(
                text,
                "  {hamlet} instances add {OTHER}:{port} --locale de{apps} --public-name Bob"
            );
        }
        // The last line is what a person does next.
        let _ = match link {
            Some(link) => write!(
                text,
                "\nOpen {domain} in a browser. Its owner chooses a passphrase there, and then sees its apps:\n  {link}\n"
            ),
            None => write!(
                text,
                "\nOpen {domain} in a browser. Its owner logs in there with the passphrase:\n  {}\n",
                self.instances.url_of(domain)
            ),
        };
        say(&text);
    }
}

/// How the command line is called for an installation in this folder, as it can be pasted into a shell in the working
/// directory of this process.
fn command(data: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    let is_checkout =
        here.join(".cargo/config.toml").is_file() && here.join("cli/Cargo.toml").is_file();
    let beside = env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join("hamlet")))
        .filter(|program| program.is_file());
    let program = match beside {
        _ if is_checkout => "cargo hamlet".to_owned(),
        Some(program) if !is_in_path(&program) => quoted(&program.display().to_string()),
        _ => "hamlet".to_owned(),
    };
    // What the command line finds by itself.
    let is_found = data.canonicalize().ok() == here.join("hamlet-data").canonicalize().ok();
    if is_found {
        return program;
    }
    let folder = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    format!(
        "HAMLET_DATA={} {program}",
        quoted(&folder.display().to_string())
    )
}

/// Whether the shell finds this program by its name.
fn is_in_path(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default();
    let found = env::var_os("PATH").and_then(|path| {
        env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|found| found.is_file())
    });
    found.is_some_and(|found| found.canonicalize().ok() == program.canonicalize().ok())
}

/// A word of a shell's command.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@:".contains(c);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Prints the steps that have been done since the last call. `told` is the number of steps already printed; returns the
/// new number.
fn tell_steps(state: &Operation, told: usize) -> Result<usize, Error> {
    let Some(metadata) = &state.metadata else {
        return Ok(told);
    };
    let metadata: OperationMetadata = unpack(metadata)?.unwrap_or_default();
    let done = metadata
        .steps
        .iter()
        .take_while(|step| step.state() == step::State::Done)
        .count();
    for step in metadata.steps.iter().take(done).skip(told) {
        say(&format!("  {} done", step.name));
    }
    Ok(done.max(told))
}

fn say(text: &str) {
    #[expect(clippy::print_stderr, reason = "progress is printed for the user")]
    {
        eprintln!("{text}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{command, quoted};

    #[test]
    fn what_is_suggested_names_the_data_folder_where_it_is_not_found_otherwise() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("my data");
        std::fs::create_dir(&data).unwrap();
        let folder = data.canonicalize().unwrap();
        let suggested = command(&data);
        assert!(
            suggested.starts_with(&format!("HAMLET_DATA='{}' ", folder.display())),
            "{suggested}"
        );
        assert!(suggested.ends_with("hamlet"), "{suggested}");
    }

    #[test]
    fn a_word_is_quoted_for_the_shell() {
        assert_eq!(quoted("/srv/hamlet-data"), "/srv/hamlet-data");
        assert_eq!(quoted("a b's"), r"'a b'\''s'");
    }
}
