#!/bin/sh
# The screen at once, and the engines behind it where they are missing: setup/demo.sh RELEASE-FOLDER CHECKPOINT
#
# What the set-up says goes to target/setup.log; t2m-tui quotes its last line until the engines are there. Leaving the screen ends it:
# a part that is half made is made again the next time.
set -u
release=$1
checkpoint=$2
cd "$(dirname "$0")/.." || exit 2
if [ -x "$release/t2m-torch" ] && [ -x "$release/t2m-mlx" ]; then
  # Brought up to date before the screen: nothing to do takes a second.
  make --no-print-directory build || exit
  exec "$release/t2m-tui" "$checkpoint"
fi
log=$(dirname "$release")/setup.log
: >"$log"
# In a process group of its own, so that all of it can be ended.
setsid=$(command -v setsid || true)
$setsid make --no-print-directory build >"$log" 2>&1 </dev/null &
setup=$!
T2M_SETUP_LOG=$log "$release/t2m-tui" "$checkpoint"
code=$?
if kill -0 "$setup" 2>/dev/null; then
  if [ -n "$setsid" ]; then kill -TERM "-$setup" 2>/dev/null; else kill -TERM "$setup" 2>/dev/null; fi
  wait "$setup" 2>/dev/null
  echo "demo: the engines were not ready yet; what is downloaded stays, \`make build\` goes on with it" >&2
elif ! wait "$setup"; then
  tail -n 20 "$log" >&2
  echo "demo: the engines could not be set up; the end of $log is above" >&2
fi
exit "$code"
