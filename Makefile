# `make demo` and `make test` are all a newcomer needs; both set the engines up first (setup/engines.py).

CHECKPOINT ?= demo
PYTHON ?= python3
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
BIN := $(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin
PROGRAMS := t2m-tui t2m-torch t2m-mlx
# The engine programs have no unit tests: they are tested as programs.
TESTED := --workspace --exclude t2m-torch --exclude t2m-mlx

.PHONY: demo test check certify-reference install engines build wheels try-wheels check-macos screenshots bench fuzz

# Open the terminal UI on the demo, or on CHECKPOINT=model.pt, as soon as it is built; the engines follow behind it the first time.
# Without a terminal: the report, then the measurements, as text, when all is there.
demo:
	@if [ -t 0 ] && [ -t 1 ]; then \
	  cargo build --release -p t2m-tui && PYTHON=$(PYTHON) exec setup/demo.sh "$(RELEASE)" "$(CHECKPOINT)"; \
	else \
	  $(MAKE) --no-print-directory build && \
	  $(RELEASE)/t2m-tui inspect "$(CHECKPOINT)" && echo && $(RELEASE)/t2m-tui verify "$(CHECKPOINT)" --trials 3 --dtype f32,f16,bf16; \
	fi

# The whole suite, with both engines.
test: build
	@if cargo nextest --version >/dev/null 2>&1; then run="cargo nextest run"; else run="cargo test"; fi; \
	T2M_TORCH="$(abspath $(RELEASE)/t2m-torch)" T2M_MLX="$(abspath $(RELEASE)/t2m-mlx)" $$run $(TESTED) --features t2m-tui/engine-tests
	cargo test --quiet --doc -p t2m-checkpoint

# What a change has to pass besides the tests.
check: engines
	cargo fmt --all --check
	cargo clippy $(TESTED) --all-targets --features t2m-tui/engine-tests -- -D warnings
	cargo clippy --release -p t2m-torch -p t2m-mlx -- -D warnings
	cargo clippy --manifest-path fuzz/Cargo.toml -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items $(TESTED)
	$(PYTHON) -B -m unittest discover --quiet -s setup

# Measure every layer, op and mistake with the reference BLAS of MLX's wheel. `make test` does it with OpenBLAS.
certify-reference: build
	@if cargo nextest --version >/dev/null 2>&1; then run="cargo nextest run"; else run="cargo test"; fi; \
	T2M_MLX_BLAS=reference T2M_TORCH="$(abspath $(RELEASE)/t2m-torch)" T2M_MLX="$(abspath $(RELEASE)/t2m-mlx)" \
	  $$run --features engine-tests --test engines -- layers:: certify

# Copy the three programs into Cargo's bin folder. They find their libraries in the cache from any directory.
install: build
	@mkdir -p "$(BIN)"
	@for program in $(PROGRAMS); do install -m 755 "$(RELEASE)/$$program" "$(BIN)/$$program" && echo "installed $(BIN)/$$program"; done

engines:
	@command -v $(PYTHON) >/dev/null || { echo "setup: $(PYTHON) was not found: apt install python3 python3-pip, or Xcode's command line tools" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "setup: cargo was not found: install Rust with rustup" >&2; exit 1; }
	@$(PYTHON) setup/engines.py

# The three programs.
build: engines
	cargo build --release --workspace

# The three wheels, into target/wheels; needs maturin. `pip install --find-links target/wheels "t2m-tui[engines]"` installs them.
wheels: engines
	@$(PYTHON) setup/wheelhouse.py

# Install them into a fresh environment and try them on the demo.
try-wheels: wheels
	@$(PYTHON) setup/try_wheels.py target/wheels

# What can be checked of the engines for macOS without a Mac; fetches 155 MB.
check-macos:
	@$(PYTHON) setup/check_macos.py

# Draw screenshots/ anew, with the program's own drawing code and both engines.
screenshots: build
	T2M_TORCH="$(abspath $(RELEASE)/t2m-torch)" T2M_MLX="$(abspath $(RELEASE)/t2m-mlx)" cargo run --example screenshots

# Whole-process figures on two cores beside what one does instead, into docs/performance.md. What PYTHON lacks of torch, safetensors,
# MLX and torchvision is left out, and said. BENCH are options of benches/whole.
BENCH ?= --write docs/performance.md
bench: engines
	cargo build --release --workspace
	$(PYTHON) -B benches/whole --program "$(RELEASE)/t2m-tui" --python "$(PYTHON)" $(BENCH)

# Fuzz one reader on stable Rust: pickle, archive, safetensors, legacy, torchscript, exported, index, map, source, registry, theme,
# protocol or client.
FUZZ ?= pickle
FUZZ_SECONDS ?= 600
fuzz:
	@cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz: cargo install cargo-fuzz" >&2; exit 1; }
	@test -d fuzz/corpus || $(PYTHON) fuzz/seeds.py
	cargo fuzz run --sanitizer none $(FUZZ) -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=65536
