#!/bin/sh
# The pipeline of throw-away stages on a cluster of two hosts: two network namespaces that share a cable and nothing
# else, each with a loopback and a folder of its own. Needs root (or `unshare --user --map-root-user --net --mount`),
# the commands ip and git, and the extra `cluster`. Prints `same` if dvc.lock is as `dvc repro` leaves it.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
PATH=$(dirname "$python"):$PATH
scratch=$(mktemp -d)
first=reg-first-$$ second=reg-second-$$
processes=""

finish() {
    for process in $processes; do kill "$process" 2>/dev/null || true; done
    wait
    for host in "$first" "$second"; do ip netns delete "$host" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap finish EXIT

on() {  # HOST FOLDER COMMAND...: in the background
    host=$1 && mkdir -p "$scratch/$2" && cd "$scratch/$2" && shift 2
    ip netns exec "$host" "$@" >log 2>&1 &
    processes="$processes $!"
    cd "$root"
}

ip netns add "$first"
ip netns add "$second"
ip link add end0 netns "$first" type veth peer name end1 netns "$second"
ip -n "$first" address add 10.77.0.1/24 dev end0
ip -n "$second" address add 10.77.0.2/24 dev end1
for host in "$first" "$second"; do ip -n "$host" link set lo up; done
ip -n "$first" link set end0 up
ip -n "$second" link set end1 up

on "$first" scheduler python -m distributed.cli.dask_scheduler --host 10.77.0.1 --port 8786 --no-dashboard
on "$first" one python -m distributed.cli.dask_worker tcp://10.77.0.1:8786 --host 10.77.0.1 --nthreads 1 \
    --no-dashboard --local-directory .
on "$second" two python -m distributed.cli.dask_worker tcp://10.77.0.1:8786 --host 10.77.0.2 --nthreads 1 \
    --no-dashboard --local-directory .

for name in ours theirs; do
    mkdir -p "$scratch/$name/.dvc"
    cd "$scratch/$name"
    git init --quiet
    cp "$root/.dvc/config" .dvc/config
    printf '/out/**\n/*.txt\n' >.gitignore
    echo one >source
    cat >dvc.yaml <<'YAML'
stages:
  head: {cmd: cp source head.txt, deps: [source], outs: [head.txt]}
  fan:
    matrix: {item: [a, b, c, d]}
    cmd: mkdir -p out; sleep 1; cp head.txt out/${item.item}
    deps: [head.txt]
    outs: ["out/${item.item}"]
  tail: {cmd: cat out/* > tail.txt, deps: [out], outs: [tail.txt]}
YAML
done
cd "$scratch/theirs" && python -m dvc repro --quiet
cd "$scratch/ours"
PYTHONPATH=$root ip netns exec "$first" "$python" -m tools.repro --jobs 1 --cluster tcp://10.77.0.1:8786
cmp dvc.lock ../theirs/dvc.lock && echo same
