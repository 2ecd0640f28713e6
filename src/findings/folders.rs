//! The folders that source was found in, so that each is named once and what is in it by the rest of its path.

use std::collections::BTreeSet;
use std::path::Path;

use crate::triage::Triage;

/// Folders of source, the longest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders(Vec<String>);

impl Folders {
    /// Those that the classes of a model were found in: for `timm.layers.Mlp` the folder that `timm` is in.
    pub fn of(triage: &Triage) -> Folders {
        let folders = triage.classes.iter().filter_map(|(class, source)| folder(class, &source.file));
        let folders: BTreeSet<String> = folders.collect();
        let mut folders: Vec<String> = folders.into_iter().collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        Folders(folders)
    }

    /// A file by its path in the folder that holds it; whole, where none does.
    pub fn short<'a>(&self, file: &'a str) -> &'a str {
        self.0.iter().find_map(|folder| file.strip_prefix(folder.as_str())?.strip_prefix('/')).unwrap_or(file)
    }

    /// The folders, in alphabetical order.
    pub fn list(&self) -> Vec<&str> {
        let mut folders: Vec<&str> = self.0.iter().map(String::as_str).collect();
        folders.sort_unstable();
        folders
    }
}

/// The folder that a class's package is in, by the file that it was found in; `None` of files that are named by short paths.
fn folder(class: &str, file: &str) -> Option<String> {
    let path = Path::new(file);
    if !path.is_absolute() {
        return None;
    }
    let package = class.split('.').next().unwrap_or(class);
    let of_package = path.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|name| name == package));
    let folder = of_package.unwrap_or(path).parent()?;
    Some(folder.to_string_lossy().into_owned()).filter(|folder| folder.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_packages() {
        let folder = |class, file| folder(class, file);
        let timm = "/env/site-packages/timm/models/swin.py";
        assert_eq!(folder("timm.models.swin.Block", timm).as_deref(), Some("/env/site-packages"));
        assert_eq!(folder("net.Net", "/home/me/net.py").as_deref(), Some("/home/me"));
        assert_eq!(folder("__main__.Net", "/home/me/train.py").as_deref(), Some("/home/me"));
        assert_eq!(folder("scene.Scene", "demo/scene.py"), None);
        let folders = Folders(vec!["/env/site-packages".to_owned(), "/env".to_owned()]);
        assert_eq!(folders.short(timm), "timm/models/swin.py");
        assert_eq!(folders.short("/env/other.py"), "other.py");
        assert_eq!(folders.short("/envy/other.py"), "/envy/other.py");
    }
}
