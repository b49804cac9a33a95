#!/usr/bin/env bash
# Runs a command as one line of output: `tools/step.sh TITLE LOG COMMAND ...`. What the command
# prints goes to the file LOG; the line shows the time, and while waiting the log's last line.
set -u
title=$1 log=$2
shift 2
mkdir -p "$(dirname "$log")"

last_line() { tr '\r' '\n' <"$log" | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c "1-$1"; }

set -m  # a process group of its own, so that Ctrl-C can stop all of it
"$@" >"$log" 2>&1 </dev/null &
child=$!
stop() {
  kill -TERM -- "-$child" 2>/dev/null
  wait "$child" 2>/dev/null
  printf '\n%s: stopped; the same command goes on from here\n' "$title" >&2
  exit 130
}
trap stop INT TERM HUP

begin=$SECONDS
if [ -t 1 ]; then
  while kill -0 "$child" 2>/dev/null; do
    printf '\r\033[K  %-28s %4d s  %s' "$title" $((SECONDS - begin)) "$(last_line 44)"
    sleep 0.5
  done
  printf '\r\033[K'
else
  next=30
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    if [ $((SECONDS - begin)) -ge $next ]; then
      next=$((next + 30))
      printf '  %-28s %4d s  %s\n' "$title ..." $((SECONDS - begin)) "$(last_line 60)"
    fi
  done
fi
wait "$child"
status=$?
if [ $status -ne 0 ]; then
  printf '  %-28s failed after %d s; the end of %s:\n' "$title" $((SECONDS - begin)) "$log" >&2
  tail -n 40 "$log" >&2
  exit "$status"
fi
printf '  %-28s %4d s\n' "$title" $((SECONDS - begin))
