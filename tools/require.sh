#!/bin/sh
# require.sh python PYTHON | require.sh node: says what is missing and where to get it, before a stranger's error does.
set -eu

stop() {
    printf '\nfreshfetch: %s\n\n' "$1" >&2
    exit 1
}

need_python() {
    command -v "$1" >/dev/null || stop "there is no '$1'. Install Python 3.11 or newer, or name one: make PYTHON=python3.13"
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "'$1' is Python $version; 3.11 or newer is needed. Name another one: make PYTHON=python3.13"
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        stop "Python $version has no venv. On Debian and Ubuntu: apt-get install python$version-venv"
}

need_node() {
    command -v node >/dev/null || stop "there is no 'node'. Install Node.js 20 or newer with npm: https://nodejs.org"
    command -v npm >/dev/null || stop "there is no 'npm'. It comes with Node.js; on Debian and Ubuntu: apt-get install npm"
    version=$(node --version)
    major=${version#v}
    [ "${major%%.*}" -ge 20 ] || stop "Node.js is $version; 20 or newer is needed: https://nodejs.org"
}

"need_$@"
