# Sourced. A PostgreSQL of the tests' own: a fresh data directory, a free port on loopback, a random
# password, stopped by its process id. For tests it is fast because it forgets everything on a power
# cut; for benchmarks it is durable, because that is what is measured.
# Needs: POSTGRES_BIN, PYTHON.

readonly POSTGRES_START_SECONDS=60
readonly POSTGRES_STOP_SECONDS=20
readonly POSTGRES_PORT_TRIES_MAX=5

# PostgreSQL refuses to run as root: then it runs as the package's user, or as nobody.
as_postgres() {
    if ((EUID == 0)); then
        (cd / && runuser -u "$POSTGRES_USER" -- "$@")
    else
        "$@"
    fi
}

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start_postgres [durable]: starts it and exports TEST_POSTGRES_URL; the role there is a superuser of
# that server alone.
start_postgres() {
    local durability="-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    [[ ${1:-} != durable ]] || durability="-c fsync=on -c synchronous_commit=on -c full_page_writes=on"
    POSTGRES_USER=$(id -u postgres > /dev/null 2>&1 && echo postgres || echo nobody)
    POSTGRES_DIR=$(mktemp -d "${TMPDIR:-/tmp}/cryptopayment-postgres.XXXXXX")
    local password port try
    password=$("$PYTHON" -c 'import secrets; print(secrets.token_hex(16))')
    (umask 077 && echo "$password" > "$POSTGRES_DIR/password")
    ((EUID != 0)) || chown -R "$POSTGRES_USER" "$POSTGRES_DIR"
    as_postgres "$POSTGRES_BIN/initdb" --pgdata="$POSTGRES_DIR/data" --username=postgres --auth=password \
        --pwfile="$POSTGRES_DIR/password" --encoding=UTF8 --locale=C --no-sync || return 1
    for ((try = 1; try <= POSTGRES_PORT_TRIES_MAX; try++)); do
        port=$(free_port)
        if as_postgres "$POSTGRES_BIN/pg_ctl" start --pgdata="$POSTGRES_DIR/data" --wait --silent \
            --timeout="$POSTGRES_START_SECONDS" --log="$POSTGRES_DIR/log" \
            --options="-h 127.0.0.1 -p $port -c unix_socket_directories= -c max_connections=400 \
                -c shared_buffers=128MB $durability"; then
            export TEST_POSTGRES_URL=postgres://postgres:$password@127.0.0.1:$port/postgres
            return 0
        fi
        tail -n 5 "$POSTGRES_DIR/log" >&2
    done
    return 1
}

# Stops it and removes its directory; harmless when it never started.
stop_postgres() {
    [[ -n ${POSTGRES_DIR:-} ]] || return 0
    local pid= waited
    pid=$(head -n 1 "$POSTGRES_DIR/data/postmaster.pid" 2> /dev/null)
    if [[ $pid =~ ^[0-9]+$ ]]; then
        kill -INT "$pid" 2> /dev/null
        for ((waited = 0; waited < POSTGRES_STOP_SECONDS * 10; waited++)); do
            [[ -e $POSTGRES_DIR/data/postmaster.pid ]] && kill -0 "$pid" 2> /dev/null || break
            sleep 0.1
        done
        [[ ! -e $POSTGRES_DIR/data/postmaster.pid ]] || kill -QUIT "$pid" 2> /dev/null
    fi
    rm -rf "$POSTGRES_DIR"
    POSTGRES_DIR=
}
