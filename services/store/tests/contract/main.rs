//! The store's contract, the same over SQLite and Postgres.

mod cluster;
mod commit;
mod fixtures;
mod flows;
mod key_values;
mod large;
mod loading;
mod namespaces;
mod reads;
mod services;
mod tenancy;
mod transport;
mod triggers;
mod trouble;
mod upkeep;

/// Makes a test for each database of each function, which takes a fresh store.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                super::$name(windhover_testkit::TestStore::sqlite().await?).await
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                super::$name(windhover_testkit::TestStore::postgres().await?).await
            })+
        }
    };
}
pub(crate) use on_both;
