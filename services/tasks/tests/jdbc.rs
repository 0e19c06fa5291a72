//! Queries of a real PostgreSQL.

mod support;

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use support::{Ran, Try};
use windhover_storage::FileUri;
use windhover_testkit::{Postgres, wait_until};
use windhover_types::Tenant;

const QUERY: &str = "io.kestra.plugin.jdbc.postgresql.Query";
const QUERIES: &str = "io.kestra.plugin.jdbc.postgresql.Queries";

/// A database, and how flows name it.
struct Database {
    url: String,
}

impl Database {
    async fn fresh() -> Result<Self> {
        let server = Postgres::shared().await?;
        let url = server.fresh_database().await?;
        let (_, name) = url.rsplit_once('/').context("a URL")?;
        Ok(Self { url: format!("jdbc:postgresql://localhost:{}/{name}", server.port()) })
    }

    async fn run(&self, type_name: &str, mut properties: Value) -> Ran {
        properties["url"] = json!(self.url);
        properties["username"] = json!("postgres");
        Try::default().run(type_name, properties).await
    }
}

#[tokio::test]
async fn rows_come_with_the_types_of_their_columns() -> Result<()> {
    let database = Database::fresh().await?;
    let sql = "select 1::int2 as a, 9007199254740993::int8 as b, 1.5::float8 as c, 12.50::numeric(6,2) as d, true as e,
        'text; not two' as f, null::int as g, date '2024-02-29' as h, time '04:05:06' as i,
        timestamp '2004-10-19 10:23:54.5' as j, timestamptz '2004-10-19 10:23:54+02' as k,
        interval '1 year 2 mons 3 days 04:05:06' as l, '{\"x\": [1, null]}'::jsonb as m, array[1, null, 3] as n,
        array['a', 'b,c'] as o, '\\x00ff'::bytea as p, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as q,
        inet '10.0.0.1' as r, to_tsvector('simple', 'fat cat') as s";
    let ran = database.run(QUERY, json!({"sql": sql, "fetchType": "FETCH_ONE", "timeZoneId": "Europe/Paris"})).await;
    let expected = json!({
        "a": 1, "b": 9_007_199_254_740_993_i64, "c": 1.5, "d": 12.5, "e": true, "f": "text; not two", "g": null,
        "h": "2024-02-29", "i": "04:05:06", "j": "2004-10-19T10:23:54.5", "k": "2004-10-19T10:23:54+02:00",
        "l": "P1Y2M3DT4H5M6S", "m": {"x": [1, null]}, "n": [1, null, 3], "o": ["a", "b,c"], "p": "AP8=",
        "q": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "r": "10.0.0.1", "s": "'cat':2 'fat':1",
    });
    assert_eq!(ran.outputs(), json!({"row": expected, "size": 1}));
    Ok(())
}

#[tokio::test]
async fn each_fetch_type_says_where_rows_go() -> Result<()> {
    let database = Database::fresh().await?;
    let sql = "select n, 'x' || n as t from generate_series(1, 3) n";
    let rows = json!([{"n": 1, "t": "x1"}, {"n": 2, "t": "x2"}, {"n": 3, "t": "x3"}]);
    for properties in [json!({"fetchType": "FETCH"}), json!({"fetch": true, "fetchType": "NONE"})] {
        let mut properties = properties;
        properties["sql"] = json!(sql);
        let ran = database.run(QUERY, properties).await;
        assert_eq!(ran.outputs(), json!({"rows": rows, "size": 3}));
        let metric = &ran.outcome.as_ref().expect("an outcome").metrics[0];
        assert_eq!((metric.name.as_str(), metric.value), ("fetch.size", 3.0));
    }
    let one = database.run(QUERY, json!({"sql": sql, "fetchOne": true})).await;
    assert_eq!(one.outputs(), json!({"row": {"n": 1, "t": "x1"}, "size": 1}));
    let none = database.run(QUERY, json!({"sql": "select 1 where false", "fetchType": "FETCH_ONE"})).await;
    assert_eq!(none.outputs(), json!({"row": null, "size": 0}));
    assert_eq!(database.run(QUERY, json!({"sql": sql})).await.outputs(), json!({}));
    // A file has one line of Ion per row.
    let attempt = Try::default();
    let properties = json!({"sql": sql, "store": true, "url": database.url, "username": "postgres"});
    let outputs = attempt.run(QUERY, properties).await.outputs();
    assert_eq!(outputs["size"], json!(3));
    let uri: FileUri = outputs["uri"].as_str().context("a URI")?.parse()?;
    let file = String::from_utf8(attempt.files().read(&Tenant::main(), &uri, 1 << 20).await?.to_vec())?;
    assert_eq!(file, "{n:1,t:\"x1\"}\n{n:2,t:\"x2\"}\n{n:3,t:\"x3\"}\n");
    Ok(())
}

#[tokio::test]
async fn parameters_are_values() -> Result<()> {
    let database = Database::fresh().await?;
    let sql =
        "select n from generate_series(1, 5) n where n > :least and :name <> 'x''y' and n::text <> all(array[:none])";
    let parameters = json!({"least": 3, "name": "x'y' or true; drop table t --", "none": "5"});
    let ran = database.run(QUERY, json!({"sql": sql, "parameters": parameters, "fetchType": "FETCH"})).await;
    assert_eq!(ran.outputs()["rows"], json!([{"n": 4}]), "{}", ran.error());
    Ok(())
}

#[tokio::test]
async fn queries_are_done_together_or_not_at_all() -> Result<()> {
    let database = Database::fresh().await?;
    let made = "create table t (a int primary key); insert into t values (1), (2);\n select a from t order by a; select 7 as b;";
    let ran = database.run(QUERIES, json!({"sql": made, "fetchType": "FETCH"})).await;
    let expected = json!({"outputs": [
        {"rows": [{"a": 1}, {"a": 2}], "size": 2},
        {"rows": [{"b": 7}], "size": 1},
    ]});
    assert_eq!(ran.outputs(), expected, "{}", ran.error());
    let count =
        async || database.run(QUERY, json!({"sql": "select count(*) c from t", "fetchOne": true})).await.outputs();
    let failing = "insert into t values (3); insert into t values (1)";
    let ran = database.run(QUERIES, json!({ "sql": failing })).await;
    assert!(ran.error().contains("duplicate key") && ran.error().contains("Detail: Key (a)=(1)"), "{}", ran.error());
    assert_eq!(count().await["row"]["c"], json!(2));
    let ran = database.run(QUERIES, json!({"sql": failing, "transaction": false})).await;
    assert!(!ran.error().is_empty());
    assert_eq!(count().await["row"]["c"], json!(3));
    // What follows a query belongs to it.
    let after = json!({"sql": "select a from t", "afterSQL": "delete from nothing", "fetchType": "FETCH"});
    assert!(database.run(QUERY, after).await.error().contains("\"nothing\" does not exist"));
    Ok(())
}

#[tokio::test]
async fn errors_say_what_the_database_says() -> Result<()> {
    let database = Database::fresh().await?;
    let ran = database.run(QUERY, json!({"sql": "select not_a_real_column from not_a_real_table;"})).await;
    assert_eq!(ran.error(), "ERROR: relation \"not_a_real_table\" does not exist\n  Position: 31");
    let ran = database.run(QUERY, json!({"sql": "select 1; select 2"})).await;
    assert!(ran.error().contains("one SQL statement"), "{}", ran.error());
    let attempt = Try::default();
    let nobody =
        json!({"sql": "select 1", "url": "jdbc:postgresql://localhost:1/x", "username": "u", "password": "hunter2"});
    let ran = attempt.run(QUERY, nobody).await;
    assert!(ran.error().starts_with("no connection to the database at localhost:1: "), "{}", ran.error());
    let metadata = json!({"sql": "select 1", "url": "jdbc:postgresql://169.254.169.254/x", "username": "u"});
    let ran = attempt.run(QUERY, metadata).await;
    assert!(ran.error().contains("metadata"), "{}", ran.error());
    Ok(())
}

#[tokio::test]
async fn a_dropped_attempt_leaves_no_query_behind() -> Result<()> {
    let database = Database::fresh().await?;
    let properties = json!({"sql": "select pg_sleep(1000)", "url": database.url, "username": "postgres"});
    let attempt = Try::default();
    let (_, running) = attempt.start(QUERY, properties);
    let sleeping = async || {
        let sql = "select count(*) c from pg_stat_activity where query = 'select pg_sleep(1000)' and state = 'active'
            and datname = current_database()";
        let ran = database.run(QUERY, json!({"sql": sql, "fetchOne": true})).await;
        ran.outputs()["row"]["c"].as_i64().unwrap_or_default()
    };
    let limit = Duration::from_secs(20);
    wait_until("the query to run", limit, || async { (sleeping().await == 1).then_some(()) }).await?;
    running.abort();
    wait_until("the query to end", limit, || async { (sleeping().await == 0).then_some(()) }).await
}
