//! `jdbc:postgresql:` URLs.

use windhover_outbound::Url;

use crate::TaskError;

const PORT: u16 = 5432;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct JdbcUrl {
    /// In the order in which they are tried.
    pub(super) hosts: Vec<(String, u16)>,
    /// Empty: the one of the user's name.
    pub(super) database: String,
    /// By their names in lower case.
    parameters: Vec<(String, String)>,
}

impl JdbcUrl {
    /// `jdbc:postgresql://host:port,host/database?name=value`; host, port and database may be left out.
    ///
    /// # Errors
    /// What is wrong, without the URL: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, TaskError> {
        let wrong = |why: &str| TaskError::failed(format!("url: {why}; expected jdbc:postgresql://host:5432/database"));
        let rest = text.trim().strip_prefix("jdbc:postgresql:").ok_or_else(|| wrong("this is no URL of PostgreSQL"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = match place.strip_prefix("//") {
            Some(place) => place.split_once('/').unwrap_or((place, "")),
            None => ("", place.trim_start_matches('/')),
        };
        if hosts.contains('@') {
            return Err(wrong("user and password stand in `username` and `password`"));
        }
        let hosts =
            hosts.split(',').map(host).collect::<Option<Vec<_>>>().ok_or_else(|| wrong("a port is no number"))?;
        let database = decoded(&format!("d={}", database.replace('&', "%26").replace('#', "%23")));
        Ok(Self {
            hosts,
            database: database.into_iter().next().map(|(_, name)| name).unwrap_or_default(),
            parameters: decoded(query).into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect(),
        })
    }

    /// A parameter by its name in lower case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn host(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rfind(':') {
        // The colons of an address of version 6 stand in brackets.
        Some(at) if !text[at..].contains(']') => (&text[..at], text[at + 1..].parse().ok()?),
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((if host.is_empty() { "localhost" } else { host }.to_owned(), port))
}

/// Pairs of a query, decoded.
fn decoded(query: &str) -> Vec<(String, String)> {
    let Ok(mut url) = Url::parse("x://h/") else { return Vec::new() };
    url.set_query(Some(query));
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_database_and_parameters_are_found_wherever_they_may_stand() -> Result<(), TaskError> {
        type Place<'a> = (&'a str, u16);
        let table: [(&str, &[Place<'_>], &str); 6] = [
            ("jdbc:postgresql://db.example.org:6432/my%20db?sslmode=require", &[("db.example.org", 6432)], "my db"),
            ("jdbc:postgresql://a,b:1/c", &[("a", 5432), ("b", 1)], "c"),
            ("jdbc:postgresql://[::1]:7/c", &[("::1", 7)], "c"),
            ("jdbc:postgresql://127.0.0.1:56982/", &[("127.0.0.1", 56982)], ""),
            ("jdbc:postgresql:c", &[("localhost", 5432)], "c"),
            ("jdbc:postgresql:/", &[("localhost", 5432)], ""),
        ];
        for (text, hosts, database) in table {
            let url = JdbcUrl::parse(text)?;
            let found: Vec<Place<'_>> = url.hosts.iter().map(|(host, port)| (host.as_str(), *port)).collect();
            assert_eq!((found.as_slice(), url.database.as_str()), (hosts, database), "{text}");
        }
        let url = JdbcUrl::parse("jdbc:postgresql://h/d?user=a%26b&SSLMode=require")?;
        assert_eq!((url.parameter("user"), url.parameter("sslmode")), (Some("a&b"), Some("require")));
        for text in
            ["postgresql://h/d", "jdbc:mysql://h/d", "jdbc:postgresql://h:x/d", "jdbc:postgresql://u:secret@h/d"]
        {
            let error = JdbcUrl::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("url: ") && !error.contains("secret"), "{error}");
        }
        Ok(())
    }
}
