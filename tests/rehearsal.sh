#!/usr/bin/env bash
# Many machines, rehearsed on one: a network namespace for each of 20 workers, one for each of 3 brokers, and one for
# the conductor, joined by veth pairs and a bridge. Nothing leaves this machine, and nothing stays behind.
#
# Usage: tests/rehearsal.sh [NODES [WORKERS]]     default: 50000 nodes, 20 workers
#        tests/rehearsal.sh NODES WORKERS SCENARIO [OPTION...]
# With a scenario it is run as it is, but for the number of nodes of its group `default` and what options of `run` change:
# its brokers are started by the conductor, beside it, and listen to the others (brokers.listen).
# Needs root, ip (iproute2), and a release build (cargo build --release). Takes two minutes at full size.
#   EMULATOR   the program                       default: target/release/choria-emulator
#   OUT        folder for results and logs       default: a temporary one, removed when all went well
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${1:-50000}
workers=${2:-20}
scenario=${3:+$(realpath "$3")}
brokers=3
[ -z "$scenario" ] || brokers=0
emulator=$(realpath "${EMULATOR:-target/release/choria-emulator}")
prefix=ce$$                    # names no other rehearsal has
subnet=10.213.77               # exists inside the namespaces only
control=$subnet.1:4222
export CHORIA_EMULATOR_CONTROL_TOKEN=rehearsal$$

fail() { echo "rehearsal: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "needs root, for network namespaces"
command -v ip >/dev/null || fail "needs ip: apt-get install iproute2"
[ -x "$emulator" ] || fail "no program at $emulator: cargo build --release"

out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
pids=()
spaces=()

clean() {
    local code=$?
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    for space in "${spaces[@]}"; do ip netns del "$space" 2>/dev/null || true; done
    if [ "$code" = 0 ] && [ -z "${OUT:-}" ]; then rm -rf "$out"; else echo "logs: $out"; fi
    exit "$code"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The bridge has a namespace of its own, so that the machine's own network is not touched.
space() {
    ip netns add "$1"
    spaces+=("$1")
    ip -n "$1" link set lo up
}
space "$prefix-net"
ip -n "$prefix-net" link add hub type bridge
ip -n "$prefix-net" link set hub up

# A host: a namespace with one address on the bridge.
host() {
    local name=$prefix-$1 address=$2
    space "$name"
    ip link add "$prefix-v" netns "$name" type veth peer name "v$address" netns "$prefix-net"
    ip -n "$name" link set "$prefix-v" name eth0
    ip -n "$name" addr add "$subnet.$address/24" dev eth0
    ip -n "$name" link set eth0 up
    ip -n "$prefix-net" link set "v$address" master hub up
}
inside() { local name=$prefix-$1; shift; exec ip netns exec "$name" "$@"; }

# The first line of `broker list` is the newest at hand: version, where it comes from, its path.
newest() { "$emulator" broker list 2>/dev/null | grep -o '/[^ ]*nats-server' | head -n 1; }
server=$(newest || true)
if [ -z "$server" ]; then
    "$emulator" broker install 2.14.5
    server=$(newest)
fi

host conductor 1
urls=()
routes=
for n in $(seq "$brokers"); do routes+="\"nats://$subnet.$((10 + n)):6222\", "; done
for n in $(seq "$brokers"); do
    address=$subnet.$((10 + n))
    host "b$n" $((10 + n))
    cat >"$out/n$n.conf" <<CONF
server_name: n$n
listen: "$address:4222"
http: "$address:8222"
max_connections: 100000
write_deadline: "10s"
authorization { timeout: 10 }
cluster { name: C1, listen: "$address:6222", routes: [ $routes ] }
CONF
    inside "b$n" "$server" -c "$out/n$n.conf" 2>"$out/n$n.log" &
    pids+=($!)
    urls+=("nats://$address:4222")
done

if [ -z "$scenario" ]; then
    scenario=$out/rehearsal.yaml
    settings=()
    cat >"$scenario" <<YAML
version: 1
name: rehearsal
seed: 42
brokers:
  topology: external
  urls: [$(IFS=,; echo "${urls[*]}")]
fleet:
  - group: default
    nodes: $nodes
    connect: {rate: 5000/s, in_flight: 500}
waves:
  - name: discovery
    discover: {agent: emulated0}
    every: 8s
    count: 3
    warmup: 1
  - name: rpc
    request: {agent: emulated0, action: generate, data: {size: 100}}
    every: 8s
    count: 3
thresholds:
  completeness: ["min == 100%"]
  unexpected: ["count == 0"]
YAML
else
    settings=(-P "fleet.default.nodes=$nodes" -P "brokers.listen=$subnet.1" "${@:4}")
fi

for n in $(seq "$workers"); do
    host "w$n" $((20 + n))
    inside "w$n" "$emulator" worker --control "nats://$control" --name "w$n" \
        --progress plain >"$out/w$n.log" 2>&1 &
    pids+=($!)
done

inside conductor "$emulator" run "$scenario" "${settings[@]}" --workers "$workers" --control-listen "$control" \
    --out "$out/results" --progress plain &
conductor=$!
pids+=("$conductor")
wait "$conductor"

# Every worker has ended by itself, with the run.
for n in $(seq "$workers"); do
    pid=${pids[$((brokers + n - 1))]}
    wait "$pid" || fail "worker w$n ended with $?: see $out/w$n.log"
done
echo "rehearsed: $nodes nodes in $workers workers on hosts of their own"
