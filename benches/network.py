"""What the measurements of the network's components share: a network namespace of their own with one `keelson
kube-apiserver` in it, Services to serve, and what a process takes."""
import http.client
import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import time

CACHE = pathlib.Path(os.environ.get("TESTBED_CACHE", pathlib.Path.home() / ".cache/testbed"))
TOKEN, TICK, NODE = "bench-token", os.sysconf("SC_CLK_TCK"), "bench"
SERVER = 6443
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def start(folder, name, command):
    with open(folder / f"{name}.log", "wb") as log:
        return subprocess.Popen([str(c) for c in command], cwd=folder, stdout=log, stderr=log)


class Api:
    """One connection to the API server."""

    def __init__(self):
        context = ssl._create_unverified_context()
        self.connection = http.client.HTTPSConnection("127.0.0.1", SERVER, context=context, timeout=60)

    def call(self, method, path, body=None):
        headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"}
        self.connection.request(method, path, body and json.dumps(body), headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {data[:300]}")
        return data


def start_server(keelson, folder):
    subprocess.run(["openssl", "genrsa", "-out", "sa.key", "2048"], cwd=folder, check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{TOKEN},bench,bench,system:masters\n")
    server = start(folder, "apiserver", [
        keelson, "kube-apiserver", "--data-dir=store", "--bind-address=127.0.0.1", f"--secure-port={SERVER}",
        "--cert-dir=certs", "--token-auth-file=tokens.csv", "--service-account-key-file=sa.key",
        "--service-account-signing-key-file=sa.key", "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/12", "--authorization-mode=RBAC"])
    for _ in range(600):
        try:
            Api().call("GET", "/readyz")
            return server
        except (OSError, SystemExit):
            time.sleep(0.1)
    raise SystemExit(f"the API server does not answer; see {folder}/apiserver.log")


def slice_of(i, turn=0):
    endpoints = [{"addresses": [f"10.244.{(i * 2 + n) >> 8 & 255}.{(i * 2 + n) & 255}"], "nodeName": NODE,
                  "conditions": {"ready": True}} for n in (0, 1)]
    if turn:
        endpoints[1]["addresses"] = [f"10.245.{turn >> 8}.{turn & 255}"]
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"s{i}-x", "labels": {"kubernetes.io/service-name": f"s{i}"}},
            "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}


def fill(count):
    """Node, Services and EndpointSlices."""
    api = Api()
    api.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    status = {"addresses": [{"type": "InternalIP", "address": "192.168.77.2"}]}
    node = json.loads(api.call("GET", f"/api/v1/nodes/{NODE}"))
    api.call("PUT", f"/api/v1/nodes/{NODE}/status", {**node, "status": status})
    for i in range(count):
        api.call("POST", "/api/v1/namespaces/default/services", {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{i}"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
        api.call("POST", SLICES, slice_of(i))


def cpu(pid):
    """User and kernel seconds so far, with children that have ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [(int(fields[at]) + int(fields[at + 2])) / TICK for at in (11, 12)]


def memory(pid):
    """MiB of PSS."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) / 1024


def own_namespace():
    """Goes on in a network namespace of its own, with a link that has the node's address."""
    if os.environ.get("BENCH_NAMESPACE") != "own":
        environment = {**os.environ, "BENCH_NAMESPACE": "own"}
        os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], environment)
    for command in ("link set lo up", "link add node0 type bridge", "address add 192.168.77.2/24 dev node0",
                    "link set node0 up", "route add default via 192.168.77.1"):
        subprocess.run(["ip", *command.split()], check=True)


def write_kubeconfig(folder):
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "bench",
              "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
              "clusters": [{"name": "bench", "cluster": {"server": f"https://127.0.0.1:{SERVER}", "insecure-skip-tls-verify": True}}],
              "users": [{"name": "bench", "user": {"token": TOKEN}}]}
    (folder / "kubeconfig").write_text(json.dumps(config))


def tell_logs(folder):
    """The last lines of every log, for who looks for what failed."""
    for log in sorted(folder.glob("*.log")):
        sys.stderr.write(f"-- {log.name}\n" + "".join(log.read_text(errors="replace").splitlines(True)[-15:]))
