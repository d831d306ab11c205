"""The PyPI package `kr8s` against the server of $KUBECONFIG: create, watch, patch, exec, logs, port-forward, delete."""

import asyncio
import urllib.request

import kr8s
from kr8s.asyncio.objects import Pod as AsyncPod
from kr8s.objects import ConfigMap, Pod, Service

NAME = "of-kr8s"

api = kr8s.api()
assert api.version()["gitVersion"].startswith("v1.")
assert {"name": "pods", "namespaced": True}.items() <= next(
    kind for kind in api.api_resources() if kind["kind"] == "Pod").items()

# Create, and wait, which watches.
pod = Pod({
    "metadata": {"name": NAME, "labels": {"app": NAME}},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "nginx"}]},
})
pod.create()
pod.wait("condition=Ready", timeout=120)
assert pod.ready() and pod.status.phase == "Running"
assert [found.name for found in kr8s.get("pods", label_selector={"app": NAME})] == [NAME]
config_map = ConfigMap({"metadata": {"name": NAME}, "data": {"a": "1"}})
config_map.create()
assert config_map.exists()

# Patch, label, annotate.
pod.patch({"metadata": {"labels": {"patched": "yes"}}})
pod.label(more="yes")
pod.annotate(note="text")
pod.refresh()
assert pod.labels["patched"] == pod.labels["more"] == "yes" and pod.annotations["note"] == "text"
config_map.patch([{"op": "replace", "path": "/data/a", "value": "2"}], type="json")
assert config_map.data["a"] == "2"

# Exec, with its output, its input and its exit code.
said = pod.exec(["sh", "-c", "echo out; echo err >&2"])
assert (said.stdout, said.stderr, said.returncode) == (b"out\n", b"err\n", 0), said
failed = pod.exec(["sh", "-c", "exit 7"], check=False)
assert failed.returncode == 7, failed

# Logs.
assert any("start worker processes" in line for line in pod.logs())

# Port-forward, to a pod and by way of a Service.
service = Service({"metadata": {"name": NAME}, "spec": {"selector": {"app": NAME}, "ports": [{"port": 80}]}})
service.create()
for source in (pod, service):
    with source.portforward(remote_port=80) as port:
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=60) as answer:
            assert answer.status == 200 and b"</html>" in answer.read()


# Watch, while it is deleted.
async def watch_the_end():
    pod = await AsyncPod.get(NAME)
    seen = []

    async def watch():
        async for event, found in kr8s.asyncio.watch("pods", label_selector={"app": NAME}):
            seen.append(event)
            if event == "DELETED":
                return

    watching = asyncio.create_task(watch())
    while "ADDED" not in seen:
        await asyncio.sleep(0.02)
    await pod.delete()
    await asyncio.wait_for(watching, 120)
    assert seen[0] == "ADDED" and seen[-1] == "DELETED", seen


asyncio.run(watch_the_end())
pod.wait("delete", timeout=120)
assert not pod.exists()
config_map.delete()
service.delete()
try:
    Pod.get(NAME)
    raise AssertionError("still there")
except kr8s.NotFoundError:
    pass
print("done")
