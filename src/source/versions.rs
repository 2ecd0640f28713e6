//! Whether source can be trusted to be of the version that made the weights.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::locate::Found;

/// Entries of a folder that are looked at.
const ENTRIES: usize = 20_000;

/// What can be said of a class's source, in words.
pub(super) fn trust(found: &Found, made_with: &HashMap<String, String>) -> String {
    if found.path.is_none() {
        return "it came with the weights".to_owned();
    }
    let made = found.package.as_ref().and_then(|(name, version)| Some((version, made_with.get(name)?)));
    match made {
        Some((version, made)) if version == made => "the version that saved the weights".to_owned(),
        Some((_, made)) => format!("another version: {made} saved the weights"),
        None => "the file does not tell which version made the weights".to_owned(),
    }
}

/// The version of a package that is installed in this folder, by the name of its `.dist-info`.
pub(super) fn installed(folder: &Path, package: &str) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.filter_map(Result::ok).take(ENTRIES).find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (distribution, version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
        distribution.replace('-', "_").eq_ignore_ascii_case(package).then(|| version.to_owned())
    })
}

/// The site-packages of an environment: `lib/python3.12/site-packages`, or `Lib/site-packages` on Windows.
pub(super) fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let versions = std::fs::read_dir(environment.join("lib")).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> = versions.take(ENTRIES).map(|entry| entry.path().join("site-packages")).collect();
    found.push(environment.join("Lib").join("site-packages"));
    found.retain(|path| path.is_dir());
    found.sort();
    // Where letter case does not count, both spellings lead to one folder.
    found.dedup_by_key(|path| std::fs::canonicalize(path).ok());
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_those_of_the_installed_packages() {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("lib/python3.12/site-packages");
        for name in ["timm-1.0.15.dist-info", "my_models-2.0.dist-info", "timm", "notes.txt"] {
            std::fs::create_dir_all(packages.join(name)).unwrap();
        }
        assert_eq!(site_packages(folder.path()), std::slice::from_ref(&packages));
        assert_eq!(installed(&packages, "timm").as_deref(), Some("1.0.15"));
        assert_eq!(installed(&packages, "my_models").as_deref(), Some("2.0"));
        assert_eq!(installed(&packages, "notes"), None);
        assert_eq!(site_packages(&packages), Vec::<PathBuf>::new());
    }
}
