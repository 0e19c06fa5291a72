//! A follow against a server that breaks off.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::{Stream, stream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use windhover_client::{
    Client, ClientError, ClientOptions,
    v1::{
        execution_service_server::{ExecutionService, ExecutionServiceServer},
        follow_execution_response::Event,
        *,
    },
};

type Messages = Vec<Result<FollowExecutionResponse, Status>>;

/// Answers each follow with the next script, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    scripts: Mutex<Vec<Messages>>,
    cursors: Mutex<Vec<String>>,
    credentials: Mutex<Vec<String>>,
}

type Following = Pin<Box<dyn Stream<Item = Result<FollowExecutionResponse, Status>> + Send>>;

impl Scripted {
    fn follow(&self, request: Request<FollowExecutionRequest>) -> Result<Response<Following>, Status> {
        for name in ["authorization", "windhover-tenant"] {
            let value = request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            self.credentials.lock().unwrap().push(value.to_owned());
        }
        self.cursors.lock().unwrap().push(request.into_inner().cursor);
        let mut scripts = self.scripts.lock().unwrap();
        if scripts.is_empty() {
            return Err(Status::not_found("no such execution"));
        }
        Ok(Response::new(Box::pin(stream::iter(scripts.remove(0)))))
    }
}

/// The service: follows, and refuses everything else.
macro_rules! following_only {
    ($($name:ident($request:ty) -> $response:ty;)+) => {
        #[tonic::async_trait]
        impl ExecutionService for Scripted {
            type FollowExecutionStream = Following;

            async fn follow_execution(
                &self,
                request: Request<FollowExecutionRequest>,
            ) -> Result<Response<Following>, Status> {
                self.follow(request)
            }

            $(async fn $name(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("not here"))
            })+
        }
    };
}

following_only! {
    create_execution(CreateExecutionRequest) -> CreateExecutionResponse;
    batch_create_executions(BatchCreateExecutionsRequest) -> BatchCreateExecutionsResponse;
    get_execution(GetExecutionRequest) -> GetExecutionResponse;
    list_executions(ListExecutionsRequest) -> ListExecutionsResponse;
    wait_execution(WaitExecutionRequest) -> WaitExecutionResponse;
    list_task_runs(ListTaskRunsRequest) -> ListTaskRunsResponse;
    kill_execution(KillExecutionRequest) -> KillExecutionResponse;
    pause_execution(PauseExecutionRequest) -> PauseExecutionResponse;
    resume_execution(ResumeExecutionRequest) -> ResumeExecutionResponse;
    restart_execution(RestartExecutionRequest) -> RestartExecutionResponse;
    change_task_run_state(ChangeTaskRunStateRequest) -> ChangeTaskRunStateResponse;
    change_execution_state(ChangeExecutionStateRequest) -> ChangeExecutionStateResponse;
    force_run_execution(ForceRunExecutionRequest) -> ForceRunExecutionResponse;
    unqueue_execution(UnqueueExecutionRequest) -> UnqueueExecutionResponse;
    set_execution_labels(SetExecutionLabelsRequest) -> SetExecutionLabelsResponse;
    replay_execution(ReplayExecutionRequest) -> ReplayExecutionResponse;
    delete_execution(DeleteExecutionRequest) -> DeleteExecutionResponse;
}

async fn serve(scripts: Vec<Messages>) -> (Arc<Scripted>, Client) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scripted = Arc::new(Scripted { scripts: Mutex::new(scripts), ..Scripted::default() });
    let service = ExecutionServiceServer::from_arc(Arc::clone(&scripted));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    let options = ClientOptions::new(address.to_string()).token("t0k3n").tenant("acme");
    (scripted, Client::connect(options).await.unwrap())
}

fn message(cursor: &str, event: Event) -> Result<FollowExecutionResponse, Status> {
    Ok(FollowExecutionResponse { cursor: cursor.to_owned(), event: Some(event) })
}

fn line(cursor: &str, position: u64) -> Result<FollowExecutionResponse, Status> {
    message(cursor, Event::LogLine(LogLine { position, message: format!("line {position}"), ..LogLine::default() }))
}

async fn shown(client: &Client) -> Result<Vec<String>, ClientError> {
    let mut follow = client.follow("e");
    let mut shown = Vec::new();
    while let Some(message) = follow.next().await {
        match message?.event {
            Some(Event::LogLine(line)) => shown.push(line.message),
            Some(Event::End(end)) => shown.push(end.state().short_name().to_owned()),
            other => shown.push(format!("{other:?}")),
        }
    }
    Ok(shown)
}

#[tokio::test]
async fn a_follow_goes_on_behind_its_cursor_and_shows_each_line_once() {
    let end = Event::End(FollowEnd { state: State::Success.into() });
    let (server, client) = serve(vec![
        // Broken off with an error, …
        vec![line("c1", 1), message("c2", Event::KeepAlive(FollowKeepAlive {})), Err(Status::unavailable("going"))],
        // … closed without an end, having sent a line again, …
        vec![line("c3", 1), line("c4", 2)],
        // … and ended; what comes after the end is not looked at.
        vec![line("c5", 3), message("c6", end), line("c7", 4)],
    ])
    .await;
    assert_eq!(shown(&client).await.unwrap(), ["line 1", "line 2", "line 3", "SUCCESS"]);
    assert_eq!(*server.cursors.lock().unwrap(), ["", "c2", "c4"]);
    assert_eq!(server.credentials.lock().unwrap()[..2], ["Bearer t0k3n", "acme"]);
}

#[tokio::test]
async fn an_error_that_trying_again_cannot_mend_ends_the_follow() {
    let (server, client) = serve(Vec::new()).await;
    let error = shown(&client).await.unwrap_err();
    assert_eq!(error.message, "no such execution");
    assert_eq!(server.cursors.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_one_plain_sentence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::connect(ClientOptions::new(format!("http://{address}"))).await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.message.starts_with(&format!("cannot reach http://{address}: ")), "{}", error.message);
    assert!(error.message.to_lowercase().contains("refused"), "{}", error.message);
}
