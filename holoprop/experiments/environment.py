"""What a result may depend on besides its configuration: versions, the commit, the machine."""

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax


def describe_environment() -> dict[str, Any]:
    """Return versions, commit (`None` outside of a checkout), platform, processor, device, precision, date."""
    import holoprop

    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "equinox", "optax", "numpy")
    return {
        "holoprop": holoprop.__version__,
        "commit": commit(),
        **{package: importlib.metadata.version(package) for package in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "device": f"{device.platform}: {device.device_kind} ({os.cpu_count()} CPU cores)",
        "x64": bool(jax.config.read("jax_enable_x64")),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """Return the model of the CPU; `unknown` where nothing tells."""
    # Linux tells the model here and nowhere in the standard library; elsewhere `platform` does.
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            facts = dict(line.split(":", 1) for line in stream.read().split("\n\n")[0].splitlines() if ":" in line)
        named = {name.strip(): value.strip() for name, value in facts.items()}
        return f"{named['model name']} (family {named.get('cpu family', '?')}, model {named.get('model', '?')})"
    except (OSError, KeyError):
        return platform.processor() or "unknown"


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """Return the commit that the code in `folder` is of, with `-dirty` where tracked files have changed since.

    `None` if git does not track it, as when the package is installed, even into a folder of some other repository.
    """
    git = shutil.which("git")
    if git is None:
        return None

    def told(*arguments: str) -> str | None:
        try:
            done = subprocess.run([git, "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if told("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return told("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
