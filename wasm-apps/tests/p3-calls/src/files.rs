//! Most of `wasi:filesystem` 0.3: what each call gave goes to the report.

use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags};

use crate::Report;

pub(crate) async fn tour(report: &mut Report) -> Result<(), ErrorCode> {
    let preopens = get_directories();
    let (root, name) = &preopens[0];
    report.push(format!("preopen {name} of {}", preopens.len()));
    let plain = PathFlags::empty();
    let both = DescriptorFlags::READ | DescriptorFlags::WRITE;
    root.create_directory_at("d".into()).await?;
    let file = root.open_at(plain, "d/f".into(), OpenFlags::CREATE | OpenFlags::EXCLUSIVE, both).await?;
    write(&file, Some(0), vec![b'x'; 300_000]).await?;
    write(&file, Some(2), b"AB".to_vec()).await?;
    write(&file, None, b"end".to_vec()).await?;
    let content = read(&file, 0).await?;
    report.push(format!("{} bytes, {:?}", content.len(), std::str::from_utf8(&content[..5]).unwrap()));
    report.push(format!("tail {:?}", String::from_utf8(read(&file, 300_000).await?).unwrap()));
    file.set_size(3).await?;
    let stat = file.stat().await?;
    report.push(format!("{:?} {} bytes", stat.type_, stat.size));
    file.sync().await?;
    root.symlink_at("/d/f".into(), "link".into()).await?;
    report.push(format!("link to {}", root.readlink_at("link".into()).await?));
    root.link_at(plain, "d/f".into(), root, "hard".into()).await?;
    report.push(format!("{} names", file.stat().await?.link_count));
    root.unlink_file_at("hard".into()).await?;
    file.set_times(NewTimestamp::NoChange, NewTimestamp::Timestamp(moment())).await?;
    let modified = file.stat().await?.data_modification_timestamp;
    report.push(format!("modified {:?}", modified.map(|time| (time.seconds, time.nanoseconds))));
    report.push(format!("flags {:?}", file.get_flags().await?));
    let again = root.open_at(PathFlags::SYMLINK_FOLLOW, "link".into(), OpenFlags::empty(), DescriptorFlags::READ).await?;
    report.push(format!("same {}", again.is_same_object(&file).await));
    report.push(format!("read only {:?}", write(&again, Some(0), b"x".to_vec()).await));
    root.rename_at("d/f".into(), root, "d/g".into()).await?;
    let dir = root.open_at(plain, "d".into(), OpenFlags::DIRECTORY, DescriptorFlags::READ).await?;
    report.push(format!("list {:?}", list(&dir).await?));
    report.push(format!("list of a file {:?}", list(&file).await));
    report.push(format!("read a directory {:?}", read(&dir, 0).await));
    report.push(format!("absolute {:?}", root.stat_at(plain, "/d".into()).await.map(|_| ())));
    report.push(format!("above {:?}", root.stat_at(plain, "../../d".into()).await.map(|_| ())));
    report.push(format!("full {:?}", root.remove_directory_at("d".into()).await));
    dir.unlink_file_at("g".into()).await?;
    root.remove_directory_at("d".into()).await?;
    report.push(format!("gone {:?}", root.stat_at(plain, "d".into()).await.map(|_| ())));
    Ok(())
}

fn moment() -> wasip3::clocks::system_clock::Instant {
    wasip3::clocks::system_clock::Instant { seconds: 1_000_000_000, nanoseconds: 7 }
}

async fn write(file: &Descriptor, offset: Option<u64>, bytes: Vec<u8>) -> Result<(), ErrorCode> {
    let (mut writer, reader) = wasip3::wit_stream::new();
    let written = match offset {
        Some(offset) => file.write_via_stream(reader, offset),
        None => file.append_via_stream(reader),
    };
    writer.write_all(bytes).await;
    drop(writer);
    written.await
}

async fn read(file: &Descriptor, offset: u64) -> Result<Vec<u8>, ErrorCode> {
    let (stream, outcome) = file.read_via_stream(offset);
    let bytes = stream.collect().await;
    outcome.await.map(|()| bytes)
}

async fn list(dir: &Descriptor) -> Result<Vec<String>, ErrorCode> {
    let (stream, outcome) = dir.read_directory();
    let entries = stream.collect().await;
    outcome.await.map(|()| entries.into_iter().map(|entry| entry.name).collect())
}
