//! Where MLX computes, and how exactly: what its program is started with.

use std::ffi::OsString;

/// A device of MLX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    Cpu,
    /// Metal on a Mac, CUDA with the wheel that has it.
    Gpu,
}

impl Device {
    /// The word on the command line, and in a greeting.
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Gpu => "gpu",
        }
    }

    /// The device of that word.
    pub fn named(name: &str) -> Option<Device> {
        [Device::Cpu, Device::Gpu].into_iter().find(|device| device.name() == name)
    }

    /// The one that this is not.
    pub fn other(self) -> Device {
        match self {
            Device::Cpu => Device::Gpu,
            Device::Gpu => Device::Cpu,
        }
    }
}

/// The arguments of `t2m-mlx`: its device, its own choice without one, and whether products may be rounded to TF32, as MLX has it by
/// default where its GPU can.
pub fn arguments(device: Option<Device>, tf32: bool) -> Vec<OsString> {
    let device = device.map(|device| ["--device", device.name()]);
    let tf32 = tf32.then_some("--tf32");
    device.into_iter().flatten().chain(tf32).map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_no_argument() {
        assert!(arguments(None, false).is_empty());
        assert_eq!(arguments(Some(Device::Gpu), true), ["--device", "gpu", "--tf32"]);
        assert_eq!(Device::named(Device::Cpu.other().name()), Some(Device::Gpu));
        assert_eq!(Device::named("tpu"), None);
    }
}
