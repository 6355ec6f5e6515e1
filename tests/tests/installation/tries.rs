//! Who guesses is slowed down, at every replica, and told how long.

use hamlet_tests::{
    browser::Browser,
    cluster::{Cluster, Part},
    daemon::Options,
    database::Database,
};
use reqwest::StatusCode;
use test_kit::eventually;

const PASSPHRASE: &str = "a-passphrase-of-many-words";

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_the_token_of_a_link_is_told_to_wait() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let domain = daemon.domain("ann");
    let _ = daemon.cli().run(&format!("instances add {domain}")).done();
    let mut stranger = Browser::new(&daemon.public, &domain);
    let fields = [
        ("register_token", "00112233445566778899aabbccddeeff"),
        ("passphrase", PASSPHRASE),
    ];
    let mut tries = 0;
    let refused = loop {
        let page = stranger.post("/settings/passphrase", &fields).await;
        if page.status != StatusCode::FORBIDDEN {
            break page;
        }
        tries += 1;
        assert!(tries < 30, "nobody is slowed down");
    };
    let link = format!("/auth/passphrase?registerToken={}", fields[0].1);
    for page in [refused, stranger.get(&link).await] {
        assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "{page:?}");
        assert!(page.headers.contains_key("retry-after"), "{page:?}");
    }
    stranger.accept = "application/json";
    let told = stranger.post("/settings/passphrase", &fields).await;
    assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS, "{told:?}");
    assert_eq!(told.json()["errors"][0]["code"], "TOO_MANY_TRIES");
    assert!(told.headers.contains_key("retry-after"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_hears_of_those_who_guessed_at_another() {
    let mut cluster = Cluster::new()
        .replicas(2)
        .flags(|part| match part {
            Part::Instances => vec!["--instance-scheme=http".to_owned()],
            Part::Database | Part::Files | Part::Apps | Part::Gateway => Vec::new(),
        })
        .start();
    let cli = cluster.cli_at(0);
    let _ = cli.run("instances add a.example").done();
    let set = format!("instances set-passphrase a.example --force {PASSPHRASE}");
    let _ = cli.run(&set).done();
    cluster.stop(Part::Instances, 1, "TERM");
    let mut owner = Browser::new(&cluster.public(0).to_string(), "a.example");
    let led = owner.log_in(PASSPHRASE, &[]).await;
    assert!(led.status.is_redirection(), "{led:?}");

    let mut stranger = Browser::new(&cluster.public(0).to_string(), "a.example");
    let mut wrong = 0;
    let refused = loop {
        let page = stranger.log_in("a wrong one", &[]).await;
        if page.status != StatusCode::UNAUTHORIZED {
            break page;
        }
        wrong += 1;
        assert!(wrong < 30, "nobody is slowed down");
    };
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
    let database = Database::at(&cluster.database_url());
    let told = database.plain_documents("global/hamlet-tries").await;
    assert_eq!(told.len(), 1, "{told:?}");
    // Of right logins from there nobody hears, so they make nobody wait longer.
    for _ in 0..2 {
        eventually("the owner at a new browser", async || {
            let mut new = Browser::new(&cluster.public(0).to_string(), "a.example");
            let led = new.log_in(PASSPHRASE, &[]).await;
            if led.status.is_redirection() {
                Ok(())
            } else {
                Err(led)
            }
        })
        .await;
    }
    let after = database.plain_documents("global/hamlet-tries").await;
    assert_eq!(after, told);
    assert!(!told.iter().any(|it| it.to_string().contains("127.0.0.1")));

    // The other replica has counted nothing itself.
    cluster.start_one(Part::Instances, 1);
    cluster.wait_for(Part::Instances, 1);
    cluster.stop(Part::Instances, 0, "TERM");
    // The gateway finds out which of the two is there.
    eventually("the form", async || {
        let mut anybody = Browser::new(&cluster.public(0).to_string(), "a.example");
        let form = anybody.get("/auth/login").await;
        if form.status == StatusCode::OK {
            Ok(())
        } else {
            Err(form)
        }
    })
    .await;
    let page = stranger.log_in("a wrong one", &[]).await;
    let page = match page.status {
        // The wait may have passed meanwhile; the next one is longer.
        StatusCode::UNAUTHORIZED => stranger.log_in("a wrong one", &[]).await,
        _ => page,
    };
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "{page:?}");
    // The owner comes in from a browser that is known, also without a session.
    owner.cookies.remove("cozysessid");
    let led = owner.log_in(PASSPHRASE, &[]).await;
    assert!(led.status.is_redirection(), "{led:?}");
}
