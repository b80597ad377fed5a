# Run by setup.sh as root: installs the packages named, without a service of theirs starting.
#
# Three things are changed for the time of the installation and put back on every way out: policy-rc.d
# (which asks invoke-rc.d and systemd to start nothing), and postgresql-common's wish to create and
# later start a cluster "main". Services that packages enable for the next boot are disabled again.
set -eu

policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
kept=$(mktemp -d)

put_back() {
    status=$?
    restore "$policy" policy
    restore "$clusters" clusters
    rm -rf "$kept"
    exit "$status"
}

keep() { [ ! -e "$1" ] || cp -a "$1" "$kept/$2"; }

restore() {
    [ -e "$kept/$2.changed" ] || return 0
    if [ -e "$kept/$2" ]; then mv -f "$kept/$2" "$1"; else rm -f "$1"; fi
}

trap put_back EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq "$@"
}

keep "$policy" policy
touch "$kept/policy.changed"
rm -f "$policy"
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

apt-get update -qq

case " $* " in
*" postgresql "*)
    # It brings the file that says whether to create a cluster; the server, installed next, reads it.
    install postgresql-common
    keep "$clusters" clusters
    touch "$kept/clusters.changed"
    echo 'create_main_cluster = false' >>"$clusters"
    ;;
esac

install "$@"

if [ -d /run/systemd/system ]; then
    for package in "$@"; do
        case $package in
        etcd-server) systemctl --quiet disable etcd.service ;;
        haproxy) systemctl --quiet disable haproxy.service ;;
        esac
    done
fi
