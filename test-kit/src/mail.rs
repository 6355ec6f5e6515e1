//! A mail server that keeps what it gets, and whose answers a test chooses.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use mail_parser::{MessageParser, MimeHeaders as _};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::eventually;

/// How the way to the server is protected.
#[derive(Clone, Default)]
pub enum Protection {
    /// Not at all.
    #[default]
    None,
    /// By TLS, after `STARTTLS`. Mail is refused before.
    StartTls(Arc<ServerConfig>),
    /// By TLS from the first byte on.
    Tls(Arc<ServerConfig>),
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::StartTls(_) => "StartTls",
            Self::Tls(_) => "Tls",
        })
    }
}

/// The server. Dropping this value stops it.
#[derive(Debug)]
pub struct MailSink {
    /// Where it listens.
    pub address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Kept {
    mails: Vec<Received>,
    /// What `AUTH PLAIN` has brought, decoded by nobody.
    credentials: Vec<String>,
    /// The answers to the next mails, in the place of a good one.
    refusals: VecDeque<String>,
}

/// A mail that was handed over.
#[derive(Clone, Debug)]
pub struct Received {
    /// To whom it goes, by the envelope.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its plain text.
    pub plain: String,
    /// Its HTML.
    pub html: String,
    /// All of it, as it came.
    pub raw: String,
}

impl Received {
    fn read(to: String, raw: String) -> Self {
        let parsed = MessageParser::default()
            .parse(raw.as_bytes())
            .expect("it is a mail");
        let parts: Vec<_> = parsed
            .parts
            .iter()
            .filter_map(|part| Some(part.content_type()?.subtype()?.to_owned()))
            .collect();
        // Readers show the last part that they can.
        assert_eq!(parts, ["alternative", "plain", "html"], "{raw}");
        let plain = parsed.body_text(0).expect("it has a plain text");
        let html = parsed.body_html(0).expect("it has HTML");
        Self {
            to,
            subject: parsed.subject().unwrap_or_default().to_owned(),
            plain: plain.replace("\r\n", "\n"),
            html: html.replace("\r\n", "\n"),
            raw,
        }
    }

    /// The link in the plain text, which stands in a line of its own.
    #[must_use]
    pub fn link(&self) -> &str {
        let is_link = |line: &&str| line.starts_with("http://") || line.starts_with("https://");
        self.plain.lines().find(is_link).expect("there is a link")
    }

    /// The code of six digits in the plain text, which stands in a line of its own.
    #[must_use]
    pub fn code(&self) -> &str {
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|it| it.is_ascii_digit());
        self.plain.lines().find(is_code).expect("there is a code")
    }
}

impl MailSink {
    /// Starts a server without TLS.
    pub async fn start() -> Self {
        Self::start_with(Protection::None).await
    }

    /// Starts a server.
    pub async fn start_with(protection: Protection) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let kept = Arc::new(Mutex::new(Kept::default()));
        let keeps = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("connections come");
                let (keeps, protection) = (Arc::clone(&keeps), protection.clone());
                tokio::spawn(async move {
                    match protection {
                        Protection::None => {
                            serve(stream, &keeps, true, false).await;
                        }
                        Protection::Tls(config) => {
                            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                                serve(stream, &keeps, true, false).await;
                            }
                        }
                        Protection::StartTls(config) => {
                            if let Some(stream) = serve(stream, &keeps, true, true).await
                                && let Ok(stream) = TlsAcceptor::from(config).accept(stream).await
                            {
                                serve(stream, &keeps, false, false).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            kept,
            task,
        }
    }

    /// Answers the next mail so, as in `451 later`.
    pub fn refuse(&self, answer: &str) {
        self.kept
            .lock()
            .unwrap()
            .refusals
            .push_back(answer.to_owned());
    }

    /// What was sent to prove who sends.
    #[must_use]
    pub fn credentials(&self) -> Vec<String> {
        self.kept.lock().unwrap().credentials.clone()
    }

    /// How many mails there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.lock().unwrap().mails.len()
    }

    /// Waits until there are so many mails, and returns the last of them.
    pub async fn mail(&self, number: usize) -> Received {
        eventually(&format!("mail {number}"), async || {
            let kept = self.kept.lock().unwrap();
            match kept.mails.get(number - 1) {
                Some(mail) => Ok(mail.clone()),
                None => Err(format!("{} mails", kept.mails.len())),
            }
        })
        .await
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Speaks SMTP, as far as a client needs it. Returns the stream when it is to change to TLS.
async fn serve<S>(stream: S, keeps: &Mutex<Kept>, greets: bool, offers_tls: bool) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    if greets {
        say(&mut stream, "220 sink").await?;
    }
    let mut to = String::new();
    loop {
        let line = line(&mut stream).await?;
        let word = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let answer = match word.as_str() {
            "EHLO" if offers_tls => "250-sink\r\n250 STARTTLS",
            "EHLO" => "250-sink\r\n250 AUTH PLAIN",
            "STARTTLS" if offers_tls => {
                say(&mut stream, "220 go on").await?;
                return Some(stream.into_inner());
            }
            "QUIT" => {
                say(&mut stream, "221 bye").await?;
                return None;
            }
            _ if offers_tls => "530 only with TLS",
            "AUTH" => {
                let proof = line.rsplit(' ').next().unwrap_or_default().to_owned();
                keeps.lock().unwrap().credentials.push(proof);
                "235 welcome"
            }
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                address.clone_into(&mut to);
                "250 ok"
            }
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                let raw = data(&mut stream).await?;
                let refusal = keeps.lock().unwrap().refusals.pop_front();
                if let Some(refusal) = refusal {
                    say(&mut stream, &refusal).await?;
                    continue;
                }
                let mail = Received::read(to.clone(), raw);
                keeps.lock().unwrap().mails.push(mail);
                "250 kept"
            }
            _ => "250 ok",
        };
        say(&mut stream, answer).await?;
    }
}

async fn say<S>(stream: &mut BufReader<S>, answer: &str) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = format!("{answer}\r\n");
    stream.write_all(line.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut line = String::new();
    let length = stream.read_line(&mut line).await.ok()?;
    (length > 0).then(|| line.trim_end().to_owned())
}

/// What follows `DATA`, up to the line with a dot.
async fn data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == ".\r\n" {
            return Some(all);
        }
        all.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
