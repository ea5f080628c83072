# For scripts to source: stages that are timed, run beside each other where they mostly wait, and reported in a table.

# The table: a line for each stage, with tabs between seconds, name and result. Scripts that call each other share it.
if [ -z "${STAGES_REPORT:-}" ]; then
    STAGES_REPORT=$(mktemp)
    export STAGES_REPORT
    trap 'status=$?; end_jobs; report_stages; rm -f "$STAGES_REPORT"; exit "$status"' EXIT
else
    trap end_jobs EXIT
fi
# Ctrl-C reaches the commands in front alone, so what runs beside them is ended here.
trap 'exit 130' INT
trap 'exit 143' TERM

# Ends what runs in the background, with the processes that it has started.
end_jobs() {
    local job
    for job in $(jobs -p); do
        kill -- "-$job" 2>/dev/null || true
    done
}

# in_background COMMAND...: starts a command with a process group of its own.
in_background() {
    set -m
    (trap - EXIT INT TERM; "$@") &
    set +m
}

report_stages() {
    [ -s "$STAGES_REPORT" ] || return 0
    echo "== stages"
    awk -F '\t' '{ printf "%6s s  %-44s %s\n", $1, $2, $3 }' "$STAGES_REPORT"
}

# stage NAME COMMAND...: runs a command, notes how long it took and whether it succeeded, and ends the script if it failed.
# A command that exits with 77 has noted itself as skipped.
stage() {
    local name=$1 began=$SECONDS status
    shift
    echo "== $name"
    # This is not the condition of an `if`, inside which a function would go on after its first failure.
    set +e
    (set -e; "$@")
    status=$?
    set -e
    [ "$status" != 77 ] || return 0
    if [ "$status" = 0 ]; then
        printf '%s\t%s\tpassed\n' "$((SECONDS - began))" "$name" >>"$STAGES_REPORT"
        return 0
    fi
    printf '%s\t%s\tFAILED\n' "$((SECONDS - began))" "$name" >>"$STAGES_REPORT"
    exit 1
}

# skipped NAME REASON: notes a stage that does not run.
skipped() {
    echo "== $1: SKIPPED: $2"
    printf '0\t%s\tSKIPPED: %s\n' "$1" "$2" >>"$STAGES_REPORT"
}

# beside COMMAND COMMAND...: runs commands at the same time, each a function without arguments, and ends the script if one of
# them failed. The first one prints at once; it prints the output of each other when that has ended.
beside() {
    local logs lane first status=0 pids=()
    logs=$(mktemp -d)
    in_background "$1"
    first=$!
    shift
    for lane in "$@"; do
        in_background "$lane" >"$logs/$lane" 2>&1
        pids+=($!)
    done
    wait "$first" || status=1
    for lane in "$@"; do
        wait "${pids[0]}" || status=1
        pids=("${pids[@]:1}")
        cat "$logs/$lane"
    done
    rm -rf "$logs"
    [ "$status" = 0 ] || exit 1
}
