# Words that the other scripts share: note, a step with a name and a time, a failure with its remedy.
# Sourced, never run. Whatever is said here goes to standard error, so that a script's standard output
# stays free for its answer (a path, an address).

note() { printf '    %s\n' "$*" >&2; }

# die WHAT REMEDY: says what failed and what to do about it, and ends the script.
die() {
    printf '\nFAILED: %s\n  do:   %s\n' "$1" "$2" >&2
    exit 1
}

# step NAME REMEDY COMMAND...: runs the command under a name, says how long it took, or fails with the remedy.
step_times=()
step() {
    local name=$1 remedy=$2 began=$SECONDS
    shift 2
    printf '\n==> %s\n' "$name" >&2
    "$@" || die "$name (after $((SECONDS - began)) s)" "$remedy"
    step_times+=("$(printf '%5d s  %s' $((SECONDS - began)) "$name")")
    note "done in $((SECONDS - began)) s: $name"
}

# need PROGRAM WHAT_TO_INSTALL: fails where a program is missing.
need() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is not installed" "install $2"
}
