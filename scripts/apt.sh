# Debian's packages, for the scripts here that install some: nothing is asked, so nothing waits for an answer.

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

may_install() { # whether this machine has apt-get, and we are root or become it without a password
    command -v apt-get >/dev/null && as_root true 2>/dev/null
}

install_packages() { # install_packages PACKAGE…; the lists are fetched when those at hand do not do
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y "$@" >/dev/null 2>&1 || {
        as_root apt-get update >/dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y "$@" >/dev/null
    }
}

by_hand() { # by_hand PACKAGE…: what to type instead
    local sudo='sudo '
    [ "$(id -u)" != 0 ] || sudo=
    printf '%s\n' "${sudo}apt-get install -y $*"
}
