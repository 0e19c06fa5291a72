//! Internal storage on a local folder.

use tokio::io::AsyncWriteExt;
use windhover_storage::{FileUri, Files, FilesError};
use windhover_types::{Id, Tenant};

fn files() -> Result<(tempfile::TempDir, Files), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let files = Files::local(folder.path())?;
    Ok((folder, files))
}

fn tenant(name: &str) -> Tenant {
    Tenant::trusted(name)
}

#[tokio::test]
async fn what_is_written_is_read_listed_and_deleted_under_its_own_tenant() -> Result<(), Box<dyn std::error::Error>> {
    let (_folder, files) = files()?;
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

    assert!(files.delete(&a, &plain).await?);
    assert!(!files.delete(&a, &plain).await?);
    assert_eq!(files.delete_below(&a, &execution).await?, [odd]);
    assert!(files.list(&a, &execution).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_file_appears_when_its_writer_is_done() -> Result<(), Box<dyn std::error::Error>> {
    let (_folder, files) = files()?;
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
