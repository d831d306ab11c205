"""The PyPI package `kubernetes` against the server of $KUBECONFIG: create, watch, patch, exec, logs, port-forward, delete."""

import os
import tempfile

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

config.load_kube_config()
v1 = client.CoreV1Api()
NAME = "of-kubernetes"
PLACE = (NAME, "default")

# Create, from a dictionary, from types and from a file.
v1.create_namespaced_pod("default", {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": {"app": NAME}},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "nginx"}]},
})
v1.create_namespaced_config_map("default", client.V1ConfigMap(
    metadata=client.V1ObjectMeta(name=NAME, labels={"app": NAME}), data={"a": "1"}))
with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    file.write(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {NAME}}}\nstringData: {{a: b}}\n---\n"
               f"apiVersion: v1\nkind: Service\nmetadata: {{name: {NAME}}}\n"
               f"spec: {{selector: {{app: {NAME}}}, ports: [{{port: 80}}]}}\n")
    file.flush()
    utils.create_from_yaml(client.ApiClient(), file.name)
try:
    v1.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name=NAME)))
    raise AssertionError("made twice")
except ApiException as error:
    assert (error.status, error.reason) == (409, "Conflict"), error

# Watch, until the pod is ready.
watcher = watch.Watch()
for event in watcher.stream(v1.list_namespaced_pod, "default", label_selector=f"app={NAME}", timeout_seconds=120):
    conditions = {condition.type: condition.status for condition in event["object"].status.conditions or []}
    if conditions.get("Ready") == "True":
        watcher.stop()
pod = v1.read_namespaced_pod(*PLACE)
assert pod.status.phase == "Running" and pod.status.pod_ip and pod.status.start_time.tzinfo, pod.status
assert [pod.metadata.name for pod in v1.list_namespaced_pod("default", field_selector=f"metadata.name={NAME}").items] == [NAME]

# Patch: strategic merge (the default), merge, JSON, and server-side apply.
v1.patch_namespaced_pod(*PLACE, {"metadata": {"labels": {"patched": "yes"}}})
v1.patch_namespaced_config_map(*PLACE, [{"op": "add", "path": "/data/b", "value": "2"}])
v1.patch_namespaced_config_map(
    *PLACE, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"c": "3"}},
    field_manager="script", _content_type="application/apply-patch+yaml")
assert v1.read_namespaced_config_map(*PLACE).data == {"a": "1", "b": "2", "c": "3"}
assert v1.read_namespaced_pod(*PLACE).metadata.labels["patched"] == "yes"
found = v1.read_namespaced_config_map(*PLACE)
found.data["a"] = "replaced"
replaced = v1.replace_namespaced_config_map(*PLACE, found)
assert replaced.metadata.resource_version != found.metadata.resource_version
try:
    v1.replace_namespaced_config_map(*PLACE, found)
    raise AssertionError("replaced by what is out of date")
except ApiException as error:
    assert error.status == 409, error

# Exec: all at once, and as a conversation that ends with an exit code.
said = stream(v1.connect_get_namespaced_pod_exec, *PLACE, command=["sh", "-c", "echo out; echo err >&2"],
              stderr=True, stdin=False, stdout=True, tty=False)
assert sorted(said.split()) == ["err", "out"], said
script = "read line; echo got $line; read line; exit 7"
shell = stream(v1.connect_get_namespaced_pod_exec, *PLACE, command=["sh", "-c", script],
               stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False)
shell.write_stdin("typed\n")
assert shell.readline_stdout(timeout=60) == "got typed"
shell.write_stdin("\n")
shell.run_forever(timeout=60)
assert shell.returncode == 7, shell.returncode

# Logs: what there is, and as it comes.
assert "start worker processes" in v1.read_namespaced_pod_log(*PLACE)
lines = watch.Watch().stream(v1.read_namespaced_pod_log, name=NAME, namespace="default", follow=True)
assert "start worker processes" in next(iter(lines))

# Port-forward.
forward = portforward(v1.connect_get_namespaced_pod_portforward, *PLACE, ports="80")
socket = forward.socket(80)
socket.setblocking(True)
socket.settimeout(60)
socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
answer = b""
while b"</html>" not in answer:
    more = socket.recv(4096)
    assert more, answer
    answer += more
assert answer.startswith(b"HTTP/1.1 200 OK"), answer
assert forward.error(80) is None
socket.close()

# The client that knows no types, and discovers them.
resources = dynamic.DynamicClient(client.ApiClient())
config_maps = resources.resources.get(api_version="v1", kind="ConfigMap")
applied = config_maps.server_side_apply(
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"d": "4"}},
    namespace="default", field_manager="dynamic")
assert applied.data.d == "4"
assert resources.version["kubernetes"]["gitVersion"].startswith("v1.")

# Delete, and see it go.
v1.delete_namespaced_pod(*PLACE, grace_period_seconds=1)
for event in watcher.stream(v1.list_namespaced_pod, "default", label_selector=f"app={NAME}", timeout_seconds=120):
    if event["type"] == "DELETED":
        watcher.stop()
v1.delete_collection_namespaced_config_map("default", label_selector=f"app={NAME}")
v1.delete_namespaced_secret(*PLACE)
v1.delete_namespaced_service(*PLACE)
for read in (v1.read_namespaced_pod, v1.read_namespaced_config_map, v1.read_namespaced_secret):
    try:
        read(*PLACE)
        raise AssertionError("still there")
    except ApiException as error:
        assert error.status == 404, error
print("done")
