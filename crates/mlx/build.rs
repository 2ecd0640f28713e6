//! Lets t2m-mlx find its libraries from any folder: an rpath to where setup/engines.py put them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=T2M_RPATH_MLX");
    // A wheel has none: t2m-tui tells the loader where its environment has the libraries.
    if let Some(folders) = std::env::var("T2M_RPATH_MLX").ok().filter(|folders| !folders.is_empty()) {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folders}");
    }
}
