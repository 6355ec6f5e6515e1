//! The ways of an owner who gets mail, in a real browser: a forgotten passphrase, the second factor, a link that logs in.

use std::fs;

use hamlet_tests::{
    chromium::{Chromium, Window},
    mailed::{Mailed, PASSPHRASE},
};

const NEXT: &str = "other words for somebody";

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_forgets_the_passphrase_and_wants_a_code_from_then_on() {
    let world = Mailed::start().await;
    let mut mails = 0;
    for (window, name) in [(Window::Wide, "dora"), (Window::Phone, "emil")] {
        let Some(browser) = Chromium::start(window, true).await else {
            return;
        };
        let flags = format!("--locale en --email {name}@home.example --public-name {name}");
        let domain = world.add(name, &format!("--apps home {flags}"));
        browser.open(&format!("http://{domain}/")).await;
        browser.see("form[action='/auth/onboarding/resend']").await;
        browser.inspect("waiting", window).await;
        browser.click("form button[type=submit]").await;
        let mail = world.next_mail(&mut mails).await;
        browser.open(mail.link()).await;
        browser.fill("input[name=passphrase]", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#log-out").await;
        browser.click("#log-out").await;

        // The way from the login to a new passphrase.
        browser.see("form[action='/auth/login']").await;
        browser.click("a[href='/auth/passphrase_reset']").await;
        browser.see("form[action='/auth/passphrase_reset']").await;
        browser.inspect("forgotten", window).await;
        browser
            .click("form[action='/auth/passphrase_reset'] button")
            .await;
        let mail = world.next_mail(&mut mails).await;
        browser.inspect("mail-sent", window).await;
        browser.open(mail.link()).await;
        browser.see("input[name=passphrase]").await;
        browser.inspect("renew", window).await;
        browser.fill("input[name=passphrase]", NEXT).await;
        browser.click("form button[type=submit]").await;
        browser.see("#log-out").await;

        // The second factor is turned on with a code.
        let settings = format!("http://{domain}/settings");
        browser.open(&settings).await;
        browser
            .click("form[action='/auth/second_factor'] button")
            .await;
        let code = world.next_mail(&mut mails).await.code().to_owned();
        browser.see("#factor-code").await;
        browser.inspect("factor-asked", window).await;
        browser.fill("#factor-code", &code).await;
        browser
            .click("form[action='/auth/second_factor'] button")
            .await;
        let on = "form[action='/auth/second_factor'] input[value=basic] ~ button";
        browser.see(on).await;
        browser.inspect("factor-on", window).await;

        // A change of the passphrase needs one, too, and goes on with the session.
        browser
            .click("form[action='/auth/passphrase/code'] button")
            .await;
        let code = world.next_mail(&mut mails).await.code().to_owned();
        browser.fill("#current", NEXT).await;
        browser.fill("#next", PASSPHRASE).await;
        browser.fill("#change-code", &code).await;
        browser.inspect("change-with-code", window).await;
        browser.click("#change button[type=submit]").await;
        browser.see(".done").await;
        browser.click("form[action='/auth/logout'] button").await;

        // From now on the passphrase leads to the second step.
        browser.see("form[action='/auth/login']").await;
        browser.fill("#passphrase", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#code").await;
        browser.inspect("twofactor", window).await;
        let code = world.next_mail(&mut mails).await.code().to_owned();
        let wrong = if code == "000000" { "000001" } else { "000000" };
        browser.fill("#code", wrong).await;
        browser.click("form button[type=submit]").await;
        browser.see("#error").await;
        browser.inspect("twofactor-wrong", window).await;
        browser.fill("#code", &code).await;
        browser
            .click("input[name=two-factor-generate-trusted-device-token]")
            .await;
        browser.click("form button[type=submit]").await;
        browser.see("#log-out").await;

        // A browser that is trusted is not asked again.
        browser.click("#log-out").await;
        browser.see("form[action='/auth/login']").await;
        browser.fill("#passphrase", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#log-out").await;
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_logs_in_with_a_link_and_sees_mails() {
    let world = Mailed::start().await;
    let mut mails = 0;
    for (window, name) in [(Window::Wide, "frida"), (Window::Phone, "gus")] {
        let Some(browser) = Chromium::start(window, true).await else {
            return;
        };
        let flags = format!("--locale en --email {name}@home.example --magic_link");
        let domain = world.add(name, &format!("--apps home {flags}"));
        browser.open(&format!("http://{domain}/")).await;
        browser.see("form[action='/auth/magic_link']").await;
        browser.inspect("magic", window).await;
        browser.click("form button[type=submit]").await;
        let mail = world.next_mail(&mut mails).await;
        // Readers of mail show the HTML.
        let file = world.place.path().join("mail.html");
        fs::write(&file, &mail.html).unwrap();
        browser.open(&format!("file://{}", file.display())).await;
        browser.see("h1").await;
        browser.inspect("mail", window).await;
        browser.open(mail.link()).await;
        browser
            .see("form[action='/auth/magic_link/twofactor']")
            .await;
        browser.inspect("magic-open", window).await;
        browser.click("form button[type=submit]").await;
        browser.see("#log-out").await;
        browser.open(mail.link()).await;
        browser.click("form button[type=submit]").await;
        browser.see("h1").await;
        browser.inspect("magic-dead", window).await;
        browser.close().await;
    }
}
