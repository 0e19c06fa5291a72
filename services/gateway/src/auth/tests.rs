use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const BOOTSTRAP: &str = "0123456789abcdef0123456789abcdef";

/// Tokens `viewer-a`, `platform-a` … of tenant `a`; tenants `main`, `a`, `b`.
#[derive(Default)]
struct Fake {
    asked: AtomicUsize,
    down: bool,
}

impl Directory for Fake {
    fn token(&self, hash: [u8; 32]) -> BoxFuture<'_, Result<Option<FoundToken>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let known = [
            ("viewer-a", Role::Viewer, None, false),
            ("platform-a", Role::PlatformAdmin, None, false),
            ("ends-a", Role::Editor, Some(NOW.plus(Duration::from_secs(1))), false),
            ("revoked-a", Role::Admin, None, true),
        ];
        let found = known.into_iter().find(|(text, ..)| <[u8; 32]>::from(Sha256::digest(text)) == hash);
        Box::pin(async move {
            if self.down {
                return Err(Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, "the store does not answer"));
            }
            Ok(found.map(|(text, role, expires, revoked)| FoundToken {
                id: Id::default(),
                tenant: Tenant::trusted("a"),
                name: text.into(),
                role,
                expires,
                revoked,
            }))
        })
    }

    fn tenant_exists<'a>(&'a self, tenant: &'a Tenant) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(["main", "a", "b"].contains(&tenant.as_str())) })
    }
}

fn authenticator(local: bool) -> Authenticator {
    Authenticator::new(Arc::new(Fake::default()), Some(Secret::new(BOOTSTRAP)), local, Tenant::main()).unwrap()
}

async fn call(auth: &Authenticator, peer: &str, headers: &[(&'static str, &str)], now: Timestamp) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let credentials = Credentials { headers: &map, peer: peer.parse().ok(), now };
    match auth.caller(&credentials).await {
        Ok(caller) => format!("{} {} {}", caller.subject, caller.tenant, caller.role.as_str()),
        Err(error) => error.reason.to_owned(),
    }
}

#[tokio::test]
async fn credentials_decide_who_calls_and_in_which_tenant() {
    let bootstrap = format!("Bearer {BOOTSTRAP}");
    let local = |value| vec![("windhover-tenant", value)];
    let with = |token| vec![("authorization", token)];
    let both = |token, tenant| vec![("authorization", token), ("windhover-tenant", tenant)];
    let origin = |value| vec![("origin", value)];
    let (home, away) = ("127.0.0.1", "10.0.0.1");
    for (is_local, peer, headers, expected) in [
        // Without a login, from this machine only.
        (true, home, vec![], "local main platform_admin"),
        (true, "::1", vec![], "local main platform_admin"),
        (true, "::ffff:127.0.0.1", vec![], "local main platform_admin"),
        (true, home, local("b"), "local b platform_admin"),
        (true, home, local("gone"), "TENANT_NOT_FOUND"),
        (true, home, local("No Tenant"), "INVALID_TENANT"),
        (true, away, vec![], "UNAUTHENTICATED"),
        (true, "", vec![], "UNAUTHENTICATED"),
        (false, home, vec![], "UNAUTHENTICATED"),
        // A page of another site in a browser on this machine is not from this machine.
        (true, home, origin("http://localhost:8080"), "local main platform_admin"),
        (true, home, origin("http://[::1]:8080"), "local main platform_admin"),
        (true, home, origin("https://evil.example"), "UNAUTHENTICATED"),
        (true, home, origin("null"), "UNAUTHENTICATED"),
        // The first credential.
        (false, away, with(bootstrap.as_str()), "bootstrap main platform_admin"),
        (false, away, both(bootstrap.as_str(), "a"), "bootstrap a platform_admin"),
        // Tokens.
        (false, away, with("Bearer viewer-a"), "viewer-a a viewer"),
        (false, away, with("bearer  viewer-a "), "viewer-a a viewer"),
        (false, away, both("Bearer viewer-a", "a"), "viewer-a a viewer"),
        (false, away, both("Bearer viewer-a", "b"), "PERMISSION_DENIED"),
        (false, away, both("Bearer viewer-a", "gone"), "PERMISSION_DENIED"),
        (false, away, both("Bearer platform-a", "b"), "platform-a b platform_admin"),
        (false, away, both("Bearer platform-a", "gone"), "TENANT_NOT_FOUND"),
        (false, away, with("Bearer revoked-a"), "UNAUTHENTICATED"),
        (false, away, with("Bearer unknown"), "UNAUTHENTICATED"),
        (false, away, with("Basic dXNlcjpwYXNz"), "UNAUTHENTICATED"),
        (false, away, with("Bearer "), "UNAUTHENTICATED"),
        // A credential that is there must be good, also where none is needed.
        (true, home, with("Bearer unknown"), "UNAUTHENTICATED"),
    ] {
        let got = call(&authenticator(is_local), peer, &headers, NOW).await;
        assert_eq!(got, expected, "local={is_local} peer={peer} {headers:?}");
    }
}

#[tokio::test]
async fn tokens_are_believed_for_a_few_seconds_and_end_on_time() {
    let fake = Arc::new(Fake::default());
    let auth = Authenticator::new(fake.clone(), None, false, Tenant::main()).unwrap();
    let ends = [("authorization", "Bearer ends-a")];
    assert_eq!(call(&auth, "", &ends, NOW).await, "ends-a a editor");
    assert_eq!(call(&auth, "", &ends, NOW).await, "ends-a a editor");
    assert_eq!(fake.asked.load(Ordering::Relaxed), 1);
    // The end is looked at with every call, cached or not.
    assert_eq!(call(&auth, "", &ends, NOW.plus(Duration::from_secs(1))).await, "UNAUTHENTICATED");
    assert_eq!(fake.asked.load(Ordering::Relaxed), 1);
    call(&auth, "", &ends, NOW.plus(BELIEVED)).await;
    assert_eq!(fake.asked.load(Ordering::Relaxed), 2);
    auth.forget_tokens();
    call(&auth, "", &ends, NOW.plus(BELIEVED)).await;
    assert_eq!(fake.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_store_that_is_down_does_not_make_a_credential_wrong() {
    let auth =
        Authenticator::new(Arc::new(Fake { down: true, ..Fake::default() }), None, false, Tenant::main()).unwrap();
    assert_eq!(call(&auth, "", &[("authorization", "Bearer viewer-a")], NOW).await, "UNAVAILABLE");
}

#[test]
fn a_short_bootstrap_token_is_refused() {
    let made = Authenticator::new(Arc::new(Fake::default()), Some(Secret::new("short")), false, Tenant::main());
    assert!(made.is_err_and(|text| text.contains("32 characters")));
}

#[test]
fn a_caller_needs_the_role_or_one_above_it() {
    let caller =
        Caller { tenant: Tenant::main(), role: Role::Editor, subject: "x".into(), token_id: None, expires: None };
    assert!(caller.require(Role::Viewer).is_ok() && caller.require(Role::Editor).is_ok());
    let error = caller.require(Role::Admin).unwrap_err();
    assert_eq!((error.reason, error.metadata["role"].as_str()), (reasons::PERMISSION_DENIED, "admin"));
}
