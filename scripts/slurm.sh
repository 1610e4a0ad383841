#!/usr/bin/env bash
# Runs a whole Slurm on this machine, for trying out and for the tests; it needs neither systemd nor
# root.
#
#     scripts/slurm.sh check DIR           whether its programs are there
#     scripts/slurm.sh start DIR [SLOTS]   starts it; then: export SLURM_CONF=DIR/slurm.conf
#     scripts/slurm.sh pause DIR           ends its controller
#     scripts/slurm.sh restart DIR         ends its controller and starts another
#     scripts/slurm.sh stop DIR            ends everything
#
# It needs Debian's packages munge, slurmctld, slurmd and slurm-client. DIR must be new, and its
# path must hold no spaces.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"
command=${1:?check, start, restart, pause or stop}
dir=$(realpath -m "${2:?a folder}")
export SLURM_CONF="$dir/slurm.conf"

check_programs() {
    local program packages="munge slurmctld slurmd slurm-client"
    if [[ $dir == *[[:space:]]* ]]; then
        echo "slurm: the path $dir holds a space, which slurm.conf does not allow" >&2
        exit 2
    fi
    for program in munged slurmctld slurmd sbatch; do
        if ! command -v "$program" >/dev/null; then
            echo "slurm: there is no $program here: apt-get install $packages" >&2
            exit 2
        fi
    done
}

start_munge() {
    mkdir -p "$dir/munge"
    chmod 700 "$dir/munge"
    head -c 1024 /dev/urandom >"$dir/munge/key"
    chmod 600 "$dir/munge/key"
    # Every user may reach the socket, but not the key.
    munged --force --socket="$dir/munge.socket" --key-file="$dir/munge/key" \
        --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" \
        2>/dev/null
}

# The first of two neighbouring ports on which nothing answers; those from 32768 on may be given to
# any program at any moment.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 12000))
        if ! answers "$port" && ! answers "$((port + 1))"; then
            echo "$port"
            return
        fi
    done
}

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Writes slurm.conf for a node with $1 processors.
write_configuration() {
    local host user port slots=$1
    host=$(uname -n) user=$(id -un) port=$(free_port)
    cat >"$SLURM_CONF" <<CONF
ClusterName=egsde
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MinJobAge=600
MaxArraySize=1001
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$slots State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

start_controller() {
    slurmctld -f "$SLURM_CONF"
    for _ in $(seq 200); do
        scontrol ping 2>/dev/null | grep -q "is UP" && return
        sleep 0.1
    done
    echo "slurm: the controller does not answer: $dir/log/slurmctld.log" >&2
    exit 1
}

start() {
    check_programs
    mkdir -p "$dir"/{state,spool,log}
    start_munge
    write_configuration "$1"
    start_controller
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 200); do
        sinfo --noheader --format=%T | grep -q idle && return
        sleep 0.1
    done
    echo "slurm: the node does not come up: $dir/log/slurmd.log" >&2
    exit 1
}

# Ends the process whose id is in the file $1.
end() {
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
}

case "$command" in
    check) check_programs ;;
    start) start "${3:-2}" ;;
    restart)
        end "$dir/slurmctld.pid"
        start_controller
        ;;
    pause) end "$dir/slurmctld.pid" ;;
    stop)
        # Slurm's daemons leave running jobs alone.
        timeout 5 scancel --user="$(id -un)" 2>/dev/null && sleep 1
        end "$dir/slurmd.pid"
        end "$dir/slurmctld.pid"
        end "$dir/munge/pid"
        ;;
    *)
        echo "slurm: no command $command" >&2
        exit 2
        ;;
esac
