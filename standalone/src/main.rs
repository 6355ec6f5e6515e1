//! `hamletd`: a whole Hamlet installation in one process, under one data folder.

mod demo;
mod door;
mod folder;
mod installation;
mod settings;

use std::process::ExitCode;

use settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let loaded = match service_kit::config::load::<Settings>(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(error) => error.exit(),
    };
    match installation::run(loaded.args, loaded.contexts).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one line that says why it stopped")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
