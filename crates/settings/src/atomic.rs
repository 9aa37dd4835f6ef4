//! Files that are replaced whole.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Replaces the file at `path`: a reader sees the old content or the new one, never a part of either. The new content is
/// on disk on return. The file is an ordinary one, not a private one: services may run as other users than the writer.
///
/// # Errors
/// The folder is missing, full or read-only, for example; the file is as it was then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let create = |draft: &Path| File::options().write(true).create_new(true).open(draft);
    let mut draft = tempfile::Builder::new().prefix(".draft-").make_in(folder, create)?;
    draft.write_all(content)?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    sync_folder(folder)
}

/// Without this the rename itself may be lost with the power.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for content in ["long, to begin with", "short", ""] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content, "nothing of the old content is left");
        }
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("full")).unwrap();
        replace(&taken, b"new").expect_err("a folder is there");
        replace(&folder.path().join("absent").join("file"), b"new").expect_err("there is no such folder");

        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "taken"], "no draft is left behind, whether it succeeds or fails");
    }
}
