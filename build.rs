//! Lets the engine programs find their libraries from any folder: an rpath for each, to where setup/engines.py put them.
//! Tells t2m-torch which libtorch it is built with, as libtorch has no call that says so.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for (feature, bin, variable) in [("TORCH", "t2m-torch", "T2M_RPATH_TORCH"), ("MLX", "t2m-mlx", "T2M_RPATH_MLX")] {
        println!("cargo:rerun-if-env-changed={variable}");
        let enabled = std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
        if let (true, Ok(folder)) = (enabled, std::env::var(variable)) {
            println!("cargo:rustc-link-arg-bin={bin}=-Wl,-rpath,{folder}");
        }
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Some(version) = std::env::var_os("LIBTORCH").and_then(|folder| torch_version(Path::new(&folder))) {
        println!("cargo:rustc-env=T2M_TORCH_VERSION={version}");
    }
}

/// `2.13.0`, from the header that ships with libtorch.
fn torch_version(folder: &Path) -> Option<String> {
    let header = std::fs::read_to_string(folder.join("include/torch/headeronly/version.h")).ok()?;
    let number = |part: &str| {
        let line = header.lines().find_map(|line| line.strip_prefix(&format!("#define TORCH_VERSION_{part} ")))?;
        line.trim().parse::<u32>().ok()
    };
    Some(format!("{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("PATCH")?))
}
