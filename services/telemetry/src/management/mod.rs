//! The management HTTP server: a listener of its own that knows nothing of tenants' data (operations reference 2).

mod disk;
mod health;
mod server;

pub use disk::DiskSpace;
pub use health::{Health, HealthChecks, HealthIndicator, Ready, Status};
pub use server::{Management, ManagementConfig};
