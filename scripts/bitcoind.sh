# Sourced. Gets bitcoind where Debian has none (12 and older): the package `bitcoin-knots` of Debian's
# unstable branch with that branch's own libraries and loader, downloaded and unpacked by apt's own
# tools into a directory of the cache. The system's packages, lists and settings stay as they are; apt
# checks signatures and hashes as always. Works as root and without.
# Needs: retry.sh, and CACHE, a directory kept between runs.

readonly BITCOIND_PACKAGE=bitcoin-knots
readonly BITCOIND_SUITE=sid
readonly DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Where this machine gets Debian's packages from; DEBIAN_ARCHIVE in the environment overrides it. Other
# vendors name their suites like Debian's: whose the archive is, its signature tells.
debian_archives() {
    if [[ -n ${DEBIAN_ARCHIVE:-} ]]; then
        echo "$DEBIAN_ARCHIVE"
        return
    fi
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get --print-uris update | sed -n "s|^'\\(.*\\)/dists/$codename/InRelease'.*|\\1|p" | sort -u
}

# private_apt FOLDER COMMAND...: apt-get with lists, cache and status of its own.
private_apt() {
    local folder=$1
    shift
    DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o Dir::Etc::SourceList="$folder/archive.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State="$folder/state" -o Dir::State::Lists="$folder/state/lists" \
        -o Dir::State::Status="$folder/state/status" -o Dir::Cache="$folder/cache" \
        -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" -o APT::Update::Post-Invoke::= \
        -o APT::Update::Post-Invoke-Success::= -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@" < /dev/null
}

# unpack_bitcoind FOLDER: everything the program needs, and a script that starts it, which becomes it.
unpack_bitcoind() {
    local folder=$1 archive package loader libraries
    rm -rf "$folder"
    mkdir -p "$folder/state/lists/partial" "$folder/cache/archives/partial" "$folder/root"
    : > "$folder/state/status"
    for archive in $(debian_archives); do
        echo "deb [signed-by=$DEBIAN_KEYRING] $archive $BITCOIND_SUITE main" > "$folder/archive.list"
        private_apt "$folder" -o APT::Update::Error-Mode=any update && break
    done
    private_apt "$folder" install --download-only --no-install-recommends "$BITCOIND_PACKAGE" || return 1
    for package in "$folder"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$folder/root" || return 1
    done
    rm -rf "$folder/state" "$folder/cache"
    loader=$(find "$folder/root" -name 'ld-linux*.so.*' ! -type d | head -n 1)
    libraries=$(find "$folder/root" -name '*.so*' ! -type d -printf '%h\n' | sort -u | paste -sd :)
    [[ -n $loader && -x $folder/root/usr/bin/bitcoind ]] || return 1
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' \
        "$loader" "$libraries" "$folder/root/usr/bin/bitcoind" > "$folder/bitcoind"
    chmod +x "$folder/bitcoind"
    "$folder/bitcoind" -version
}

# Sets BITCOIND, if the environment does not: what was unpacked, else now.
install_bitcoind() {
    local folder=$CACHE/bitcoind
    if [[ -z ${BITCOIND:-} ]]; then
        BITCOIND=$folder/bitcoind
        if ! "$BITCOIND" -version > /dev/null 2>&1; then
            if ! command -v apt-get > /dev/null || ! retry unpack_bitcoind "$folder"; then
                echo "no bitcoind could be had from Debian: name one of yours in BITCOIND" >&2
                return 1
            fi
        fi
    fi
    export BITCOIND
}
