//! A connection and a way to print.

use windhover_client::{Client, ClientOptions};

use super::{ClientArgs, error::Failure, output::Output};

/// What every command works with.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) output: Output,
}

impl Session {
    /// Connects with the first call, so that a wrong file name is told without a server.
    pub(super) fn open(args: &ClientArgs) -> Result<Self, Failure> {
        let mut options = ClientOptions::new(&args.server);
        // An empty variable of the environment means "none", as everywhere.
        options.token = args.token.clone().filter(|token| !token.is_empty());
        options.tenant = args.tenant.clone().filter(|tenant| !tenant.is_empty());
        Ok(Self { client: Client::connect_later(options)?, output: Output::new(args.output) })
    }
}
