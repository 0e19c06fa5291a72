//! `diskSpace`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{Health, HealthIndicator};

/// Down when less than a threshold is left where the data is.
#[derive(Debug, Clone)]
pub struct DiskSpace {
    /// `endpoints.health.disk-space.path`. Default: the working directory.
    pub path: PathBuf,
    /// Bytes. Default: 10 MiB.
    pub threshold: u64,
}

impl Default for DiskSpace {
    fn default() -> Self {
        Self { path: PathBuf::from("."), threshold: 10 << 20 }
    }
}

#[async_trait]
impl HealthIndicator for DiskSpace {
    fn key(&self) -> &str {
        "diskSpace"
    }

    async fn check(&self, _: &str) -> Health {
        let path = self.path.clone();
        // A file system that hangs must not hold a thread of the runtime.
        match tokio::task::spawn_blocking(move || rustix::fs::statvfs(path)).await {
            Ok(Ok(space)) => judge(
                space.f_blocks.saturating_mul(space.f_frsize),
                space.f_bavail.saturating_mul(space.f_frsize),
                self.threshold,
            ),
            Ok(Err(error)) => Health::error(format!("cannot look at the disk: {error}")),
            Err(_) => Health::error("cannot look at the disk"),
        }
    }
}

fn judge(total: u64, free: u64, threshold: u64) -> Health {
    if free < threshold {
        return Health::error(format!(
            "Free disk space below threshold. Available: {free} bytes (threshold: {threshold} bytes)"
        ));
    }
    Health::up().detail("total", total).detail("free", free).detail("threshold", threshold)
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn too_little_space_is_down_and_says_how_much_there_is() {
        assert_eq!(judge(100, 10, 10).status, Status::Up);
        let down = judge(100, 9, 10);
        assert_eq!(down.status, Status::Down);
        assert!(down.details["error"].as_str().is_some_and(|text| text.contains("9 bytes (threshold: 10 bytes)")));
    }
}
