//! Names of keys and channels. What one script touches shares a hash tag, so that it is on one node of a cluster.

use std::fmt::Write;

/// Names under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    /// Channels belong to the whole server, not to one of its numbered databases: the number keeps them apart.
    database: i64,
}

impl Keys {
    pub(super) fn new(prefix: &str, database: i64) -> Self {
        Self { prefix: prefix.to_owned(), database }
    }

    /// Set of the worker groups that have ever had a job.
    pub(super) fn groups(&self) -> String {
        format!("{{{}}}:groups", self.prefix)
    }

    /// Hash of the tenants' weights; each group has a copy.
    pub(super) fn weights(&self) -> String {
        format!("{{{}}}:weights", self.prefix)
    }

    /// Which installation uses the keys of this prefix.
    pub(super) fn installation(&self) -> String {
        format!("{{{}}}:installation", self.prefix)
    }

    pub(super) fn generation(&self) -> String {
        format!("{{{}}}:generation", self.prefix)
    }

    /// What all keys of a worker group begin with.
    pub(super) fn group(&self, group: &str) -> String {
        format!("{{{}:q:{}}}", self.prefix, plain(group))
    }

    /// Another one, or none, after the node that holds the group was emptied.
    pub(super) fn group_marker(&self, group: &str) -> String {
        format!("{}:born", self.group(group))
    }

    /// The stream of a group of shards.
    pub(super) fn stream(&self, group: u16) -> String {
        format!("{{{}:s{group}}}:wakes", self.prefix)
    }

    /// Missing once the node that holds this stream was emptied.
    pub(super) fn stream_marker(&self, group: u16) -> String {
        format!("{{{}:s{group}}}:born", self.prefix)
    }

    fn channel(&self, name: &str) -> String {
        format!("{}@{}:{name}", self.prefix, self.database)
    }

    /// What one process is told: jobs are there, reports are acknowledged.
    pub(super) fn process_channel(&self, process: &str) -> String {
        self.channel(&format!("p:{process}"))
    }

    /// Begins the channel of a process; scripts add its name.
    pub(super) fn process_channels(&self) -> String {
        self.channel("p:")
    }

    pub(super) fn kill_channel(&self, worker: &str) -> String {
        self.channel(&format!("k:{worker}"))
    }

    /// Begins the channel of a worker's kill hints; scripts add its name.
    pub(super) fn kill_channels(&self) -> String {
        self.channel("k:")
    }

    pub(super) fn drained_channel(&self) -> String {
        self.channel("d")
    }

    /// Followers say here which shards they follow.
    pub(super) fn followers_channel(&self) -> String {
        self.channel("f")
    }

    pub(super) fn hints_channel(&self, shard: u16) -> String {
        self.channel(&format!("h:{shard}"))
    }
}

/// The name with everything but letters, digits, `_`, `-`, `.` as `%` and hexadecimal digits: braces would make
/// another hash tag.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => plain.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(plain, "%{byte:02X}")),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_group_names_keep_their_hash_tag_and_stay_apart() {
        let keys = Keys::new("w", 0);
        assert_eq!(keys.group(""), "{w:q:}");
        assert_eq!(keys.group("gpu-1"), "{w:q:gpu-1}");
        assert_eq!(keys.group("a}b{é"), "{w:q:a%7Db%7B%C3%A9}");
        assert_ne!(keys.group("a%7D"), keys.group("a}"));
    }
}
