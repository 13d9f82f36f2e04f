# Sourced. Downloads fail for a moment and work the next; everything else fails for good.

readonly ATTEMPTS_MAX=4
readonly PAUSE_SECONDS=5

# retry COMMAND...: runs it until it succeeds, at most ATTEMPTS_MAX times, with growing pauses.
retry() {
    local attempt
    for ((attempt = 1; attempt <= ATTEMPTS_MAX; attempt++)); do
        "$@" && return 0
        ((attempt < ATTEMPTS_MAX)) || break
        echo "attempt $attempt of $ATTEMPTS_MAX failed: $1; again in $((attempt * PAUSE_SECONDS)) s" >&2
        sleep $((attempt * PAUSE_SECONDS))
    done
    return 1
}
