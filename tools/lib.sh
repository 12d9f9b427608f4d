# Shared by the scripts of this folder; sourced, never run.
# Gives: root (the checkout), say, fail, supervise, phase, stop_bazel.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/.setup/log
cd "$root"

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

child=          # process group of the command under supervision
trap 'interrupted 130' INT
trap 'interrupted 143' TERM HUP

# Ends the command under supervision with all its children, then this script.
interrupted() {
  trap '' INT TERM HUP
  exec 2>/dev/null  # bash would report the end of each job
  if [ -n "$child" ]; then
    kill -TERM -- "-$child" 2>/dev/null || :
    for _ in {1..150}; do kill -0 -- "-$child" 2>/dev/null || break; sleep 0.1; done
    kill -KILL -- "-$child" 2>/dev/null || :
    wait "$child" 2>/dev/null || :
  fi
  [ ! -t 1 ] || [ "$1" -ne 130 ] || printf '\nstopped\n'
  exit "$1"
}

# supervise COMMAND...: runs it in a process group of its own, so that a signal to this script ends all of it.
supervise() {
  local status=0
  set -m
  "$@" </dev/null &
  child=$!
  set +m
  wait "$child" || status=$?
  child=
  return "$status"
}

# phase NAME LOG COMMAND...: one line with the time taken, the output in .setup/log/LOG.log; meanwhile how far it is, on
# a terminal all the time, elsewhere once a minute.
# On failure: the log's last lines, and the status of the command. A shell function given as COMMAND must not rely
# on `set -e`, which bash turns off where a status is tested.
phase() {
  local name=$1 log=$logs/$2.log started=$SECONDS next=60 status=0
  shift 2
  mkdir -p "$logs"
  : >"$log"
  set -m
  "$@" </dev/null >"$log" 2>&1 &
  child=$!
  set +m
  while kill -0 "$child" 2>/dev/null; do
    if [ -t 1 ]; then
      printf '\r\033[K  %s, %d s  \033[2m%s\033[0m' "$name" $((SECONDS - started)) "$(last_words "$log")"
    elif ((SECONDS - started >= next)); then
      printf '  %s, %d s  %s\n' "$name" "$next" "$(last_words "$log")"
      next=$((next + 60))
    fi
    sleep 0.25
  done
  wait "$child" || status=$?
  child=
  [ ! -t 1 ] || printf '\r\033[K'
  if [ "$status" -ne 0 ]; then
    say "  $name: failed after $((SECONDS - started)) s. The last lines of ${log#"$root"/}:" >&2
    tail -n 25 "$log" | sed 's/^/    /' >&2
    return "$status"
  fi
  printf '  %s: %d s\n' "$name" $((SECONDS - started))
}

# The last line of a growing log, cut to what fits beside a phase's name.
last_words() {
  tail -c 400 "$1" | tr '\r' '\n' | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' | grep -a '[^ ]' | tail -n 1 | cut -c "1-$((${COLUMNS:-80} - 40))" || :
}

# Ends the Bazel server of this checkout. For EXIT traps: nothing may outlive the script.
stop_bazel() {
  command -v bazel >/dev/null || return 0
  bazel shutdown >/dev/null 2>&1 </dev/null || :
}

# install_if_changed FROM TO: replaces TO in one step, and only where the contents differ.
install_if_changed() {
  cmp -s "$1" "$2" && return 0
  mkdir -p "$(dirname "$2")"
  install -m 755 "$1" "$2.new"
  mv -f "$2.new" "$2"
}
