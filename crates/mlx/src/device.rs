//! Which device computes.

use std::ffi::OsStr;

use mlx_rs::{Device, DeviceType};

/// The variable that says it: `cpu`, `gpu`, or nothing for MLX's own choice.
pub const VARIABLE: &str = "T2M_MLX_DEVICE";
/// The argument that does.
pub const ARGUMENT: &str = "--device";

/// `gpu` on Apple silicon, `cpu` where MLX was built without one.
pub fn name() -> &'static str {
    match Device::try_default().and_then(|device| device.get_type()) {
        Ok(DeviceType::Gpu) => "gpu",
        _ => "cpu",
    }
}

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
        "gpu" => Err("this MLX was built without a GPU; --device cpu computes on the processor".to_owned()),
        other => Err(format!("{other} is no device; cpu and gpu are")),
    }
}
