#!/bin/sh
# Installs what the tests and the demo run: etcd, PostgreSQL, Patroni in a venv, and what building
# needs. `make test`, `make lint` and `make demo` call it; with everything there it is done at once.
#
#   setup.sh              everything
#   setup.sh --build      only what building needs (protoc, a C compiler, cargo)
#   setup.sh --figures    everything, and HAProxy to compare with
#   setup.sh --bench      the same, for the benchmarks
#   setup.sh --venv-path  print where the venv is (or would be), install nothing
#
# Packages come from apt (Debian 12 and 13; Ubuntu 24.04 should do), with sudo where we are not root.
# None of them gets to start a service, now or at the next boot.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
requirements=$here/requirements.txt

main() {
    case ${1-} in
    "")
        packages_for_building
        packages_for_running
        venv
        ;;
    --build)
        packages_for_building
        ;;
    --figures | --bench)
        packages_for_building
        packages_for_running
        packages_for_figures
        venv
        ;;
    --venv-path)
        venv_path
        ;;
    *)
        fail "unknown option $1 (known: --build, --figures, --bench, --venv-path)"
        ;;
    esac
}

say() { echo "setup: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

# ---- packages ----

packages_for_building() {
    have cargo || fail "there is no cargo: install Rust (https://rustup.rs, or Debian's package rustup), then run this again"
    need=
    have cc || need="$need gcc libc6-dev"
    have pkg-config || need="$need pkg-config"
    have protoc || need="$need protobuf-compiler"
    [ -e /usr/include/google/protobuf/empty.proto ] || need="$need libprotobuf-dev"
    install_packages
}

packages_for_running() {
    need=
    have etcd || need="$need etcd-server"
    have etcdctl || need="$need etcd-client"
    set -- /usr/lib/postgresql/*/bin/postgres
    [ -x "$1" ] || need="$need postgresql"
    have psql || need="$need postgresql-client"
    # For checking the units that are shipped; it is not started.
    have systemd-analyze || need="$need systemd"
    # ensurepip is the part of venv that Debian packages apart.
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || need="$need python3-venv"
    # The network whose cables tests cut.
    [ -x /usr/sbin/ip ] || [ -x /sbin/ip ] || need="$need iproute2"
    [ -x /usr/sbin/nft ] || need="$need nftables"
    install_packages
}

packages_for_figures() {
    need=
    [ -x /usr/sbin/haproxy ] || need="$need haproxy"
    install_packages
}

have() { command -v "$1" >/dev/null 2>&1; }

# Installs the packages named in $need.
install_packages() {
    [ -n "$need" ] || return 0
    have apt-get || fail "missing:$need, and there is no apt-get here: Debian 12, Debian 13 and Ubuntu 24.04 are supported, elsewhere please install these (or their like) by hand"
    as_root=
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "missing:$need; we are not root and there is no sudo: run 'apt-get install$need' as root, then run this again"
        as_root=sudo
    fi
    say "installing with apt:$need"
    # One root shell, so that what it changes for the time being is put back whatever happens.
    $as_root sh -eu "$here/apt-install.sh" $need ||
        fail "apt could not install$need: see above (no network? no sudo rights? another apt at work?), then run this again"
}

# ---- the venv ----

# Where the user postgres can run it, which is not below /root; and where only we can write. The
# name changes with the requirements: two clones that differ do not disturb each other.
venv_path() {
    if [ "$(id -u)" = 0 ]; then cache=/var/cache/trunkline; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/trunkline; fi
    sum=$(sha256sum <"$requirements" | cut -c 1-12)
    echo "$cache/venv-$sum"
}

venv() {
    path=$(venv_path)
    # A venv that an upgrade of Python broke is made again.
    if [ -e "$path/complete" ] && "$path/bin/python" -c '' 2>/dev/null; then return 0; fi
    say "making a venv with Patroni in $path"
    umask 022
    rm -rf "$path"
    mkdir -p "$(dirname "$path")"
    # Debian's Python by its full name: one from pyenv in a home folder is out of reach for postgres.
    /usr/bin/python3 -m venv "$path" || fail "/usr/bin/python3 could not make a venv in $path"
    if ! "$path/bin/pip" install --quiet --disable-pip-version-check \
        --requirement "$requirements" >"$path/pip.log" 2>&1; then
        cat "$path/pip.log" >&2
        fail "pip could not install Patroni: see above (no network? PyPI must be reachable the first time), then run this again"
    fi
    touch "$path/complete"
}

main "$@"
