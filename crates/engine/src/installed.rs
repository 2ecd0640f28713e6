//! Engines that pip installed. Their wheels hold the program alone; the libraries are those of the wheels of torch and MLX in the
//! same environment, where they lie. A program built from a checkout knows its libraries by itself and is none of these.

use std::path::{Path, PathBuf};

use super::Side;
use t2m_checkpoint::escape::escape;

/// The variable by which the system's loader looks for libraries before anywhere else.
pub const LOADER: &str = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// A distribution that an engine computes with, and the version that it is built against. `setup/wheels.py` fetches the same, and
/// the engines' wheels ask for it; a test holds them together.
pub fn needs(side: Side) -> &'static [(&'static str, &'static str)] {
    match side {
        Side::Torch => &[("torch", "2.13.0")],
        Side::Mlx if cfg!(target_os = "macos") => &[("mlx-metal", "0.32.2")],
        Side::Mlx => &[("mlx-cpu", "0.32.2"), ("scipy-openblas32", "0.3.34.481.3")],
    }
}

/// MLX with CUDA, which computes in mlx-cpu's place on Linux where it is installed: its libmlx.so has the same name and lies in the same
/// folder, and finds NVIDIA's libraries in the packages beside it.
pub const CUDA: (&str, &str) = ("mlx-cuda-13", "0.32.2");

/// The way from one MLX to the other on Linux, for an environment: pip leaves both packages' names there, and the files of the last one.
pub const WITH_CUDA: &str = "--force-reinstall mlx-cuda-13==0.32.2";

/// A Python environment: a virtual one, a tool's of uv or pipx, conda's, or the system's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The folder that has `bin`.
    pub prefix: PathBuf,
    /// The folder of the packages that the distribution is among.
    pub packages: PathBuf,
}

impl Environment {
    /// The environment in whose `bin` a program lies, if a distribution is installed there.
    pub fn of(program: &Path, distribution: &str) -> Option<Environment> {
        let prefix = program.parent()?.parent()?;
        let packages = package_folders(prefix).find(|folder| version(folder, distribution).is_some())?;
        Some(Environment { prefix: prefix.to_owned(), packages })
    }

    /// The command that installs a distribution there.
    pub fn install(&self, what: &str) -> String {
        let prefix = shown(&self.prefix);
        match self.manager() {
            Manager::UvTool => format!("uv tool install --force \"t2m-tui[engines]\" --with {what}"),
            Manager::Uvx => format!("uvx --from \"t2m-tui[engines]\" --with {what} t2m-tui"),
            Manager::Pipx => format!("pipx inject --force t2m-tui {what}"),
            Manager::Uv => format!("uv pip install --python {prefix} {what}"),
            Manager::Pip => format!("{prefix}/bin/python -m pip install {what}"),
        }
    }

    /// The command that brings the engines to a t2m-tui that is installed there.
    pub fn install_engines(&self) -> String {
        match self.manager() {
            Manager::UvTool => "uv tool install --force \"t2m-tui[engines]\"".to_owned(),
            Manager::Uvx => "uvx --from \"t2m-tui[engines]\" t2m-tui".to_owned(),
            Manager::Pipx => "pipx install --force \"t2m-tui[engines]\"".to_owned(),
            Manager::Uv | Manager::Pip => self.install("\"t2m-tui[engines]\""),
        }
    }

    /// Who made it, by where it lies and by what it says of itself.
    fn manager(&self) -> Manager {
        let within = |name: &str| self.prefix.parent().is_some_and(|folder| folder.ends_with(name));
        let settings = || std::fs::read_to_string(self.prefix.join("pyvenv.cfg")).unwrap_or_default();
        if within("uv/tools") {
            Manager::UvTool
        } else if within("uv/archive-v0") || within("uv/environments-v2") {
            Manager::Uvx
        } else if within("pipx/venvs") {
            Manager::Pipx
        } else if settings().lines().any(|line| line.starts_with("uv ")) {
            Manager::Uv
        } else {
            Manager::Pip
        }
    }
}

/// What makes Python environments.
enum Manager {
    Pip,
    Pipx,
    Uv,
    UvTool,
    Uvx,
}

/// The folders that an engine's libraries lie in, for [`LOADER`]; none for one that was built from a checkout.
///
/// # Errors
/// The wheel of a library is missing there, or has another version: the sentence has the command that mends it.
pub fn libraries(program: &Path, side: Side) -> Result<Vec<PathBuf>, String> {
    let Some(environment) = Environment::of(program, side.program()) else { return Ok(Vec::new()) };
    let cuda = version(&environment.packages, CUDA.0).filter(|_| side == Side::Mlx && cfg!(target_os = "linux"));
    for (distribution, wanted) in needs(side) {
        let instead = cuda.as_ref().filter(|_| *distribution == "mlx-cpu");
        let distribution = instead.map_or(distribution, |_| &CUDA.0);
        let there = instead.cloned().or_else(|| version(&environment.packages, distribution));
        // `2.13.0+cpu` is that version in another build.
        if there.as_deref().and_then(|there| there.split('+').next()) == Some(wanted) {
            continue;
        }
        let has = there.map_or_else(|| "has none".to_owned(), |there| format!("has {}", escape(&there)));
        return Err(format!(
            "{} is built for {distribution} {wanted}, and {} {has}: {}",
            side.program(),
            shown(&environment.prefix),
            environment.install(&format!("{distribution}=={wanted}"))
        ));
    }
    let folders: &[&str] = match side {
        Side::Torch => &["torch/lib"],
        Side::Mlx => &["t2m_mlx/lib", "mlx/lib"],
    };
    Ok(folders.iter().map(|folder| environment.packages.join(folder)).filter(|folder| folder.is_dir()).collect())
}

/// What is to be done where a library was not found, by what the loader said of it; `None` where it said nothing of the kind.
pub fn missing_library(said: &str) -> Option<&'static str> {
    let missing =
        said.split_once(": cannot open shared object file").and_then(|(before, _)| before.rsplit(' ').next())?;
    if missing.starts_with("libcuda.so") {
        return Some(
            "that is NVIDIA's driver, which mlx-cuda-13 computes with: install the driver (580 or newer), or              `pip install --force-reinstall mlx-cpu==0.32.2` to compute on the processor",
        );
    }
    let of_nvidia = ["libcudnn", "libcublas", "libcufft", "libnccl", "libnvrtc"];
    of_nvidia.iter().any(|name| missing.starts_with(name)).then_some(
        "that is one of the packages that mlx-cuda-13 computes with: `pip install mlx-cuda-13==0.32.2` in that environment brings them",
    )
}

/// `lib/python3.12/site-packages` and its like, those that are there.
fn package_folders(prefix: &Path) -> impl Iterator<Item = PathBuf> {
    let pythons =
        ["lib", "lib64"].into_iter().flat_map(move |lib| std::fs::read_dir(prefix.join(lib)).into_iter().flatten());
    let mut pythons: Vec<PathBuf> = pythons
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| entry.path())
        .collect();
    pythons.sort();
    let named = |python: PathBuf| ["site-packages", "dist-packages"].map(|name| python.join(name));
    pythons.into_iter().flat_map(named).filter(|folder| folder.is_dir())
}

/// The version of a distribution in a folder of packages, by the name of its metadata's folder (`torch-2.13.0.dist-info`).
fn version(packages: &Path, distribution: &str) -> Option<String> {
    let prefix = format!("{}-", distribution.replace('-', "_"));
    std::fs::read_dir(packages).ok()?.filter_map(|entry| entry.ok()).find_map(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        Some(name.strip_prefix(&prefix)?.strip_suffix(".dist-info")?.to_owned())
    })
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// An environment in which these are installed.
    fn environment(prefix: &Path, distributions: &[&str]) -> PathBuf {
        let packages = prefix.join("lib/python3.12/site-packages");
        for name in distributions {
            std::fs::create_dir_all(packages.join(format!("{name}.dist-info"))).unwrap();
        }
        for folder in ["torch/lib", "mlx/lib", "t2m_mlx/lib"] {
            std::fs::create_dir_all(packages.join(folder)).unwrap();
        }
        std::fs::create_dir_all(prefix.join("bin")).unwrap();
        packages
    }

    #[test]
    fn libraries_are_those_of_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let packages = environment(
            folder.path(),
            &[
                "t2m_torch-0.1.0",
                "torch-2.13.0+cpu",
                "t2m_mlx-0.1.0",
                "mlx_cpu-0.32.2",
                "mlx_metal-0.32.2",
                "scipy_openblas32-0.3.34.481.3",
            ],
        );
        let bin = folder.path().join("bin");
        assert_eq!(libraries(&bin.join("t2m-torch"), Side::Torch), Ok(vec![packages.join("torch/lib")]));
        let both = vec![packages.join("t2m_mlx/lib"), packages.join("mlx/lib")];
        assert_eq!(libraries(&bin.join("t2m-mlx"), Side::Mlx), Ok(both));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn mlx_with_cuda_computes_in_the_place_of_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let packages =
            environment(folder.path(), &["t2m_mlx-0.1.0", "mlx_cuda_13-0.32.2", "scipy_openblas32-0.3.34.481.3"]);
        let program = folder.path().join("bin/t2m-mlx");
        let both = vec![packages.join("t2m_mlx/lib"), packages.join("mlx/lib")];
        assert_eq!(libraries(&program, Side::Mlx), Ok(both));
        std::fs::rename(packages.join("mlx_cuda_13-0.32.2.dist-info"), packages.join("mlx_cuda_13-0.31.0.dist-info"))
            .unwrap();
        // An mlx-cpu beside it that would fit has not written the library that is there, or has: it is told of the one with CUDA.
        std::fs::create_dir(packages.join("mlx_cpu-0.32.2.dist-info")).unwrap();
        let told = libraries(&program, Side::Mlx).unwrap_err();
        assert!(
            told.starts_with("t2m-mlx is built for mlx-cuda-13 0.32.2, and ") && told.contains("has 0.31.0: "),
            "{told}"
        );
    }

    #[test]
    fn a_library_that_is_missing_has_a_way_out() {
        let said = |name: &str| {
            format!(
                "t2m-mlx: error while loading shared libraries: {name}: cannot open shared object file: No such file or directory"
            )
        };
        assert!(missing_library(&said("libcuda.so.1")).is_some_and(|how| how.contains("driver")));
        assert!(missing_library(&said("libcudnn.so.9")).is_some_and(|how| how.contains("mlx-cuda-13==0.32.2")));
        assert_eq!(missing_library(&said("libother.so.9")), None);
        assert_eq!(missing_library("terminate called"), None);
    }

    #[test]
    fn a_program_of_a_checkout_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        environment(folder.path(), &["torch-2.13.0"]);
        assert_eq!(libraries(&folder.path().join("bin/t2m-torch"), Side::Torch), Ok(vec![]));
        assert_eq!(libraries(Path::new("t2m-torch"), Side::Torch), Ok(vec![]));
    }

    #[test]
    fn what_does_not_fit_is_a_sentence_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("env");
        let packages = environment(&prefix, &["t2m_torch-0.1.0"]);
        let program = prefix.join("bin/t2m-torch");
        let at = prefix.display();
        let told =
            |has: &str, how: &str| Err(format!("t2m-torch is built for torch 2.13.0, and {at} has {has}: {how}"));
        let pip = format!("{at}/bin/python -m pip install torch==2.13.0");
        assert_eq!(libraries(&program, Side::Torch), told("none", &pip));
        std::fs::create_dir(packages.join("torch-2.12.1.dist-info")).unwrap();
        assert_eq!(libraries(&program, Side::Torch), told("2.12.1", &pip));
        std::fs::write(prefix.join("pyvenv.cfg"), "home = /usr/bin\nuv = 0.9\n").unwrap();
        assert_eq!(
            libraries(&program, Side::Torch),
            told("2.12.1", &format!("uv pip install --python {at} torch==2.13.0"))
        );
        for (manager, how) in [
            ("uv/tools", "uv tool install --force \"t2m-tui[engines]\" --with torch==2.13.0"),
            ("pipx/venvs", "pipx inject --force t2m-tui torch==2.13.0"),
        ] {
            let prefix = folder.path().join(manager).join("t2m-tui");
            environment(&prefix, &["t2m_torch-0.1.0"]);
            let said = libraries(&prefix.join("bin/t2m-torch"), Side::Torch).unwrap_err();
            assert!(said.ends_with(how), "{said}");
        }
    }
}
