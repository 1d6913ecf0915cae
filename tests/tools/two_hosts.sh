#!/bin/sh
# The tests of a cluster on two hosts: two network namespaces that share a cable and nothing else, each with a loopback
# of its own. The scheduler, one worker and the runs are on the first, another worker is on the second. Needs root (or
# `unshare --user --map-root-user --net --mount`), the command ip, and what the tests need.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
first=reg-first-$$ second=reg-second-$$

finish() {
    for host in "$first" "$second"; do ip netns delete "$host" 2>/dev/null || true; done
}
trap finish EXIT

ip netns add "$first"
ip netns add "$second"
ip link add end0 netns "$first" type veth peer name end1 netns "$second"
ip -n "$first" address add 10.77.0.1/24 dev end0
ip -n "$second" address add 10.77.0.2/24 dev end1
for host in "$first" "$second"; do ip -n "$host" link set lo up; done
ip -n "$first" link set end0 up
ip -n "$second" link set end1 up

cd "$root"
PATH=$(dirname "$python"):$PATH TEST_HOSTS="$first=10.77.0.1 $second=10.77.0.2" \
    ip netns exec "$first" "$python" -m pytest tests/tools/test_cluster.py "$@"
