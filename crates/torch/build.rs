//! Lets t2m-torch find its libraries from any folder: an rpath to where setup/engines.py put them. Tells it which libtorch it
//! is built with, as libtorch has no call that says so.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=T2M_RPATH_TORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=cpp/dispatch.cpp");
    compile_dispatch();
    // A wheel has none: t2m-tui tells the loader where its environment has the libraries.
    if let Some(folder) = std::env::var("T2M_RPATH_TORCH").ok().filter(|folder| !folder.is_empty()) {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folder}");
    }
    if let Some(version) = std::env::var_os("LIBTORCH").and_then(|folder| torch_version(Path::new(&folder))) {
        println!("cargo:rustc-env=T2M_TORCH_VERSION={version}");
    }
}

/// Compile the calls of torch's dispatcher, which has no C interface.
fn compile_dispatch() {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").file("cpp/dispatch.cpp").warnings(false);
    if let Some(folder) = std::env::var_os("LIBTORCH") {
        build.include(Path::new(&folder).join("include"));
    }
    build.compile("t2m_dispatch");
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
