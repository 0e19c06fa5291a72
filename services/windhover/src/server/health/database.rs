//! Health of the database, as Kestra's `jdbc` indicator shows it.

use async_trait::async_trait;
use windhover_store::Store;
use windhover_telemetry::management::{Health, HealthIndicator};

pub(in crate::server) struct DatabaseHealth {
    store: Store,
    /// Where the database is, without credentials.
    location: String,
}

impl DatabaseHealth {
    pub(in crate::server) fn new(store: Store, url: &str) -> Self {
        Self { store, location: location(url) }
    }
}

#[async_trait]
impl HealthIndicator for DatabaseHealth {
    fn key(&self) -> &str {
        "jdbc"
    }

    async fn check(&self, name: &str) -> Health {
        let part = match self.store.version().await {
            Ok(version) => Health::up().detail("database", self.store.backend().as_str()).detail("version", version),
            Err(error) => Health::error(error.to_string()),
        };
        Health::of(name, &self.location, part)
    }
}

/// `jdbc:postgresql://host:5432/name`; whatever stands before the host (user, password) is left out.
fn location(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgres") => {
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("jdbc:postgresql://{}", host.split('?').next().unwrap_or(host))
        }
        _ => format!("jdbc:{}", url.split('?').next().unwrap_or(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_shows_no_credentials() {
        assert_eq!(
            location("postgres://u:p%40ss@db:5432/windhover?sslmode=require"),
            "jdbc:postgresql://db:5432/windhover"
        );
        assert_eq!(location("sqlite:/data/windhover.db"), "jdbc:sqlite:/data/windhover.db");
    }
}
