# Stands in for the sandbox process of a pod: started in a network namespace of its own (unshare --net), it opens there
# what is asked for on the socket that is its standard input, and runs programs. Answers are one JSON document each,
# with a descriptor where there is one.
import array
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys

control = socket.socket(fileno=0)
children = {}


def answer(document, *descriptors):
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    control.sendmsg([json.dumps(document).encode()], ancillary)
    for descriptor in descriptors:
        os.close(descriptor)


def open_socket(request):
    family = socket.AF_INET6 if request["v6"] else socket.AF_INET
    kind = socket.SOCK_STREAM if request["tcp"] else socket.SOCK_DGRAM
    opened = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    answer({}, opened.detach())


def open_device(request):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    tun_set_iff, iff_tun, iff_no_pi = 0x400454CA, 0x0001, 0x1000
    fcntl.ioctl(device, tun_set_iff, struct.pack("16sH22x", request["name"].encode(), iff_tun | iff_no_pi))
    for arguments in (
        f"addr add {request['address']}/{request['prefix']} dev {request['name']}",
        f"link set {request['name']} mtu {request['mtu']} up",
        f"route add default dev {request['name']}",
    ):
        subprocess.run(["ip", *arguments.split()], check=True)
    answer({}, device)


def set_sysctl(request):
    with open("/proc/sys/" + request["name"].replace(".", "/"), "w") as file:
        file.write(request["value"])
    answer({})


def run(request):
    """Runs a program with a pipe at its standard input and one at its output and error output."""
    (stdin, to_stdin), (from_stdout, stdout) = os.pipe(), os.pipe()
    child = subprocess.Popen(request["argv"], stdin=stdin, stdout=stdout, stderr=stdout)
    children[child.pid] = child
    os.close(stdin)
    os.close(stdout)
    answer({"pid": child.pid}, to_stdin, from_stdout)


def kill(request):
    child = children.pop(request["pid"])
    child.kill()
    child.wait()
    answer({})


subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
answer({})
while message := control.recv(65536):
    request = json.loads(message)
    try:
        {"socket": open_socket, "device": open_device, "sysctl": set_sysctl, "run": run, "kill": kill}[request["do"]](request)
    except (OSError, subprocess.CalledProcessError) as error:
        answer({"error": getattr(error, "errno", None) or 5, "text": str(error)})
for child in children.values():
    child.kill()
sys.exit(0)
