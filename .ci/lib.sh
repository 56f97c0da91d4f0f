# Shared by the scripts beside it: steps with headings and times, and a summary.

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
# Builds and links sooner; backtraces still have their lines.
export CARGO_PROFILE_DEV_DEBUG=${CARGO_PROFILE_DEV_DEBUG:-line-tables-only}
target=${CARGO_TARGET_DIR:-$PWD/target}
transcript=$(mktemp)
trap 'rm -f "$transcript"' EXIT
summary=()
failed=0

# step HEADING COMMAND...: runs the command, whatever came of those before.
step() {
    local heading=$1 began=$SECONDS result
    shift
    printf '\n==== %s\n' "$heading"
    if [[ $(type -t "$1") != function ]]; then printf '$ %s\n' "$*"; fi
    if "$@" 2>&1 | tee -a "$transcript"; then
        result=ok
    else
        result=FAILED
        failed=1
    fi
    summary+=("$(printf '%-8s %4d s  %s' "$result" $((SECONDS - began)) "$heading")")
    printf -- '---- %s: %s, %d s\n' "$heading" "$result" $((SECONDS - began))
}

# skip HEADING WHY: says what does not run.
skip() {
    printf '\n==== %s\n---- SKIPPED: %s\n' "$1" "$2"
    summary+=("$(printf '%-8s %4s    %s: %s' skipped '' "$1" "$2")")
}

# need COMMAND PACKAGE: installs the package if the command is not there.
need() {
    if command -v "$1" >/dev/null; then return 0; fi
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "$1 is missing and cannot be installed: not root, or no apt-get" >&2
        return 1
    fi
    echo "installing $2 for $1"
    timeout 120 apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -qy --no-install-recommends "$2"
}

# finish: the closing lines; ends the script.
finish() {
    printf '\n==== Summary, %d s in all\n' "$SECONDS"
    printf '%s\n' "${summary[@]}"
    awk '/^test result:/ { suites++; passed += $4; failed += $6; ignored += $8 }
         END { printf "tests: %d passed, %d failed, %d ignored, in %d runs of a test binary\n",
                      passed, failed, ignored, suites }' "$transcript"
    if [[ $failed == 0 ]]; then echo "all steps passed"; else echo "SOME STEPS FAILED"; fi
    exit "$failed"
}
