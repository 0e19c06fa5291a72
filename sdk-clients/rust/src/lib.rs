//! A client of Windhover's gRPC API: the generated clients over one or several HTTP/2 connections, with credentials,
//! decoded errors, and the few calls that everybody needs in a shorter form.
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use windhover_client::{Client, ClientOptions, NewExecution, v1::follow_execution_response::Event};
//!
//! # async fn example() -> Result<(), windhover_client::ClientError> {
//! let client = Client::connect(ClientOptions::new("http://127.0.0.1:8080")).await?;
//! client
//!     .apply_flow(
//!         "id: hello\nnamespace: company.team\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hello\n",
//!     )
//!     .await?;
//! let created = client.create_execution(NewExecution::of("company.team", "hello")).await?;
//! let mut messages = std::pin::pin!(client.follow(created.id).into_stream());
//! while let Some(message) = messages.try_next().await? {
//!     match message.event {
//!         Some(Event::LogLine(line)) => println!("{}", line.message),
//!         Some(Event::End(end)) => println!("{}", end.state().short_name()),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/run_flow.rs` is the same as a program.
//!
//! What has no short form is called on the generated clients ([`Client::flow_service`] and the others); `?` turns their
//! [`tonic::Status`] into a [`ClientError`].

mod client;
mod error;
mod follow;
mod options;
mod request;
mod seen;

pub use client::{Api, Client, Credentials};
pub use error::{ClientError, ErrorDetails, FieldViolation};
pub use follow::{Follow, FollowOptions};
pub use options::ClientOptions;
pub use request::{NewExecution, json};
pub use windhover_proto::{admin, reasons, v1};
