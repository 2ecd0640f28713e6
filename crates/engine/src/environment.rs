//! The environment in which both engines start: variables that their libraries read once, before they compute.

/// MLX reads it before its first op. TF32 products would be measured as errors.
const ALWAYS: [(&str, &str); 1] = [("MLX_ENABLE_TF32", "0")];

/// Idle threads of libtorch's OpenMP sleep at once. By default they spin for a while, on the cores that MLX computes on.
const SLEEP: [(&str, &str); 2] = [("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")];

/// glibc gives a large block back to the system as soon as it is freed, and the next one comes in pages of zeros: an eighth of the time
/// that verifying a ResNet-50 spent in the system. Blocks of up to 32 MiB, the most that it takes here, come from memory of which 256 MiB
/// are kept.
const KEEP: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TRIM_THRESHOLD_", "268435456")];

/// On CUDA MLX keeps what it has prepared for each shape of a convolution, and ends the process at the 257th that it does not have
/// (twice the 128 that it keeps): a model of other shapes than the last is no reason. What it does so with its other caches is not
/// either.
const CACHES: [(&str, &str); 2] = [("MLX_CUDA_CONV_CACHE_SIZE", "2048"), ("MLX_ENABLE_CACHE_THRASHING_CHECK", "0")];

/// The variables to set for an engine on this machine. The user's own values for speed alone stay.
pub fn variables() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    variables_on(cores, |name| std::env::var_os(name).is_some())
}

/// Both engines compute at the same time. MLX runs its ops on one thread, and OpenBLAS's products take a fraction of the time
/// of libtorch's two runs: one core is MLX's, the others are libtorch's. More threads of OpenBLAS spin while they wait (on two
/// cores a ResNet-50 took three times the processor time), and another number of them may give another rounding.
fn variables_on(cores: usize, is_set: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let torch = cores.saturating_sub(1).max(1);
    let threads = [("OMP_NUM_THREADS", torch.to_string()), ("OPENBLAS_NUM_THREADS", "1".to_owned())];
    let usual = [SLEEP, KEEP, CACHES].concat().into_iter().map(|(name, value)| (name, value.to_owned()));
    let speed = usual.chain(threads).filter(|(name, _)| !is_set(name));
    ALWAYS.map(|(name, value)| (name, value.to_owned())).into_iter().chain(speed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_words(variables: &[(&str, String)]) -> Vec<String> {
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn engines_share_the_cores_and_their_idle_threads_sleep() {
        assert_eq!(
            in_words(&variables_on(8, |_| false)),
            [
                "MLX_ENABLE_TF32=0",
                "OMP_WAIT_POLICY=PASSIVE",
                "GOMP_SPINCOUNT=0",
                "MALLOC_MMAP_THRESHOLD_=33554432",
                "MALLOC_TRIM_THRESHOLD_=268435456",
                "MLX_CUDA_CONV_CACHE_SIZE=2048",
                "MLX_ENABLE_CACHE_THRASHING_CHECK=0",
                "OMP_NUM_THREADS=7",
                "OPENBLAS_NUM_THREADS=1"
            ]
        );
        for cores in [1, 2] {
            let few = in_words(&variables_on(cores, |_| false));
            assert!(few.contains(&"OMP_NUM_THREADS=1".to_owned()), "{few:?}");
        }
    }

    #[test]
    fn what_the_user_has_set_stays_but_for_what_changes_verdicts() {
        assert_eq!(in_words(&variables_on(8, |_| true)), ["MLX_ENABLE_TF32=0"]);
    }
}
