//! Revisions of flows (flow model reference 1.4), secrets, tokens.

use windhover_store::{
    DataKey, FlowExpectation, FlowFilter, FlowRow, NamespaceFilter, PutFlowError, PutOutcome, ServiceAccount, Token,
};
use windhover_testkit::TestStore;

use crate::{fixtures::*, on_both};

on_both!(
    a_changed_source_is_a_new_revision,
    a_deleted_flow_keeps_its_numbers,
    a_flow_changes_only_from_what_was_expected,
    flows_come_in_pages_by_name,
    the_nearest_secret_is_found,
    a_token_is_found_until_it_is_revoked,
);

async fn a_changed_source_is_a_new_revision(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let put = async |source: &str| anyhow::Ok(store.put_flow(&acme(), "company", "f", source).await?);
    let (first, again) = (put("id: f\n").await?, put("id: f\n").await?);
    assert_eq!((first.revision, first.outcome), (1, PutOutcome::Created));
    assert_eq!((again.revision, again.outcome, again.created_at), (1, PutOutcome::Unchanged, first.created_at));
    assert_eq!(put("revision: 7\nid: f\n").await?.outcome, PutOutcome::Unchanged);
    assert_eq!(store.tenant_version(&acme()).await?, 1, "what changes nothing is no change");
    let second = put("id: f\n# a comment\n").await?;
    assert_eq!((second.revision, second.outcome), (2, PutOutcome::Updated));
    assert_eq!(put("id: f\n").await?.revision, 3, "an old source is a new revision");
    assert_eq!(store.tenant_version(&acme()).await?, 3);

    let newest = store.get_flow(&acme(), "company", "f", None).await?.expect("the newest");
    assert_eq!((newest.revision, newest.source.as_str()), (3, "id: f\n"));
    let old = store.get_flow(&acme(), "company", "f", Some(2)).await?.expect("an old one");
    assert_eq!(old.source, "id: f\n# a comment\n");
    assert_eq!(store.get_flow(&acme(), "company", "f", Some(4)).await?, None);
    assert_eq!(store.get_flow(&acme(), "company", "F", None).await?, None);
    Ok(())
}

async fn a_deleted_flow_keeps_its_numbers(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    assert_eq!(store.delete_flow(&acme(), "company", "f").await?, None);
    store.put_flow(&acme(), "company", "f", "id: f").await?;
    assert_eq!(store.delete_flow(&acme(), "company", "f").await?, Some(2));
    assert_eq!(store.delete_flow(&acme(), "company", "f").await?, None);
    assert_eq!(store.get_flow(&acme(), "company", "f", None).await?, None);
    assert_eq!(store.get_flow(&acme(), "company", "f", Some(2)).await?, None);
    assert!(store.get_flow(&acme(), "company", "f", Some(1)).await?.is_some(), "its executions go on");
    assert_eq!(store.all_latest_flows().await?, []);
    assert_eq!(store.tenant_version(&acme()).await?, 2);
    let back = store.put_flow(&acme(), "company", "f", "id: f").await?;
    assert_eq!((back.revision, back.outcome), (3, PutOutcome::Created));
    let revisions = store.list_revisions(&acme(), "company", "f", None, 10).await?;
    assert_eq!(
        revisions.iter().map(|row| (row.revision, row.deleted)).collect::<Vec<_>>(),
        [(3, false), (2, true), (1, false)]
    );
    assert_eq!(store.list_revisions(&acme(), "company", "f", Some(3), 1).await?[0].revision, 2);
    Ok(())
}

async fn a_flow_changes_only_from_what_was_expected(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let put = async |source: &str, expected| match store.put_flow_if(&acme(), "company", "f", source, expected).await {
        Ok(put) => Ok(put.revision),
        Err(PutFlowError::Moved { current }) => Err(current),
        Err(PutFlowError::Store(error)) => panic!("{error:?}"),
    };
    assert_eq!(put("1", FlowExpectation::Revision(1)).await, Err(None));
    assert_eq!(put("1", FlowExpectation::Absent).await, Ok(1));
    assert_eq!(put("2", FlowExpectation::Absent).await, Err(Some(1)));
    assert_eq!(put("2", FlowExpectation::Revision(1)).await, Ok(2));
    assert_eq!(put("3", FlowExpectation::Revision(1)).await, Err(Some(2)));
    store.delete_flow(&acme(), "company", "f").await?;
    assert_eq!(put("3", FlowExpectation::Revision(2)).await, Err(None));
    assert_eq!(put("3", FlowExpectation::Absent).await, Ok(4));

    // Of two at once, one.
    let (a, b) = tokio::join!(put("a", FlowExpectation::Revision(4)), put("b", FlowExpectation::Revision(4)));
    assert!(matches!((a, b), (Ok(5), Err(Some(5))) | (Err(Some(5)), Ok(5))), "{a:?} {b:?}");
    Ok(())
}

async fn flows_come_in_pages_by_name(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    // Upper case before lower case, '-' before '.': by bytes, whatever the database's locale.
    let names = [("B", "z"), ("a", "B"), ("a", "a"), ("a-b", "x"), ("a.b", "x"), ("a.b", "y"), ("ab", "x")];
    for (namespace, id) in names.iter().rev() {
        store.put_flow(&acme(), namespace, id, &format!("one of {id}")).await?;
        store.put_flow(&acme(), namespace, id, &format!("two of {id}")).await?;
    }
    store.delete_flow(&acme(), "a.b", "y").await?;
    let mut found: Vec<FlowRow> = Vec::new();
    loop {
        let after = found.last().map(|row| (row.namespace.as_str(), row.id.as_str()));
        let page = store.list_flows(&acme(), &FlowFilter::default(), after, 2).await?;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let listed: Vec<_> = found.iter().map(|row| (row.namespace.as_str(), row.id.as_str())).collect();
    let expected: Vec<_> = names.into_iter().filter(|name| *name != ("a.b", "y")).collect();
    assert_eq!(listed, expected);
    assert!(found.iter().all(|row| row.revision == 2));
    assert_eq!(store.all_latest_flows().await?.len(), 6);

    let list = async |filter: FlowFilter| anyhow::Ok(store.list_flows(&acme(), &filter, None, 10).await?.len());
    assert_eq!(
        list(FlowFilter { namespaces: vec![NamespaceFilter::Below("a".to_owned())], ..Default::default() }).await?,
        1
    );
    assert_eq!(list(FlowFilter { ids: vec!["x".to_owned()], ..Default::default() }).await?, 3);
    assert_eq!(list(FlowFilter { text: Some("TWO OF a".to_owned()), ..Default::default() }).await?, 1);
    Ok(())
}

async fn the_nearest_secret_is_found(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let put = async |namespace: &str, name: &str, text: &str| {
        anyhow::Ok(store.put_secret(&acme(), namespace, name, text.as_bytes(), t(1)).await?)
    };
    assert_eq!(put("", "URL", "everywhere").await?, 1);
    put("a", "url", "of a").await?;
    put("a.b", "Other", "other").await?;
    assert_eq!(put("a", "Url", "of a, again").await?, 2);
    let find = async |namespace: &str| {
        let found = store.find_secret(&acme(), namespace, "uRL").await?;
        anyhow::Ok(found.map(|secret| String::from_utf8_lossy(&secret.ciphertext).into_owned()))
    };
    assert_eq!(find("a.b.c").await?.as_deref(), Some("of a, again"));
    assert_eq!(find("a").await?.as_deref(), Some("of a, again"));
    assert_eq!(find("ab").await?.as_deref(), Some("everywhere"));
    let names = async |inherited| {
        let found = store.list_secrets(&acme(), "a.b", inherited).await?;
        anyhow::Ok(found.into_iter().map(|secret| (secret.namespace, secret.name)).collect::<Vec<_>>())
    };
    let own = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
    assert_eq!(names(false).await?, [own("a.b", "Other")]);
    assert_eq!(names(true).await?, [own("a.b", "Other"), own("a", "Url")]);
    assert!(store.delete_secret(&acme(), "a", "URL").await?);
    assert!(!store.delete_secret(&acme(), "a", "URL").await?);
    assert_eq!(find("a.b.c").await?.as_deref(), Some("everywhere"));

    let (mine, theirs) = (DataKey { id: 1, wrapped: vec![1] }, DataKey { id: 1, wrapped: vec![2] });
    assert_eq!(store.add_data_key(&acme(), &mine, t(0)).await?, mine);
    assert_eq!(store.add_data_key(&acme(), &theirs, t(0)).await?, mine, "the first one is kept");
    assert_eq!(store.data_keys(&acme()).await?, [mine]);
    assert_eq!(store.key_check(b"first").await?, b"first");
    assert_eq!(store.key_check(b"second").await?, b"first");
    Ok(())
}

async fn a_token_is_found_until_it_is_revoked(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let account = ServiceAccount { tenant: acme(), id: id("account", 1), name: "ci".to_owned(), created_at: t(0) };
    assert_eq!(store.ensure_service_account(&account).await?, account);
    let again = ServiceAccount { id: id("account", 2), ..account.clone() };
    assert_eq!(store.ensure_service_account(&again).await?, account);
    assert_eq!(store.get_service_account(&acme(), account.id).await?, Some(account.clone()));
    let token = Token {
        tenant: acme(),
        id: id("token", 1),
        account: account.id,
        role: "editor".to_owned(),
        hash: [7; 32],
        created_at: t(0),
        expires_at: Some(t(100)),
        revoked_at: None,
    };
    store.create_token(&token).await?;
    assert!(store.create_token(&Token { id: id("token", 2), ..token.clone() }).await.is_err(), "one hash, one token");
    assert_eq!(store.find_token(&[7; 32]).await?, Some(token.clone()));
    assert_eq!(store.find_token(&[8; 32]).await?, None);
    assert!(token.is_valid(t(99)) && !token.is_valid(t(100)));
    assert!(store.revoke_token(&acme(), token.id, t(5)).await?);
    assert!(!store.revoke_token(&acme(), token.id, t(6)).await?);
    let revoked = Token { revoked_at: Some(t(5)), ..token };
    assert!(!revoked.is_valid(t(6)));
    assert_eq!(store.list_tokens(&acme(), None, 10).await?, [revoked]);
    Ok(())
}
