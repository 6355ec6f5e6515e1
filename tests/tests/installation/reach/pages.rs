//! Every page and form: who is let in with what.

use hamlet_tests::{
    browser::{Browser, Page},
    daemon::Options,
    programs::root,
};
use reqwest::Method;

use super::routes::{pages, path_of};

const PASSPHRASE: &str = "a-passphrase-of-many-words";

/// For whom a page or a form is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Whoever likes to: what is needed beside is in the request itself.
    Anybody,
    /// The owner's session.
    Owner,
    /// The owner's session, for a program that asks for something; without one there is nothing.
    Program,
}

fn page_is_for(method: &Method, path: &str) -> For {
    let reads = *method == Method::GET || *method == Method::HEAD;
    match path {
        "/" | "/.well-known/change-password" | "/assets/{*name}" | "/public/prelogin" => {
            For::Anybody
        }
        "/auth/passphrase" if reads => For::Anybody,
        "/auth/login"
        | "/auth/login/others"
        | "/auth/access_token"
        | "/auth/hint"
        | "/auth/magic_link"
        | "/auth/magic_link/twofactor"
        | "/auth/onboarding/resend"
        | "/auth/passphrase_renew"
        | "/auth/passphrase_reset"
        | "/auth/register"
        | "/auth/register/{id}"
        | "/auth/twofactor"
        | "/settings/passphrase" => For::Anybody,
        "/auth/authorize" => For::Program,
        "/auth/clients/end"
        | "/auth/logout"
        | "/auth/passphrase"
        | "/auth/passphrase/code"
        | "/auth/second_factor"
        | "/auth/sessions/end"
        | "/auth/sessions/others"
        | "/settings"
        | "/settings/apps/{slug}"
        | "/settings/konnectors/{slug}" => For::Owner,
        other => panic!("{method} {other} is a page: say for whom it is"),
    }
}

/// Sends a request as the page of the instance's host would, or that of another site.
async fn send(
    browser: &mut Browser,
    (method, path): (&Method, &str),
    token: &str,
    site: &str,
) -> Page {
    let mut request = browser
        .request(method.clone(), path)
        .header("sec-fetch-site", site);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    if site == "cross-site" {
        request = request.header("origin", "https://evil.test");
    }
    if *method == Method::POST {
        request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body("");
    }
    browser.send(request).await
}

fn is_refused(page: &Page) -> bool {
    let is_led_to_login = page.status.is_redirection() && page.location().contains("/auth/login");
    is_led_to_login || [401, 403].contains(&page.status.as_u16())
}

/// Whether something went wrong. There is no mail server, and pages say so.
fn is_broken(page: &Page) -> bool {
    page.status.is_server_error() && page.status != 501
}

/// Whether it sets the cookie of a session, and does not remove one.
fn gets_session(page: &Page) -> bool {
    let set = page.set_cookies();
    set.iter()
        .filter_map(|line| line.strip_prefix("cozysessid="))
        .any(|value| !value.starts_with(';'))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_opens_for_those_for_whom_it_is_made_and_nobody_else() {
    let place = tempfile::tempdir().unwrap();
    let apps = root().join("examples/apps");
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--app-folder={}", apps.display()))
        .start();
    let [ann, eve] = ["ann", "eve"].map(|name| daemon.domain(name));
    for domain in [&ann, &eve] {
        for words in [
            format!("instances add {domain} --apps home --email owner@example.org"),
            format!("instances set-passphrase {domain} --force {PASSPHRASE}"),
        ] {
            let _ = daemon.cli().run(&words).done();
        }
    }
    let token = format!("instances token-cli {ann} *");
    let token = daemon.cli().run(&token).done().out.trim().to_owned();
    let session_of = async |domain: &str| {
        let mut browser = Browser::new(&daemon.public, domain);
        let led = browser.log_in(PASSPHRASE, &[]).await;
        assert!(led.status.is_redirection(), "{led:?}");
        browser
    };
    let mut owner = session_of(&ann).await;
    let session = owner.cookies["cozysessid"].clone();
    let mut of_eve = session_of(&eve).await;
    of_eve.host.clone_from(&ann);
    let mut stranger = Browser::new(&daemon.public, &ann);

    let mut pages = pages();
    // These end the session.
    pages.sort_by_key(|(_, path)| path == "/auth/logout");
    let mut for_owner = 0;
    for (method, route) in pages {
        let path = path_of(&route);
        let request = (&method, path.as_str());
        let is_for = page_is_for(&method, &route);
        for (whose, told) in [("", ""), ("", "x"), ("", token.as_str()), ("eve", "")] {
            let browser = match whose {
                "eve" => &mut of_eve,
                _ => &mut stranger,
            };
            let cookies = browser.cookies.clone();
            let page = send(browser, request, told, "same-origin").await;
            browser.cookies = cookies;
            let at = format!("{method} {path} with {whose:?}, {told:?}");
            assert!(!is_broken(&page), "{at}: {page:?}");
            assert!(!gets_session(&page), "{at}: {page:?}");
            assert!(!page.text.contains("owner@example.org"), "{at}: {page:?}");
            match is_for {
                For::Anybody => {}
                For::Owner => assert!(is_refused(&page), "{at}: {page:?}"),
                For::Program => assert!(
                    is_refused(&page) || page.status.is_client_error(),
                    "{at}: {page:?}"
                ),
            }
        }
        if is_for == For::Owner {
            for_owner += 1;
            if method == Method::POST {
                let page = send(&mut owner, request, "", "cross-site").await;
                assert_eq!(page.status, 403, "{method} {path}: {page:?}");
            }
            let page = send(&mut owner, request, "", "same-origin").await;
            assert!(!is_broken(&page), "{method} {path}: {page:?}");
            // Wrong fields are told on the page that has the forms of the owner.
            let is_let_in = !is_refused(&page) || page.text.contains("action=\"/auth/logout\"");
            assert_eq!(
                is_let_in,
                route != "/auth/logout",
                "{method} {path}: {page:?}"
            );
        }
    }
    assert!(
        for_owner > 12,
        "only {for_owner} pages of owners were tried"
    );

    // The cookie of a session that has ended opens nothing any more.
    let _ = owner.cookies.insert("cozysessid".to_owned(), session);
    test_kit::eventually("the session has ended", async || {
        is_refused(&owner.get("/settings").await).then_some(())
    })
    .await;
}
