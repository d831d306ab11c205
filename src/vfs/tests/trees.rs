//! The copy-on-write tree: isolation, limits, and files that outlive their names.

use super::*;

fn upper_files(scratch: &Path) -> usize {
    std::fs::read_dir(scratch.join("upper")).map_or(0, Iterator::count)
}

#[test]
fn containers_of_one_image_do_not_see_each_others_writes() {
    let scratch = tempfile::tempdir().unwrap();
    let stack = stack(&[&[Item::File("etc/conf", "image"), Item::File("etc/other", "image")]]);
    let tree = |name: &str| TreeFs::over(stack.clone(), scratch.path().join(name), None);
    let (one, two) = (table(tree("1")).root(), table(tree("2")).root());
    assert!(!scratch.path().join("1").exists(), "nothing is on disk before the first write");
    file(&one, "etc/conf", OpenOptions { write: true, ..READ }).unwrap().write_at(b"I", 0).unwrap();
    one.unlink("etc/other").unwrap();
    one.rename("etc", &one, "moved").unwrap();
    assert_eq!(read(&one, "moved/conf").as_deref(), Ok("Image"));
    assert_eq!(names(&one, "moved").unwrap(), ["conf"]);
    assert_eq!(read(&one, "etc/conf"), Err(Errno::NotFound));
    assert_eq!(read(&two, "etc/conf").as_deref(), Ok("image"));
    assert_eq!(names(&two, "etc").unwrap(), ["conf", "other"]);
    drop(one);
    assert!(!scratch.path().join("1").exists(), "what was written goes with the container");
}

#[test]
fn an_open_file_outlives_its_name_and_then_frees_its_room() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = TreeFs::over(stack(&[]), scratch.path().join("upper"), Some(10_000));
    let root = table(&tree).root();
    let both = OpenOptions { read: true, ..WRITE };
    let open = file(&root, "f", both).unwrap();
    open.write_at(&[7; 4000], 0).unwrap();
    root.unlink("f").unwrap();
    assert_eq!(open.stat().unwrap().links, 0);
    assert_eq!(open.write_at(&[7; 10], 4000), Ok(10));
    assert_eq!(open.contents().unwrap().len(), 4010);
    assert_eq!(read(&root, "f"), Err(Errno::NotFound));
    assert_eq!((tree.used(), upper_files(scratch.path())), (4010, 1));
    drop(open);
    assert_eq!((tree.used(), upper_files(scratch.path())), (0, 0));
}

#[test]
fn written_files_do_not_stay_open() {
    let scratch = tempfile::tempdir().unwrap();
    let root = table(container(scratch.path(), &[])).root();
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    write(&root, "warm", "up").unwrap();
    let before = open_files();
    for number in 0..200 {
        write(&root, &format!("f{number}"), "x").unwrap();
    }
    assert!(open_files() < before + 100, "{} and then {}", before, open_files());
    assert_eq!(read(&root, "f7").as_deref(), Ok("x"));
}

#[test]
fn a_quota_is_exact_and_a_write_takes_what_fits() {
    let scratch = tempfile::tempdir().unwrap();
    for (tree, limit) in [
        (TreeFs::in_memory(64 * 4096), 64 * 4096),
        (TreeFs::over(stack(&[&[Item::File("img", "12345")]]), scratch.path().join("u"), Some(10_000)), 10_000),
    ] {
        let root = table(&tree).root();
        let big = file(&root, "big", WRITE).unwrap();
        assert_eq!(big.write_at(&vec![1; 1 << 20], 0), Ok(limit));
        assert_eq!(big.write_at(b"x", limit as u64), Err(Errno::NoSpace));
        assert_eq!(big.write_at(b"x", 0), Ok(1));
        assert_eq!(tree.used(), limit as u64);
        assert_eq!(write(&root, "more", "x"), Err(Errno::NoSpace));
        root.unlink("big").unwrap();
        drop(big);
        assert_eq!(tree.used(), 0);
        assert_eq!(write(&root, "more", "x"), Ok(()));
    }
}

#[test]
fn copying_up_counts_against_the_quota() {
    let scratch = tempfile::tempdir().unwrap();
    let contents = "x".repeat(5000);
    let tree = TreeFs::over(stack(&[&[Item::File("img", &contents)]]), scratch.path().join("u"), Some(4000));
    let root = table(&tree).root();
    let image = file(&root, "img", OpenOptions { write: true, ..READ }).unwrap();
    assert_eq!(image.write_at(b"y", 0), Err(Errno::NoSpace));
    assert_eq!(image.contents().unwrap(), contents.as_bytes(), "it stays as it was");
    assert_eq!(image.set_size(3), Ok(()), "cutting copies only what stays");
    assert_eq!((image.contents().unwrap().as_ref(), tree.used()), (b"xxx".as_slice(), 3));
    assert_eq!(write(&root, "img", "new"), Ok(()));
}

#[test]
fn a_filesystem_in_memory_bounds_its_names() {
    let root = table(TreeFs::in_memory(4096)).root();
    let made = (0..10_000).take_while(|number| root.create_dir(&format!("d{number}"), 0o755).is_ok()).count();
    assert_eq!(made, 256);
    assert_eq!(root.create_dir("more", 0o755), Err(Errno::NoSpace));
    assert_eq!(root.symlink("x", "more"), Err(Errno::NoSpace));
    assert_eq!(root.rename("d0", &root, "d1"), Ok(()));
    assert_eq!(root.create_dir("more", 0o755), Ok(()));
    let target = "t".repeat(4000);
    let root = table(TreeFs::in_memory(2 * 4096)).root();
    assert_eq!((1..=3).filter(|number| root.symlink(&target, &format!("l{number}")).is_ok()).count(), 2);
}

#[test]
fn holes_take_no_room_and_read_as_zeros() {
    let tree = TreeFs::in_memory(8 * 4096);
    let root = table(&tree).root();
    let sparse = file(&root, "sparse", OpenOptions { read: true, ..WRITE }).unwrap();
    sparse.set_size(1 << 50).unwrap();
    assert_eq!(sparse.write_at(b"end", 1 << 40), Ok(3));
    assert_eq!(tree.used(), 4096);
    let mut buffer = [9; 5];
    assert_eq!(sparse.read_at(&mut buffer, (1 << 40) - 1), Ok(5));
    assert_eq!(&buffer, b"\0end\0");
    assert_eq!(sparse.contents(), Err(Errno::FileTooLarge));
    assert_eq!(sparse.write_at(b"x", u64::MAX), Err(Errno::FileTooLarge));
    assert_eq!(sparse.set_size(u64::MAX), Err(Errno::FileTooLarge));
    sparse.set_size((1 << 40) + 1).unwrap();
    sparse.set_size((1 << 40) + 3).unwrap();
    assert_eq!(sparse.read_at(&mut buffer, 1 << 40), Ok(3));
    assert_eq!(&buffer[..3], b"e\0\0", "what was cut off does not come back");
}

#[test]
fn times_are_kept_and_set() {
    let root = table(memory()).root();
    write(&root, "f", "f").unwrap();
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
    root.set_times_at("f", true, SetTime::At(then), SetTime::Keep).unwrap();
    let stat = root.stat_at("f", true).unwrap();
    assert_eq!(stat.accessed, then);
    assert!(stat.modified > then);
    root.set_times_at("f", true, SetTime::Keep, SetTime::At(then)).unwrap();
    assert_eq!(file(&root, "f", READ).unwrap().stat().unwrap().modified, then);
}
