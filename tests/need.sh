# shellcheck shell=bash
# To be sourced by scripts that install what they lack, on Debian and its kin.

need() { # need PROGRAM PACKAGE...: installs the packages unless the program is there
    local program=$1
    shift
    command -v "$program" >/dev/null || install "$@"
}

install() { # install PACKAGE...
    printf '\n== install %s\n' "$*" >&2
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "please install: $*" >&2
        return 1
    fi
    if [ -z "${apt_updated:-}" ]; then
        apt-get update -qq >&2
        apt_updated=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold "$@" >&2
}
