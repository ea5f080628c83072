# For scripts to source: stages that are timed, run beside each other where they mostly wait, and reported in a table.

# The table: a line for each stage, with tabs between seconds, seconds of processor time, name and result. Scripts that call each
# other share it.
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
    echo "seconds  processor  stage"
    awk -F '\t' '{ printf "%7s %10s  %-44s %s\n", $1, $2, $3, $4 }' "$STAGES_REPORT"
}

# stage NAME COMMAND...: runs a command, notes how long it took and whether it succeeded, and ends the script if it failed.
# A command that exits with 77 has noted itself as skipped.
stage() {
    local name=$1 began=$SECONDS status spent result=passed
    shift
    echo "== $name"
    spent=$(mktemp)
    # This is not the condition of an `if`, inside which a function would go on after its first failure.
    set +e
    (trap 'times >"$spent"' EXIT; set -e; "$@")
    status=$?
    set -e
    if [ "$status" != 77 ]; then
        [ "$status" = 0 ] || result=FAILED
        printf '%s\t%s\t%s\t%s\n' "$((SECONDS - began))" "$(processor_seconds <"$spent")" "$name" "$result" >>"$STAGES_REPORT"
    fi
    rm -f "$spent"
    [ "$result" = passed ] || exit 1
}

# Adds up what `times` prints: user and system time of the shell, and of the children for which it has waited.
processor_seconds() {
    awk -F '[ms ]+' '{ sum += 60 * ($1 + $3) + $2 + $4 } END { printf "%.0f", sum }'
}

# skipped NAME REASON: notes a stage that does not run.
skipped() {
    echo "== $1: SKIPPED: $2"
    printf '0\t0\t%s\tSKIPPED: %s\n' "$1" "$2" >>"$STAGES_REPORT"
}

# Lets this shell and what it starts have only the processor time that others leave.
yielding() {
    renice -n 10 -p "$BASHPID" >/dev/null
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
