//! A real browser: `chromium`, driven through its `chromedriver`. Debian's packages have both.
//!
//! Names below `.localhost` lead to this machine in it, so that instances need no entry anywhere.

use std::{
    io::{self, BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says that the browser is there: a test that needs it then fails without it.
const REQUIRED: &str = "HAMLET_TEST_CHROMIUM";

/// The file of axe-core, which checks whether everybody can use a page.
const AXE: &str = "HAMLET_TEST_AXE";

/// A folder for pictures of the pages.
const PICTURES: &str = "HAMLET_TEST_PICTURES";

/// A browser with a window of its own. Dropping this value ends it.
#[derive(Debug)]
pub struct Chromium {
    _driver: Driver,
    client: Client,
    scripts: bool,
}

/// The window of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// That of a desk.
    Wide,
    /// That of a phone.
    Phone,
}

impl Window {
    const fn size(self) -> (u32, u32) {
        match self {
            Self::Wide => (1280, 900),
            Self::Phone => (390, 844),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Phone => "phone",
        }
    }
}

impl Chromium {
    /// Starts a browser. `None`, with a line that says so, when this machine has none and `HAMLET_TEST_CHROMIUM` does not
    /// require it.
    ///
    /// # Panics
    /// When it is required, or installed, and does not start.
    #[expect(
        clippy::print_stdout,
        reason = "whoever runs the tests is to know what was not tried"
    )]
    pub async fn start(window: Window, scripts: bool) -> Option<Self> {
        let started = match Driver::start() {
            Ok(started) => started,
            Err(error) if std::env::var_os(REQUIRED).is_none() => {
                println!("not exercised: there is no chromedriver ({error})");
                return None;
            }
            Err(error) => panic!("{REQUIRED} is set, and chromedriver does not start: {error}"),
        };
        let port = started.port;
        let (width, height) = window.size();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            // There is no user of its own for the browser on a machine of tests.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--lang=en".to_owned(),
        ];
        let mut options = json!({"prefs": {"intl.accept_languages": "en"}});
        if window == Window::Phone {
            options["mobileEmulation"] =
                json!({"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0}});
        } else {
            arguments.push(format!("--window-size={width},{height}"));
        }
        if !scripts {
            options["prefs"]["profile.managed_default_content_settings.javascript"] = json!(2);
        }
        options["args"] = json!(arguments);
        let capabilities = json!({"browserName": "chrome", "goog:chromeOptions": options});
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it is an object")
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("the browser starts");
        Some(Self {
            _driver: started,
            client,
            scripts,
        })
    }

    /// Goes to an address.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Waits for an element that can be seen, by its CSS selector.
    pub async fn see(&self, selector: &str) -> Element {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            // The page may be replaced meanwhile.
            if let Ok(found) = self.client.find(Locator::Css(selector)).await
                && found.is_displayed().await.unwrap_or(false)
            {
                return found;
            }
            if tokio::time::Instant::now() > end {
                let at = self.client.current_url().await;
                let page = self.client.source().await.unwrap_or_default();
                panic!("no {selector} is shown at {at:?}: {page}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Types into a field.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.see(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks on an element.
    pub async fn click(&self, selector: &str) {
        self.see(selector).await.click().await.unwrap();
    }

    /// The text of an element.
    pub async fn text(&self, selector: &str) -> String {
        self.see(selector).await.text().await.unwrap()
    }

    /// The address that is shown.
    pub async fn address(&self) -> String {
        self.client.current_url().await.unwrap().to_string()
    }

    /// Looks at the page as a reader does: nothing is wider than the window, nothing was refused by the page's own policy,
    /// and, where `HAMLET_TEST_AXE` names axe-core, it finds nothing. Keeps a picture in `HAMLET_TEST_PICTURES`.
    ///
    /// # Panics
    /// When something is wrong with the page.
    pub async fn inspect(&self, name: &str, window: Window) {
        if let Some(folder) = std::env::var_os(PICTURES) {
            let picture = self.client.screenshot().await.unwrap();
            let file = format!("{name}-{}.png", window.name());
            std::fs::write(PathBuf::from(folder).join(file), picture).unwrap();
        }
        if !self.scripts {
            return;
        }
        let wider =
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth;";
        let wider = self.client.execute(wider, Vec::new()).await.unwrap();
        assert_eq!(wider, 0, "{name} does not fit into a {window:?} window");
        let Some(axe) = std::env::var_os(AXE) else {
            return;
        };
        let axe = std::fs::read_to_string(axe).unwrap();
        self.client.execute(&axe, Vec::new()).await.unwrap();
        let run = "const done = arguments[0]; axe.run().then(it => done(it.violations.map(found => \
                   [found.id, found.help, found.nodes.map(node => node.html)])), error => done(String(error)));";
        let found = self.client.execute_async(run, Vec::new()).await.unwrap();
        assert_eq!(found, json!([]), "{name} in a {window:?} window");
    }

    /// Ends it.
    pub async fn close(self) {
        let _closed = self.client.clone().close().await;
    }
}

/// A chromedriver that listens. It ends when this is dropped.
#[derive(Debug)]
struct Driver {
    process: Child,
    /// It may say more, and must not wait for somebody who reads.
    _stdout: BufReader<ChildStdout>,
    port: u16,
}

impl Driver {
    /// How often it is started. It takes a free port of IPv6 and wants the same of IPv4, which somebody else may have; then
    /// it ends.
    const TRIES: usize = 20;

    fn start() -> io::Result<Self> {
        for _ in 0..Self::TRIES {
            let mut process = Command::new("chromedriver")
                .arg("--port=0")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            let mut stdout = BufReader::new(process.stdout.take().unwrap());
            if let Some(port) = port_in(&mut stdout) {
                return Ok(Self {
                    process,
                    _stdout: stdout,
                    port,
                });
            }
            process.wait()?;
        }
        panic!(
            "chromedriver ended {} times before it listened",
            Self::TRIES
        );
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// The port on which the driver says that it listens; `None` if it ended before.
fn port_in(stdout: &mut BufReader<ChildStdout>) -> Option<u16> {
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        let told = line.trim().trim_end_matches('.');
        let port = told
            .rsplit_once("on port ")
            .and_then(|(_, port)| port.parse().ok());
        // The first line repeats what was asked for.
        if let Some(port) = port.filter(|port| *port != 0) {
            return Some(port);
        }
        line.clear();
    }
    None
}
