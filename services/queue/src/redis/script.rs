//! Calling Lua scripts: by their digest, with their text when the server does not know it (any more).

use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind, ToRedisArgs};

use super::link::Link;
use crate::QueueError;

/// A script and its digest.
pub(super) struct Script(redis::Script, String);

impl Script {
    pub(super) fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        Self(redis::Script::new(&text), text)
    }

    /// Calls it for one key; all that it touches shares that key's hash tag.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        link: &Link,
        key: &str,
        arguments: &Arguments,
    ) -> Result<T, QueueError> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(key);
            for argument in &arguments.0 {
                command.arg(argument.as_slice());
            }
            command
        };
        let answer = match link.ask(&command("EVALSHA", self.0.get_hash())).await? {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                return link.query(&command("EVAL", &self.1)).await;
            }
            answer => answer,
        };
        link.value(answer)
    }
}

/// Arguments of a script.
#[derive(Default)]
pub(super) struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    pub(super) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.push(argument);
        self
    }

    pub(super) fn push(&mut self, argument: impl ToRedisArgs) {
        self.0.extend(argument.to_redis_args());
    }

    pub(super) fn push_bytes(&mut self, bytes: Vec<u8>) {
        self.0.push(bytes);
    }
}

/// For commands that are built by hand.
pub(super) fn command(name: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(name);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}
