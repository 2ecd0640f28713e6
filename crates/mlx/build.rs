//! Lets t2m-mlx find its libraries from any folder: an rpath to where setup/engines.py put them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=T2M_RPATH_MLX");
    if let Ok(folders) = std::env::var("T2M_RPATH_MLX") {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folders}");
    }
}
