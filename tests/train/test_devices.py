"""Several devices and several processes. Oracle: the same training on one device."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from holoprop.train.devices import Devices

SCRIPT = Path(__file__).with_name("on_devices.py")


def start(devices: int, *arguments: str) -> subprocess.Popen:
    """Start the script on so many virtual devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(*processes: subprocess.Popen) -> dict:
    """Wait for them; return what the first one printed."""
    outputs = [process.communicate(timeout=300) for process in processes]
    for process, (_, complaint) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, complaint[-2000:]
    return json.loads(outputs[0][0].splitlines()[-1])


@pytest.fixture(scope="module")
def single():
    return result_of(start(1))


def assert_same(result, single):
    """To 1e-5, as sums in another order are; the weights of Adam's first steps turn on signs of small gradients."""
    assert len(single["losses"]) == 50 and single["losses"][-1] < 0.9 * single["losses"][0]
    np.testing.assert_allclose(result["losses"], single["losses"], rtol=0, atol=1e-5)
    assert result["test_loss"] == pytest.approx(single["test_loss"], abs=1e-5)
    assert result["test_accuracy"] == single["test_accuracy"]
    np.testing.assert_allclose(result["weight"], single["weight"], rtol=0, atol=1e-3)


def test_eight_devices_compute_what_one_does(single):
    result = result_of(start(8))
    assert (result["devices"], result["processes"]) == (8, 1)
    assert_same(result, single)


def test_two_processes_of_four_devices_do_too(single):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    result = result_of(*(start(4, address, "2", str(i)) for i in range(2)))
    assert (result["devices"], result["processes"]) == (8, 2)
    assert_same(result, single)


def test_what_devices_cannot_do_is_refused():
    here = len(jax.devices())
    with pytest.raises(ValueError, match=rf"devices must be in 1 … {here}, .* got {here + 1}"):
        Devices.of(here + 1)
    mesh = Devices.of().mesh
    assert mesh is None or mesh.size == here


def test_a_batch_is_shared_evenly_or_not_at_all():
    """On the devices that there are, and on three made up of one."""
    Devices().check(5)
    one = jax.devices()[0]
    mesh = jax.sharding.Mesh(np.asarray([one]), ("batch",))
    devices = Devices(mesh)
    assert (devices.count, devices.part(6)) == (1, slice(0, 6))
    x = np.arange(6.0)
    np.testing.assert_array_equal(devices.share(x), x)
    np.testing.assert_array_equal(devices.local(devices.copy(jax.numpy.asarray(x))), x)

    class Three(Devices):
        count = 3

    with pytest.raises(ValueError, match="batch_size must be a multiple of 3, the devices that share it, got 20"):
        Three().check(20)
