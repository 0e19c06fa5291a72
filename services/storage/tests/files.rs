//! Internal storage does the same in a local folder and in an S3 bucket.

mod support;

use std::error::Error;

use support::S3;
use tokio::io::AsyncWriteExt;
use windhover_storage::{FileUri, Files, FilesError};
use windhover_types::{Id, Secret, Tenant};

fn tenant(name: &str) -> Tenant {
    Tenant::trusted(name)
}

async fn what_is_written_is_read_listed_and_deleted_under_its_own_tenant(files: &Files) -> Result<(), Box<dyn Error>> {
    let (a, b) = (tenant("a"), tenant("b"));
    let execution = FileUri::execution("company.team", "my_flow", Id::from_bytes([1; 16]));
    let odd = execution.below("tasks/t/ä {odd} ~name%20.txt")?;
    let plain = execution.below("inputs/file/data.csv")?;
    files.put(&a, &odd, "odd").await?;
    files.put(&a, &plain, "1,2").await?;

    assert_eq!(files.read(&a, &odd, 10).await?, "odd");
    assert!(matches!(files.read(&b, &odd, 10).await, Err(FilesError::NotFound(_))), "another tenant's");
    assert!(matches!(files.read(&a, &odd, 2).await, Err(FilesError::TooLarge { size: 3, limit: 2, .. })));
    assert_eq!(files.find(&a, &plain).await?.map(|entry| entry.size), Some(3));
    assert_eq!(files.find(&a, &execution.below("nothing")?).await?, None);

    let listed: Vec<_> = files.list(&a, &execution).await?.into_iter().map(|entry| entry.uri).collect();
    assert_eq!(listed, [plain.clone(), odd.clone()]);
    assert!(files.list(&b, &execution).await?.is_empty());

    let copied = execution.below("tasks/t/copy.csv")?;
    files.copy(&a, &plain, &copied).await?;
    files.put(&a, &plain, "3,4").await?;
    assert_eq!(files.read(&a, &plain, 10).await?, "3,4");
    assert_eq!(files.read(&a, &copied, 10).await?, "1,2");
    assert!(matches!(files.copy(&a, &execution.below("nothing")?, &copied).await, Err(FilesError::NotFound(_))));

    assert!(files.delete(&a, &plain).await?);
    assert!(!files.delete(&a, &plain).await?);
    assert_eq!(files.delete_below(&a, &execution).await?, [copied, odd]);
    assert!(files.list(&a, &execution).await?.is_empty());
    Ok(())
}

async fn a_namespaces_file_keeps_its_versions(files: &Files) -> Result<(), Box<dyn Error>> {
    let (a, b) = (tenant("a"), tenant("b"));
    let write = async |path: &str, content: &'static str| -> Result<String, Box<dyn Error>> {
        let uri = files.next_version(&a, "company.team", path).await?;
        files.put(&a, &uri, content).await?;
        Ok(uri.relative_to(&FileUri::namespace("company.team")).unwrap_or_default().to_owned())
    };
    let mut stored = Vec::new();
    for (path, content) in
        [("x/q.sql", "1"), ("/x/q.sql", "2"), ("x/q.sql", "3"), ("x/q.sql.v2", "other"), ("top", "t"), ("x/q.sq", "s")]
    {
        stored.push(write(path, content).await?);
    }
    assert_eq!(stored, ["x/q.sql", "x/q.sql.v2", "x/q.sql.v3", "x/q.sql.v2.v1", "top", "x/q.sq"]);

    let all = files.namespace_files(&a, "company.team").await?;
    let shown: Vec<_> = all.iter().map(|file| (file.path.as_str(), file.versions.len())).collect();
    assert_eq!(shown, [("top", 1), ("x/q.sq", 1), ("x/q.sql", 3), ("x/q.sql.v2", 1)]);
    assert!(files.namespace_files(&b, "company.team").await?.is_empty());
    assert!(files.namespace_file(&a, "company", "x/q.sql").await?.is_none());
    assert!(files.namespace_file(&a, "company.team", "x").await?.is_none(), "a folder is no file");
    assert!(files.namespace_file(&a, "company.team", "../x").await?.is_none());
    let Some(file) = files.namespace_file(&a, "company.team", "x/q.sql").await? else { panic!("it is there") };
    let numbers: Vec<u64> = file.versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let newest = file.newest().map(|version| version.entry.uri.clone());
    let Some(newest) = newest else { panic!("there is a newest") };
    assert_eq!(files.read(&a, &newest, 10).await?, "3");

    // A purge takes the oldest: counting goes on.
    for version in &file.versions[..2] {
        files.delete(&a, &version.entry.uri).await?;
    }
    assert_eq!(write("x/q.sql", "4").await?, "x/q.sql.v4");
    assert!(files.delete_namespace_file(&a, "company.team", "x/q.sql").await?);
    assert!(!files.delete_namespace_file(&a, "company.team", "x/q.sql").await?);
    assert_eq!(files.namespace_files(&a, "company.team").await?.len(), 3);
    files.delete_below(&a, &FileUri::namespace("company.team")).await?;
    Ok(())
}

async fn a_file_appears_when_its_writer_is_done(files: &Files) -> Result<(), Box<dyn Error>> {
    let tenant = tenant("a");
    let uri: FileUri = "kestra:///a/big".parse()?;
    let mut writer = files.writer(&tenant, &uri);
    for _ in 0..3_000 {
        writer.write_all(&[b'x'; 10_000]).await?;
    }
    assert_eq!(files.find(&tenant, &uri).await?, None);
    writer.shutdown().await?;
    assert_eq!(files.find(&tenant, &uri).await?.map(|entry| entry.size), Some(30_000_000));
    Ok(())
}

#[tokio::test]
async fn a_folder_keeps_files_apart_and_whole() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let files = Files::local(folder.path())?;
    what_is_written_is_read_listed_and_deleted_under_its_own_tenant(&files).await?;
    a_namespaces_file_keeps_its_versions(&files).await?;
    a_file_appears_when_its_writer_is_done(&files).await
}

#[tokio::test]
async fn a_bucket_keeps_files_apart_and_whole() -> Result<(), Box<dyn Error>> {
    let server = S3::start().await?;
    for prefix in ["", "windhover/files"] {
        let files = Files::s3(server.config(prefix))?;
        what_is_written_is_read_listed_and_deleted_under_its_own_tenant(&files).await?;
        a_namespaces_file_keeps_its_versions(&files).await?;
        // In several parts: more than one upload's buffer holds.
        a_file_appears_when_its_writer_is_done(&files).await?;
    }
    assert!(server.top()?.contains(&"windhover".to_owned()), "{:?}", server.top()?);
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_refuses_is_told_without_the_key() -> Result<(), Box<dyn Error>> {
    let server = S3::start().await?;
    let mut config = server.config("");
    config.secret_access_key = Some(Secret::new("something-else".to_owned()));
    assert!(!format!("{config:?}").contains("something-else"));
    let files = Files::s3(config)?;
    let uri: FileUri = "kestra:///a/b".parse()?;
    let refused = files.put(&tenant("a"), &uri, "x").await;
    let Err(error @ FilesError::Unavailable(_)) = refused else { panic!("{refused:?}") };
    assert!(!error.to_string().contains("something-else"), "{error}");
    Ok(())
}
