//! Files as they are put on a disk.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use trunkline_agent::postgres::disk::{self, Changed, Rights};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_file_that_is_as_it_should_be_is_not_touched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    assert_eq!(
        disk::put(&path, b"one", Rights::Usual).unwrap(),
        Changed::Yes
    );
    let before = fs::metadata(&path).unwrap().ino();
    assert_eq!(
        disk::put(&path, b"one", Rights::Usual).unwrap(),
        Changed::No
    );
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(
        disk::put(&path, b"two", Rights::Usual).unwrap(),
        Changed::Yes
    );
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_ne!(fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn rights_follow_the_data_directory_inside_of_it_and_the_file_elsewhere() {
    let folder = TempDir::new().unwrap();
    let (data, etc) = (folder.path().join("data"), folder.path().join("etc"));
    for directory in [&data, &etc] {
        fs::create_dir(directory).unwrap();
    }
    let (inside, outside) = (data.join("file"), etc.join("file"));
    for (of_data, expected) in [(0o700, 0o600), (0o750, 0o640)] {
        fs::set_permissions(&data, PermissionsExt::from_mode(of_data)).unwrap();
        let text = format!("{of_data:o}");
        let rights = Rights::beside(&data, &inside);
        let _ = disk::put(&inside, text.as_bytes(), rights).unwrap();
        assert_eq!(mode(&inside), expected);
    }
    fs::write(&outside, "").unwrap();
    fs::set_permissions(&outside, PermissionsExt::from_mode(0o664)).unwrap();
    let _ = disk::put(&outside, b"new", Rights::beside(&data, &outside)).unwrap();
    assert_eq!(mode(&outside), 0o664);
}

#[test]
fn a_link_stays_a_link() {
    let folder = TempDir::new().unwrap();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    symlink("target", &link).unwrap();
    for text in ["first", "second"] {
        let _ = disk::put(&link, text.as_bytes(), Rights::Usual).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
    }
}

#[test]
fn what_cannot_be_written_is_said_with_what_to_do_and_the_old_file_stays() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("missing/file");
    let error = disk::put(&path, b"", Rights::Usual)
        .unwrap_err()
        .to_string();
    let expected = format!(
        "writing {}: No such file or directory (os error 2); its directory must exist",
        path.display()
    );
    assert_eq!(error, expected);
}

/// Runs one of these tests again, in a mount namespace with a disk of 64 KiB of its own; there, where that disk is.
fn on_a_small_disk(test: &str) -> Option<PathBuf> {
    const WHERE: &str = "TRUNKLINE_SMALL_DISK";
    if let Some(small) = std::env::var_os(WHERE) {
        return Some(small.into());
    }
    let folder = TempDir::new().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@""#)
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("disk::{test}")])
        .env(WHERE, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "it needs root: {output:?}");
    None
}

#[test]
fn on_a_full_disk_the_old_file_stays_whole_and_nothing_is_left_half_written() {
    let test = "on_a_full_disk_the_old_file_stays_whole_and_nothing_is_left_half_written";
    let Some(small) = on_a_small_disk(test) else {
        return;
    };
    let (path, filler) = (small.join("postgresql.conf"), small.join("filler"));
    let _ = disk::put(&path, b"old", Rights::Usual).unwrap();
    let full = fs::write(&filler, vec![0; 1 << 17]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let error = disk::put(&path, &[b'x'; 9000], Rights::Usual).unwrap_err();
    let advice =
        "No space left on device (os error 28); make room on this file system; nothing was changed";
    assert!(error.to_string().ends_with(advice), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(&small).unwrap().count(), 2);
    fs::remove_file(&filler).unwrap();
    let written = disk::put(&path, &[b'x'; 9000], Rights::Usual).unwrap();
    assert_eq!(written, Changed::Yes);
}

#[test]
fn on_a_disk_that_became_read_only_the_operator_is_told_and_what_is_right_is_no_error() {
    let test = "on_a_disk_that_became_read_only_the_operator_is_told_and_what_is_right_is_no_error";
    let Some(small) = on_a_small_disk(test) else {
        return;
    };
    let path = small.join("postgresql.conf");
    let _ = disk::put(&path, b"old", Rights::Usual).unwrap();
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&small)
        .status();
    assert!(remounted.unwrap().success());
    assert_eq!(
        disk::put(&path, b"old", Rights::Usual).unwrap(),
        Changed::No
    );
    let error = disk::put(&path, b"new", Rights::Usual).unwrap_err();
    let advice =
        "Read-only file system (os error 30); the agent's user must own it and its directory";
    assert!(error.to_string().ends_with(advice), "{error}");
}

#[test]
fn removing_and_creating_say_whether_there_was_anything_to_do() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("standby.signal");
    assert_eq!(disk::remove(&path).unwrap(), Changed::No);
    assert_eq!(disk::touch(&path, Rights::Usual).unwrap(), Changed::Yes);
    assert_eq!(disk::touch(&path, Rights::Usual).unwrap(), Changed::No);
    assert_eq!(disk::remove(&path).unwrap(), Changed::Yes);
    assert!(!path.exists());
}
