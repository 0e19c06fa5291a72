//! Applies a flow, starts it and shows what it does:
//! `cargo run -p windhover-client --example run_flow -- http://127.0.0.1:8080`, with `WINDHOVER_TOKEN` where the server
//! asks for a login.

use windhover_client::{Client, ClientError, ClientOptions, NewExecution, v1::follow_execution_response::Event};

const FLOW: &str = r#"
id: hello
namespace: company.team
inputs:
  - id: name
    type: STRING
    defaults: world
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "Hello, {{ inputs.name }}!"
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let mut options = ClientOptions::new(server);
    options.token = std::env::var("WINDHOVER_TOKEN").ok();
    let client = Client::connect(options).await?;

    let applied = client.apply_flow(FLOW).await?;
    println!("{}", applied.outcome().short_name());

    let created = client.create_execution(NewExecution::of("company.team", "hello").input("name", "you")).await?;
    let mut follow = client.follow(created.id);
    while let Some(message) = follow.next().await {
        match message?.event {
            Some(Event::TaskRun(run)) => println!("{} is {}", run.task_id, run.current_state().short_name()),
            Some(Event::LogLine(line)) => println!("{}: {}", line.task_id, line.message),
            Some(Event::End(end)) => println!("ended: {}", end.state().short_name()),
            _ => {}
        }
    }
    Ok(())
}
