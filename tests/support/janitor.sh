# Run by workdir.rs as `sh -c JANITOR janitor DIRECTORY`, with the read end of a pipe as its input.
#
# It reads "PID START-TIME" lines until the writing end is gone, however that came about (the
# program ended, panicked, or was killed with SIGKILL). Then it ends the process groups it was told
# of and every PostgreSQL server whose data lies in DIRECTORY/*/data, and removes DIRECTORY.
#
# A pid alone could belong to a stranger by then; with its start time it cannot.
set -u
trap '' INT TERM HUP
directory=$1
children=$(cat)

start_time() {
    # The process name in /proc/PID/stat may hold spaces; what follows its ")" does not. The start
    # time is field 22 of all, so number 20 of those.
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    set -- ${stat##*) }
    echo "${20}"
}

echo "$children" | while read -r pid started; do
    if [ -n "$pid" ] && [ "$(start_time "$pid")" = "$started" ]; then
        # Not `kill -- -PID`: dash takes the minus for an option and kills nobody.
        kill -KILL "-$pid" 2>/dev/null
    fi
done

# PostgreSQL runs in a session of its own, started by Patroni. It says its pid in its data directory,
# which is also its working directory for as long as it lives.
servers() {
    for file in "$directory"/*/data/postmaster.pid; do
        pid=$(sed 1q "$file" 2>/dev/null)
        if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "${file%/postmaster.pid}" ]; then
            echo "$pid"
        fi
    done
}

# SIGQUIT is PostgreSQL's immediate shutdown: unlike SIGKILL it gives back its shared memory. It goes
# to the postmaster alone, which ends its children; it waits seconds for one that was told twice.
signal=QUIT
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    found=$(servers)
    [ -n "$found" ] || break
    [ "$round" -lt 18 ] || signal=KILL
    kill -s CONT $found 2>/dev/null
    kill -s $signal $found 2>/dev/null
    sleep 0.2
done

# Disks that a test put there: what cannot be taken out at once goes with its last user.
while read -r _ place _; do
    case $place in
        "$directory"/*) umount -l "$place" ;;
    esac
done </proc/mounts

rm -rf -- "$directory"
