//! Files of executions over HTTP/1.1.

use reqwest::{Client, Method, Response, Url, redirect::Policy};
use serde_json::Value;
use windhover_proto::{admin::v1 as admin, v1 as proto};
use windhover_storage::FileUri;
use windhover_types::Tenant;

use crate::server::{As, BOOTSTRAP, Server};

/// A path, the headers that go with it, and the status of the answer.
type Attempt<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

/// Of each run of it, a file is kept.
const FLOW: &str = "id: my_flow
namespace: company.team
tasks:
  - {id: t, type: io.kestra.plugin.core.log.Log, message: m}
";

/// An execution of the tenant of these calls.
async fn executed(server: &Server, who: As) -> String {
    let mut calls = server.calls(who);
    calls.flows.apply_flow(proto::ApplyFlowRequest { source: FLOW.into(), ..Default::default() }).await.unwrap();
    let new = proto::CreateExecutionRequest {
        namespace: "company.team".into(),
        flow_id: "my_flow".into(),
        ..Default::default()
    };
    calls.executions.create_execution(new).await.unwrap().into_inner().execution.unwrap().id
}

fn admin(tenant: &str) -> As {
    As { token: Some(BOOTSTRAP.into()), tenant: Some(tenant.into()) }
}

async fn stored(server: &Server, tenant: &str, uri: &str, content: &'static [u8]) {
    let uri: FileUri = uri.parse().unwrap();
    server.files().put(&Tenant::parse(tenant).unwrap(), &uri, content).await.unwrap();
}

async fn get(server: &Server, path: &str, uri: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let mut url = Url::parse(&server.url(path)).unwrap();
    url.query_pairs_mut().append_pair("path", uri);
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (status, error["message"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_given_out_by_its_own_execution_alone() {
    let server = Server::start().await;
    let [one, other] = [executed(&server, admin("main")).await, executed(&server, admin("main")).await];
    let file = |id: &str| format!("kestra:///company/team/my-flow/executions/{id}/tasks/t/x/my file.csv");
    let (own, foreign) = (file(&one), file(&other));
    let of_namespace = "kestra:///company/team/_files/q.sql";
    for (uri, content) in [(own.as_str(), b"a,b\n\xff".as_slice()), (&foreign, b"theirs"), (of_namespace, b"select 1")]
    {
        stored(&server, "main", uri, content).await;
    }
    let bearer = format!("Bearer {BOOTSTRAP}");
    let bearer = [("authorization", bearer.as_str())];
    for path in [format!("/api/v1/executions/{one}/file"), format!("/api/v1/main/executions/{one}/file")] {
        let response = get(&server, &path, &own, &bearer).await;
        assert_eq!(response.status().as_u16(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            (header("content-type").as_str(), header("content-length")),
            ("application/octet-stream", "5".into())
        );
        let name = "attachment; filename=\"my_file.csv\"; filename*=UTF-8''my%20file.csv";
        assert_eq!(
            (header("content-disposition").as_str(), header("x-content-type-options")),
            (name, "nosniff".into())
        );
        assert_eq!(response.bytes().await.unwrap().as_ref(), b"a,b\n\xff");

        let response = get(&server, &path, &foreign, &bearer).await;
        assert_eq!(response.status().as_u16(), 301);
        let there = response.headers()["location"].to_str().unwrap().to_owned();
        assert!(there.starts_with(&path.replace(&one, &other)), "{there}");
        let followed = Client::new().get(server.url(&there)).header(bearer[0].0, bearer[0].1).send().await.unwrap();
        assert_eq!(followed.bytes().await.unwrap().as_ref(), b"theirs");
    }

    let path = format!("/api/v1/executions/{one}/file");
    for (uri, status, message) in [
        (of_namespace, 422, "path: Invalid prefix path"),
        // It looks like one of this execution, under another flow.
        (&own.replace("my-flow", "flow"), 422, "path: Invalid prefix path"),
        (&own.replace("/tasks", "/../tasks"), 422, "path: '"),
        ("file:///etc/passwd", 422, "path: '"),
        (&own.replace(".csv", ".txt"), 404, "there is no file"),
    ] {
        let (code, told) = refusal(get(&server, &path, uri, &bearer).await).await;
        assert!(code == status && told.starts_with(message), "{uri}: {code} {told}");
    }
    let none = Client::new().get(server.url(&path)).header(bearer[0].0, bearer[0].1).send().await.unwrap();
    assert_eq!(refusal(none).await, (422, "path: must be given, as the URI of a file".to_owned()));
    for id in ["nonsense", &"0".repeat(22)] {
        let told = refusal(get(&server, &format!("/api/v1/executions/{id}/file"), &own, &bearer).await).await;
        assert_eq!(told, (404, "Execution not found".to_owned()));
    }
    let sent = Client::new().request(Method::DELETE, server.url(&path)).send().await.unwrap();
    assert_eq!(refusal(sent).await.0, 405);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_only_for_those_who_may_read_the_tenant() {
    let server = Server::with(Server::local()).await;
    let mut calls = server.admin();
    for tenant in ["one", "two"] {
        let new = admin::CreateTenantRequest { tenant_id: tenant.into(), ..Default::default() };
        calls.tenants.create_tenant(new).await.unwrap();
    }
    let id = executed(&server, admin("one")).await;
    let uri = format!("kestra:///company/team/my-flow/executions/{id}/f");
    stored(&server, "one", &uri, b"of one").await;
    let mut tokens = Vec::new();
    for tenant in ["one", "two"] {
        let new =
            admin::CreateTokenRequest { name: "reader".into(), role: admin::Role::Viewer.into(), ..Default::default() };
        let made = server.calls(admin(tenant)).access.create_token(new).await.unwrap().into_inner();
        tokens.push(format!("Bearer {}", made.token_text));
    }
    let (plain, named) = (format!("/api/v1/executions/{id}/file"), format!("/api/v1/one/executions/{id}/file"));
    let page = "http://windhover.evil.example:8080";
    let attempts: [Attempt; 9] = [
        (&plain, &[("authorization", &tokens[0])], 200),
        (&named, &[("authorization", &tokens[0])], 200),
        (&plain, &[("authorization", &tokens[1])], 404),
        (&named, &[("authorization", &tokens[1])], 403),
        (&named, &[("authorization", "Bearer wrong")], 401),
        // Without a login, whoever is on this machine.
        (&named, &[], 200),
        (&plain, &[], 404),
        // A page of somebody else in a browser of this machine, also under a name of its own for loopback.
        (&named, &[("origin", page)], 401),
        (&named, &[("host", page.trim_start_matches("http://"))], 401),
    ];
    for (path, headers, status) in attempts {
        let response = get(&server, path, &uri, headers).await;
        assert_eq!(response.status().as_u16(), status, "{path} {headers:?}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
    }
    server.stop().await;
}
