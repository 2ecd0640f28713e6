//! Where source is looked for.

mod called;
mod roots;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::budget::{Budget, Part};
pub(super) use super::class_paths::{split, splits};
use super::files::{self, Files, SIZE_LIMIT};
use super::folders::{Index, classes_below, likeness};
use super::held::Facts;
use super::imports::Imports;
use super::python::Module;
use super::reach::{Lineage, Member};
use super::reading::Reading;
use super::texts::Texts;
use super::{ClassSource, blockers, by_name, idioms, interpreter, norms, ops, versions};
use crate::files::{Inputs, Role};
use crate::registry::libraries::FROM_SOURCE;
pub use roots::Roots;
use t2m_checkpoint::escape::escape;

/// One class may take this part of the steps that are left.
const SHARE: u64 = 4;
/// Blockers and ops of all classes together that are kept; a model has some hundred.
const FINDINGS: usize = 50_000;
/// Everything that was named as source, searched in order.
#[derive(Debug, Default)]
pub struct Sources {
    roots: Vec<Root>,
    /// The numbers of those that are no texts.
    others: Vec<usize>,
    files: Files,
    texts: Texts,
    /// Blockers and ops that were found.
    findings: AtomicUsize,
    /// Versions of the packages that made the weights, as far as the checkpoint tells.
    made_with: HashMap<String, String>,
}

#[derive(Debug)]
enum Root {
    File(PathBuf),
    Folder {
        path: PathBuf,
        index: OnceLock<Index>,
    },
    /// A site-packages or another folder of `sys.path`: only the file that the class path names is looked at.
    Packages {
        path: PathBuf,
        origin: &'static str,
        /// Classes of transformers' models, where one is looked for by its name.
        models: OnceLock<Index>,
    },
    Text {
        module: String,
        file: String,
        origin: String,
        parsed: Option<Arc<Module>>,
    },
}

/// A file or text that may hold a class: what is in it, what to call it, and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub module: Arc<Module>,
    /// The class's qualified name in it.
    pub name: String,
    /// What to call the file.
    pub file: String,
    pub origin: String,
    /// Where the file is; `None` for text that is no file.
    pub path: Option<PathBuf>,
    /// The installed package that it is part of, with its version.
    pub package: Option<(String, String)>,
}

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that does not exist or cannot be read.
    #[error("source {}: {error}; name a .py file, a folder, or a site-packages folder", shown(path))]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A path to something else.
    #[error(
        "source {}: neither a .py file nor a folder; name the file that defines the model, or a folder above it",
        shown(path)
    )]
    NotPython {
        /// As given.
        path: PathBuf,
    },
    /// A file that no one wrote by hand.
    #[error(
        "source {}: {bytes} bytes; files above 4 MiB are not read. Name the file that defines the model",
        shown(path)
    )]
    TooLarge {
        /// As given.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A Python that does not tell its path.
    #[error("python {}: {reason}; name a Python 3 that runs, or its site-packages folder by --source", shown(path))]
    Python {
        /// As given.
        path: PathBuf,
        /// Why, in words.
        reason: String,
    },
}

/// A path that the user named, in a message.
fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

impl Sources {
    /// Python files, folders with Python files below them, or site-packages folders; each is read when a class is looked for.
    ///
    /// # Errors
    /// A path does not exist, is neither a Python file nor a folder, or is a file of more than 4 MiB.
    pub fn new(paths: &[PathBuf]) -> Result<Sources, Error> {
        let roots = paths.iter().map(|path| Root::new(path)).collect::<Result<Vec<Root>, Error>>()?;
        Ok(Sources { others: (0..roots.len()).collect(), roots, ..Sources::default() })
    }

    /// No sources yet, and another budget than the usual one for those to come.
    pub fn within(budget: Budget) -> Sources {
        Sources { files: Files::within(budget), ..Sources::default() }
    }

    fn push(&mut self, root: Root) {
        self.others.push(self.roots.len());
        self.roots.push(root);
    }

    /// Whether nothing was named at all.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Add the folders on the `sys.path` of a Python. It is asked for the path only, and given twenty seconds to answer.
    ///
    /// # Errors
    /// It cannot be run, fails, or does not answer.
    pub fn add_python(&mut self, python: &Path) -> Result<(), Error> {
        self.add_python_unless(python, || false)
    }

    /// As [`Sources::add_python`], and that Python is ended once `cancelled` says so.
    ///
    /// # Errors
    /// It cannot be run, fails, does not answer, or was cancelled.
    pub fn add_python_unless(&mut self, python: &Path, cancelled: impl Fn() -> bool) -> Result<(), Error> {
        let folders = interpreter::path_of(python, cancelled)
            .map_err(|reason| Error::Python { path: python.to_owned(), reason })?;
        let existing = folders.into_iter().filter(|folder| folder.is_dir());
        for path in existing {
            self.push(Root::packages(path, "from --python"));
        }
        Ok(())
    }

    /// Tell where a class is, as the Python that built the model says; what else it imports is looked for beside it. Nothing
    /// happens where the class is found already.
    pub fn add_place(&mut self, class: &str, file: &Path) {
        const ORIGIN: &str = "where --model found it";
        let Some(parts) = split(class).filter(|parts| parts.first() != Some(&"torch")) else { return };
        if !is_python(file) || self.found(class).is_some() {
            return;
        }
        let module = file.with_extension("");
        let module = if module.ends_with("__init__") { module.parent().unwrap_or(&module) } else { &module };
        // The folder in which the class's dotted path begins.
        let folder = splits(&parts).find_map(|(own, _)| {
            let named = module.ends_with(own.iter().collect::<PathBuf>());
            module.ancestors().nth(own.len()).filter(|_| named && !own.is_empty())
        });
        match folder {
            Some(folder) => self.push(Root::packages(folder.to_owned(), ORIGIN)),
            None => self.push(Root::File(file.to_owned())),
        }
    }

    /// Tell the version of a package that made the weights: source of that package is then known to be the same or not.
    pub fn made_with(&mut self, package: &str, version: &str) {
        self.made_with.insert(package.to_owned(), version.to_owned());
    }

    /// Add the site-packages of the environment that is active, by `VIRTUAL_ENV` or `CONDA_PREFIX`. Whether there is one.
    pub fn add_environment(&mut self, folder: &Path) -> bool {
        let found = versions::site_packages(folder);
        let any = !found.is_empty();
        for path in found {
            self.push(Root::packages(path, "from the active environment"));
        }
        any
    }

    /// Add text that is not in a file: `module` is the dotted module name (`vision.net`), `file` the name to show,
    /// `origin` where it came from, in words. With an empty `module` it serves a class of any module, as a file does.
    pub fn add_text(&mut self, module: &str, file: &str, origin: &str, text: &str) {
        let parsed = self.parse(file, files::unix_lines(text.to_owned()));
        self.push_text(module, file, origin, parsed);
    }

    /// Add the source of one class, with or without the rest of its file, such as a checkpoint carries: `class` is the full
    /// path, `file` the name to show, `origin` where it came from, in words.
    pub fn add_class(&mut self, class: &str, file: &str, origin: &str, text: &str) {
        let text = dedent(&files::unix_lines(text.to_owned()));
        let Some(parsed) = self.parse(file, text) else { return };
        let Some(parts) = split(class) else { return };
        // Of a nested class the text can begin with the class itself.
        let module = splits(&parts).find(|(_, name)| parsed.has_class(name)).map(|(module, _)| module.join("."));
        let Some(module) = module.filter(|module| !module.is_empty()) else { return };
        self.push_text(&module, file, origin, Some(parsed));
    }

    fn parse(&self, file: &str, text: String) -> Option<Arc<Module>> {
        let parsed = Module::parse_within(text.into(), self.budget()).map(Arc::new);
        if parsed.is_none() {
            self.budget().leave_out(Part::File, file);
        }
        parsed
    }

    fn push_text(&mut self, module: &str, file: &str, origin: &str, parsed: Option<Arc<Module>>) {
        self.texts.add(self.roots.len(), module, file, parsed.as_deref());
        let (module, file, origin) = (module.to_owned(), file.to_owned(), origin.to_owned());
        self.roots.push(Root::Text { module, file, origin, parsed });
    }

    /// What reading took, and what was left out since it would take too much.
    pub fn budget(&self) -> &Arc<Budget> {
        self.files.budget()
    }

    /// Where is looked, in order, each in words.
    pub fn describe(&self) -> Vec<String> {
        let words = |root: &Root| match root {
            Root::File(path) => format!("file {}", shown(path)),
            Root::Folder { path, .. } => format!("folder {}", shown(path)),
            Root::Packages { path, origin, .. } => format!("packages {} ({origin})", shown(path)),
            Root::Text { file, origin, .. } => format!("{file} ({origin})"),
        };
        self.roots.iter().map(words).collect()
    }

    /// The files that were read so far.
    pub fn inputs(&self) -> Inputs {
        let mut inputs = Inputs::default();
        self.files.paths().into_iter().for_each(|path| inputs.add(Role::Source, path));
        inputs
    }

    /// Find a class by its full path (`vision.net.Block`), with its forward and blockers.
    ///
    /// A file at the place that the path names comes first, whatever the order of the sources. After it, a file or folder
    /// serves a class of the same name from any module, since a script's classes are called `__main__.Net`; classes of
    /// torch itself are taken from torch alone. Bases are followed within the file, and into other files by its imports.
    pub fn class(&self, class: &str) -> Option<ClassSource> {
        if self.budget().is_spent() {
            self.budget().leave_out(Part::Class, class);
            return None;
        }
        let found = self.found(class)?;
        let described = self.budget().share(SHARE, || {
            let imports = Imports::new(self);
            let mut described = describe(&imports, imports.family(found), &self.made_with)?;
            if self.budget().is_spent() {
                // Half of an answer could accuse what the other half acquits.
                self.budget().leave_out(Part::Class, &format!("{class} in {}", described.file));
                described.forget_findings();
            }
            Some(described)
        });
        described.map(|described| self.within_bounds(class, described))
    }

    /// Drop blockers for which there is no room, of a class with this many instances.
    pub(crate) fn keep_for(&self, class: &str, found: &mut ClassSource, instances: usize, room: &mut usize) {
        let blockers = *room / instances.max(1);
        if found.keep_blockers(blockers) {
            self.budget().leave_out(Part::Findings, &format!("{class} in {}", found.file));
        }
        *room -= (found.blockers.len() + found.inherited.len()) * instances;
    }

    /// With no more findings than there is room for: a checkpoint may have ten thousand classes, each with thousands.
    fn within_bounds(&self, class: &str, mut found: ClassSource) -> ClassSource {
        let room = FINDINGS.saturating_sub(self.findings.load(Ordering::Relaxed));
        if found.keep(room) {
            self.budget().leave_out(Part::Findings, &format!("{class} in {}", found.file));
        }
        let kept = found.blockers.len() + found.inherited.len() + found.ops.len();
        self.findings.fetch_add(kept, Ordering::Relaxed);
        found
    }

    /// The file and the class in it that a full path means.
    pub(super) fn found(&self, class: &str) -> Option<Found> {
        let parts = split(class)?;
        let with_class = self.texts.with_class(&parts.join("."));
        let exact = self.first(with_class, |root| root.exact(&parts, &self.files));
        let anywhere = || {
            let with_class = self.texts.with_any(splits(&parts).map(|(_, name)| name));
            self.first(with_class, |root| root.anywhere(&parts, self))
        };
        exact.or_else(|| if parts.first() == Some(&"torch") { None } else { anywhere() })
    }

    /// What the first of the roots has to tell; of those that are texts only this one is asked.
    fn first<T>(&self, text: Option<usize>, ask: impl Fn(&Root) -> Option<T>) -> Option<T> {
        let asked = self.others.iter().copied().chain(text).collect::<BTreeSet<usize>>();
        asked.into_iter().filter_map(|number| self.roots.get(number)).find_map(ask)
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Folders in which absolute imports may be looked for.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let folders = |root: &Root| match root {
            Root::File(path) => path.parent().map(Path::to_owned).into_iter().collect(),
            Root::Folder { path, .. } => {
                std::iter::once(path.as_path()).chain(path.parent()).map(Path::to_owned).collect()
            }
            Root::Packages { path, .. } => vec![path.clone()],
            Root::Text { .. } => Vec::new(),
        };
        self.others.iter().filter_map(|number| self.roots.get(*number)).flat_map(folders).collect()
    }

    /// Every class in the files, folders and texts, packages left out, by file and name. Files are parsed as they are reached.
    pub(super) fn classes(&self) -> impl Iterator<Item = Found> {
        self.roots.iter().flat_map(|root| -> Box<dyn Iterator<Item = Found> + '_> {
            let files = match root {
                Root::File(path) => vec![path.clone()],
                Root::Folder { path, index } => {
                    let index = index.get_or_init(|| classes_below(path, &self.files));
                    index.values().flatten().cloned().collect::<BTreeSet<PathBuf>>().into_iter().collect()
                }
                Root::Packages { .. } => Vec::new(),
                Root::Text { .. } => {
                    let names = root.as_text(String::new()).into_iter().flat_map(|text| names_in(&text.module));
                    return Box::new(names.filter_map(|name| root.as_text(name)));
                }
            };
            Box::new(files.into_iter().flat_map(|path| {
                let names = self.files.module(&path).into_iter().flat_map(|module| names_in(&module));
                names.filter_map(|name| in_file(&path, &name, &self.files)).collect::<Vec<Found>>()
            }))
        })
    }

    /// The files that were named themselves, with no class chosen in them.
    pub(super) fn single_files(&self) -> Vec<Found> {
        let files = self.roots.iter().filter_map(|root| match root {
            Root::File(path) => Some(path),
            _ => None,
        });
        let found = files.filter_map(|path| {
            let (module, file) = (self.files.module(path)?, path.display().to_string());
            let (name, origin, path) = (String::new(), FROM_SOURCE.to_owned(), Some(path.clone()));
            Some(Found { module, name, file, origin, path, package: None })
        });
        found.collect()
    }

    /// The module name of a text, by what its file is called.
    pub(super) fn text_module(&self, called: &str) -> Option<&str> {
        match self.roots.get(self.texts.file(called)?)? {
            Root::Text { module, .. } => Some(module.as_str()),
            _ => None,
        }
    }

    /// The text of that module name, with no class chosen in it.
    pub(super) fn text(&self, name: &str) -> Option<Found> {
        self.roots.get(self.texts.module(name)?)?.as_text(String::new())
    }
}

impl Root {
    fn new(path: &Path) -> Result<Root, Error> {
        let path = path.to_owned();
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return Err(Error::Unreadable { path, error }),
        };
        if metadata.is_dir() {
            let packages = matches!(name_of(&path).as_deref(), Some("site-packages" | "dist-packages"));
            return Ok(if packages {
                Root::packages(path, FROM_SOURCE)
            } else {
                Root::Folder { path, index: OnceLock::new() }
            });
        }
        match metadata.len() {
            _ if !metadata.is_file() || !is_python(&path) => Err(Error::NotPython { path }),
            bytes if bytes > SIZE_LIMIT => Err(Error::TooLarge { path, bytes }),
            _ => Ok(Root::File(path)),
        }
    }

    fn packages(path: PathBuf, origin: &'static str) -> Root {
        Root::Packages { path, origin, models: OnceLock::new() }
    }

    /// The class in the module that its path names.
    fn exact(&self, parts: &[&str], files: &Files) -> Option<Found> {
        match self {
            Root::File(path) => {
                let stem = path.file_stem()?.to_str()?;
                let named = |module: &[&str]| module.last() == Some(&stem);
                splits(parts).filter(|(module, _)| named(module)).find_map(|(_, name)| in_file(path, &name, files))
            }
            Root::Folder { path, .. } => below(path, parts, files, FROM_SOURCE).or_else(|| {
                let own = name_of(path)?;
                let rest = parts.split_first().filter(|(first, _)| **first == own)?.1;
                below(path, rest, files, FROM_SOURCE)
            }),
            Root::Packages { path, origin, models } => {
                let by_name = || {
                    let name = parts.last().filter(|_| by_name::is_asked(parts))?;
                    let models = models.get_or_init(|| by_name::index(path, files));
                    let found = in_file(by_name::file_of(models, name)?, name, files)?;
                    Some(Found { origin: (*origin).to_owned(), ..found })
                };
                let found = below(path, parts, files, origin).or_else(by_name)?;
                let package =
                    parts.first().and_then(|name| Some(((*name).to_owned(), versions::installed(path, name)?)));
                Some(Found { package, ..found })
            }
            Root::Text { module, .. } => {
                let named = |own: &[&str]| !module.is_empty() && own.join(".") == *module;
                splits(parts).filter(|(own, _)| named(own)).find_map(|(_, name)| self.in_text(&name))
            }
        }
    }

    /// A class of the same qualified name, or else of the last part of it, in any module.
    fn anywhere(&self, parts: &[&str], sources: &Sources) -> Option<Found> {
        let files = &sources.files;
        match self {
            Root::File(path) => splits(parts).rev().find_map(|(_, name)| in_file(path, &name, files)),
            Root::Folder { path, index } => {
                let index = index.get_or_init(|| classes_below(path, files));
                let candidates = index.get(*parts.last()?)?;
                let best = |name: &str| {
                    let holding = candidates.iter().filter_map(|file| in_file(file, name, files));
                    // The first of those whose path is most like the class's.
                    holding.rev().max_by_key(|found| likeness(&found.file, parts))
                };
                splits(parts).rev().find_map(|(_, name)| best(&name))
            }
            Root::Packages { .. } => None,
            Root::Text { module, .. } if module.is_empty() || module == "__main__" => {
                splits(parts).rev().find_map(|(_, name)| self.in_text(&name))
            }
            Root::Text { .. } => None,
        }
    }

    fn in_text(&self, name: &str) -> Option<Found> {
        self.as_text(name.to_owned()).filter(|found| found.module.has_class(name))
    }

    fn as_text(&self, name: String) -> Option<Found> {
        let Root::Text { file, origin, parsed, .. } = self else { return None };
        Some(Found {
            module: parsed.clone()?,
            name,
            file: file.clone(),
            origin: origin.clone(),
            path: None,
            package: None,
        })
    }
}

/// What to show of a class, which comes first, and of its bases. The file shown is the one with `forward`.
fn describe(imports: &Imports<'_>, family: Vec<Found>, made_with: &HashMap<String, String>) -> Option<ClassSource> {
    let members = family
        .iter()
        .filter_map(|found| Some(Member { module: &found.module, class: found.module.class(&found.name)? }));
    let lineage = Lineage { members: members.collect() };
    let (own, entry) = (family.first()?, lineage.entry());
    let at = entry.map_or(0, |entry| entry.owner);
    let shown = family.get(at)?;
    let first_shown = if shown.file == own.file { 0 } else { at };
    let line = |member: &Member<'_>| member.class.node.start_position().row + 1;
    let mut origin = own.origin.clone();
    if let Some((package, version)) = &own.package {
        origin += &format!(", {package} {version}");
    }
    if at > 0 {
        origin += &format!(", forward inherited from {}", shown.name);
    }
    if shown.file != own.file {
        origin += &format!(" ({} is in {}:{})", own.name, own.file, line(lineage.members.first()?));
    }
    let facts = Facts::of(&lineage);
    let readings: Vec<Reading<'_, '_>> =
        lineage.reached().into_iter().map(|reached| Reading::new(reached, &facts)).collect();
    let mut inherited = Vec::new();
    let mut seen = HashSet::from([shown.file.as_str()]);
    for other in family.iter().filter(|other| seen.insert(&other.file)) {
        let found = blockers::find(&lineage, &facts, &readings, &other.module);
        inherited.extend(found.into_iter().map(|blocker| (other.file.clone(), blocker)));
    }
    let file_of = |module: &Module| {
        let found = family.iter().find(|found| std::ptr::eq(&*found.module, module))?;
        (found.file != shown.file).then(|| found.file.clone())
    };
    let helpers = idioms::helpers(imports, &family, &readings);
    let idioms = idioms::find(&readings, &helpers, file_of);
    let (ops, counted) = ops::find(&readings, file_of);
    Some(ClassSource {
        file: shown.file.clone(),
        origin,
        trust: versions::trust(own, made_with),
        text: Arc::clone(shown.module.text()),
        class_line: line(lineage.members.get(first_shown)?),
        forward: entry.map(|entry| entry.method.lines()),
        stands_for: if entry.is_none() { lineage.plain_base() } else { None },
        blockers: blockers::find(&lineage, &facts, &readings, &shown.module),
        inherited,
        mentions: entry.map_or_else(Vec::new, |entry| shown.module.mentions(entry.method.node)),
        called: called::of(&lineage, &family, &readings),
        builds: builds(&lineage, &shown.module),
        ops,
        counted,
        idioms,
        norm: norms::read(&readings),
    })
}

/// What the constructors of the lineage that are in this file mention of `self`.
fn builds(lineage: &Lineage<'_>, file: &Module) -> Vec<(usize, String)> {
    let members = lineage.members.iter().filter(|member| std::ptr::eq(member.module, file));
    let inits = members.filter_map(|member| Some(member.module.mentions(member.class.method("__init__")?.node)));
    inits.flatten().collect()
}

/// Qualified names of the classes of a file, sorted.
fn names_in(module: &Module) -> Vec<String> {
    let mut names: Vec<String> = module.bases().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

/// The text with the indentation of its first line taken off every line: a class in a function is stored as it stands there.
fn dedent(text: &str) -> String {
    let indent = text.len() - text.trim_start_matches([' ', '\t']).len();
    let indent = text.get(..indent).unwrap_or_default();
    if indent.is_empty() {
        return text.to_owned();
    }
    text.split_inclusive('\n').map(|line| line.strip_prefix(indent).unwrap_or(line)).collect()
}

/// The class in `folder/a/b.py` or `folder/a/b/__init__.py`, for each reading of the parts.
fn below(folder: &Path, parts: &[&str], files: &Files, origin: &str) -> Option<Found> {
    splits(parts).filter(|(module, _)| !module.contains(&"<locals>")).find_map(|(module, name)| {
        let mut path = folder.to_owned();
        path.extend(module);
        // No part holds a dot, so this adds the extension.
        let file = (!module.is_empty()).then(|| path.with_extension("py"));
        let found = file.into_iter().chain([path.join("__init__.py")]).find_map(|path| in_file(&path, &name, files))?;
        Some(Found { origin: origin.to_owned(), ..found })
    })
}

fn in_file(path: &Path, name: &str, files: &Files) -> Option<Found> {
    let module = files.module(path).filter(|module| module.has_class(name))?;
    let (name, file, origin) = (name.to_owned(), path.display().to_string(), FROM_SOURCE.to_owned());
    Some(Found { module, name, file, origin, path: Some(path.to_owned()), package: None })
}

pub(super) fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

/// The last part of a path, of `.` and `..` too.
pub(super) fn name_of(path: &Path) -> Option<String> {
    Some(std::fs::canonicalize(path).ok()?.file_name()?.to_str()?.to_owned())
}
