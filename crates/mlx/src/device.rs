//! Which device computes, and whether it may round what it multiplies.

use std::ffi::{OsStr, OsString};

use mlx_rs::{Device, DeviceType};

/// The variable that says it: `cpu`, `gpu`, or nothing for MLX's own choice.
pub const VARIABLE: &str = "T2M_MLX_DEVICE";
/// The variable that leaves TF32 as MLX has it, if it is `1`.
pub const TF32_VARIABLE: &str = "T2M_MLX_TF32";

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What follows `--device`.
    pub device: Option<OsString>,
    /// Whether `--tf32` is there.
    pub tf32: bool,
}

impl Asked {
    /// The same as variables.
    pub fn variables(self) -> impl Iterator<Item = (&'static str, OsString)> {
        let device = self.device.map(|device| (VARIABLE, device));
        device.into_iter().chain(self.tf32.then(|| (TF32_VARIABLE, "1".into())))
    }
}

/// What the arguments ask for, and the others.
pub fn arguments(all: Vec<OsString>) -> (Asked, Vec<OsString>) {
    let (mut asked, mut others) = (Asked::default(), Vec::new());
    let mut all = all.into_iter();
    while let Some(argument) = all.next() {
        match argument.to_str() {
            Some("--device") => asked.device = Some(all.next().unwrap_or_default()),
            Some("--tf32") => asked.tf32 = true,
            _ => others.push(argument),
        }
    }
    (asked, others)
}

/// `gpu` on Apple silicon, `cpu` where MLX was built without one.
pub fn name() -> &'static str {
    match Device::try_default().and_then(|device| device.get_type()) {
        Ok(DeviceType::Gpu) => "gpu",
        _ => "cpu",
    }
}

/// What is said where there is no GPU, with the way out.
#[cfg(not(target_os = "macos"))]
const NO_GPU: &str = "this MLX has no GPU: --device cpu computes on the processor; on an NVIDIA GPU mlx-cuda-13 computes in mlx-cpu's place";
#[cfg(target_os = "macos")]
const NO_GPU: &str = "MLX finds no GPU with Metal here: --device cpu computes on the processor";

/// Compute on a device from here on.
///
/// # Errors
/// In words: there is none such.
pub fn select(wanted: &OsStr) -> Result<(), String> {
    // Where there is a GPU it is MLX's default.
    match wanted.to_string_lossy().as_ref() {
        "" => Ok(()),
        "cpu" => {
            Device::set_default(&Device::cpu());
            Ok(())
        }
        "gpu" if name() == "gpu" => Ok(()),
        "gpu" => Err(NO_GPU.to_owned()),
        other => Err(format!("{other} is no device; cpu and gpu are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_in_any_order_and_others_stay() {
        let all = |words: &[&str]| arguments(words.iter().map(OsString::from).collect());
        assert_eq!(all(&[]), (Asked::default(), vec![]));
        let both = Asked { device: Some("gpu".into()), tf32: true };
        assert_eq!(all(&["--tf32", "x", "--device", "gpu"]), (both, vec!["x".into()]));
        // What is missing is no device, which is said.
        assert_eq!(all(&["--device"]).0.device, Some(OsString::new()));
    }

    #[test]
    fn there_is_a_way_out_where_there_is_no_gpu() {
        assert!(select(OsStr::new("tpu")).is_err_and(|said| said.contains("cpu and gpu are")));
        if name() == "cpu" {
            assert!(select(OsStr::new("gpu")).is_err_and(|said| said.contains("--device cpu")));
        }
    }
}
